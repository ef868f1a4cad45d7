import base64
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto import unixfs
from crypto.cid import (
    DAG_PB,
    RAW,
    Cid,
    check_cid,
    cid_digest,
    decode_cid_text,
    encode_cid_text,
    make_cid,
)
from crypto.errors import DecodeError, InvalidCid, InvalidLeafIndex, LeafMismatch
from crypto.schema import decode, encode
from crypto.unixfs import (
    LEAF_BYTES,
    CidHasher,
    DagBuilder,
    LeafIndex,
    check_leaf,
    check_leaf_index,
    cid_of_stream,
    leaf_bytes,
    leaf_count,
    make_leaf_index,
)

MIB = 1 << 20
# Streams of zeros, addressed by IPFS's own importer (npm ipfs-unixfs-importer 17.1.1): the shared
# vectors' stream ends before a second level of nodes begins.
ZEROS = {
    2 * MIB: "bafybeiam7fzx7ebtpwnfqb4tfhcthbgihdavyir433y6dd5jjy37dftd4e",
    1024 * MIB: "bafybeibqawkaltgjfdebq4no6nmfcvkcw7k52xqzclkwfmrkn6oxw7srmy",
    1024 * MIB + 1: "bafybeigx4uyebjbq65346xh6cjrt6yshbdudzudhnqecwbzvymslxj7gje",
    1536 * MIB + 1: "bafybeie7hfxdxs54oyeuztbjgwff5mh5ubfndith2eqnaouxmyh63mdxuu",
    2048 * MIB - 1: "bafybeih3iv7nyrxer35ts5him3gf4x4nijnxhziknc4vfr4iz3gll5ua2q",
}


def numbered_stream(size_bytes: int) -> bytes:
    """SHA-256 of 0, 1, 2, ... as 8 big-endian bytes, cut at `size_bytes`."""
    blocks = (hashlib.sha256(n.to_bytes(8, "big")).digest() for n in range(size_bytes // 32 + 1))
    return b"".join(blocks)[:size_bytes]


def zero_leaves(size_bytes: int) -> Iterator[tuple[bytes, int]]:
    digests: dict[int, bytes] = {}
    for position in range(leaf_count(size_bytes)):
        count = leaf_bytes(size_bytes, position)
        if count not in digests:
            digests[count] = hashlib.sha256(bytes(count)).digest()
        yield digests[count], count


def test_addresses_equal_those_of_ipfs(shared_data: Path) -> None:
    vectors = json.loads((shared_data / "cid-vectors.json").read_text())["vectors"]
    stream = numbered_stream(60_000_000)

    made = {
        size: encode_cid_text(cid_of_stream(io.BytesIO(stream[: int(size)]))) for size in vectors
    }

    assert made == vectors
    assert len(made) == 6


@pytest.mark.parametrize("size_bytes", sorted(ZEROS))
def test_addresses_equal_those_of_ipfs_when_nodes_stand_above_nodes(size_bytes: int) -> None:
    dag = DagBuilder()

    for sha256, count in zero_leaves(size_bytes):
        dag.add_leaf(sha256, count)

    assert encode_cid_text(dag.finish()) == ZEROS[size_bytes]


def test_lengths_of_two_gibibytes_and_more_are_written_as_protobuf_writes_them() -> None:
    link = unixfs._Link(cid=make_cid(RAW, bytes(32)), content_bytes=1 << 31, dag_bytes=1 << 31)

    node = unixfs._make_node([link])

    # Field 3, varint 2^31; the importer named above writes a zero there instead.
    unixfs_data = b"\x08\x02" + b"\x18\x80\x80\x80\x80\x08" + b"\x20\x80\x80\x80\x80\x08"
    link_fields = b"\x0a\x24" + link.cid + b"\x12\x00" + b"\x18\x80\x80\x80\x80\x08"
    block = b"\x12" + bytes([len(link_fields)]) + link_fields
    block += b"\x0a" + bytes([len(unixfs_data)]) + unixfs_data
    assert node.cid == make_cid(DAG_PB, hashlib.sha256(block).digest())


@given(
    width=st.integers(2, 5),
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=60),
)
def test_the_streaming_tree_is_the_balanced_tree(width: int, sizes: list[int]) -> None:
    leaves = [
        unixfs._Link(
            cid=make_cid(RAW, hashlib.sha256(bytes(size)).digest()),
            content_bytes=size,
            dag_bytes=size,
        )
        for size in sizes
    ]
    level = leaves
    while len(level) > 1:
        level = [unixfs._make_node(level[i : i + width]) for i in range(0, len(level), width)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unixfs, "NODE_LINKS_MAX", width)
        dag = DagBuilder()
        for leaf in leaves:
            dag.add_leaf(cid_digest(leaf.cid), leaf.content_bytes)
        root = dag.finish()

    assert root == level[0].cid


@pytest.mark.parametrize("piece_bytes", [1, 4099, MIB, MIB + 1])
def test_the_address_does_not_depend_on_how_the_stream_is_cut(piece_bytes: int) -> None:
    size_bytes = 5_000 if piece_bytes == 1 else 2 * MIB + 17
    stream = bytes(range(251)) * (size_bytes // 251 + 1)
    stream = stream[:size_bytes]
    hasher = CidHasher()

    for start in range(0, size_bytes, piece_bytes):
        hasher.update(stream[start : start + piece_bytes])

    assert hasher.size_bytes == size_bytes
    assert hasher.finish() == cid_of_stream(io.BytesIO(stream))


@pytest.mark.parametrize("size_bytes", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5])
def test_every_leaf_is_verified_by_its_index(size_bytes: int) -> None:
    stream = numbered_stream(size_bytes)

    index = make_leaf_index(io.BytesIO(stream))

    assert index.cid == cid_of_stream(io.BytesIO(stream))
    assert index.size_bytes == size_bytes
    assert decode(LeafIndex, encode(index)) == index
    check_leaf_index(index.cid, index)
    for position in range(leaf_count(size_bytes)):
        check_leaf(index, position, memoryview(stream)[position * LEAF_BYTES :][:LEAF_BYTES])


def test_an_index_that_does_not_lead_to_the_address_is_refused() -> None:
    index = make_leaf_index(io.BytesIO(numbered_stream(2 * MIB + 5)))
    first, second, third = index.leaf_digests

    def altered(size_bytes: int, *digests: bytes) -> LeafIndex:
        return LeafIndex(cid=index.cid, size_bytes=size_bytes, leaf_digests=digests)

    forged = {
        "swapped": altered(index.size_bytes, second, first, third),
        "missing": altered(index.size_bytes, first, second),
        "surplus": altered(index.size_bytes, first, second, third, third),
        "shorter": altered(index.size_bytes - 1, first, second, third),
        "longer": altered(index.size_bytes + 1, first, second, third),
        "flipped": altered(index.size_bytes, first, bytes(32), third),
    }
    for forgery in forged.values():
        with pytest.raises(InvalidLeafIndex):
            check_leaf_index(index.cid, forgery)
    with pytest.raises(InvalidLeafIndex):
        check_leaf_index(make_cid(DAG_PB, bytes(32)), index)


def test_a_leaf_with_other_bytes_or_another_length_or_place_is_refused() -> None:
    stream = numbered_stream(MIB + 100)
    index = make_leaf_index(io.BytesIO(stream))
    last = stream[MIB:]

    check_leaf(index, 1, last)

    for position, leaf in [(1, last[:-1]), (1, last + b"x"), (1, b"x" + last[1:]), (0, last)]:
        with pytest.raises(LeafMismatch):
            check_leaf(index, position, leaf)
    for position in (-1, 2):
        with pytest.raises(LeafMismatch):
            check_leaf(index, position, last)


def test_a_stream_beyond_the_bound_gets_no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unixfs, "LEAVES_MAX", 1)

    with pytest.raises(InvalidLeafIndex):
        make_leaf_index(io.BytesIO(bytes(MIB + 1)))


