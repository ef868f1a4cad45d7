"""Serving: may a node go on sending a sealed record's bytes to the reader that a read entry names?

Asked at the node's tip when a response starts and again while it streams. `time_ms` is the later of
the tip's time and the node's own clock, so that the clock can only ever refuse.
"""

from ledger.decision import Action, Decision, decide
from ledger.records_state import ReadEntry, get_record, get_version
from ledger.state import StateView


def decide_serving(
    view: StateView, entry: ReadEntry, *, serving_node: int, time_ms: int
) -> Decision:
    """Decide about the seal that `entry` names; rule `entry` speaks before the access rules."""
    if entry.serving_node != serving_node:
        return _deny("serving.other_node")
    if time_ms >= entry.expires_ms:
        return _deny("serving.entry_expired")
    record = get_record(view, entry.record_id)
    version = get_version(view, entry.record_id, entry.version_id)
    assert record is not None, "who reads a record reads one that exists"
    assert version is not None, "who reads a version reads one that exists"
    if version.seal.seal_id != entry.seal_id:
        return _deny("records.seal_ended")
    return decide(
        view,
        requester=entry.reader,
        record=record.facts,
        action=Action.READ,
        purpose=entry.purpose,
        time_ms=time_ms,
    )


def _deny(code: str) -> Decision:
    return Decision(permitted=False, rule="entry", code=code)
