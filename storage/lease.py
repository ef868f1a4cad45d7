"""The lease: one process per node directory, or two would vote with one key."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from storage.errors import LeaseTaken
from storage.files import named_disk_errors


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


def release_lease(lease: Lease) -> None:
    """Let another process take the directory."""
    os.close(lease.descriptor)
