"""Everything that disks, crashes and operators may do wrong to this room, each with a stable code.

Each message names the file or directory, what is wrong with it, and the way out.
"""

from pathlib import Path
from typing import Final

REBUILD: Final = (
    "move the ledger directory aside and start the node, which rebuilds the ledger from its peers;"
    " leave the journal where it is"
)
"""The way out of damage that no copy of one block mends."""


class StorageError(Exception):
    """Root of the room's errors; `code` is stable and may be shown to a user."""

    code: str = "storage.error"


class DiskFull(StorageError):
    """No room left, or none above the reserve that keeps the node alive; nothing was written."""

    code = "storage.full"


class DiskFailed(StorageError):
    """The operating system could not do what was asked of a file."""

    code = "storage.disk"


class DatabaseMissing(StorageError):
    """There is no ledger database where one was expected."""

    code = "database.missing"


class DatabaseExists(StorageError):
    """A new ledger database was asked for where one is already."""

    code = "database.exists"


class DatabaseLocked(StorageError):
    """Another process has the ledger database open."""

    code = "database.locked"


class DatabaseCorrupt(StorageError):
    """LevelDB's own checksums say that a file of the database changed."""

    code = "database.corrupt"


class DatabaseClosed(StorageError):
    """A read or write after the database was closed: the node is stopping."""

    code = "database.closed"


class DatabaseForeign(StorageError):
    """The database belongs to another chain, or another version of its format."""

    code = "database.foreign"


class BlockCorrupt(StorageError):
    """A stored block is not the one that was decided; a verified copy may replace it."""

    code = "block.corrupt"

    def __init__(self, height: int, path: Path, problem: str) -> None:
        super().__init__(
            f"block {height} in the database {path} is damaged ({problem});"
            " a copy from a peer can replace it"
        )
        self.height = height


class ReceiptsCorrupt(StorageError):
    """The stored receipts of a block are not those of its execution; a copy may replace them."""

    code = "receipts.corrupt"

    def __init__(self, height: int, path: Path, problem: str) -> None:
        super().__init__(
            f"the receipts of block {height} in the database {path} are damaged ({problem});"
            " a copy from a peer can replace them"
        )
        self.height = height


class StateCorrupt(StorageError):
    """A stored state entry or tree node does not have the hash that the chain commits to."""

    code = "state.corrupt"


class BlockNotOurs(StorageError):
    """A block offered as a replacement is not the one that was decided at this height."""

    code = "block.not_ours"


class ChainConflict(StorageError):
    """A second, different block was decided at one height: the ledger's safety is broken."""

    code = "chain.conflict"


class HeightPruned(StorageError):
    """The state at this height is too old to be proven, or not there yet."""

    code = "state.height"


class HistoryPruned(StorageError):
    """The block is decided, and what is asked of it is not kept here any more."""

    code = "history.pruned"

    def __init__(self, height: int, whole_from: int) -> None:
        super().__init__(
            f"block {height} is decided; this node keeps transactions and receipts from block"
            f" {whole_from} on: ask a node that keeps more"
        )
        self.height = height


class ArrivalBroken(StorageError):
    """A snapshot that was put together does not have its root: this node's own disk or memory."""

    code = "snapshot.broken"


class JournalMissing(StorageError):
    """No vote journal: what this node has voted is not known any more."""

    code = "journal.missing"


class JournalExists(StorageError):
    """A new vote journal was asked for where one is already."""

    code = "journal.exists"


class JournalCorrupt(StorageError):
    """The vote journal changed on disk in a way that no crash explains."""

    code = "journal.corrupt"


class JournalFull(StorageError):
    """The journal reached its limit; dropping decided records by a rotation makes room."""

    code = "journal.full"


class JournalFailed(StorageError):
    """An earlier write or flush failed, so nothing may be taken for durable any more."""

    code = "journal.failed"


class BlobMissing(StorageError):
    """The blob is not here; a peer may hold it."""

    code = "blob.missing"


class BlobCorrupt(StorageError):
    """A stored blob is not the one its content address stands for; it was put aside."""

    code = "blob.corrupt"


class BlobMismatch(StorageError):
    """The uploaded bytes are not those that the content address or the size stands for."""

    code = "blob.mismatch"


class BlobErased(StorageError):
    """The blob was erased for good; it is never taken again."""

    code = "blob.erased"


class BlobTooLarge(StorageError):
    """Above the largest blob this node takes."""

    code = "blob.too_large"


class BlobStoreFull(StorageError):
    """The quota of the blob store is spent."""

    code = "blob.quota"


class TooManyUploads(StorageError):
    """As many uploads as this node serves at a time are open; try again later."""

    code = "blob.busy"


class SidecarMissing(StorageError):
    """The sidecar is not here; a peer may hold it, if it was not erased."""

    code = "sidecar.missing"


class SidecarCorrupt(StorageError):
    """A stored sidecar, or the pack it stands in, changed on disk and was dropped."""

    code = "sidecar.corrupt"


class SidecarsFull(StorageError):
    """The sidecar store has reached its limit."""

    code = "sidecar.full"


class LeaseTaken(StorageError):
    """Another process runs on this node directory."""

    code = "node.running"


class LayoutInvalid(StorageError):
    """The node directory lacks something, or shows it to other users of the machine."""

    code = "node.directory"
