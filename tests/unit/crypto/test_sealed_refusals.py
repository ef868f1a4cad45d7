import gzip
import io
import random
from dataclasses import fields, replace

import pytest

from crypto.cid import RAW, make_cid
from crypto.errors import (
    ChunkTampered,
    CidMismatch,
    CommitmentMismatch,
    CompressionInvalid,
    KeyCommitmentMismatch,
    LengthMismatch,
    MetadataInvalid,
    NotSealedRecord,
    PaddingInvalid,
    SealedError,
    SealedHeaderInvalid,
    SealedTruncated,
    SpoolDamaged,
    TrailingBytes,
)
from crypto.hashing import Digest
from crypto.padding import padded_bytes
from crypto.record_ids import SealContext, SealId
from crypto.schema import encode
from crypto.sealed import open_stream, reseal_stream
from crypto.sealed_format import CHUNK_BYTES, METADATA_BYTES_MAX, Compression, make_seal_secrets
from crypto.spool import Spool
from tests.unit.crypto.sealed_samples import (
    CONTEXT,
    KEYS,
    claim,
    describe_inside,
    seal,
    seal_inside,
    unseal,
)

HEADER_END = 96
SEALED_CHUNK_BYTES = CHUNK_BYTES + 16
# Positions in the encoded header of the 32 + 7 random bytes and of the 32-byte commitment.
SALT = range(21, 53)
PREFIX = range(55, 62)
COMMITMENT = range(64, 96)


def cut(file: bytes) -> tuple[bytes, list[bytes]]:
    """Return what stands before the chunks, and the chunks."""
    body = file[HEADER_END:]
    chunks = [body[n : n + SEALED_CHUNK_BYTES] for n in range(0, len(body), SEALED_CHUNK_BYTES)]
    return file[:HEADER_END], chunks


def flipped(file: bytes, position: int) -> bytes:
    changed = bytearray(file)
    changed[position] ^= 1 << position % 8
    return bytes(changed)


def test_every_flipped_byte_is_refused_by_the_name_of_what_it_broke() -> None:
    sealed, file = seal(b"a short note")
    refused: dict[int, type[SealedError]] = {}

    for position in range(len(file)):
        with pytest.raises(SealedError) as refusal:
            unseal(sealed, flipped(file, position))
        refused[position] = refusal.type

    assert len(refused) == len(file) == HEADER_END + 16_384 + 16
    assert {refused[n] for n in range(8)} == {NotSealedRecord}
    bound = (*SALT, *PREFIX, *COMMITMENT)
    assert {refused[n] for n in bound} == {KeyCommitmentMismatch}
    framing = [n for n in range(8, HEADER_END) if n not in bound]
    assert {refused[n] for n in framing} == {SealedHeaderInvalid}
    assert {refused[n] for n in range(HEADER_END, len(file))} == {ChunkTampered}


def test_every_flipped_byte_of_a_longer_file_is_refused() -> None:
    sealed, file = seal(random.Random(1).randbytes(1_200_000))
    _, chunks = cut(file)
    positions = random.Random(2).sample(range(HEADER_END, len(file)), 40)
    positions += [HEADER_END + n * SEALED_CHUNK_BYTES for n in range(len(chunks))]

    for position in positions:
        with pytest.raises(ChunkTampered) as refusal:
            unseal(sealed, flipped(file, position))
        assert f"chunk {(position - HEADER_END) // SEALED_CHUNK_BYTES} " in str(refusal.value)


def test_every_beginning_of_a_file_is_refused_as_truncated() -> None:
    sealed, file = seal(b"a short note")

    for length in range(len(file)):
        with pytest.raises(SealedTruncated):
            unseal(sealed, file[:length])


