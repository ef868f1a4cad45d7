"""Records: put, new version, read entry, envelopes for who came later, fresh seal.

Content never comes here. The contract sees to what the chain can see to: that the author may write,
that the author signed, that exactly the right recipients can open, that enough validators promise
to keep the bytes, and that whoever reads has said so first.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from crypto.content import author_payload, author_preimage
from crypto.errors import InvalidSignature
from crypto.hashing import ChainId
from crypto.record_ids import AccountId, VersionId, make_record_id
from crypto.signatures import SignatureJob, check_job
from ledger.accounts import Account, get_account
from ledger.contract import ANY_ROLE, Context, Kind
from ledger.contracts.reads import on_read
from ledger.contracts.seals import (
    add_seal,
    on_envelopes,
    on_reseal,
    receipt_jobs,
    reseal_jobs,
)
from ledger.decision import Action, check_permitted, decide
from ledger.errors import Refused
from ledger.patients import check_patient
from ledger.purposes import TREAT
from ledger.records_payloads import (
    RecordEnvelopes,
    RecordPut,
    RecordRead,
    RecordReseal,
    RecordVersion,
)
from ledger.records_state import (
    Record,
    RecordFacts,
    Seal,
    SealRef,
    Version,
    get_record,
    get_version,
    put_pointer,
    put_record,
    put_version,
)
from ledger.state import StateView

if TYPE_CHECKING:
    from ledger.transactions import Transaction


def on_put(context: Context, put: RecordPut) -> None:
    """Write a new record in its first version."""
    author = context.sender
    patient = check_patient(context.state, put.pseudonym)
    if put.record_id != make_record_id(context.chain_id, author.account_id, put.record_random):
        raise Refused(
            "records.id_mismatch", "the record id is not the one its author and random bytes give"
        )
    if get_record(context.state, put.record_id) is not None:
        raise Refused("records.record_exists", "a record of this id exists; draw new random bytes")
    if put.category not in patient.categories:
        raise Refused("records.unknown_category", "the patient has no category of this id")
    facts = RecordFacts(
        pseudonym=put.pseudonym,
        record_id=put.record_id,
        category=put.category,
        tags=put.tags,
        level=put.level,
        author=author.account_id,
        author_org=author.org,
    )
    check_may_write(context, facts)
    check_author(context, facts, put)
    seal = add_seal(context, facts, put.version_id, put.seal)
    version = _make_version(context, put, seal, ordinal=1, previous=None)
    put_version(context.state, version)
    record = Record(
        facts=facts,
        latest=put.version_id,
        version_count=1,
        tx_id=context.transaction.tx_id,
        height=context.height,
        time_ms=context.time_ms,
    )
    put_record(context.state, record)
    put_pointer(context.state, record)
    _emit_version(context, "record.put", facts, version, seal)


def on_version(context: Context, new: RecordVersion) -> None:
    """Write the next version of a record."""
    record = get_record(context.state, new.record_id)
    if record is None:
        raise Refused("records.unknown_record", f"there is no record {new.record_id.hex()}")
    facts = record.facts
    check_patient(context.state, facts.pseudonym)
    check_may_write(context, facts)
    if new.previous != record.latest:
        raise Refused(
            "records.conflict",
            "the record has another latest version by now; read it before writing the next",
            (("latest", record.latest),),
        )
    if get_version(context.state, new.record_id, new.version_id) is not None:
        raise Refused("records.version_exists", "the record has a version of this id already")
    check_author(context, facts, new)
    seal = add_seal(context, facts, new.version_id, new.seal)
    ordinal = record.version_count + 1
    version = _make_version(context, new, seal, ordinal=ordinal, previous=new.previous)
    put_version(context.state, version)
    put_record(context.state, replace(record, latest=new.version_id, version_count=ordinal))
    _emit_version(context, "record.version", facts, version, seal)


def check_may_write(context: Context, record: RecordFacts) -> None:
    """Raise `Refused` unless the sender may write the record; writing is always to treat."""
    decision = decide(
        context.state,
        requester=context.sender.account_id,
        on_behalf_of=context.transaction.body.on_behalf_of,
        record=record,
        action=Action.WRITE,
        purpose=TREAT,
        time_ms=context.time_ms,
    )
    check_permitted(decision, "write for this patient")


def check_author(context: Context, record: RecordFacts, new: RecordPut | RecordVersion) -> None:
    """Raise `Refused` unless the sender's sign key in force signed the version's statement."""
    job = author_job(context.chain_id, context.sender, record.pseudonym, new)
    try:
        check_job(job)
    except InvalidSignature as problem:
        raise Refused(
            "records.author_signature",
            f"the author's signature does not cover this version: {problem}",
        ) from problem


def author_job(
    chain_id: ChainId, author: Account, pseudonym: AccountId, new: RecordPut | RecordVersion
) -> SignatureJob:
    """Return the check of the author's signature over a version."""
    payload = author_payload(
        pseudonym=pseudonym,
        record_id=new.record_id,
        version_id=new.version_id,
        author=author.account_id,
        commitment=new.commitment,
    )
    preimage = author_preimage(chain_id, payload)
    key = author.sign_key
    return SignatureJob(key.scheme, key.data, new.author_signature, preimage)


