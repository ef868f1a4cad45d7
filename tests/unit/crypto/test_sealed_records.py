import gzip
import io
import os
import random
import threading
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from crypto import sealed as sealed_module
from crypto.cid import encode_cid_text
from crypto.compression import is_compressible
from crypto.errors import ContentTooLarge, EncodeError, SourceChanged
from crypto.padding import PADDED_BYTES_MIN, padded_bytes
from crypto.record_ids import SealId
from crypto.schema import encode
from crypto.sealed import ContentDescription, open_stream, reseal_stream, seal_stream
from crypto.sealed_format import CHUNK_BYTES, HEADER_BYTES_MAX, Compression, make_seal_secrets
from crypto.spool import spool_encrypted
from crypto.unixfs import cid_of_stream
from tests.unit.crypto.sealed_samples import (
    CONTEXT,
    DICOM,
    FHIR,
    KEYS,
    claim,
    seal,
    seal_inside,
    unseal,
)

HEADER_END = 96
SIZES = [0, 1, 16_200, PADDED_BYTES_MIN, CHUNK_BYTES - 1, CHUNK_BYTES, (1 << 20) - 100, 3_000_001]


@pytest.mark.parametrize("description", [DICOM, FHIR], ids=["stored", "gzip"])
@pytest.mark.parametrize("size_bytes", SIZES)
def test_what_was_sealed_comes_out_again(size_bytes: int, description: ContentDescription) -> None:
    content = random.Random(size_bytes).randbytes(size_bytes)

    sealed, file = seal(content, description)
    opened, output = unseal(sealed, file)

    assert output == content
    assert opened.metadata == sealed.metadata
    assert opened.metadata.content_bytes == size_bytes
    assert opened.metadata.file_name == description.file_name
    assert opened.content_root == sealed.content_root
    assert opened.commitment == sealed.commitment
    assert sealed.size_bytes == len(file)
    assert sealed.cid == cid_of_stream(io.BytesIO(file))


@given(
    content=st.binary(max_size=70_000),
    content_type=st.sampled_from(["image/png", "text/plain", "application/fhir+json"]),
    file_name=st.text(st.characters(codec="utf-8", categories=["L", "N"]), max_size=20),
    authored_ms=st.integers(0, 2**64 - 1),
)
def test_any_content_comes_out_with_its_description(
    content: bytes, content_type: str, file_name: str, authored_ms: int
) -> None:
    description = ContentDescription(
        content_type=content_type, file_name=file_name, authored_ms=authored_ms
    )

    sealed, file = seal(content, description)
    opened, output = unseal(sealed, file)

    assert output == content
    assert opened.metadata.authored_ms == authored_ms
    assert opened.metadata.content_type == content_type


def test_real_records_come_out_as_they_went_in(shared_data: Path) -> None:
    types = {".json": "application/fhir+json", ".dcm": "application/dicom", ".png": "image/png"}
    types |= {".xml": "application/xml", ".pdf": "application/pdf", ".ndjson": "application/ndjson"}
    paths = [path for path in sorted((shared_data / "emr").rglob("*.*")) if path.suffix in types]
    ratios = {}

    for path in paths:
        content = path.read_bytes()
        description = replace(DICOM, content_type=types[path.suffix], file_name=path.name)
        sealed, file = seal(content, description)
        assert unseal(sealed, file)[1] == content
        ratios[path] = len(content) / len(file)

    assert len(paths) == 44
    bundles = [ratio for path, ratio in ratios.items() if path.name.startswith("d")]
    assert len(bundles) == 29
    assert min(bundles) > 8


def test_a_sealed_file_shows_nothing_but_its_header_and_a_padded_size() -> None:
    sizes = set()

    for length in (0, 1, 700, 9_000, 16_000):
        _, file = seal(b"\x00" * length)
        sizes.add(len(file))
        assert file.startswith(b"\x89MLSR\r\n\x1a")
        assert b"dicom" not in file
        assert b"chest" not in file

    assert sizes == {HEADER_END + PADDED_BYTES_MIN + 16}
    assert HEADER_END - 10 <= HEADER_BYTES_MAX


