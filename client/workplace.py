"""Files that must not outlive their purpose: sealed bytes under way, plaintext before it is shown.

Sealed bytes lie in the wallet's home; plaintext lies beside its final place, readable by its owner
only, and gets its name when everything was verified. Whatever fails, nothing stays behind.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from typing import Final

from client.errors import LocalError
from client.wallet import Wallet

SEALED_FOLDER: Final = "sealed"
PRIVATE_PREFIX: Final = ".medledger-"


@contextmanager
def sealed_file(wallet: Wallet) -> Iterator[tuple[Path, BufferedRandom]]:
    """Yield a fresh private file for sealed bytes; it is removed afterwards."""
    folder = wallet.home / SEALED_FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder)  # 0600
    path = Path(name)
    try:
        with _disk_errors(path), os.fdopen(descriptor, "w+b") as stream:
            yield path, stream
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def unshown_file(folder: Path) -> Iterator[tuple[Path, BufferedRandom]]:
    """Yield a private file for plaintext in `folder`; removed unless `show_file` has renamed it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=PRIVATE_PREFIX)  # 0600
    path = Path(name)
    try:
        with _disk_errors(path), os.fdopen(descriptor, "w+b") as stream:
            yield path, stream
    finally:
        path.unlink(missing_ok=True)


def check_free(target: Path, *, overwrite: bool) -> None:
    """Raise `LocalError` if something has the target's name and must not be replaced."""
    if target.exists() and not overwrite:
        raise LocalError(f"{target} exists; remove it or name another place", code="file.exists")


def show_file(hidden: Path, stream: BufferedRandom, target: Path, *, overwrite: bool) -> None:
    """Give verified plaintext its name, durably; raise `LocalError` if the name was taken."""
    stream.flush()
    os.fsync(stream.fileno())
    if overwrite:
        hidden.replace(target)
        return
    try:
        os.link(hidden, target)  # Unlike a rename, this never replaces what came in between.
    except FileExistsError as problem:
        raise LocalError(
            f"{target} exists; remove it or name another place", code="file.exists"
        ) from problem
    except OSError:  # A file system without links.
        check_free(target, overwrite=False)
        hidden.replace(target)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Say which file the disk failed on."""
    try:
        yield
    except OSError as problem:
        raise LocalError(
            f"{problem.filename or path}: {problem.strerror or problem}; "
            "check the disk's space and permissions",
            code="file.disk",
        ) from problem
