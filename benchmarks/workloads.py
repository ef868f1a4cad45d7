"""What the benchmark signs before it starts: grants of many patients, puts of small records."""

import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.open_loop import Planned
from client.access import chain_time_ms
from client.connection import GENESIS_NAME, Client, open_client
from client.directories import get_directory, share_directory
from client.enrolment import make_enrolment, register_person
from client.recipients import seal_to, wanted_recipients
from client.records import Source, describe
from client.transactions import sign_payload
from client.transfers import upload_blob
from client.wallet import Wallet, find_account, find_keys
from crypto.content import author_payload
from crypto.hashing import Domain
from crypto.record_ids import AccountId, SealContext, make_record_id, make_seal_id, make_version_id
from crypto.sealed import seal_stream
from crypto.sealed_format import make_seal_secrets
from crypto.signatures import sign
from ledger.access_payloads import AccessGrant, AccessLevel, AllRecords, Person, Terms
from ledger.accounts import OrgId, Role
from ledger.purposes import TREAT
from ledger.records_payloads import Confidentiality, NewSeal, RecordPut
from ledger.records_state import RecordFacts
from ledger.words import END_OF_TIME_MS

GRANTS_PER_PATIENT: Final = 40
RECORD_BYTES: Final = 8_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """The people of the benchmark, all registered at one hospital."""

    url: str
    genesis: Path
    wallet: Wallet
    org: OrgId
    doctor: str
    patients: tuple[str, ...]


async def populate(url: str, home: Path, wallet: Wallet, org: str, *, patients: int) -> Town:
    """Register a doctor and so many patients."""
    labels = tuple(f"patient-{number}" for number in range(patients))
    town = Town(
        url=url,
        genesis=home / GENESIS_NAME,
        wallet=wallet,
        org=OrgId(org),
        doctor="doctor",
        patients=labels,
    )
    async with open_client(url, town.genesis, wallet, actor=f"admin-{org}") as admin:
        for label in (town.doctor, *labels):
            role = Role.DOCTOR if label == town.doctor else Role.PATIENT
            enrolment = await make_enrolment(admin, label, org=town.org, role=role)
            await register_person(admin, enrolment, org=town.org)
    return town


async def plan_grants(town: Town, count: int) -> list[Planned]:
    """Sign so many `access.grant` transactions, at most `GRANTS_PER_PATIENT` of one patient."""
    assert count <= GRANTS_PER_PATIENT * len(town.patients), "a patient has so many grants"
    async with open_client(town.url, town.genesis, town.wallet, actor=town.doctor) as client:
        now_ms = await chain_time_ms(client)
        trust = client.trust
    doctor = find_account(town.wallet, town.doctor)
    keys = [find_keys(town.wallet, label) for label in town.patients]
    planned = []
    for number in range(count):
        patient = keys[number % len(keys)]
        terms = Terms(
            grantee=Person(account=doctor),
            scope=AllRecords(),
            level=AccessLevel.READ,
            purposes=(TREAT,),
            from_ms=now_ms + number,
            until_ms=END_OF_TIME_MS,
        )
        payload = AccessGrant(pseudonym=patient.account, terms=terms)
        signed = sign_payload(trust, patient, "access.grant", payload)
        planned.append(Planned(tx_id=signed.tx_id, item=signed.item))
    return planned


async def plan_puts(town: Town, count: int) -> list[Planned]:
    """Seal and upload so many small records, and sign their `records.put` transactions."""
    author = find_account(town.wallet, town.doctor)
    for label in town.patients:
        async with open_client(town.url, town.genesis, town.wallet, actor=label) as patient:
            await share_directory(patient, patient.actor.account, [author])
    async with open_client(town.url, town.genesis, town.wallet, actor=town.doctor) as client:
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "note.bin"
            plain.write_bytes(secrets.token_bytes(RECORD_BYTES))
            source = describe(plain)
            return [
                await _plan_put(client, town, source, Path(folder), number)
                for number in range(count)
            ]


async def _plan_put(
    client: Client, town: Town, source: Source, folder: Path, number: int
) -> Planned:
    patient = find_account(town.wallet, town.patients[number % len(town.patients)])
    facts, random = await _facts(client, patient, town.org)
    context = SealContext(
        chain_id=client.chain_id,
        record_id=facts.record_id,
        version_id=make_version_id(),
        seal_id=make_seal_id(),
    )
    inside = make_seal_secrets()
    sealed_path = folder / "sealed"
    with source.path.open("rb") as plain, sealed_path.open("wb") as sink:
        sealed = seal_stream(
            plain, sink, description=source.description, context=context, keys=inside
        )
    stored = await upload_blob(
        client.node, client.trust, sealed_path, sealed.cid, sealed.size_bytes
    )
    envelopes = seal_to(await wanted_recipients(client, facts), inside, patient, context)
    signature = sign(
        client.actor.sign_key,
        Domain.RECORD_AUTHOR,
        client.chain_id,
        author_payload(
            pseudonym=patient,
            record_id=facts.record_id,
            version_id=context.version_id,
            author=facts.author,
            commitment=sealed.commitment,
        ),
    )
    payload = RecordPut(
        pseudonym=patient,
        record_id=facts.record_id,
        record_random=random,
        version_id=context.version_id,
        category=facts.category,
        tags=(),
        level=facts.level,
        commitment=sealed.commitment,
        author_signature=signature,
        seal=NewSeal(
            seal_id=context.seal_id,
            cid=sealed.cid,
            size_bytes=sealed.size_bytes,
            envelopes=envelopes.refs,
            storage_receipts=stored.receipts,
        ),
    )
    signed = sign_payload(
        client.trust, client.actor, "records.put", payload, sidecars=envelopes.sidecars
    )
    return Planned(tx_id=signed.tx_id, item=signed.item)


async def _facts(client: Client, patient: AccountId, org: OrgId) -> tuple[RecordFacts, bytes]:
    directory = await get_directory(client, patient)
    random = secrets.token_bytes(16)
    author = client.actor.account
    facts = RecordFacts(
        pseudonym=patient,
        record_id=make_record_id(client.chain_id, author, random),
        category=directory.categories[0].category_id,
        tags=(),
        level=Confidentiality.NORMAL,
        author=author,
        author_org=org,
    )
    return facts, random