def test_the_size_of_a_sealed_file_is_padme_over_all_that_is_inside() -> None:
    sealed, file = seal(bytes(1_000_000))

    inside = 12 + len(encode(sealed.metadata)) + 1_000_000

    chunks = -(-padded_bytes(inside) // CHUNK_BYTES)
    assert len(file) == HEADER_END + padded_bytes(inside) + 16 * chunks


def test_two_seals_of_the_same_content_share_nothing_but_the_commitment() -> None:
    content = b"the same words" * 5_000
    sink = io.BytesIO()
    first, first_file = seal(content)

    second = seal_stream(
        io.BytesIO(content),
        sink,
        description=DICOM,
        context=replace(CONTEXT, seal_id=SealId(b"T" * 16)),
        keys=make_seal_secrets(KEYS.opening),
    )

    assert second.commitment == first.commitment
    assert second.cid != first.cid
    blocks = {first_file[n : n + 16] for n in range(HEADER_END, len(first_file) - 16)}
    other = sink.getvalue()
    assert not any(other[n : n + 16] in blocks for n in range(HEADER_END, len(other) - 16))


@pytest.mark.parametrize("description", [DICOM, FHIR], ids=["stored", "gzip"])
def test_a_new_seal_keeps_content_commitment_and_metadata(description: ContentDescription) -> None:
    content = random.Random(7).randbytes(300_000)
    sealed, file = seal(content, description)
    new_context = replace(CONTEXT, seal_id=SealId(b"N" * 16))
    new_keys = make_seal_secrets(KEYS.opening)
    sink = io.BytesIO()

    again = reseal_stream(
        io.BytesIO(file),
        sink,
        context=CONTEXT,
        keys=KEYS,
        cid=sealed.cid,
        commitment=sealed.commitment,
        new_context=new_context,
        new_keys=new_keys,
    )
    opened, output = unseal(again, sink.getvalue(), new_keys, new_context)

    assert output == content
    assert opened.metadata == sealed.metadata
    assert again.commitment == sealed.commitment
    assert again.cid != sealed.cid
    assert again.size_bytes == sealed.size_bytes


def test_sealing_starts_where_the_source_stands() -> None:
    source = io.BytesIO(b"skipped" + b"sealed")
    source.seek(7)
    sink = io.BytesIO()

    sealed = seal_stream(source, sink, description=DICOM, context=CONTEXT, keys=KEYS)

    assert unseal(sealed, sink.getvalue())[1] == b"sealed"


@pytest.mark.parametrize("size_bytes", [0, 70_000, 9_000_000])
@pytest.mark.parametrize("description", [DICOM, FHIR], ids=["stored", "gzip"])
def test_a_pipe_is_spooled_and_seals_to_the_same_commitment(
    size_bytes: int, description: ContentDescription, tmp_path: Path
) -> None:
    content = random.Random(size_bytes).randbytes(size_bytes)
    reading, writing = os.pipe()

    def feed() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(content)

    feeder = threading.Thread(target=feed)
    feeder.start()
    sink = io.BytesIO()
    with os.fdopen(reading, "rb") as pipe:
        spool = spool_encrypted(pipe, bytes_max=10_000_000, directory=tmp_path)
    with spool:
        sealed = seal_stream(spool, sink, description=description, context=CONTEXT, keys=KEYS)
    feeder.join()

    assert unseal(sealed, sink.getvalue())[1] == content
    assert sealed.commitment == seal(content, description)[0].commitment


def test_a_pipe_that_delivers_more_than_a_record_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContentTooLarge):
        spool_encrypted(io.BytesIO(bytes(1_001)), bytes_max=1_000, directory=tmp_path)


class Full:
    """A sink that takes nothing now, as a pipe that is not blocking does."""

    def write(self, _piece: object) -> None:
        return None


def test_a_sink_that_takes_nothing_stops_the_sealing() -> None:
    source = io.BytesIO(b"x")

    with pytest.raises(BlockingIOError):
        seal_stream(source, Full(), description=DICOM, context=CONTEXT, keys=KEYS)


class Shrinking(io.BytesIO):
    """A file that somebody cut or extended after its size was taken."""

    def __init__(self, content: bytes, now: bytes) -> None:
        super().__init__(content)
        self.now = now

    @override
    def seek(self, offset: int, whence: int = 0) -> int:
        place = super().seek(offset, whence)
        if whence == 0:
            self.truncate(0)
            super().seek(0)
            self.write(self.now)
            super().seek(offset)
        return place


@pytest.mark.parametrize("description", [DICOM, FHIR], ids=["stored", "gzip"])
@pytest.mark.parametrize("now", [b"a" * 9, b"a" * 11, b"a" * 3_000_000, b""])
def test_a_file_that_changes_while_it_is_sealed_is_refused(
    now: bytes, description: ContentDescription
) -> None:
    source = Shrinking(b"a" * 10, now)

    with pytest.raises(SourceChanged):
        seal_stream(source, io.BytesIO(), description=description, context=CONTEXT, keys=KEYS)


def test_more_content_than_a_record_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_module, "CONTENT_BYTES_MAX", 10)

    with pytest.raises(ContentTooLarge):
        seal(b"12345678901")


@pytest.mark.parametrize(
    "file_name",
    ["a/b", "..", ".", "a\\b", "C:x", "new\nline", "nul\x00", "bell\x07", 'quo"te', "a\u202eb"],
)
def test_a_file_name_that_is_more_than_a_name_is_refused(file_name: str) -> None:
    with pytest.raises(ValueError, match="file name"):
        seal(b"", replace(DICOM, file_name=file_name))


