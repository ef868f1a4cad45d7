"""Why this node itself signs nothing: it has no vote, may have forgotten, or has just started.

Each looks at the facts and tells its sentence if it holds, like the causes of `api.causes`.
"""

from api.causes import is_late
from api.facts import Facts, is_silent
from api.phrases import names, span


def find_not_a_member(facts: Facts) -> str | None:
    if facts.is_member:
        return None
    return (
        f"{facts.node} is no member of the replica set of epoch {facts.epoch}: it follows at height"
        f" {facts.height} and has no vote. Members add it by `validators add`."
    )


def find_mute(facts: Facts) -> str | None:
    if not facts.is_mute:
        return None
    return (
        f"The ledger has a vote key for {facts.node} that is not in its keys/: it follows and does"
        " not vote. Restore that keystore, or have the node re-keyed."
    )


def find_recover_needed(facts: Facts) -> str | None:
    """Whether only operators can go on: a fence falls when others decide, and too few may."""
    fence = facts.fence
    if fence is not None and fence.waits_for_document:
        return (
            f"{facts.node} signs nothing until it is given the restart document of the others"
            f" ({fence.reason}): stop it, then `medledger recover apply` with that document."
        )
    fenced = [] if fence is None else [facts.node]
    fenced += [one.name for one in facts.others if one.is_fenced and not is_silent(facts, one)]
    if facts.members - len(fenced) >= facts.quorum or not is_late(facts):
        return None
    return (
        f"{names(fenced)} are fenced, {facts.quorum} of {facts.members} members have to vote, and"
        " no fence falls without new blocks: stop all nodes, `medledger recover statement` at"
        " each, then `recover combine` once and `recover apply` everywhere."
    )


def find_fenced(facts: Facts) -> str | None:
    fence = facts.fence
    if fence is None:
        return None
    if fence.lift_height is not None:
        waits = f"it votes again after block {fence.lift_height}, and is at {facts.height}"
    else:
        missing = [one.name for one in facts.others if one.name not in fence.proven]
        waits = (
            f"it waits until {fence.needed} others prove how far they are"
            f" ({names(fence.proven) or 'nobody'} did, {names(missing)} did not)"
        )
    hears = "" if facts.listening is None else f", and {_listens(facts)}"
    return (
        f"{facts.node} is fenced and signs nothing since {span(fence.for_ms)} ({fence.reason}):"
        f" {waits}{hears}."
    )


def find_listening(facts: Facts) -> str | None:
    if facts.listening is None:
        return None
    return (
        f"{facts.node} started {span(facts.listening.for_ms)} ago and {_listens(facts)}: they show"
        " what it may have forgotten."
    )


def _listens(facts: Facts) -> str:
    """Say for whom or for what a start still waits before it signs."""
    listening = facts.listening
    assert listening is not None, "told only of a node that listens"
    answered = f"{names(listening.answered) or 'nobody'} did"
    if len(listening.answered) < listening.needed:
        missing = [one.name for one in facts.others if one.name not in listening.answered]
        return (
            f"listens before it votes, until {listening.needed} others answer"
            f" ({answered}, {names(missing)} did not)"
        )
    if listening.proven_height is not None and listening.proven_height > facts.height:
        return (
            f"listens before it votes, until it has block {listening.proven_height}, which they"
            f" have proven ({answered} answer)"
        )
    return f"listens before it votes, for a few heartbeats more ({answered} answer)"