@pytest.mark.parametrize("content_bytes", [200_000, 1_100_000])
def test_a_longer_file_is_refused_as_truncated_wherever_it_is_cut(content_bytes: int) -> None:
    sealed, file = seal(random.Random(1).randbytes(content_bytes))
    _, chunks = cut(file)
    boundaries = [HEADER_END + n * SEALED_CHUNK_BYTES for n in range(1, len(chunks))]
    lengths = [n + shift for n in boundaries for shift in (0, 1, 16, 17, 30_000)]
    lengths += [len(file) - 1, len(file) - 16, len(file) - 17]

    for length in {length for length in lengths if length < len(file)}:
        with pytest.raises(SealedTruncated):
            unseal(sealed, file[:length])


@pytest.mark.parametrize("content_bytes", [200_000, 1_048_000, 1_100_000])
@pytest.mark.parametrize("surplus_bytes", [1, 15, 16, 17, SEALED_CHUNK_BYTES, 2_000_000])
def test_anything_behind_the_last_chunk_is_refused(content_bytes: int, surplus_bytes: int) -> None:
    sealed, file = seal(bytes(content_bytes))

    with pytest.raises(TrailingBytes):
        unseal(sealed, file + bytes(surplus_bytes))


def test_anything_behind_a_single_chunk_is_refused() -> None:
    sealed, file = seal(b"a short note")

    for surplus_bytes in (1, 16, 30_000, 70_000):
        with pytest.raises((ChunkTampered, TrailingBytes)):
            unseal(sealed, file + bytes(surplus_bytes))


def test_chunks_that_change_places_or_repeat_or_vanish_are_refused() -> None:
    sealed, file = seal(random.Random(1).randbytes(400_000))
    start, chunks = cut(file)
    first, second, third, *rest = chunks

    for order in (
        [second, first, third, *rest],
        [first, first, third, *rest],
        [first, third, *rest],
        [first, second, second, third, *rest],
        [*rest],
    ):
        with pytest.raises(ChunkTampered):
            unseal(sealed, start + b"".join(order))


def test_a_chunk_of_another_seal_is_refused() -> None:
    sealed, file = seal(bytes(400_000))
    _, other = seal(bytes(400_000), keys=make_seal_secrets())
    start, chunks = cut(file)

    with pytest.raises(ChunkTampered):
        unseal(sealed, start + b"".join([chunks[0], cut(other)[1][1], *chunks[2:]]))


def test_the_header_of_another_seal_is_refused() -> None:
    sealed, file = seal(b"x")
    _, other = seal(b"x", keys=make_seal_secrets())

    with pytest.raises(KeyCommitmentMismatch):
        unseal(sealed, other[:HEADER_END] + file[HEADER_END:])


@pytest.mark.parametrize("name", [field.name for field in fields(SealContext)])
def test_a_file_opens_only_where_it_was_sealed(name: str) -> None:
    sealed, file = seal(b"x")
    ids = {field.name: getattr(CONTEXT, field.name) for field in fields(SealContext)}
    elsewhere = SealContext(**ids | {name: bytes(len(ids[name]))})

    with pytest.raises(KeyCommitmentMismatch):
        unseal(sealed, file, context=elsewhere)


def test_another_data_key_is_refused_before_any_chunk() -> None:
    sealed, file = seal(b"x")

    with pytest.raises(KeyCommitmentMismatch):
        unseal(sealed, file[:HEADER_END], keys=replace(KEYS, dek=bytes(32)))


def test_another_opening_is_refused() -> None:
    sealed, file = seal(b"x")

    with pytest.raises(CommitmentMismatch):
        unseal(sealed, file, keys=replace(KEYS, opening=bytes(32)))


def test_another_commitment_on_the_ledger_is_refused() -> None:
    sealed, file = seal(b"x")

    with pytest.raises(CommitmentMismatch):
        unseal(replace(sealed, commitment=Digest(bytes(32))), file)


def test_another_address_on_the_ledger_is_refused() -> None:
    sealed, file = seal(b"x")

    with pytest.raises(CidMismatch):
        unseal(replace(sealed, cid=make_cid(RAW, bytes(32))), file)


def test_other_content_under_the_same_key_is_refused() -> None:
    sealed, _ = seal(b"what the author signed")
    other, file = seal(b"what the author sealed")

    with pytest.raises(CommitmentMismatch):
        unseal(replace(other, commitment=sealed.commitment), file)


