"""A record with real bytes and real sidecars, written, granted and read in a node's memory."""

import io
from dataclasses import dataclass, replace

from crypto.cid import Cid, encode_cid_text
from crypto.envelopes import make_sidecar
from crypto.hashing import Digest
from crypto.record_ids import RecordId
from crypto.unixfs import cid_of_stream
from crypto.validators import ReplicaId
from ledger.access_payloads import AccessGrant, AccessRevoke
from ledger.records_state import current_seal
from tests.api.ports_in_memory import MemoryNode
from tests.unit.ledger.record_samples import DOCTOR, PATIENT
from tests.unit.ledger.small_consortium import account_of, seed


@dataclass(frozen=True, slots=True)
class Written:
    """A record in its first version; `envelopes` are the sidecars' digests by recipient."""

    record_id: RecordId
    cid: Cid
    content: bytes
    envelopes: dict[bytes, Digest]

    @property
    def blob_path(self) -> str:
        return f"/v1/blobs/{encode_cid_text(self.cid)}"


def sealed_bytes(size_bytes: int) -> bytes:
    """Bytes that look like ciphertext and repeat between runs."""
    block = b"".join(seed(f"sealed {number}") for number in range(32))
    return (block * (size_bytes // len(block) + 1))[:size_bytes]


def write(node: MemoryNode, *, size_bytes: int = 20_000, by: str = DOCTOR) -> Written:
    """Put a record of so many sealed bytes on the ledger, and its bytes on the node."""
    hospitals = node.hospitals
    put = hospitals.make_put(by, PATIENT)
    content = sealed_bytes(size_bytes) + hospitals.draw()
    cid = cid_of_stream(io.BytesIO(content))
    envelopes = []
    for one in put.seal.envelopes:
        sidecar = make_sidecar(b"envelope for " + one.recipient)
        node.sidecar_contents[sidecar.digest] = sidecar.content
        envelopes.append(replace(one, sidecar=sidecar.digest))
    seal = replace(
        put.seal,
        cid=cid,
        size_bytes=len(content),
        envelopes=tuple(envelopes),
        storage_receipts=tuple(hospitals.receipt(index, cid, len(content)) for index in (0, 2)),
    )
    node.blob_contents[cid] = content
    node.accept("records.put", replace(put, seal=seal), by)
    return Written(
        record_id=put.record_id,
        cid=cid,
        content=content,
        envelopes={one.recipient: one.sidecar for one in envelopes},
    )


def grant(node: MemoryNode, grantee: str, *, until_ms: int | None = None) -> Digest:
    """Let somebody read all of the patient's records; return the grant's id."""
    terms = node.hospitals.terms(grantee, until_ms=until_ms)
    payload = AccessGrant(pseudonym=account_of(PATIENT), terms=terms)
    return node.accept("access.grant", payload, PATIENT).tx_id


def revoke(node: MemoryNode, grant_id: Digest) -> None:
    payload = AccessRevoke(pseudonym=account_of(PATIENT), grant=grant_id)
    node.accept("access.revoke", payload, PATIENT)


def enter_read(node: MemoryNode, written: Written, by: str, *, serving_node: int = 1) -> Digest:
    """Enter a read on the ledger; return the transaction's id."""
    payload = node.hospitals.make_read(written.record_id, serving_node=ReplicaId(serving_node))
    return node.accept("records.read", payload, by).tx_id


def seal_of(node: MemoryNode, written: Written) -> bytes:
    return current_seal(node.view(), node.hospitals.latest(written.record_id)).seal_id
