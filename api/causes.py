"""The causes for which no block comes: each looks at the facts and tells its sentence if it holds.

In what order they are asked stands in `api.diagnosis`. A sentence names the member or the thing at
fault, with its numbers, and where somebody has to act, what to do.
"""

import statistics
from typing import Final

from api.facts import Facts, is_silent, is_voting
from api.phrases import count, link_reason, mebibytes, names, offset, span, state_of

LAG_MS_MAX: Final = 1_000
SYNC_MS_MAX: Final = 500
LATELY_MS: Final = 60_000
INVALID_MAX: Final = 100

_WRONG_KEY: Final = ("wrong_pin", "unknown_pin", "shared_pin", "own_key", "unreadable_key")


def find_stopped(facts: Facts) -> str | None:
    if facts.stopped is None or facts.stopped.code == "state.diverged":
        return None
    return (
        f"{facts.node} has stopped voting for a failure of its own: {facts.stopped.text}"
        f" [{facts.stopped.code}]"
    )


def find_diverged(facts: Facts) -> str | None:
    if facts.stopped is None or facts.stopped.code != "state.diverged":
        return None
    return f"{facts.node} computed another state than the others: {facts.stopped.text}"


def find_disk_full(facts: Facts) -> str | None:
    full = [one for one in facts.disks if one.free_bytes < one.reserve_bytes]
    if not full:
        return None
    one = full[0]
    return (
        f"The disk of {one.path} ({one.part}) has {mebibytes(one.free_bytes)} left and"
        f" {mebibytes(one.reserve_bytes)} are kept free: {facts.node} takes nothing more until"
        " there is room."
    )


def find_loop_lag(facts: Facts) -> str | None:
    if facts.lag_ms < LAG_MS_MAX:
        return None
    return (
        f"{facts.node} itself was not running for {span(facts.lag_ms)} lately: its machine is"
        " overloaded or was asleep, or one piece of work held its event loop."
    )


def find_clock_off(facts: Facts) -> str | None:
    """Name our own clock if most others agree that it is the one that is off."""
    offsets = [
        one.clock_offset_ms
        for one in facts.others
        if one.clock_offset_ms is not None and not is_silent(facts, one)
    ]
    if not offsets:
        return None
    median_ms = int(statistics.median(offsets))
    off = sum(not _is_near(facts, offset) for offset in offsets)
    if _is_near(facts, median_ms) or 2 * off <= len(offsets):
        return None
    way = "behind" if median_ms > 0 else "ahead of"
    return (
        f"The clock of {facts.node} is {span(abs(median_ms))} {way} those of {off} of the"
        f" {len(offsets)} members it hears: others refuse its blocks, or it theirs. Set the clock."
    )


def find_no_quorum(facts: Facts) -> str | None:
    voters = voting_names(facts)
    if len(voters) >= facts.quorum:
        return None
    missing = [state_of(facts, one) for one in facts.others if not is_voting(facts, one)]
    return (
        f"{facts.quorum} of {facts.members} members have to vote and only"
        f" {names(voters) or 'none'} can: {'; '.join(missing)}.{_way_to_others(facts)}"
    )


def _way_to_others(facts: Facts) -> str:
    """Say what to do where nobody was ever reached: the members may have moved meanwhile."""
    if any(one.heard_ms is not None or one.link == "connected" for one in facts.others):
        return ""
    return (
        " If the members have moved or changed their keys while this node was down, a new invite"
        " of theirs says where they are: `medledger join INVITE --dir DIR`."
    )


def find_wrong_key(facts: Facts) -> str | None:
    for one in facts.others:
        reason = link_reason(one)
        if one.link == "refused" and reason in _WRONG_KEY:
            return (
                f"Who answers for {one.name} does not show the key that the ledger has for it"
                f" ({reason}): its TLS key was replaced without a re-key, or somebody else answers."
            )
    return None


def find_other_protocol(facts: Facts) -> str | None:
    for one in facts.others:
        if one.link == "refused" and link_reason(one) == "other_protocol":
            return (
                f"{one.name} speaks another version of the protocol than {facts.node}:"
                " compare the versions with its operator."
            )
    return None


def find_catching_up(facts: Facts) -> str | None:
    """Compare with the (f + 1)-th highest height heard: one correct member is that far."""
    heights = sorted((one.height for one in facts.others if one.height is not None), reverse=True)
    if len(heights) <= facts.faults or heights[facts.faults] <= facts.height + 1:
        return None
    source = f"it fetches from {facts.fetching_from}" if facts.fetching_from else "it asks for them"
    return (
        f"{facts.node} is at block {facts.height} and the others are at"
        f" {heights[facts.faults]}: it has to catch up first, and {source}."
    )


def find_bodies_missing(facts: Facts) -> str | None:
    refusal = facts.refusal
    if refusal is None or refusal.code != "bodies.missing" or refusal.ago_ms > LATELY_MS:
        return None
    return (
        f"{refusal.proposer} proposed block {refusal.height} in view {refusal.view} with"
        f" transactions that neither it nor anybody else hands out ({refusal.text}):"
        f" refused {span(refusal.ago_ms)} ago."
    )


def find_proposal_refused(facts: Facts) -> str | None:
    refusal = facts.refusal
    if refusal is None or refusal.code == "bodies.missing" or refusal.ago_ms > LATELY_MS:
        return None
    return (
        f"{facts.node} refused block {refusal.height} that {refusal.proposer} proposed in view"
        f" {refusal.view}, {span(refusal.ago_ms)} ago: {refusal.text} [{refusal.code}]."
    )


