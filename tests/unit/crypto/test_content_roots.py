import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.content import (
    ContentHasher,
    RootHasher,
    author_payload,
    author_preimage,
    make_commitment,
)
from crypto.hashing import ChainId, Digest, Domain
from crypto.record_ids import (
    AccountId,
    RecordId,
    SealContext,
    SealId,
    VersionId,
    context_bytes,
    make_record_id,
    make_seal_id,
    make_version_id,
)

MIB = 1 << 20


def tree_head(entries: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word by word."""
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    pair = tree_head(entries[:split]) + tree_head(entries[split:])
    return hashlib.sha256(b"\x01" + pair).digest()


@pytest.mark.parametrize("count", [*range(1, 40), 255, 256, 257])
def test_the_streaming_root_is_the_rfc_6962_tree_head(count: int) -> None:
    entries = [bytes([n % 256, n // 256]) for n in range(count)]
    root = RootHasher()

    for entry in entries:
        root.add(entry)

    assert root.finish() == tree_head(entries)


@given(
    sizes=st.lists(st.integers(0, 900_000), max_size=6),
    metadata=st.binary(min_size=1, max_size=40),
)
def test_a_content_root_covers_the_metadata_block_and_every_mebibyte(
    sizes: list[int], metadata: bytes
) -> None:
    pieces = [bytes([n]) * size for n, size in enumerate(sizes)]
    content = b"".join(pieces)
    hasher = ContentHasher(metadata)

    for piece in pieces:
        hasher.update(piece)

    leaves = [content[start : start + MIB] for start in range(0, len(content), MIB)]
    assert hasher.content_bytes == len(content)
    assert hasher.finish() == tree_head(
        [hashlib.sha256(leaf).digest() for leaf in (metadata, *leaves)]
    )


def test_a_commitment_hides_and_binds() -> None:
    parts = {
        "chain_id": b"c" * 32,
        "record_id": b"r" * 16,
        "version_id": b"v" * 16,
        "opening": b"o" * 32,
        "content_root": b"t" * 32,
    }

    def commitment(**changed: bytes) -> Digest:
        now = parts | changed
        return make_commitment(
            chain_id=ChainId(now["chain_id"]),
            record_id=RecordId(now["record_id"]),
            version_id=VersionId(now["version_id"]),
            opening=now["opening"],
            content_root=now["content_root"],
        )

    seen = {commitment(**{name: bytes(len(value))}) for name, value in parts.items()}

    preimage = Domain.RECORD_COMMITMENT.value + b"".join(parts.values())
    assert commitment() == hashlib.sha256(preimage).digest()
    assert len(seen | {commitment()}) == len(parts) + 1


def test_an_author_signs_chain_patient_record_version_author_and_commitment() -> None:
    payload = author_payload(
        pseudonym=AccountId(b"p" * 32),
        record_id=RecordId(b"r" * 16),
        version_id=VersionId(b"v" * 16),
        author=AccountId(b"a" * 32),
        commitment=Digest(b"m" * 32),
    )

    preimage = author_preimage(ChainId(b"c" * 32), payload)

    assert payload == b"p" * 32 + b"r" * 16 + b"v" * 16 + b"a" * 32 + b"m" * 32
    assert preimage == b"medledger/record-author/v1" + b"c" * 32 + payload


def test_a_record_id_follows_from_chain_author_and_randomness() -> None:
    chain, author, random = ChainId(b"c" * 32), AccountId(b"a" * 32), b"x" * 16

    record_id = make_record_id(chain, author, random)

    preimage = b"medledger/record-id/v1" + chain + author + random
    assert record_id == hashlib.sha256(preimage).digest()[:16]
    assert record_id != make_record_id(chain, AccountId(b"b" * 32), random)


def test_new_ids_differ() -> None:
    chain, author = ChainId(b"c" * 32), AccountId(b"a" * 32)

    ids: list[bytes] = [make_record_id(chain, author) for _ in range(20)]
    ids += [make() for make in [make_version_id, make_seal_id] * 20]

    assert len(set(ids)) == 60
    assert {len(one) for one in ids} == {16}


def test_a_seal_context_is_its_four_ids_side_by_side() -> None:
    context = SealContext(
        chain_id=ChainId(b"c" * 32),
        record_id=RecordId(b"r" * 16),
        version_id=VersionId(b"v" * 16),
        seal_id=SealId(b"s" * 16),
    )

    assert context_bytes(context) == b"c" * 32 + b"r" * 16 + b"v" * 16 + b"s" * 16