@pytest.mark.parametrize("start", [b"", b"\x89", b"\x89MLSR\r\n"])
def test_a_beginning_of_the_magic_is_truncated(start: bytes) -> None:
    sealed, _ = seal(b"x")

    with pytest.raises(SealedTruncated):
        unseal(sealed, start)


@pytest.mark.parametrize("start", [b"%PDF-1.7", b"\x89PNG\r\n\x1a\n", b"\x89MLSR\n\x1a" + bytes(9)])
def test_another_kind_of_file_is_not_a_sealed_record(start: bytes) -> None:
    sealed, _ = seal(b"x")

    with pytest.raises(NotSealedRecord):
        unseal(sealed, start + bytes(20_000))


def test_a_header_of_another_size_is_refused_unread() -> None:
    sealed, file = seal(b"x")

    for header_bytes in (0, 257, 65_535):
        with pytest.raises(SealedHeaderInvalid):
            unseal(sealed, file[:8] + header_bytes.to_bytes(2, "big") + file[10:])


# From here on the author, who holds the data key, sealed something malformed.


def padded(inside: bytes) -> bytes:
    return inside + bytes(padded_bytes(len(inside)) - len(inside))


def open_inside(inside: bytes, block: bytes = b"?", content: bytes = b"") -> bytes:
    file = seal_inside(inside)
    return unseal(claim(file, block, content), file)[1]


def test_what_the_samples_seal_by_hand_opens() -> None:
    inside, block = describe_inside(b"abc", content_bytes=3, compression=Compression.NONE)

    assert open_inside(padded(inside), block, b"abc") == b"abc"


@pytest.mark.parametrize("content_bytes", [3, 1_100_000])
def test_padding_that_is_not_zeros_is_refused(content_bytes: int) -> None:
    content = b"a" * content_bytes
    inside, block = describe_inside(
        content, content_bytes=content_bytes, compression=Compression.NONE
    )
    good = padded(inside)

    for position in (len(inside), len(good) - 1):
        bad = bytearray(good)
        bad[position] = 1
        with pytest.raises(PaddingInvalid):
            open_inside(bytes(bad), block, content)


@pytest.mark.parametrize("content_bytes", [3, 200_000, 1_100_000])
@pytest.mark.parametrize("surplus_bytes", [-1, 1, 3_000_000])
def test_padding_to_another_size_is_refused(content_bytes: int, surplus_bytes: int) -> None:
    content = b"a" * content_bytes
    inside, block = describe_inside(
        content, content_bytes=content_bytes, compression=Compression.NONE
    )
    good = padded(inside)
    bad = good[:surplus_bytes] if surplus_bytes < 0 else good + bytes(surplus_bytes)

    with pytest.raises(PaddingInvalid):
        open_inside(bad, block, content)


def test_a_new_seal_of_a_record_padded_to_another_size_is_refused() -> None:
    inside, block = describe_inside(b"a", content_bytes=1, compression=Compression.NONE)
    file = seal_inside(padded(inside) + bytes(3_000_000))
    sealed = claim(file, block, b"a")

    with pytest.raises(PaddingInvalid):
        reseal_stream(
            io.BytesIO(file),
            io.BytesIO(),
            context=CONTEXT,
            keys=KEYS,
            cid=sealed.cid,
            commitment=sealed.commitment,
            new_context=replace(CONTEXT, seal_id=SealId(b"N" * 16)),
            new_keys=make_seal_secrets(KEYS.opening),
        )


def test_stored_content_that_is_not_all_there_is_refused() -> None:
    inside, block = describe_inside(
        b"abc", content_bytes=40_000, compression=Compression.NONE, stored_bytes=40_000
    )

    with pytest.raises(PaddingInvalid):
        open_inside(padded(inside), block, b"abc")


@pytest.mark.parametrize("content_bytes", [0, 2, 4])
def test_uncompressed_content_of_another_length_is_refused(content_bytes: int) -> None:
    inside, block = describe_inside(
        b"abc", content_bytes=content_bytes, compression=Compression.NONE
    )

    with pytest.raises(MetadataInvalid):
        open_inside(padded(inside), block, b"abc")


