"""Records and rights in a small consortium: builders whose every part a test may replace."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crypto.cid import RAW, make_cid
from crypto.content import author_payload
from crypto.hashing import Digest, Domain
from crypto.record_ids import AccountId, RecordId, SealId, VersionId, make_record_id
from crypto.signatures import Scheme, public_key, sign
from crypto.validators import ReplicaId
from ledger.access_payloads import (
    AccessApprove,
    AccessDeny,
    AccessGrant,
    AccessLevel,
    AccessRequest,
    AccessRevoke,
    AllRecords,
    Grantee,
    Person,
    Scope,
    Terms,
)
from ledger.accounts import (
    OrgId,
    Role,
    Status,
    get_account,
    get_organisation,
    put_organisation,
)
from ledger.decision import Action, Decision, decide
from ledger.identity_payloads import RotateKey, Suspend
from ledger.key_proofs import sign_rotation, sign_seal_binding
from ledger.purposes import TREAT
from ledger.receipts import Receipt
from ledger.recipients import recipients
from ledger.records_payloads import (
    AddedEnvelope,
    Confidentiality,
    EnvelopeRef,
    NewSeal,
    RecordEnvelopes,
    RecordPut,
    RecordRead,
    RecordReseal,
    RecordVersion,
    StorageReceipt,
)
from ledger.records_state import (
    Record,
    RecordFacts,
    Seal,
    Version,
    current_seal,
    get_record,
    get_version,
)
from ledger.state import Overlay
from ledger.storage_receipts import storage_receipt_payload
from ledger.transactions import decode_transaction, make_transaction, sign_transaction
from tests.unit.ledger.small_consortium import (
    NORTH,
    SOUTH,
    Consortium,
    account_of,
    seal_key_of,
    seed,
    signing_key,
)

CATEGORIES = tuple(sorted(seed(f"category {number}")[:16] for number in range(4)))
OTHER_CATEGORIES = tuple(sorted(seed(f"other category {number}")[:16] for number in range(4)))
SAFE_NODES = (0, 2)
HOUR_MS = 3_600_000

PATIENT, OTHER_PATIENT = "patient", "other patient"
DOCTOR, NURSE, DEVICE, AUDITOR = "doctor", "nurse", "device", "auditor"
SOUTH_DOCTOR, SOUTH_NURSE, SOUTH_PATIENT = "south doctor", "south nurse", "south patient"

PEOPLE: tuple[tuple[str, Role, OrgId], ...] = (
    (DOCTOR, Role.DOCTOR, NORTH),
    (NURSE, Role.NURSE, NORTH),
    (DEVICE, Role.DEVICE, NORTH),
    (AUDITOR, Role.AUDITOR, NORTH),
    (SOUTH_DOCTOR, Role.DOCTOR, SOUTH),
    (SOUTH_NURSE, Role.NURSE, SOUTH),
    ("south auditor", Role.AUDITOR, SOUTH),
    ("south researcher", Role.RESEARCHER, SOUTH),
)


def agent_of(org: OrgId) -> str:
    return f"agent of {org}"


@dataclass(slots=True)
class Hospitals:
    """Two hospitals with staff and patients, and what has been written there."""

    chain: Consortium = field(default_factory=Consortium)
    drawn: int = 0
    last_refusal: str = ""

    def __post_init__(self) -> None:
        for label, role, org in PEOPLE:
            self.chain.register(label, role, org)
        self.chain.register(PATIENT, Role.PATIENT, NORTH, categories=CATEGORIES)
        self.chain.register(OTHER_PATIENT, Role.PATIENT, NORTH, categories=OTHER_CATEGORIES)
        self.chain.register(SOUTH_PATIENT, Role.PATIENT, SOUTH, categories=OTHER_CATEGORIES)

    @property
    def time_ms(self) -> int:
        return self.chain.time_ms

    @property
    def next_ms(self) -> int:
        """The time of the next block, unless a test says how long it takes."""
        return self.chain.time_ms + 1_000

    def draw(self) -> bytes:
        """16 bytes that no earlier call returned."""
        self.drawn += 1
        return seed(f"drawn {self.drawn}")[:16]

    def submit(self, kind: str, payload: Any, by: str, **options: Any) -> Receipt:
        """Execute a block with this transaction; the sidecars listed are those of the payload."""
        options.setdefault("sidecars", sidecars_of(payload))
        result = self.chain.submit(kind, payload, by, **options)
        self.last_refusal = result.reasons.get(0, "")
        return result.receipts[0]

    def accept(self, kind: str, payload: Any, by: str, **options: Any) -> Receipt:
        receipt = self.submit(kind, payload, by, **options)
        assert receipt.accepted, f"{receipt.code}: {self.last_refusal}"
        return receipt

    def submit_for(self, kind: str, payload: Any, by: str, on_behalf_of: str) -> Receipt:
        """Execute a transaction that says its sender represents somebody."""
        body = make_transaction(
            chain_id=self.chain.chain_id,
            sender=account_of(by),
            kind=kind,
            payload=payload,
            valid_from_ms=self.time_ms,
            valid_until_ms=self.time_ms + 60_000,
            nonce=self.draw(),
            on_behalf_of=account_of(on_behalf_of),
            sidecars=sidecars_of(payload),
        )
        signed = sign_transaction(body, signing_key(by))
        transaction = decode_transaction(signed, self.chain.chain_id)
        return self.chain.apply(transaction).receipts[0]

    def put(self, by: str = DOCTOR, patient: str = PATIENT, **changes: Any) -> RecordId:
        """Put a record; it must be accepted."""
        payload = self.make_put(by, patient, **changes)
        self.accept("records.put", payload, by)
        return payload.record_id

    def make_put(
        self,
        by: str = DOCTOR,
        patient: str = PATIENT,
        *,
        category: bytes | None = None,
        tags: tuple[bytes, ...] = (),
        level: Confidentiality = Confidentiality.NORMAL,
        time_ms: int | None = None,
        **changes: Any,
    ) -> RecordPut:
        author, pseudonym = account_of(by), account_of(patient)
        random = self.draw()
        facts = RecordFacts(
            pseudonym=pseudonym,
            record_id=make_record_id(self.chain.chain_id, author, random),
            category=category or self.account(patient).categories[0],
            tags=tags,
            level=level,
            author=author,
            author_org=self.account(by).org,
        )
        version_id, commitment = VersionId(self.draw()), Digest(seed(f"content {self.drawn}"))
        seal = self.make_seal(facts, time_ms=time_ms)
        put = RecordPut(
            pseudonym=pseudonym,
            record_id=facts.record_id,
            record_random=random,
            version_id=version_id,
            category=facts.category,
            tags=tags,
            level=level,
            commitment=commitment,
            author_signature=self.author_signature(by, facts, version_id, commitment),
            seal=seal,
        )
        return replace(put, **changes)

    def make_version(self, record_id: RecordId, by: str = DOCTOR, **changes: Any) -> RecordVersion:
        record = self.record(record_id)
        version_id, commitment = VersionId(self.draw()), Digest(seed(f"content {self.drawn}"))
        new = RecordVersion(
            record_id=record_id,
            version_id=version_id,
            previous=record.latest,
            commitment=commitment,
            author_signature=self.author_signature(by, record.facts, version_id, commitment),
            seal=self.make_seal(record.facts),
        )
        return replace(new, **changes)

    def make_seal(
        self,
        facts: RecordFacts,
        *,
        time_ms: int | None = None,
        nodes: Sequence[int] = SAFE_NODES,
    ) -> NewSeal:
        """A seal of made-up bytes with envelopes for whoever must have one at the next block."""
        wanted = recipients(
            self.chain.state, facts, time_ms=self.next_ms if time_ms is None else time_ms
        )
        seal_id = SealId(self.draw())
        cid, size_bytes = make_cid(RAW, seed(f"blob {self.drawn}")), 20_000 + self.drawn
        return NewSeal(
            seal_id=seal_id,
            cid=cid,
            size_bytes=size_bytes,
            envelopes=tuple(self.envelope(one.account, one.key_id) for one in wanted),
            storage_receipts=tuple(self.receipt(node, cid, size_bytes) for node in nodes),
        )

    def envelope(self, recipient: AccountId, key_id: bytes | None = None) -> EnvelopeRef:
        if key_id is None:
            account = get_account(self.chain.state, recipient)
            assert account is not None
            assert account.seal_key_id is not None, "envelopes are for people"
            key_id = account.seal_key_id
        digest = Digest(seed(f"sidecar {self.draw().hex()}"))
        return EnvelopeRef(recipient=recipient, key_id=key_id, sidecar=digest)

    def receipt(self, node: int, cid: Any, size_bytes: int) -> StorageReceipt:
        key = signing_key(f"node {node}", Scheme.ED25519)
        payload = storage_receipt_payload(cid, size_bytes, node)
        signature = sign(key, Domain.STORAGE_RECEIPT, self.chain.chain_id, payload)
        return StorageReceipt(validator=ReplicaId(node), signature=signature)

    def author_signature(
        self, by: str, facts: RecordFacts, version_id: VersionId, commitment: Digest
    ) -> bytes:
        payload = author_payload(
            pseudonym=facts.pseudonym,
            record_id=facts.record_id,
            version_id=version_id,
            author=account_of(by),
            commitment=commitment,
        )
        return sign(signing_key(by), Domain.RECORD_AUTHOR, self.chain.chain_id, payload)

    def make_read(self, record_id: RecordId, **changes: Any) -> RecordRead:
        version = self.latest(record_id)
        read = RecordRead(
            record_id=record_id,
            version_id=version.version_id,
            seal_id=version.seal.seal_id,
            purpose=TREAT,
            serving_node=ReplicaId(1),
        )
        return replace(read, **changes)

    def read(self, record_id: RecordId, by: str, **options: Any) -> Receipt:
        """Enter a read of the latest version; the receipt says whether it was accepted."""
        return self.submit("records.read", self.make_read(record_id, **options), by)

    def make_page(self, patient: str, added: Sequence[tuple[RecordId, str]]) -> RecordEnvelopes:
        """Envelopes of latest versions for people, in the order given."""
        return RecordEnvelopes(
            pseudonym=account_of(patient),
            added=tuple(self.added(record_id, account_of(label)) for record_id, label in added),
        )

    def added(self, record_id: RecordId, recipient: AccountId) -> AddedEnvelope:
        version = self.latest(record_id)
        return AddedEnvelope(
            record_id=record_id,
            version_id=version.version_id,
            seal_id=version.seal.seal_id,
            envelope=self.envelope(recipient),
        )

    def make_reseal(self, record_id: RecordId, **changes: Any) -> RecordReseal:
        version = self.latest(record_id)
        reseal = RecordReseal(
            record_id=record_id,
            version_id=version.version_id,
            previous_seal=version.seal.seal_id,
            seal=self.make_seal(self.record(record_id).facts),
        )
        return replace(reseal, **changes)

    def grant(self, terms: Terms, patient: str = PATIENT) -> Digest:
        """Give a right; its id."""
        payload = AccessGrant(pseudonym=account_of(patient), terms=terms)
        return self.accept("access.grant", payload, patient).tx_id

    def revoke(self, grant_id: Digest, patient: str = PATIENT) -> Receipt:
        payload = AccessRevoke(pseudonym=account_of(patient), grant=grant_id)
        return self.submit("access.revoke", payload, patient)

    def request(self, by: str, wanted: Terms, *, expires_in_ms: int = HOUR_MS) -> Receipt:
        payload = AccessRequest(
            pseudonym=account_of(PATIENT),
            wanted=wanted,
            expires_ms=self.time_ms + expires_in_ms,
        )
        return self.submit("access.request", payload, by)

    def approve(self, request: Digest, terms: Terms, by: str = PATIENT) -> Receipt:
        payload = AccessApprove(pseudonym=account_of(PATIENT), request=request, terms=terms)
        return self.submit("access.approve", payload, by)

    def deny(self, request: Digest, by: str = PATIENT) -> Receipt:
        payload = AccessDeny(pseudonym=account_of(PATIENT), request=request)
        return self.submit("access.deny", payload, by)

    def terms(
        self,
        grantee: Grantee | str,
        scope: Scope | None = None,
        *,
        level: AccessLevel = AccessLevel.READ,
        purposes: tuple[str, ...] = (TREAT,),
        from_ms: int | None = None,
        until_ms: int | None = None,
    ) -> Terms:
        """A right from now on for an hour, unless told otherwise; a label names a person."""
        return Terms(
            grantee=Person(account=account_of(grantee)) if isinstance(grantee, str) else grantee,
            scope=scope or AllRecords(),
            level=level,
            purposes=purposes,
            from_ms=self.time_ms if from_ms is None else from_ms,
            until_ms=self.time_ms + HOUR_MS if until_ms is None else until_ms,
        )

    def decide(
        self,
        by: str,
        record_id: RecordId,
        action: Action = Action.READ,
        *,
        purpose: str = TREAT,
        time_ms: int | None = None,
        on_behalf_of: AccountId | None = None,
    ) -> Decision:
        return decide(
            self.chain.state,
            requester=account_of(by),
            on_behalf_of=on_behalf_of,
            record=self.record(record_id).facts,
            action=action,
            purpose=purpose,
            time_ms=self.time_ms if time_ms is None else time_ms,
        )

    def suspend(self, label: str, org: OrgId = NORTH) -> None:
        payload = Suspend(account_id=account_of(label), reason="left")
        self.accept("identity.suspend", payload, f"first admin of {org}")

    def suspend_organisation(self, org: OrgId) -> None:
        """Suspend an organisation, as a ballot will: the state is changed by hand."""
        organisation = get_organisation(self.chain.state, org)
        assert organisation is not None
        overlay = Overlay(self.chain.state)
        put_organisation(overlay, replace(organisation, status=Status.SUSPENDED))
        self.chain.state.apply(overlay.writes)

    def rotate(
        self, label: str, *, sign_label: str | None = None, seal_label: str | None = None
    ) -> None:
        """Replace a person's keys by those of other labels; it must be accepted."""
        account = self.account(label)
        key = signing_key(sign_label or label)
        seal_key = account.seal_key if seal_label is None else seal_key_of(seal_label)
        possession = None
        if sign_label is not None:
            possession = sign_rotation(
                key, chain_id=self.chain.chain_id, account_id=account.account_id
            )
        payload = RotateKey(
            sign_key=None if sign_label is None else public_key(key),
            seal_key=None if seal_label is None else seal_key,
            seal_binding=sign_seal_binding(key, account_id=account.account_id, seal_key=seal_key),
            possession=possession,
            in_custody=False,
        )
        self.accept("identity.rotate_key", payload, label)

    def account(self, label: str) -> Any:
        account = get_account(self.chain.state, account_of(label))
        assert account is not None
        return account

    def record(self, record_id: RecordId) -> Record:
        record = get_record(self.chain.state, record_id)
        assert record is not None
        return record

    def latest(self, record_id: RecordId) -> Version:
        version = get_version(self.chain.state, record_id, self.record(record_id).latest)
        assert version is not None
        return version

    def seal(self, record_id: RecordId) -> Seal:
        return current_seal(self.chain.state, self.latest(record_id))


def sidecars_of(payload: Any) -> tuple[Digest, ...]:
    """The digests of the sidecars a payload names, in its order."""
    if isinstance(payload, RecordPut | RecordVersion | RecordReseal):
        return tuple(envelope.sidecar for envelope in payload.seal.envelopes)
    if isinstance(payload, RecordEnvelopes):
        return tuple(added.envelope.sidecar for added in payload.added)
    return ()


def field_of(receipt: Receipt, name: str) -> Any:
    """The value of a field of the receipt's only event."""
    (event,) = receipt.events
    return next(value for one, value in event.fields if one == name)