@pytest.mark.parametrize(
    "content_type", ["dicom", "Image/PNG", "a/b/c", "a/b;", "a/b\nc", "/", "a/"]
)
def test_a_content_type_that_is_none_is_refused(content_type: str) -> None:
    with pytest.raises(ValueError, match="media type"):
        seal(b"", replace(DICOM, content_type=content_type))


def test_a_file_name_of_more_than_255_bytes_is_refused() -> None:
    with pytest.raises(EncodeError):
        seal(b"", replace(DICOM, file_name="é" * 128))


def test_a_decomposed_file_name_is_sealed_composed() -> None:
    sealed, file = seal(b"", replace(DICOM, file_name="Befund Mu\u0308ller.pdf"))

    assert unseal(sealed, file)[0].metadata.file_name == "Befund M\u00fcller.pdf"


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/fhir+json", True),
        ("application/fhir+json; charset=utf-8", True),
        ("application/json", True),
        ("text/csv", True),
        ("application/cda+xml", True),
        ("application/fhir+ndjson", True),
        ("image/svg+xml", True),
        ("image/png", False),
        ("application/pdf", False),
        ("application/dicom", False),
        ("application/zip", False),
        ("application/octet-stream", False),
    ],
)
def test_the_content_type_alone_decides_about_compression(
    content_type: str, expected: bool
) -> None:
    sealed, _ = seal(random.Random(1).randbytes(100), replace(DICOM, content_type=content_type))

    assert is_compressible(content_type) is expected
    assert (sealed.metadata.compression is Compression.GZIP) is expected


def test_content_compressed_by_any_gzip_opens() -> None:
    # A browser's gzip writes other bytes than ours: the metadata block must not depend on them.
    content = b'{"resourceType": "Patient"}' * 2_000
    ours, _ = seal(content, FHIR)
    theirs = gzip.compress(content, compresslevel=1, mtime=12345)
    block = encode(ours.metadata)
    inside = len(block).to_bytes(4, "big") + len(theirs).to_bytes(8, "big") + block + theirs
    file = seal_inside(inside + bytes(padded_bytes(len(inside)) - len(inside)))

    sealed = claim(file, block, content)

    assert sealed.commitment == ours.commitment
    assert unseal(sealed, file)[1] == content


class Trickle:
    """A source and a sink that serve one short piece at a time, as sockets do."""

    def __init__(self, content: bytes = b"") -> None:
        self.rest = memoryview(content)
        self.taken = bytearray()

    def readinto(self, buffer: memoryview) -> int:
        count = min(1_999, len(buffer), len(self.rest))
        buffer[:count] = self.rest[:count]
        self.rest = self.rest[count:]
        return count

    def write(self, piece: memoryview) -> int:
        self.taken += piece[:1_777]
        return len(piece[:1_777])


def test_streams_that_serve_short_pieces_make_no_difference() -> None:
    content = random.Random(3).randbytes(200_000)
    sealed, file = seal(content)
    sink = Trickle()

    open_stream(
        Trickle(file),
        sink,
        context=CONTEXT,
        keys=KEYS,
        cid=sealed.cid,
        commitment=sealed.commitment,
    )

    assert bytes(sink.taken) == content


class Zeros:
    """A seekable source of zeros that takes no memory."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.place = 0

    def readinto(self, buffer: memoryview) -> int:
        count = min(len(buffer), self.size_bytes - self.place)
        self.place += count
        return count

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = 0) -> int:
        self.place = self.size_bytes + offset if whence == 2 else offset
        return self.place


@pytest.mark.parametrize("description", [DICOM, FHIR], ids=["stored", "gzip"])
def test_memory_does_not_grow_with_the_content(
    description: ContentDescription, tmp_path: Path
) -> None:
    path = tmp_path / "sealed"
    tracemalloc.start()

    with path.open("wb") as sink:
        sealed = seal_stream(
            Zeros(120 << 20), sink, description=description, context=CONTEXT, keys=KEYS
        )
    with path.open("rb") as source, (tmp_path / "opened").open("wb") as sink:
        open_stream(
            source,
            sink,
            context=CONTEXT,
            keys=KEYS,
            cid=sealed.cid,
            commitment=sealed.commitment,
        )
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (tmp_path / "opened").stat().st_size == 120 << 20
    assert peak_bytes < 24 << 20
    assert encode_cid_text(sealed.cid).startswith("b")


def test_secrets_do_not_show_in_a_representation() -> None:
    secrets = make_seal_secrets()

    assert secrets.dek.hex() not in repr(secrets).encode().hex()
    assert repr(secrets) == "SealSecrets()"
