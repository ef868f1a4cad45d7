"""Reads: whoever is about to see a record says so on the ledger first.

Part of the records contract (`ledger.contracts.records` lists its kinds).
"""

from ledger.contract import Context
from ledger.contracts.governance import get_validators
from ledger.contracts.seals import check_version
from ledger.decision import Action, Decision, check_permitted, decide
from ledger.errors import Refused
from ledger.records_payloads import RecordRead
from ledger.records_state import ReadEntry, RecordFacts, get_read_entry, put_read_entry


def on_read(context: Context, read: RecordRead) -> None:
    """Enter a read into the log; only then may the named node serve the bytes."""
    record, version = check_version(context, read.record_id, read.version_id)
    if read.seal_id != version.seal.seal_id:
        raise Refused(
            "records.seal_ended",
            "the version has another seal in force; ask for that one",
            (("seal", version.seal.seal_id),),
        )
    if get_validators(context.state).member(read.serving_node) is None:
        raise Refused("records.unknown_node", f"there is no validator {read.serving_node}")
    decision = decide(
        context.state,
        requester=context.sender.account_id,
        on_behalf_of=context.transaction.body.on_behalf_of,
        record=record.facts,
        action=Action.READ,
        purpose=read.purpose,
        time_ms=context.time_ms,
    )
    check_permitted(decision, "read this record")
    entry = _make_read_entry(context, record.facts, read, decision)
    put_read_entry(context.state, entry)
    context.emit(
        "record.read",
        entry.pseudonym,
        ("record", entry.record_id),
        ("version", entry.version_id),
        ("seal", entry.seal_id),
        ("reader", entry.reader),
        ("org", entry.reader_org),
        ("role", entry.reader_role.value),
        ("purpose", entry.purpose),
        ("node", entry.serving_node),
        ("rule", entry.rule),
        *(("grant", grant_id) for grant_id in entry.because[:1]),
        ("expires_ms", entry.expires_ms),
    )


def _make_read_entry(
    context: Context, record: RecordFacts, read: RecordRead, decision: Decision
) -> ReadEntry:
    reader = context.sender
    before = get_read_entry(
        context.state,
        pseudonym=record.pseudonym,
        record_id=read.record_id,
        version_id=read.version_id,
        seal_id=read.seal_id,
        reader=reader.account_id,
        serving_node=read.serving_node,
    )
    return ReadEntry(
        pseudonym=record.pseudonym,
        record_id=read.record_id,
        version_id=read.version_id,
        seal_id=read.seal_id,
        reader=reader.account_id,
        reader_org=reader.org,
        reader_role=reader.role,
        serving_node=read.serving_node,
        purpose=read.purpose,
        rule=decision.rule,
        because=decision.because,
        tx_id=context.transaction.tx_id,
        count=1 if before is None else before.count + 1,
        first_ms=context.time_ms if before is None else before.first_ms,
        last_ms=context.time_ms,
        expires_ms=context.time_ms + context.parameters.read_entry_ms,
    )
