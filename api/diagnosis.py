"""Why no block came, in one sentence: rules over facts, and the first that holds is the cause.

The order is that of causes before what follows from them: a node that has stopped also hears
nobody, a lost quorum also fills the pool. Whatever else holds is told beside it. Nothing here asks
anybody or anything, so that every rule can be tried on facts written down by hand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from api import causes, silences
from api.facts import Facts
from api.phrases import count, span


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is so: a stable code and the sentence that tells it."""

    code: str
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The cause, or that all is well; `others` are further findings, most important first."""

    code: str
    sentence: str
    is_well: bool
    others: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`find` returns the sentence if the rule holds; a note alone leaves all well."""

    code: str
    meaning: str
    find: Callable[[Facts], str | None]
    is_note: bool = False


def diagnose(facts: Facts) -> Diagnosis:
    """Return the first cause that holds, or that all is well, and whatever else is to be told."""
    found = [(rule, sentence) for rule in RULES if (sentence := rule.find(facts)) is not None]
    wrong = [Finding(code=rule.code, sentence=text) for rule, text in found if not rule.is_note]
    notes = [Finding(code=rule.code, sentence=text) for rule, text in found if rule.is_note]
    if not wrong:
        well = _well(facts)
        told = " ".join((well.sentence, *(note.sentence for note in notes)))
        return Diagnosis(code=well.code, sentence=told, is_well=True, others=tuple(notes))
    return Diagnosis(
        code=wrong[0].code,
        sentence=_since(facts) + wrong[0].sentence,
        is_well=False,
        others=(*wrong[1:], *notes),
    )


def _since(facts: Facts) -> str:
    """How long no block came, where that is longer than it should."""
    return f"No block for {span(facts.since_block_ms)}: " if causes.is_late(facts) else ""


def _well(facts: Facts) -> Finding:
    voters = causes.voting_names(facts)
    spare = len(voters) - facts.quorum
    ground = (
        f"{facts.node} decided block {facts.height} {span(facts.since_block_ms)} ago;"
        f" {len(voters)} of {facts.members} members vote, {facts.quorum} are needed, so"
        f" {spare or 'no'} more may fail."
    )
    if facts.pool.transactions:
        waiting = count(facts.pool.transactions, "transaction")
        return Finding(code="ok", sentence=f"All is well: {ground} {waiting} waiting.")
    return Finding(code="idle", sentence=f"All is well, and nothing waits: {ground}")


RULES: Final = (
    Rule(
        code="state_diverged",
        meaning="this node computed another state than the quorum certified, and has stopped",
        find=causes.find_diverged,
    ),
    Rule(
        code="stopped",
        meaning="this node has stopped for a failure of its own",
        find=causes.find_stopped,
    ),
    Rule(
        code="disk_full",
        meaning="a disk has less than its reserve left",
        find=causes.find_disk_full,
    ),
    Rule(
        code="not_a_member",
        meaning="this node is not in the replica set: it follows and has no vote",
        find=silences.find_not_a_member,
    ),
    Rule(
        code="mute",
        meaning="the vote key that the ledger has for this node is not in its keys/",
        find=silences.find_mute,
    ),
    Rule(
        code="recover_needed",
        meaning="more members are fenced than can be spared: only `medledger recover` goes on",
        find=silences.find_recover_needed,
    ),
    Rule(
        code="fenced",
        meaning="this node may have forgotten what it signed, and signs nothing yet",
        find=silences.find_fenced,
    ),
    Rule(
        code="loop_lag",
        meaning="this process was absent or busy for a second or more in the last half minute",
        find=causes.find_loop_lag,
    ),
    Rule(
        code="clock_off",
        meaning="this node's clock differs from those of most others by more than blocks may",
        find=causes.find_clock_off,
    ),
    Rule(
        code="no_quorum",
        meaning="too few members can vote: silent, not connected, fenced or behind",
        find=causes.find_no_quorum,
    ),
    Rule(
        code="listening",
        meaning="this node has just started, and hears the others before it votes",
        find=silences.find_listening,
    ),
    Rule(
        code="wrong_key",
        meaning="who answers for a member shows another TLS key than the ledger's",
        find=causes.find_wrong_key,
    ),
    Rule(
        code="other_protocol",
        meaning="a member speaks another version of the protocol between nodes",
        find=causes.find_other_protocol,
    ),
    Rule(
        code="catching_up",
        meaning="f + 1 others are further than this node",
        find=causes.find_catching_up,
    ),
    Rule(
        code="bodies_missing",
        meaning="a block was refused in the last minute: nobody gave the transactions it names",
        find=causes.find_bodies_missing,
    ),
    Rule(
        code="proposal_refused",
        meaning="a block was refused in the last minute: it broke the rules named",
        find=causes.find_proposal_refused,
    ),
    Rule(
        code="primary_silent",
        meaning="a block is due and its primary is not heard",
        find=causes.find_primary_silent,
    ),
    Rule(
        code="view_changing",
        meaning="the primary did not get its block decided in time; another one takes over",
        find=causes.find_view_changing,
    ),
    Rule(
        code="votes_missing",
        meaning="a proposed block waits for votes of members that are heard",
        find=causes.find_votes_missing,
    ),
    Rule(
        code="no_proposal",
        meaning="the primary is heard, and proposes nothing though a block is due",
        find=causes.find_no_proposal,
    ),
    Rule(
        code="pool_full",
        meaning="transactions were turned away in the last minute: more comes than blocks take",
        find=causes.find_pool_full,
    ),
    Rule(
        code="disk_slow",
        meaning="making a vote durable took half a second or more in the last half minute",
        find=causes.find_disk_slow,
    ),
    Rule(
        code="member_clock_off",
        meaning="another member's clock differs from this node's by more than blocks may",
        find=causes.find_member_clock_off,
        is_note=True,
    ),
    Rule(
        code="member_silent",
        meaning="a member does not vote, and the quorum stands without it",
        find=causes.find_member_silent,
        is_note=True,
    ),
    Rule(
        code="equivocation",
        meaning="a member is proven to have signed two votes for one slot",
        find=causes.find_equivocation,
        is_note=True,
    ),
    Rule(
        code="complaint",
        meaning="a member complains that the primary is slow, or leaves transactions out",
        find=causes.find_complaint,
        is_note=True,
    ),
    Rule(
        code="block_damaged",
        meaning="a stored block is damaged and waits for a copy from a peer",
        find=causes.find_block_damaged,
        is_note=True,
    ),
    Rule(
        code="copies_missing",
        meaning="blobs or sidecars that this node has to keep are missing or damaged",
        find=causes.find_copies_missing,
        is_note=True,
    ),
    Rule(
        code="member_invalid",
        meaning="a member has sent more than a hundred messages that no correct node sends",
        find=causes.find_member_invalid,
        is_note=True,
    ),
)

WELL: Final = {
    "ok": "blocks are decided",
    "idle": "blocks are decided, and no transaction waits",
}
