"""Writes the golden vectors of records and access: payloads, state entries and their keys.

Run `python -m tests.vectors.make_contract_vectors` after a deliberate change of a format, never to
make a test pass: a vector that changes means that nodes of two versions no longer agree. It needs
a new version of that type and a line in CHANGELOG.md. Keys and digests follow from labels.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from crypto.hashing import ChainId, Digest
from crypto.record_ids import AccountId, RecordId, SealId, VersionId
from crypto.schema import encode
from crypto.validators import ReplicaId
from ledger.access_payloads import (
    AccessApprove,
    AccessDeny,
    AccessGrant,
    AccessLevel,
    AccessRequest,
    AccessRevoke,
    AllRecords,
    Categories,
    Grantee,
    Person,
    RecordList,
    RoleAt,
    Scope,
    Terms,
    WholeOrganisation,
)
from ledger.access_state import (
    EndedGrant,
    Ending,
    Grant,
    GrantsInForce,
    PendingRequests,
    Request,
    RequestMade,
    RequestsMade,
    ended_key,
    grants_key,
    requester_key,
    requests_key,
)
from ledger.accounts import Role
from ledger.records_payloads import Confidentiality, RecordPut
from ledger.records_state import (
    ReadEntry,
    Record,
    RecordFacts,
    RecordPointer,
    Seal,
    SealRef,
    Version,
    patient_key,
    read_key,
    record_key,
    seal_key,
    version_key,
)
from ledger.storage_receipts import storage_receipt_payload
from tests.unit.ledger.record_samples import (
    CATEGORIES,
    DOCTOR,
    PATIENT,
    SOUTH_DOCTOR,
    Hospitals,
)
from tests.unit.ledger.small_consortium import NORTH, SOUTH, account_of, seed

FILE = Path(__file__).with_name("contracts.json")
ABOUT = "Records and access, keys and digests from labels; see make_contract_vectors.py."
TIME_MS = 1_790_000_000_000


def vectors() -> dict[str, Any]:
    """Every vector: encoded instances, state keys, and the author's and a node's statements."""
    hospitals = fixed_hospitals()
    put = sample_put(hospitals)
    receipt = put.seal.storage_receipts[0]
    return {
        "about": ABOUT,
        "wire": {name: encode(value).hex() for name, value in wire_values().items()},
        "keys": {name: key.hex() for name, key in state_keys().items()},
        "record": {
            "chain_id": hospitals.chain.chain_id.hex(),
            "author": account_of(DOCTOR).hex(),
            "author_key": hospitals.account(DOCTOR).sign_key.data.hex(),
            "put": encode(put).hex(),
            "storage_receipt_payload": storage_receipt_payload(
                put.seal.cid, put.seal.size_bytes, receipt.validator
            ).hex(),
            "storage_receipt": receipt.signature.hex(),
        },
    }


def fixed_hospitals() -> Hospitals:
    """Two hospitals on a chain whose id no founding document has: parameters may change freely."""
    hospitals = Hospitals()
    hospitals.chain.chain_id = ChainId(seed("a chain for vectors"))
    return hospitals


def sample_put(hospitals: Hospitals) -> RecordPut:
    return hospitals.make_put(tags=(b"\x01" * 16, b"\x02" * 16), level=Confidentiality.RESTRICTED)


def wire_values() -> dict[str, Any]:
    """One instance of every payload and state entry, optional fields and unions all ways."""
    return {**record_payloads(), **record_entries(), **access_payloads(), **access_entries()}


def record_payloads() -> dict[str, Any]:
    hospitals = fixed_hospitals()
    put = sample_put(hospitals)
    hospitals.accept("records.put", put, DOCTOR)
    record_id = put.record_id
    return {
        "RecordPut": put,
        "RecordVersion": hospitals.make_version(record_id),
        "RecordRead": hospitals.make_read(record_id),
        "RecordEnvelopes": hospitals.make_page(
            PATIENT, [(record_id, SOUTH_DOCTOR), (record_id, DOCTOR)]
        ),
        "RecordReseal": hospitals.make_reseal(record_id),
    }


def record_entries() -> dict[str, Any]:
    put = sample_put(fixed_hospitals())
    place: dict[str, Any] = {"tx_id": Digest(seed("transaction")), "height": 7, "time_ms": TIME_MS}
    facts = RecordFacts(
        pseudonym=account_of(PATIENT),
        record_id=put.record_id,
        category=CATEGORIES[0],
        tags=put.tags,
        level=Confidentiality.VERY_RESTRICTED,
        author=account_of(DOCTOR),
        author_org=NORTH,
    )
    in_force = SealRef(seal_id=put.seal.seal_id, cid=put.seal.cid)
    version = Version(
        record_id=put.record_id,
        version_id=put.version_id,
        ordinal=1,
        previous=None,
        author=account_of(DOCTOR),
        author_org=NORTH,
        author_key_id=seed("key id")[:16],
        author_signature=put.author_signature,
        commitment=put.commitment,
        seal=in_force,
        former=(),
        **place,
    )
    former = SealRef(seal_id=SealId(seed("former")[:16]), cid=put.seal.cid)
    return {
        "Record": Record(facts=facts, latest=put.version_id, version_count=1, **place),
        "Version": version,
        "Version, second, sealed afresh": replace(
            version, ordinal=2, previous=VersionId(seed("first")[:16]), former=(former,)
        ),
        "Seal": Seal(
            record_id=put.record_id,
            version_id=put.version_id,
            seal_id=put.seal.seal_id,
            cid=put.seal.cid,
            size_bytes=put.seal.size_bytes,
            envelopes=put.seal.envelopes,
            stored_by=(ReplicaId(0), ReplicaId(2)),
            is_safe=True,
            **place,
        ),
        "RecordPointer": RecordPointer(record_id=put.record_id),
        "ReadEntry": ReadEntry(
            pseudonym=account_of(PATIENT),
            record_id=put.record_id,
            version_id=put.version_id,
            seal_id=put.seal.seal_id,
            reader=account_of(SOUTH_DOCTOR),
            reader_org=SOUTH,
            reader_role=Role.DOCTOR,
            serving_node=ReplicaId(3),
            purpose="TREAT",
            rule="grant",
            because=(Digest(seed("grant")),),
            tx_id=Digest(seed("transaction")),
            count=2,
            first_ms=TIME_MS,
            last_ms=TIME_MS + 1,
            expires_ms=TIME_MS + 600_001,
        ),
    }


def access_payloads() -> dict[str, Any]:
    pseudonym, other = account_of(PATIENT), Digest(seed("other transaction"))
    return {
        "AccessGrant": AccessGrant(pseudonym=pseudonym, terms=terms()),
        "AccessGrant, organisation, categories": AccessGrant(
            pseudonym=pseudonym,
            terms=terms(WholeOrganisation(org=SOUTH), Categories(categories=CATEGORIES)),
        ),
        "AccessGrant, role, records, writing": AccessGrant(
            pseudonym=pseudonym,
            terms=terms(
                RoleAt(org=SOUTH, role=Role.NURSE),
                RecordList(records=(RecordId(b"\x01" * 16), RecordId(b"\x02" * 16))),
                AccessLevel.READ_WRITE,
                ("TREAT", "trials.example|NCT-7"),
            ),
        ),
        "AccessRevoke": AccessRevoke(pseudonym=pseudonym, grant=other),
        "AccessRequest": AccessRequest(pseudonym=pseudonym, wanted=terms(), expires_ms=TIME_MS + 1),
        "AccessApprove": AccessApprove(pseudonym=pseudonym, request=other, terms=terms()),
        "AccessDeny": AccessDeny(pseudonym=pseudonym, request=other),
    }


def access_entries() -> dict[str, Any]:
    grant = Grant(
        grant_id=Digest(seed("grant")),
        pseudonym=account_of(PATIENT),
        terms=terms(),
        request_id=None,
        height=7,
        time_ms=TIME_MS,
    )
    answered = replace(grant, grant_id=Digest(b"\xff" * 32), request_id=Digest(seed("request")))
    request = Request(
        request_id=Digest(seed("request")),
        pseudonym=account_of(PATIENT),
        requester=account_of(SOUTH_DOCTOR),
        wanted=terms(),
        expires_ms=TIME_MS + 1,
        height=7,
        time_ms=TIME_MS,
    )
    made = RequestMade(
        request_id=request.request_id,
        pseudonym=request.pseudonym,
        expires_ms=request.expires_ms,
    )
    return {
        "Grant": grant,
        "Grant, answering a request": answered,
        "Request": request,
        "GrantsInForce": GrantsInForce(
            encoded=(encode(grant), encode(answered)), first_end_ms=grant.terms.until_ms
        ),
        **{
            f"EndedGrant, {ending.value}": EndedGrant(
                grant=grant,
                ending=ending,
                ended_ms=TIME_MS + 9,
                ended_by=Digest(seed("transaction")),
            )
            for ending in Ending
        },
        "PendingRequests": PendingRequests(encoded=(encode(request),)),
        "RequestsMade": RequestsMade(requests=(made,)),
    }


def terms(
    grantee: Grantee | None = None,
    scope: Scope | None = None,
    level: AccessLevel = AccessLevel.READ,
    purposes: tuple[str, ...] = ("TREAT",),
) -> Terms:
    return Terms(
        grantee=grantee or Person(account=account_of(SOUTH_DOCTOR)),
        scope=scope or AllRecords(),
        level=level,
        purposes=purposes,
        from_ms=TIME_MS,
        until_ms=TIME_MS + 3_600_000,
    )


def state_keys() -> dict[str, bytes]:
    """One key of every table, all parts telling themselves apart."""
    account, other = AccountId(b"\xaa" * 32), AccountId(b"\xee" * 32)
    record, version = RecordId(b"\xbb" * 16), VersionId(b"\xcc" * 16)
    put = sample_put(fixed_hospitals())
    return {
        "record": record_key(record),
        "version": version_key(record, version),
        "seal": seal_key(put.seal.cid),
        "patient": patient_key(account, 0x0102030405060708, record),
        "read": read_key(account, record, version, SealId(b"\xdd" * 16), other, ReplicaId(0x0102)),
        "grants": grants_key(account),
        "ended": ended_key(account, 0x0102030405060708, Digest(b"\xff" * 32)),
        "requests": requests_key(account),
        "requester": requester_key(account),
    }


def main() -> None:
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
