"""A check finds every kind of damage, names the file, and finds nothing in a whole node."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crypto.cid import Cid
from crypto.envelopes import make_sidecar
from crypto.errors import InvalidCertificate
from crypto.schema import decode, encode
from crypto.unixfs import cid_of_stream
from crypto.votes import CommitCertificate
from ledger.blocks import Header
from storage.blob_layout import blob_path
from storage.blobs import BlobStore, has_blob, open_blobs
from storage.chain import Chain, StoredHeader, create_chain, open_chain
from storage.check import Finding, Progress, check_everything, check_start, findings
from storage.database import create_database
from storage.journal import append, close_journal, create_journal
from storage.keys import (
    NODES,
    header_key,
    receipt_key,
    state_key,
    transaction_key,
)
from storage.layout import NodeLayout, make_layout
from storage.rows import open_row, seal_row
from storage.sidecars import SidecarStore, close_sidecars, open_sidecars, put_sidecars
from storage.slices import run_to_end
from storage.uploads import begin_upload, finish_upload, write_upload
from tests.unit.storage.chain_samples import CHAIN_ID, GENESIS_MS, grow

BLOB = b"sealed" * 1_000
BLOCKS = 6


@dataclass
class Node:
    """Everything of a node that can be damaged."""

    layout: NodeLayout
    chain: Chain
    blobs: BlobStore
    sidecars: SidecarStore
    cid: Cid

    def everything(self) -> list[Finding]:
        return findings(
            check_everything(self.fresh_chain(), self.layout.journal, self.blobs, self.sidecars)
        )

    def start(self) -> list[Finding]:
        return findings(check_start(self.fresh_chain(), self.layout.journal))

    def fresh_chain(self) -> Chain:
        """The chain with nothing remembered."""
        return open_chain(self.chain.database, CHAIN_ID)

    def flip_row(self, key: bytes) -> None:
        stored = self.chain.database.get(key)
        assert stored is not None
        self.chain.database.put(key, stored[:-1] + bytes((stored[-1] ^ 1,)))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    layout = make_layout(tmp_path / "node")
    chain = create_chain(
        create_database(layout.ledger), CHAIN_ID, {b"a/1": b"1", b"a/2": b"2"}, time_ms=GENESIS_MS
    )
    grow(chain, BLOCKS)
    journal = create_journal(layout.journal)
    append(journal, (b"vote",))
    close_journal(journal)
    blobs = open_blobs(layout.blobs)
    cid = cid_of_stream(io.BytesIO(BLOB))
    upload = run_to_end(begin_upload(blobs, cid, len(BLOB)))
    assert upload is not None
    write_upload(blobs, upload, BLOB)
    finish_upload(blobs, upload, now_ms=GENESIS_MS)
    sidecars = open_sidecars(layout.sidecars)
    one = make_sidecar(b"envelope", salt=bytes(32))
    put_sidecars(sidecars, [(one.digest, one.content)])
    yield Node(layout, chain, blobs, sidecars, cid)
    close_sidecars(sidecars)
    chain.database.close()


def flip_file(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes((content[-1] ^ 1,)))


def test_a_whole_node_has_no_findings_and_tells_its_progress(node: Node) -> None:
    told = list(check_everything(node.chain, node.layout.journal, node.blobs, node.sidecars))

    assert all(isinstance(one, Progress) for one in told)
    assert {one.what for one in told if isinstance(one, Progress)} == {
        "journal", "tip", "blocks", "state roots", "state entries", "blob bytes",
        "packs of sidecars",
    }  # fmt: skip
    assert Progress(what="blocks", done=BLOCKS, total=BLOCKS) in told
    assert node.start() == []


def test_a_node_at_genesis_has_no_findings(tmp_path: Path) -> None:
    layout = make_layout(tmp_path / "node")
    close_journal(create_journal(layout.journal))
    with create_database(layout.ledger) as database:
        chain = create_chain(database, CHAIN_ID, {b"a": b"1"}, time_ms=GENESIS_MS)

        assert findings(check_start(chain, layout.journal)) == []


def test_a_quick_check_looks_at_the_last_blocks_only(node: Node) -> None:
    node.flip_row(transaction_key(1, 0))
    report = check_start(node.fresh_chain(), node.layout.journal, last_blocks=3)

    assert findings(report) == []
    assert [one.height for one in node.start()] == [1]


@pytest.mark.parametrize("height", range(1, BLOCKS + 1))
@pytest.mark.parametrize(
    ("code", "key_at"),
    [
        ("block.corrupt", lambda height: header_key(height)),
        ("block.corrupt", lambda height: transaction_key(height, 1)),
        ("receipts.corrupt", lambda height: receipt_key(height, 0)),
    ],
    ids=["header", "transaction", "receipt"],
)
def test_a_damaged_block_is_found_once_and_by_its_height(
    node: Node, height: int, code: str, key_at: object
) -> None:
    assert callable(key_at)
    node.flip_row(key_at(height))

    for found in (node.start(), node.everything()):
        assert (code, height) in {(one.code, one.height) for one in found}
        assert {one.height for one in found} <= {height, None}
        assert all(str(node.layout.ledger) in one.text for one in found)


def rewritten_header(node: Node, height: int, **changes: bytes) -> None:
    """Put other bytes into a header row, sealed as if they belonged there."""
    key = header_key(height)
    stored = node.chain.database.get(key)
    assert stored is not None
    found = decode(StoredHeader, open_row(key, stored))
    parts = {"header": found.header, "certificate": found.certificate, **changes}
    node.chain.database.put(key, seal_row(key, encode(StoredHeader(**parts))))


def stored_header(node: Node, height: int) -> StoredHeader:
    key = header_key(height)
    stored = node.chain.database.get(key)
    assert stored is not None
    return decode(StoredHeader, open_row(key, stored))


def test_a_certificate_of_another_block_is_found(node: Node) -> None:
    rewritten_header(node, 3, certificate=stored_header(node, 4).certificate)

    (found,) = node.start()

    assert (found.code, found.height) == ("block.corrupt", 3)
    assert "certificate" in found.text


def test_another_block_in_place_of_one_is_found(node: Node) -> None:
    other = stored_header(node, 4)
    rewritten_header(node, 5, header=other.header, certificate=other.certificate)

    assert ("block.corrupt", 5) in {(one.code, one.height) for one in node.start()}


def test_a_block_that_is_not_the_tips_is_found(node: Node) -> None:
    header = decode(Header, stored_header(node, BLOCKS).header)
    changed = Header(**{
        name: getattr(header, name) for name in Header.__slots__ if name != "time_ms"
    }, time_ms=header.time_ms + 1)  # fmt: skip
    rewritten_header(node, BLOCKS, header=encode(changed))

    texts = [one.text for one in node.start()]

    assert any("the tip names" in text for text in texts)


def test_a_certificate_that_is_not_signed_is_found(node: Node) -> None:
    def refuse(header: Header, certificate: CommitCertificate) -> None:
        if header.height == 2:
            raise InvalidCertificate(f"{len(certificate.signatures)} votes")

    report = check_start(node.chain, node.layout.journal, check_certificate=refuse)

    (found,) = findings(report)
    assert found.height == 2


def test_a_block_above_the_tip_is_found(node: Node) -> None:
    node.chain.database.put(header_key(BLOCKS + 1), b"left over")

    (found,) = node.start()

    assert found.height == BLOCKS + 1
    assert "above the tip" in found.text


def test_a_lost_or_damaged_journal_is_found(node: Node) -> None:
    (segment,) = node.layout.journal.iterdir()
    flip_file(segment)
    assert [one.code for one in node.start()] == ["journal.corrupt"]
    segment.unlink()

    (found,) = node.everything()

    assert found.code == "journal.missing"
    assert str(node.layout.journal) in found.text


def test_a_changed_state_entry_is_found(node: Node) -> None:
    node.chain.database.put(state_key(b"a/1"), b"other")
    assert node.start() == []

    (found,) = node.everything()

    assert found.code == "state.corrupt"
    assert "a/1" in found.text


@pytest.mark.parametrize("value", [None, b"surplus"])
def test_a_lost_or_surplus_state_entry_is_found(node: Node, value: bytes | None) -> None:
    node.chain.database.write([(state_key(b"a/1" if value is None else b"a/3"), value)])

    assert {one.code for one in node.everything()} == {"state.corrupt"}


def test_a_damaged_tree_is_found(node: Node) -> None:
    for key, _ in list(node.chain.database.scan(NODES)):
        stored = node.chain.database.get(key)
        assert stored is not None
        node.flip_row(key)
        found = node.everything()
        node.chain.database.put(key, stored)

        is_at_tip = found != []
        assert {one.code for one in found} <= {"state.corrupt"}
        if key.startswith(NODES + BLOCKS.to_bytes(8, "big")):
            assert is_at_tip


def test_a_damaged_blob_is_found_and_put_aside(node: Node) -> None:
    path = blob_path(node.layout.blobs, node.cid)
    flip_file(path)

    (found,) = node.everything()

    assert (found.code, found.cid) == ("blob.corrupt", node.cid)
    assert str(path) in found.text
    assert not has_blob(node.blobs, node.cid)


def test_a_damaged_sidecar_is_found_and_dropped(node: Node) -> None:
    (pack,) = node.layout.sidecars.glob("packs/*/*")
    flip_file(pack)

    (found,) = node.everything()

    assert found.code == "sidecar.corrupt"
    assert str(pack) in found.text
    assert node.everything() == []