def find_primary_silent(facts: Facts) -> str | None:
    primary = next((one for one in facts.others if one.name == facts.primary), None)
    if primary is None or facts.view or facts.phase != "waiting" or not _is_due(facts):
        return None
    if not is_silent(facts, primary):
        return None
    return (
        f"Block {facts.height + 1} waits for its primary: {state_of(facts, primary)}. The others"
        " will change the view."
    )


def find_view_changing(facts: Facts) -> str | None:
    if facts.view == 0 or facts.phase not in ("waiting", "proposed"):
        return None
    left = [one.name for one in facts.others if "view-change" in one.votes]
    missing = [one for one in facts.others if "view-change" not in one.votes]
    told = "; ".join(state_of(facts, one) for one in missing)
    return (
        f"Block {facts.height + 1} was not decided in view {facts.view - 1}, and view {facts.view}"
        f" with primary {facts.primary} begins:"
        f" {names([facts.node, *left])} left the view before"
        f"{f', not yet: {told}' if told else ''}."
    )


def find_votes_missing(facts: Facts) -> str | None:
    if facts.phase == "waiting" or not is_late(facts):
        return None
    kind = "commit" if facts.phase in ("prepared", "committed") else "prepare"
    silent = [one.name for one in facts.others if kind not in one.votes]
    return (
        f"Block {facts.height + 1} of {facts.primary} is {facts.phase} and waits for votes to"
        f" {kind}: {names(silent) or 'nobody'} did not send any for {span(facts.since_block_ms)}."
    )


def find_no_proposal(facts: Facts) -> str | None:
    if facts.phase != "waiting" or not is_late(facts):
        return None
    waiting = count(facts.pool.transactions, "transaction")
    return (
        f"{facts.primary} is the primary, and answers, but has proposed nothing for"
        f" {span(facts.since_block_ms)}; {waiting} waiting."
    )


def find_pool_full(facts: Facts) -> str | None:
    pool = facts.pool
    if pool.full_ms is None or pool.full_ms > LATELY_MS:
        return None
    return (
        f"The pool of {facts.node} was full {span(pool.full_ms)} ago and turned transactions away:"
        f" {pool.transactions} of {pool.transactions_max} wait, {mebibytes(pool.bytes_used)} of"
        f" {mebibytes(pool.bytes_max)}. More comes than blocks take."
    )


def find_disk_slow(facts: Facts) -> str | None:
    if facts.sync_ms < SYNC_MS_MAX:
        return None
    return (
        f"The disk of {facts.node} is slow: making a vote durable took {span(facts.sync_ms)}"
        " lately, and nothing is sent before."
    )


def find_member_clock_off(facts: Facts) -> str | None:
    found = [
        f"{one.name} ({offset(one.clock_offset_ms)})"
        for one in facts.others
        if one.clock_offset_ms is not None
        and not is_silent(facts, one)
        and not _is_near(facts, one.clock_offset_ms)
    ]
    if not found or find_clock_off(facts) is not None:
        return None
    return f"Clocks that are off: {names(found)}."


def find_member_silent(facts: Facts) -> str | None:
    found = [state_of(facts, one) for one in facts.others if not is_voting(facts, one)]
    if not found or len(voting_names(facts)) < facts.quorum:
        return None  # Where the quorum is lost, that says who is missing.
    return f"Not voting: {'; '.join(found)}."


def find_block_damaged(facts: Facts) -> str | None:
    if not facts.damaged_blocks:
        return None
    shown = names([str(height) for height in facts.damaged_blocks[:5]])
    return f"Damaged on the disk, and waiting for a copy from a peer: block {shown}."


def find_equivocation(facts: Facts) -> str | None:
    found = [f"{one.name} (for {one.evidence})" for one in facts.others if one.evidence]
    return f"Proven to have signed two votes for one slot: {names(found)}." if found else None


def find_complaint(facts: Facts) -> str | None:
    found = [f"{one.name} ({one.complaint})" for one in facts.others if one.complaint]
    return f"Complain about the primary: {names(found)}." if found else None


def find_member_invalid(facts: Facts) -> str | None:
    found = [
        f"{one.name} ({one.invalid_messages})"
        for one in facts.others
        if one.invalid_messages > INVALID_MAX
    ]
    return f"Sent what no correct node sends: {names(found)}." if found else None


def voting_names(facts: Facts) -> list[str]:
    can_sign = facts.fence is None and facts.stopped is None and not facts.is_mute
    is_ours = facts.is_member and can_sign
    own = [facts.node] if is_ours else []
    return [*own, *(one.name for one in facts.others if is_voting(facts, one))]


def _is_due(facts: Facts) -> bool:
    return facts.since_block_ms > facts.due_ms


def is_late(facts: Facts) -> bool:
    """Whether the block is due for longer than a view may take."""
    return facts.since_block_ms > facts.due_ms + facts.base_timeout_ms


def _is_near(facts: Facts, offset_ms: int) -> bool:
    """Whether blocks made by one clock pass the other's rule, whoever proposes (rule 12)."""
    return abs(offset_ms) <= min(facts.time_ahead_ms, facts.time_behind_ms)


def find_copies_missing(facts: Facts) -> str | None:
    """Name who has promised to keep what is missing here: they can mend it."""
    missing = facts.missing
    if not missing.blobs and not missing.sidecars:
        return None
    what = " and ".join(
        f"{number} {noun}{'' if number == 1 else 's'}"
        for number, noun in ((missing.blobs, "blob"), (missing.sidecars, "sidecar"))
        if number
    )
    keepers = names(missing.keepers) or "no member that is connected"
    of_blobs = f"; of the blobs {keepers} promised copies" if missing.blobs else ""
    return (
        f"Missing or damaged here, and asked for from the others again and again: {what}{of_blobs}."
    )