def put_jobs(view: StateView, transaction: "Transaction") -> tuple[SignatureJob, ...]:
    """Return the signatures inside a put: the author's and the storage receipts."""
    put: RecordPut = transaction.payload
    return _version_jobs(view, transaction, put.pseudonym, put)


def version_jobs(view: StateView, transaction: "Transaction") -> tuple[SignatureJob, ...]:
    """Return the signatures inside a new version, if its record is known."""
    new: RecordVersion = transaction.payload
    record = get_record(view, new.record_id)
    if record is None:
        return ()
    return _version_jobs(view, transaction, record.facts.pseudonym, new)


def _version_jobs(
    view: StateView,
    transaction: "Transaction",
    pseudonym: AccountId,
    new: RecordPut | RecordVersion,
) -> tuple[SignatureJob, ...]:
    author = get_account(view, transaction.body.sender)
    if author is None:
        return ()
    chain_id = transaction.body.chain_id
    author_first = author_job(chain_id, author, pseudonym, new)
    return (author_first, *receipt_jobs(view, chain_id, new.seal))


def _make_version(
    context: Context,
    new: RecordPut | RecordVersion,
    seal: Seal,
    *,
    ordinal: int,
    previous: VersionId | None,
) -> Version:
    author = context.sender
    return Version(
        record_id=new.record_id,
        version_id=new.version_id,
        ordinal=ordinal,
        previous=previous,
        author=author.account_id,
        author_org=author.org,
        author_key_id=author.sign_key_id,
        author_signature=new.author_signature,
        commitment=new.commitment,
        seal=SealRef(seal_id=seal.seal_id, cid=seal.cid),
        former=(),
        tx_id=context.transaction.tx_id,
        height=context.height,
        time_ms=context.time_ms,
    )


def _emit_version(
    context: Context, kind: str, record: RecordFacts, version: Version, seal: Seal
) -> None:
    context.emit(
        kind,
        record.pseudonym,
        ("record", record.record_id),
        ("version", version.version_id),
        ("ordinal", version.ordinal),
        ("author", version.author),
        ("org", version.author_org),
        ("category", record.category),
        ("level", record.level.value),
        ("seal", seal.seal_id),
        ("cid", seal.cid),
        ("size_bytes", seal.size_bytes),
        ("recipients", len(seal.envelopes)),
        ("is_safe", int(seal.is_safe)),
    )


KINDS: Final[tuple[Kind, ...]] = (
    Kind(
        name="records.put",
        payload=RecordPut,
        signer=ANY_ROLE,
        handler=on_put,
        inner_jobs=put_jobs,
    ),
    Kind(
        name="records.version",
        payload=RecordVersion,
        signer=ANY_ROLE,
        handler=on_version,
        inner_jobs=version_jobs,
    ),
    Kind(name="records.read", payload=RecordRead, signer=ANY_ROLE, handler=on_read),
    Kind(name="records.envelopes", payload=RecordEnvelopes, signer=ANY_ROLE, handler=on_envelopes),
    Kind(
        name="records.reseal",
        payload=RecordReseal,
        signer=ANY_ROLE,
        handler=on_reseal,
        inner_jobs=reseal_jobs,
    ),
)
