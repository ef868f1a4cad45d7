"""Seals: one encryption of one version, envelopes that came later, and a fresh one in its place.

Part of the records contract (`ledger.contracts.records` lists its kinds).
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from crypto.hashing import ChainId
from crypto.record_ids import AccountId, RecordId, VersionId
from crypto.signatures import SignatureJob
from ledger.access_state import get_grants
from ledger.accounts import get_organisation
from ledger.contract import Context
from ledger.contracts.governance import get_former_validators, get_validators
from ledger.errors import Refused
from ledger.patients import check_patient
from ledger.recipients import Recipient, check_recipients, recipients, recipients_among
from ledger.records_payloads import (
    ENVELOPES_MAX,
    AddedEnvelope,
    EnvelopeRef,
    NewSeal,
    RecordEnvelopes,
    RecordReseal,
)
from ledger.records_state import (
    FORMER_SEALS_MAX,
    Record,
    RecordFacts,
    Seal,
    SealRef,
    Version,
    current_seal,
    get_record,
    get_seal,
    get_version,
    put_seal,
    put_version,
    seal_key,
)
from ledger.state import StateView
from ledger.storage_receipts import check_storage_receipts, storage_receipt_job

if TYPE_CHECKING:
    from ledger.transactions import Transaction


def add_seal(context: Context, record: RecordFacts, version_id: VersionId, new: NewSeal) -> Seal:
    """Write a seal and keep its envelopes; refuse what is stale, claimed already or not promised.

    Signatures come last: whatever is wrong is found before time is spent on them.
    """
    if get_seal(context.state, new.cid) is not None:
        raise Refused(
            "records.blob_taken",
            "another seal has these bytes already; seal afresh, with a new key",
            (("cid", new.cid),),
        )
    check_recipients(recipients(context.state, record, time_ms=context.time_ms), new.envelopes)
    is_safe = check_storage_receipts(
        new.storage_receipts,
        cid=new.cid,
        size_bytes=new.size_bytes,
        validators=get_validators(context.state),
        former=get_former_validators(context.state),
        chain_id=context.chain_id,
    )
    seal = Seal(
        record_id=record.record_id,
        version_id=version_id,
        seal_id=new.seal_id,
        cid=new.cid,
        size_bytes=new.size_bytes,
        envelopes=new.envelopes,
        stored_by=tuple(receipt.validator for receipt in new.storage_receipts),
        is_safe=is_safe,
        tx_id=context.transaction.tx_id,
        height=context.height,
        time_ms=context.time_ms,
    )
    put_seal(context.state, seal)
    for envelope in new.envelopes:
        context.keep_sidecar(envelope.sidecar, seal_key(new.cid))
    return seal


def on_reseal(context: Context, reseal: RecordReseal) -> None:
    """Put a fresh seal in the place of one that somebody can open who no longer may.

    The bytes before it stay until a later one is confirmed to open, so the fresh one must be safe.
    """
    record, version = check_version(context, reseal.record_id, reseal.version_id)
    facts = record.facts
    check_custodian(context, facts)
    if version.seal.seal_id != reseal.previous_seal:
        raise Refused(
            "records.conflict",
            "another seal is in force by now; read the version again",
            (("seal", version.seal.seal_id),),
        )
    former = (*version.former, version.seal)
    if any(reseal.seal.seal_id == one.seal_id for one in former):
        raise Refused("records.seal_exists", "the version had a seal of this id; draw a new one")
    if len(former) > FORMER_SEALS_MAX:
        raise Refused("records.seals_full", "too many earlier seals wait for a confirmation")
    seal = add_seal(context, facts, version.version_id, reseal.seal)
    if not seal.is_safe:
        raise Refused(
            "storage.unsafe",
            "a fresh seal takes the place of safe bytes, so it needs f + 1 storage receipts",
            (("receipts", len(seal.stored_by)),),
        )
    in_force = SealRef(seal_id=seal.seal_id, cid=seal.cid)
    put_version(context.state, replace(version, seal=in_force, former=former))
    context.emit(
        "record.resealed",
        facts.pseudonym,
        ("record", facts.record_id),
        ("version", version.version_id),
        ("seal", seal.seal_id),
        ("previous_seal", reseal.previous_seal),
        ("cid", seal.cid),
        ("size_bytes", seal.size_bytes),
        ("recipients", len(seal.envelopes)),
        ("by", context.sender.account_id),
    )


def on_envelopes(context: Context, page: RecordEnvelopes) -> None:
    """Add envelopes for recipients who have none, all of the page or nothing."""
    check_patient(context.state, page.pseudonym)
    grants = get_grants(context.state, page.pseudonym)
    wanted: dict[RecordId, tuple[Recipient, ...]] = {}
    seals: dict[bytes, Seal] = {}
    counts: dict[AccountId, int] = {}
    for added in page.added:
        record, version = check_version(context, added.record_id, added.version_id)
        facts = record.facts
        if facts.pseudonym != page.pseudonym:
            raise Refused("records.other_patient", "a record of the page belongs to somebody else")
        if facts.record_id not in wanted:
            check_custodian(context, facts)
            wanted[facts.record_id] = recipients_among(
                context.state, facts, grants, time_ms=context.time_ms
            )
        seal = seals.get(version.seal.cid) or current_seal(context.state, version)
        seals[seal.cid] = _with_envelope(seal, added, wanted[facts.record_id])
        context.keep_sidecar(added.envelope.sidecar, seal_key(seal.cid))
        recipient = added.envelope.recipient
        counts[recipient] = counts.get(recipient, 0) + 1
    for seal in seals.values():
        put_seal(context.state, seal)
    for recipient in sorted(counts):
        context.emit(
            "record.envelopes",
            page.pseudonym,
            ("recipient", recipient),
            ("envelopes", counts[recipient]),
            ("by", context.sender.account_id),
        )


def reseal_jobs(view: StateView, transaction: "Transaction") -> tuple[SignatureJob, ...]:
    """Return the signatures inside a reseal: its storage receipts."""
    reseal: RecordReseal = transaction.payload
    return receipt_jobs(view, transaction.body.chain_id, reseal.seal)


def receipt_jobs(view: StateView, chain_id: ChainId, new: NewSeal) -> tuple[SignatureJob, ...]:
    """Return the checks of a seal's storage receipts."""
    validators = get_validators(view)
    jobs = (
        storage_receipt_job(
            receipt,
            cid=new.cid,
            size_bytes=new.size_bytes,
            validators=validators,
            chain_id=chain_id,
        )
        for receipt in new.storage_receipts
    )
    return tuple(job for job in jobs if job is not None)


