"""The node directory: what lies where, and who may look."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from storage.errors import LayoutInvalid
from storage.files import SYSTEM_FILES


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """The paths inside one node directory."""

    root: Path

    @property
    def config(self) -> Path:
        """Settings a hospital chooses."""
        return self.root / "node.toml"

    @property
    def genesis(self) -> Path:
        """The consortium's founding document; its digest is the chain id."""
        return self.root / "genesis.json"

    @property
    def invite(self) -> Path:
        """What this node joined with; a founding node has none."""
        return self.root / "invite.json"

    @property
    def keys(self) -> Path:
        """Encrypted keystores."""
        return self.root / "keys"

    @property
    def ledger(self) -> Path:
        """The LevelDB database: blocks, receipts, state and indexes."""
        return self.root / "ledger"

    @property
    def arriving(self) -> Path:
        """A ledger that is being put together from a snapshot."""
        return self.root / "ledger.arriving"

    @property
    def arrived(self) -> Path:
        """One that is whole, and takes the ledger's place at the next start."""
        return self.root / "ledger.arrived"

    @property
    def former(self) -> Path:
        """The ledger that it replaced, until it is removed."""
        return self.root / "ledger.former"

    @property
    def journal(self) -> Path:
        """What this node has voted."""
        return self.root / "journal"

    @property
    def blobs(self) -> Path:
        """Sealed records by content address."""
        return self.root / "blobs"

    @property
    def sidecars(self) -> Path:
        """Erasable bytes that travel with transactions."""
        return self.root / "sidecars"

    @property
    def lease(self) -> Path:
        """Locked by the process that runs on this directory."""
        return self.root / "lease"

    @property
    def place(self) -> Path:
        """Where this directory last ran: a copy of it is found out by this file."""
        return self.root / "place"

    @property
    def ended(self) -> Path:
        """What the last process on this directory said when it ended."""
        return self.root / "ended.json"

    def diverged(self, height: int) -> Path:
        """What this node computed at a height where a quorum decided something else."""
        return self.root / f"diverged-{height}.json"

    @property
    def directories(self) -> tuple[Path, ...]:
        return (self.keys, self.ledger, self.journal, self.blobs, self.sidecars)


def make_layout(root: Path) -> NodeLayout:
    """Make a node directory, or complete one, readable by its owner alone.

    Raises `DiskFull` or `DiskFailed`.
    """
    layout = NodeLayout(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    for directory in (root, *layout.directories):
        SYSTEM_FILES.make_directory(directory)
        directory.chmod(0o700)
    SYSTEM_FILES.sync_directory(root)
    SYSTEM_FILES.sync_directory(root.parent)
    return layout


def check_layout(root: Path) -> NodeLayout:
    """Return the layout of an existing node directory.

    Raises `LayoutInvalid` for a missing part, or one that other users of the machine may enter.
    """
    layout = NodeLayout(root)
    if not root.is_dir():
        raise LayoutInvalid(
            f"there is no node directory {root}: make one with `medledger init` or `join`"
        )
    for file in (layout.config, layout.genesis):
        if not file.is_file():
            raise LayoutInvalid(f"{file} is missing: restore it, or join the consortium again")
    if not layout.ledger.exists() and (layout.arrived.is_dir() or layout.place.exists()):
        # A crash while one took the other's place, or an operator who moved a damaged one aside:
        # the node rebuilds it from its peers, and its journal knows what it has signed.
        SYSTEM_FILES.make_directory(layout.ledger)
        layout.ledger.chmod(0o700)
    for directory in (root, *layout.directories):
        if not directory.is_dir():
            raise LayoutInvalid(f"{directory} is missing: restore it, or join again")
        _check_private(directory)
    return layout


def _check_private(directory: Path) -> None:
    found = directory.stat()
    if found.st_uid != os.geteuid():
        raise LayoutInvalid(
            f"{directory} belongs to user {found.st_uid}, the node runs as {os.geteuid()}:"
            f" chown it, or run the node as its owner"
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise LayoutInvalid(f"{directory} is open to other users: chmod 700 {directory}")
