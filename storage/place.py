"""Where a node directory last ran: what tells a directory from a copy of it.

At each start the file `place` names the boot id of that start, the inodes of the directory, of its
`journal/` and of the file itself, and the machine. A copy has other inodes, whatever made it (cp,
rsync, tar, another disk); a part put back from a backup names starts that the other part does not
know. A directory renamed within its file system has kept its inodes, and is no copy: the original
is gone. What restores the whole disk under the file system (a snapshot of a virtual machine, dd)
cannot be seen from here; the other replicas see it (`consensus.hearing`).

Device numbers are not compared, because they change from boot to boot, nor times of change,
because a `chown -R` at each start of a container changes them.
"""

import fcntl
import os
import struct
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from crypto.errors import DecodeError
from crypto.hashing import Digest, Domain, digest
from crypto.schema import U64, Bytes16, decode, encode
from crypto.votes import NO_DIGEST
from storage.files import SYSTEM_FILES, Files, named_disk_errors
from storage.layout import NodeLayout

MACHINE_ID: Final = Path("/etc/machine-id")

_GET_GENERATION: Final = 0x80087601
"""FS_IOC_GETVERSION: ext4, XFS and Btrfs give each new inode another generation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the start `boot_id` ran.

    `directory`, `journal` and `own` are inodes, `own` that of the file itself with its
    `generation` (0 where the file system tells none); `machine` is the digest of the machine's
    id, or zeros.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 128

    boot_id: Bytes16
    directory: U64
    journal: U64
    own: U64
    generation: U64
    machine: Digest


def find_move(
    layout: NodeLayout, boot_ids: Container[bytes], *, machine_id: Path = MACHINE_ID
) -> str | None:
    """Say why this is not the directory whose last starts were `boot_ids`, if it is not."""
    if not layout.place.exists():
        return "this directory was copied or restored: its file `place` is missing"
    try:
        with named_disk_errors(layout.place), layout.place.open("rb") as file:
            kept = decode(Place, file.read())
            here = _look(layout, kept.boot_id, file.fileno(), machine_id)
    except DecodeError:
        return "this directory was copied or restored: its file `place` is damaged"
    if kept.boot_id not in boot_ids:
        return "this directory was restored in part: journal and `place` differ"
    if _inodes(kept) != _inodes(here):
        return "this directory was copied or restored: its inodes are others"
    if NO_DIGEST not in (kept.machine, here.machine) and kept.machine != here.machine:
        return "this directory was moved: it last ran on another machine"
    return None


def keep_place(
    layout: NodeLayout,
    boot_id: bytes,
    *,
    machine_id: Path = MACHINE_ID,
    files: Files = SYSTEM_FILES,
) -> None:
    """Bind the directory to where it is; the start `boot_id` must be durable in the journal.

    Raises `DiskFull` or `DiskFailed`.
    """
    fresh = layout.place.with_name(layout.place.name + ".new")
    files.unlink(fresh)
    descriptor = files.create(fresh)
    try:
        with named_disk_errors(fresh):
            place = _look(layout, boot_id, descriptor, machine_id)
            files.write(descriptor, encode(place), 0)
            files.sync(descriptor)
    finally:
        files.close(descriptor)
    files.rename(fresh, layout.place)
    files.sync_directory(layout.root)


def _inodes(place: Place) -> tuple[int, ...]:
    return place.directory, place.journal, place.own, place.generation


def _look(layout: NodeLayout, boot_id: bytes, descriptor: int, machine_id: Path) -> Place:
    return Place(
        boot_id=boot_id,
        directory=layout.root.stat().st_ino,
        journal=layout.journal.stat().st_ino,
        own=os.fstat(descriptor).st_ino,
        generation=_generation(descriptor),
        machine=_machine(machine_id),
    )


def _generation(descriptor: int) -> int:
    try:
        answer = fcntl.ioctl(descriptor, _GET_GENERATION, bytes(8))
    except OSError:
        return 0  # Not every file system tells.
    return int(struct.unpack("=Q", answer)[0])


def _machine(machine_id: Path) -> Digest:
    """Return what stands for the machine: its id is not for everybody's eyes."""
    try:
        known = machine_id.read_bytes().strip()
    except OSError:
        return NO_DIGEST
    return digest(Domain.MACHINE, known) if known else NO_DIGEST