@given(encoded=st.binary(max_size=120))
def test_decoding_an_index_never_fails_otherwise_than_by_name(encoded: bytes) -> None:
    try:
        index = decode(LeafIndex, encoded)
    except DecodeError:
        return
    assert encode(index) == encoded


@given(sha256=st.binary(min_size=32, max_size=32), codec=st.sampled_from([RAW, DAG_PB]))
def test_the_text_form_leads_back_to_the_address(sha256: bytes, codec: int) -> None:
    cid = make_cid(codec, sha256)

    assert decode_cid_text(encode_cid_text(cid)) == cid
    assert check_cid(cid) == cid
    assert cid_digest(cid) == sha256


def test_every_other_spelling_of_an_address_is_refused() -> None:
    cid = make_cid(RAW, hashlib.sha256(b"x").digest())
    text = encode_cid_text(cid)
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    # 36 bytes are 57.6 base32 letters: the last letter has two bits that must be zero.
    aliases = [text[:-1] + letter for letter in alphabet if letter != text[-1]]

    spellings = [
        text.upper(),
        "B" + text[1:].upper(),
        text[:5] + text[5:].upper(),
        text + "=",
        text + "a",
        text[:-1],
        "z" + text[1:],
        " " + text,
        text[:10] + "1" + text[11:],
        text[:10] + "é" + text[11:],
        "",
        "b",
        "f" + cid.hex(),
    ]
    for spelling in spellings:
        with pytest.raises(InvalidCid):
            decode_cid_text(spelling)
    same_bytes = 0
    for alias in aliases:
        raw = base64.b32decode(alias[1:].upper() + "======")
        if raw == cid:
            same_bytes += 1
            with pytest.raises(InvalidCid):
                decode_cid_text(alias)
    assert same_bytes == 3


@pytest.mark.parametrize(
    "prefix",
    ["00551220", "02551220", "01711320", "01561220", "01551221", "01551120"],
)
def test_other_versions_codecs_and_hash_functions_are_refused(prefix: str) -> None:
    with pytest.raises(InvalidCid):
        check_cid(bytes.fromhex(prefix) + bytes(32))


@pytest.mark.parametrize("length", [0, 32, 34, 35, 37])
def test_other_lengths_of_an_address_are_refused(length: int) -> None:
    with pytest.raises(InvalidCid):
        check_cid(Cid((b"\x01\x55\x12\x20" + bytes(40))[:length]))
