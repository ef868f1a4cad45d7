"""Packs: the sidecars of one batch in one file, so that one flush makes hundreds durable.

    pack     magic 8 || count u32 || table || crc u32 || contents, one after the other
    table    count times: sidecar digest 32 || length u32

Integers are big-endian; the crc is of everything before it. Contents prove themselves by their
digests. A pack is never changed: to erase some sidecars of it, it is replaced by one without them.
"""

import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crypto.envelopes import check_sidecar
from crypto.errors import SidecarMismatch
from crypto.hashing import Digest

MAGIC: Final = b"mlsidec\x01"
PACK_SIDECARS_MAX: Final = 1 << 16

_HEAD: Final = struct.Struct(">8sI")
_ENTRY: Final = struct.Struct(">32sI")
_CRC: Final = struct.Struct(">I")


class PackDamaged(Exception):
    """The table of a pack, or one of its contents, is not what was written."""


@dataclass(frozen=True, slots=True)
class PackTable:
    """Where the contents of a pack are: (offset, length) in bytes by digest."""

    places: Mapping[Digest, tuple[int, int]]
    size_bytes: int


def encode_pack(contents: Mapping[Digest, bytes]) -> bytes:
    """Return the bytes of a pack."""
    assert len(contents) <= PACK_SIDECARS_MAX, "a batch of sidecars is bounded"
    table = b"".join(_ENTRY.pack(digest, len(content)) for digest, content in contents.items())
    head = _HEAD.pack(MAGIC, len(contents)) + table
    return b"".join((head, _CRC.pack(zlib.crc32(head)), *contents.values()))


def read_table(path: Path) -> PackTable:
    """Return where everything is; raise `PackDamaged`, or `FileNotFoundError`."""
    with path.open("rb") as file:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size or not head.startswith(MAGIC):
            raise PackDamaged("it does not begin like a pack of this version")
        count = _HEAD.unpack(head)[1]
        if count > PACK_SIDECARS_MAX:
            raise PackDamaged("its table does not have its checksum")
        table = file.read(count * _ENTRY.size)
        crc = file.read(_CRC.size)
        size_bytes = os.fstat(file.fileno()).st_size
    if crc != _CRC.pack(zlib.crc32(head + table)):
        raise PackDamaged("its table does not have its checksum")
    places = {}
    offset = _HEAD.size + len(table) + _CRC.size
    for digest, length in _ENTRY.iter_unpack(table):
        places[Digest(digest)] = (offset, length)
        offset += length
    if offset != size_bytes:
        raise PackDamaged(f"it has {size_bytes} bytes where {offset} belong")
    return PackTable(places, size_bytes)


def read_content(path: Path, table: PackTable, digest: Digest) -> bytes:
    """Return one sidecar of the pack; raise `PackDamaged`, or `FileNotFoundError`."""
    offset, length = table.places[digest]
    with path.open("rb") as file:
        content = os.pread(file.fileno(), length, offset)
    try:
        check_sidecar(digest, content)
    except SidecarMismatch as problem:
        raise PackDamaged(str(problem)) from problem
    return content


def read_contents(
    path: Path, table: PackTable, *, without: Iterable[Digest]
) -> dict[Digest, bytes]:
    """Return the sidecars of a pack but for some, leaving out those that are damaged."""
    left_out = set(without)
    kept: dict[Digest, bytes] = {}
    for digest in table.places:
        if digest in left_out:
            continue
        try:
            kept[digest] = read_content(path, table, digest)
        except PackDamaged:
            continue  # A peer has it; what is damaged is not carried on.
    return kept
