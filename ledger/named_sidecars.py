"""Which sidecars a state entry names: for a node that has the state, but not its history.

Whoever executes a block hears from its contracts which sidecars each entry keeps alive. A node that
took the state from a snapshot reads the same from the entries themselves.
"""

from typing import Final

from crypto.cid import Cid
from crypto.hashing import Digest
from crypto.schema import decode
from ledger.accounts import DirectoryEntry, directory_key
from ledger.records_state import Seal, seal_key

_SEALS: Final = seal_key(Cid(b""))
_NOTES: Final = directory_key(b"", b"")


def named_sidecars(state_key: bytes, value: bytes) -> tuple[Digest, ...]:
    """Return the digests of the sidecars that an entry written by our contracts keeps alive."""
    if state_key.startswith(_SEALS):
        return tuple(one.sidecar for one in decode(Seal, value).envelopes)
    if state_key.startswith(_NOTES):
        return (decode(DirectoryEntry, value).note,)
    return ()
