"""Records of a benchmark: sealed and uploaded ahead, so that a put is what the ledger sees of it.

Every record has its own key, its own bytes in the stores of f + 1 nodes, and their signed promises.
Envelopes and the author's signature are made when the put is signed. Author and patient are of one
hospital, and nobody has a right to such a patient's records: who must be able to open them is the
patient and the hospital's key agent.
"""

import asyncio
import itertools
import secrets
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.load.people import Person, categories_of, seal_key_of
from client.http import Node, open_node
from client.recipients import seal_to
from client.session import find_node_index, open_session
from client.transfers import upload_blob
from client.trust import Trust
from client.wallet import Keys
from crypto.content import author_payload
from crypto.envelopes import SealKey, seal_key_id, seal_public_key
from crypto.hashing import ChainId, Digest, Domain
from crypto.record_ids import (
    AccountId,
    RecordId,
    SealContext,
    make_record_id,
    make_seal_id,
    make_version_id,
)
from crypto.sealed import ContentDescription, SealedRecord, seal_stream
from crypto.sealed_format import SealSecrets, make_seal_secrets
from crypto.signatures import account_id, sign
from crypto.validators import ReplicaId
from genesis.document import GenesisDocument
from ledger.purposes import TREAT
from ledger.recipients import Recipient
from ledger.records_payloads import Confidentiality, NewSeal, RecordPut, RecordRead, StorageReceipt

NOISE_BYTES: Final = 1 << 20
UPLOADS_AT_A_TIME: Final = 4
"""Open uploads of one driver to one node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A hospital's key agent: the account that records of its doctors are sealed to, too."""

    account: AccountId
    seal_key: SealKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A sealed record whose bytes are stored: everything that its put will say."""

    patient: Person
    author: Person
    random: bytes
    context: SealContext
    secrets: SealSecrets
    sealed: SealedRecord
    receipts: tuple[StorageReceipt, ...] = ()

    @property
    def record_id(self) -> RecordId:
        return self.context.record_id


def agents_of(founding: GenesisDocument, orgs: Sequence[str]) -> tuple[Agent, ...]:
    """Return the key agents of hospitals, in their order, as the founding document has them."""
    found = {str(one.body.org): one.body.agent for one in founding.statements}
    return tuple(
        Agent(account=account_id(found[org].sign_key), seal_key=found[org].seal_key) for org in orgs
    )


async def upload_records(
    urls: Sequence[str], trust: Trust, seed: int, pairs: Sequence[tuple[Person, Person]], size: int
) -> list[Record]:
    """Seal a record of `size` random bytes for each (patient, author), and upload it."""
    async with AsyncExitStack() as stack:
        nodes = []
        for number, url in enumerate(urls):
            node = await stack.enter_async_context(open_node(url))
            author = pairs[number % len(pairs)][1]
            index = await find_node_index(node, trust)
            await open_session(node, trust, keys_of(seed, author), node_index=index)
            nodes.append(node)
        slots = {id(node): asyncio.Semaphore(UPLOADS_AT_A_TIME) for node in nodes}
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        async def store(number: int, pair: tuple[Person, Person], node: Node) -> Record:
            async with slots[id(node)]:
                return await _store(node, trust, pair, size, folder / str(number))

        return await asyncio.gather(
            *(
                store(number, pair, node)
                for (number, pair), node in zip(enumerate(pairs), itertools.cycle(nodes))
            )
        )


def put_payload(
    record: Record, chain_id: ChainId, seed: int, agent: Agent
) -> tuple[RecordPut, tuple[tuple[Digest, bytes], ...]]:
    """Return the payload of a record's put, and its envelopes (digest, content)."""
    patient, author, context = record.patient, record.author, record.context
    patient_key = seal_public_key(seal_key_of(seed, patient))
    wanted = (
        _recipient(patient.account, patient_key, "patient"),
        _recipient(agent.account, agent.seal_key, "author_agent"),
    )
    envelopes = seal_to(wanted, record.secrets, patient.account, context)
    said = author_payload(
        pseudonym=patient.account,
        record_id=context.record_id,
        version_id=context.version_id,
        author=author.account,
        commitment=record.sealed.commitment,
    )
    payload = RecordPut(
        pseudonym=patient.account,
        record_id=context.record_id,
        record_random=record.random,
        version_id=context.version_id,
        category=categories_of(seed, patient)[0],
        tags=(),
        level=Confidentiality.NORMAL,
        commitment=record.sealed.commitment,
        author_signature=sign(author.sign_key, Domain.RECORD_AUTHOR, chain_id, said),
        seal=NewSeal(
            seal_id=context.seal_id,
            cid=record.sealed.cid,
            size_bytes=record.sealed.size_bytes,
            envelopes=envelopes.refs,
            storage_receipts=record.receipts,
        ),
    )
    return payload, envelopes.sidecars


def read_payload(record: Record, node: int) -> RecordRead:
    """Return what its author says to read it from that node."""
    return RecordRead(
        record_id=record.context.record_id,
        version_id=record.context.version_id,
        seal_id=record.context.seal_id,
        purpose=TREAT,
        serving_node=ReplicaId(node),
    )


async def _store(
    node: Node, trust: Trust, pair: tuple[Person, Person], size: int, file: Path
) -> Record:
    record = seal_record(trust.chain_id, pair, size, file)
    sealed = record.sealed
    stored = await upload_blob(node, trust, file, sealed.cid, sealed.size_bytes)
    return replace(record, receipts=stored.receipts)


def seal_record(chain_id: ChainId, pair: tuple[Person, Person], size: int, file: Path) -> Record:
    """Seal `size` random bytes into `file`; nobody keeps them yet."""
    patient, author = pair
    random, inside = secrets.token_bytes(16), make_seal_secrets()
    context = SealContext(
        chain_id=chain_id,
        record_id=make_record_id(chain_id, author.account, random),
        version_id=make_version_id(),
        seal_id=make_seal_id(),
    )
    description = ContentDescription(
        content_type="application/octet-stream", file_name="note.bin", authored_ms=0
    )
    with tempfile.TemporaryFile(dir=file.parent) as source, file.open("wb") as sink:
        for _ in range(size // NOISE_BYTES):
            source.write(secrets.token_bytes(NOISE_BYTES))
        source.write(secrets.token_bytes(size % NOISE_BYTES))
        source.seek(0)
        sealed = seal_stream(
            source,
            sink,
            description=description,
            context=context,
            keys=inside,
        )
    return Record(
        patient=patient,
        author=author,
        random=random,
        context=context,
        secrets=inside,
        sealed=sealed,
    )


def _recipient(account: AccountId, key: SealKey, reason: str) -> Recipient:
    return Recipient(account=account, key_id=seal_key_id(key), seal_key=key, reason=reason)


def keys_of(seed: int, person: Person) -> Keys:
    return Keys(
        label=f"{person.role.value}-{person.number}",
        account=person.account,
        sign_key=person.sign_key,
        seal_keys=(seal_key_of(seed, person),),
    )