def check_version(
    context: Context, record_id: RecordId, version_id: VersionId
) -> tuple[Record, Version]:
    """Return a record and one of its versions, or raise `Refused`."""
    record = get_record(context.state, record_id)
    if record is None:
        raise Refused("records.unknown_record", f"there is no record {record_id.hex()}")
    version = get_version(context.state, record_id, version_id)
    if version is None:
        raise Refused(
            "records.unknown_version",
            f"record {record_id.hex()} has no version {version_id.hex()}",
        )
    return record, version


def check_custodian(context: Context, record: RecordFacts) -> None:
    """Raise `Refused` unless the sender is the patient or the author organisation's key agent."""
    sender = context.sender.account_id
    organisation = get_organisation(context.state, record.author_org)
    agent = None if organisation is None else organisation.agent
    if context.transaction.body.on_behalf_of is not None or sender not in (
        record.pseudonym,
        agent,
    ):
        raise Refused(
            "records.not_custodian",
            "keys of a record are handed on by its patient or the key agent of its author's "
            "organisation",
        )


def _with_envelope(seal: Seal, added: AddedEnvelope, wanted: tuple[Recipient, ...]) -> Seal:
    """Return the seal with one more envelope, in place of any to the same account's old keys."""
    if added.seal_id != seal.seal_id:
        raise Refused(
            "records.conflict",
            "another seal is in force by now; read the version again",
            (("seal", seal.seal_id),),
        )
    envelope = added.envelope
    if not any(
        (one.account, one.key_id) == (envelope.recipient, envelope.key_id) for one in wanted
    ):
        raise Refused(
            "recipients.stale",
            f"{envelope.recipient.hex()[:16]} is no recipient of the record, or has another seal "
            "key by now",
            (("surplus_count", 1), ("surplus", envelope.recipient)),
        )
    others = [one for one in seal.envelopes if one.recipient != envelope.recipient]
    if any(
        (one.recipient, one.key_id) == (envelope.recipient, envelope.key_id)
        for one in seal.envelopes
    ):
        raise Refused(
            "records.envelope_exists",
            f"{envelope.recipient.hex()[:16]} has an envelope already",
            (("recipient", envelope.recipient),),
        )
    if len(others) == ENVELOPES_MAX:
        raise Refused("records.envelopes_full", "the seal has no room for more; seal it afresh")
    return replace(seal, envelopes=_ordered([*others, envelope]))


def _ordered(envelopes: list[EnvelopeRef]) -> tuple[EnvelopeRef, ...]:
    return tuple(sorted(envelopes, key=lambda one: (one.recipient, one.key_id)))
