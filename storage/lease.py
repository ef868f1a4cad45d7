"""The lease: one process per node directory, or two would vote with one key."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.errors import LeaseTaken
from storage.files import named_disk_errors

LOCKS: Final = Path("/proc/locks")


@dataclass(slots=True)
class Lease:
    """A held lock; it ends with `release_lease` or with the process, however that ends."""

    path: Path
    descriptor: int


def take_lease(path: Path) -> Lease:
    """Lock the lease file of a node directory; raise `LeaseTaken` naming who holds it.

    The lock is a flock: the kernel lets go of it when the process dies, so no stale lease blocks
    a restart, and the process id inside is for people only.
    """
    with named_disk_errors(path):
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise LeaseTaken(
                f"process {holder or 'unknown'} already runs on {path.parent}: stop it first;"
                " two processes with one key would sign conflicting votes"
            ) from problem
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
    return Lease(path, descriptor)


def find_holder(path: Path) -> int | None:
    """Return the process that runs on a node directory, without getting in its way; None: nobody.

    Trying the lock would for a moment keep out a node that starts just then. Where the system does
    not list its locks, a living process with the id in the file is taken for the holder.
    """
    try:
        found = path.stat()
        told = path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    try:
        lines = LOCKS.read_text(encoding="ascii").splitlines()
    except OSError:
        return int(told) if told.isdecimal() and _is_alive(int(told)) else None
    place = f":{found.st_ino}"
    for line in lines:
        words = line.split()
        if len(words) > 5 and words[1] == "FLOCK" and words[5].endswith(place):
            return int(words[4])
    return None


def release_lease(lease: Lease) -> None:
    """Let another process take the directory."""
    os.close(lease.descriptor)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
