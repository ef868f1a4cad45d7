"""Which start of a replica speaks: a statement that it signs at each start with its vote key.

Two processes with one key, a copy and its original, speak under different boot ids, and whoever
hears both can show each of them the other's statement. The signature proves it, so that nobody
else can say that a replica was copied. It covers fixed-width, big-endian fields:

    domain || chain id (32) || epoch (8) || replica (2) || number (8) || boot id (16) || seen (16)
"""

import struct
from dataclasses import dataclass
from typing import ClassVar, Final

from crypto.hashing import ChainId, Domain
from crypto.schema import U64, Bytes16, Bytes64
from crypto.validators import Epoch, ReplicaId

NOBODY: Final = bytes(16)
"""`seen` of a start that was shown no stranger with its key."""

_FIELDS: Final = struct.Struct(">QHQ16s16s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """Says: I am the `number`th start of this replica, `boot_id`, and I am alive.

    `seen` is the boot id of a stranger with the same key that this start was shown, or zeros. A
    stranger that finds its own boot id there knows that the other one is alive: nobody could have
    named it before it was drawn.
    """

    WIRE_BYTES_MAX: ClassVar[int] = 160

    epoch: Epoch
    replica: ReplicaId
    number: U64
    boot_id: Bytes16
    seen: Bytes16
    signature: Bytes64


def boot_preimage(
    chain_id: ChainId, epoch: Epoch, replica: ReplicaId, number: int, boot_id: bytes, seen: bytes
) -> bytes:
    """Return the bytes that a boot statement signs."""
    fields = _FIELDS.pack(epoch, replica, number, boot_id, seen)
    return Domain.BOOT.value + chain_id + fields