@pytest.mark.parametrize("content_bytes", [0, 999, 1001, 5_000_000])
def test_compressed_content_of_another_length_is_refused(content_bytes: int) -> None:
    inside, block = describe_inside(
        gzip.compress(b"a" * 1000), content_bytes=content_bytes, compression=Compression.GZIP
    )

    with pytest.raises(LengthMismatch):
        open_inside(padded(inside), block, b"a" * 1000)


def test_a_gzip_bomb_is_inflated_no_further_than_its_declared_length() -> None:
    bomb = gzip.compress(bytes(200 << 20), compresslevel=9)
    inside, block = describe_inside(bomb, content_bytes=100_000, compression=Compression.GZIP)
    file = seal_inside(padded(inside))
    sealed = claim(file, block, b"")
    sink = io.BytesIO()

    with pytest.raises(LengthMismatch):
        open_stream(
            io.BytesIO(file),
            sink,
            context=CONTEXT,
            keys=KEYS,
            cid=sealed.cid,
            commitment=sealed.commitment,
        )

    assert len(sink.getvalue()) <= 100_000


def test_compressed_content_that_is_not_one_whole_gzip_member_is_refused() -> None:
    member = gzip.compress(random.Random(5).randbytes(3_000_000))
    spoilt = bytearray(member)
    spoilt[len(spoilt) // 2] ^= 1

    for stored in (
        member[:-1],
        member[:-8],
        member[:100],
        member + b"x",
        member + member,
        member[:-8] + bytes(8),
        bytes(spoilt),
        b"no gzip at all",
        b"",
    ):
        inside, block = describe_inside(
            stored, content_bytes=3_000_000, compression=Compression.GZIP
        )
        with pytest.raises((CompressionInvalid, LengthMismatch)) as refusal:
            open_inside(padded(inside), block)
        if stored != bytes(spoilt):  # A flipped bit may also change the length.
            assert refusal.type is CompressionInvalid


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\xc0",
        b"garbage",
        bytes(METADATA_BYTES_MAX),
        bytes(METADATA_BYTES_MAX + 1),
        encode(CONTEXT),
    ],
)
def test_a_metadata_block_that_is_none_is_refused(block: bytes) -> None:
    inside = len(block).to_bytes(4, "big") + bytes(8) + block

    with pytest.raises(MetadataInvalid):
        open_inside(padded(inside))


def test_a_metadata_block_with_a_path_for_a_name_is_refused() -> None:
    inside, block = describe_inside(b"", content_bytes=0, compression=Compression.NONE)
    path = inside.replace(b"chest.dcm", b"../st.dcm")

    with pytest.raises(MetadataInvalid):
        open_inside(padded(path), block)


def test_more_stored_bytes_than_any_record_has_are_refused() -> None:
    inside, block = describe_inside(
        b"", content_bytes=0, compression=Compression.GZIP, stored_bytes=2**64 - 1
    )

    with pytest.raises(MetadataInvalid):
        open_inside(padded(inside), block)


@pytest.mark.parametrize("length", [1, 4, 11, 12, 13, 40])
def test_a_plaintext_too_short_for_its_preamble_is_refused(length: int) -> None:
    inside, block = describe_inside(b"", content_bytes=0, compression=Compression.NONE)

    with pytest.raises(MetadataInvalid):
        open_inside(inside[:length], block)


def test_a_spool_that_changed_under_us_is_refused() -> None:
    with Spool() as spool:
        spool.write(b"plain" * 100_000)
        spool.rewind()
        kept = spool._file.read()
        assert b"plain" not in kept
        spool._file.seek(300_000)
        spool._file.write(b"x")
        spool.rewind()

        assert spool.readinto(memoryview(bytearray(1 << 20))) == 256 << 10
        with pytest.raises(SpoolDamaged):
            spool.readinto(memoryview(bytearray(1 << 20)))
