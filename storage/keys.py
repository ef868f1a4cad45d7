"""Every key of the ledger database and of the sidecar index; nothing else builds one.

Integers are big-endian, so LevelDB's byte order is chain order. `sealed` rows open with 16 bytes
of a digest over key and value (`storage.rows`); the others are checked through what they name.

| key | value |
|---|---|
| `b"m"`, name | about the chain: `format`, `chain`, `tip`, `oldest` provable, `history`; sealed |
| `b"m"`, `arrival` | how far a ledger under way is (`storage.arrivals`); sealed |
| `b"b"`, height u64, state key | an entry of a state before the first provable one; sealed |
| `b"h"`, height u64 | header and commit certificate of a block, as they were signed; sealed |
| `b"t"`, height u64, index u32 | tx id 32, valid_until_ms u64, signed transaction; sealed |
| `b"r"`, height u64, index u32 | receipt; sealed |
| `b"i"`, tx id 32 | height u64, index u32 |
| `b"l"`, subject 32, height u64, index u32, number u32 | empty: an event of the subject's log |
| `b"c"`, sidecar digest 32, height u64 | state key whose entry keeps the sidecar alive |
| `b"f"`, state key | value of a state entry at the tip |
| `b"n"`, node key | node of the state tree; starts with the version (height) that wrote it |
| `b"s"`, version u64, page u32 | node keys that this version made stale, each after its u8 length |

| key of the sidecar index | value |
|---|---|
| `b"d"`, sidecar digest 32 | id of the pack that holds it, u64 |
| `b"w"` | every pack with a lower id is indexed, durably; u64 |
"""

import struct
from dataclasses import dataclass
from typing import Final

META: Final = b"m"
BEFORE: Final = b"b"
HEADERS: Final = b"h"
TRANSACTIONS: Final = b"t"
RECEIPTS: Final = b"r"
TX_INDEX: Final = b"i"
LOG: Final = b"l"
SIDECARS: Final = b"c"
STATE: Final = b"f"
NODES: Final = b"n"
STALE: Final = b"s"

FORMAT_KEY: Final = META + b"format"
CHAIN_KEY: Final = META + b"chain"
TIP_KEY: Final = META + b"tip"
OLDEST_KEY: Final = META + b"oldest"
HISTORY_KEY: Final = META + b"history"
ARRIVAL_KEY: Final = META + b"arrival"

PACK_WATERMARK_KEY: Final = b"w"

SUBJECT_BYTES: Final = 32
HEIGHT_MAX: Final = 2**64 - 1
U32_MAX: Final = 2**32 - 1

_HEIGHT: Final = struct.Struct(">Q")
_PLACE: Final = struct.Struct(">QI")
_LOG_PLACE: Final = struct.Struct(">QII")
_STALE_PLACE: Final = struct.Struct(">QI")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a transaction stands."""

    height: int
    index: int


@dataclass(frozen=True, slots=True, order=True)
class LogPlace:
    """Where an event stands: the transaction's place and the event's number in its receipt."""

    height: int
    index: int
    number: int


def before_key(height: int, key: bytes) -> bytes:
    return BEFORE + _HEIGHT.pack(height) + key


def header_key(height: int) -> bytes:
    return HEADERS + _HEIGHT.pack(height)


def transaction_key(height: int, index: int) -> bytes:
    return TRANSACTIONS + _PLACE.pack(height, index)


def transactions_prefix(height: int) -> bytes:
    return TRANSACTIONS + _HEIGHT.pack(height)


def receipt_key(height: int, index: int) -> bytes:
    return RECEIPTS + _PLACE.pack(height, index)


def receipts_prefix(height: int) -> bytes:
    return RECEIPTS + _HEIGHT.pack(height)


def tx_index_key(tx_id: bytes) -> bytes:
    return TX_INDEX + tx_id


def log_key(subject: bytes, place: LogPlace) -> bytes:
    return log_prefix(subject) + _LOG_PLACE.pack(place.height, place.index, place.number)


def log_prefix(subject: bytes) -> bytes:
    assert len(subject) == SUBJECT_BYTES, "a subject is a pseudonym of 32 bytes"
    return LOG + subject


def sidecar_key(digest: bytes, height: int) -> bytes:
    return sidecar_prefix(digest) + _HEIGHT.pack(height)


def sidecar_prefix(digest: bytes) -> bytes:
    assert len(digest) == 32, "a sidecar digest has 32 bytes"
    return SIDECARS + digest


def state_key(key: bytes) -> bytes:
    return STATE + key


def node_key(key: bytes) -> bytes:
    return NODES + key


def stale_key(version: int, page: int) -> bytes:
    return STALE + _STALE_PLACE.pack(version, page)


def pack_index_key(digest: bytes) -> bytes:
    assert len(digest) == 32, "a sidecar digest has 32 bytes"
    return b"d" + digest


def encode_place(place: Place) -> bytes:
    return _PLACE.pack(place.height, place.index)


def decode_place(value: bytes) -> Place:
    return Place(*_PLACE.unpack(value))


def height_of(key: bytes) -> int:
    """Return the height in a `h`, `t` or `r` key, or the version in an `s` key."""
    height: int = _HEIGHT.unpack_from(key, 1)[0]
    return height


def index_of(key: bytes) -> int:
    """Return the index in a `t` or `r` key."""
    return _PLACE.unpack_from(key, 1)[1]  # type: ignore[no-any-return]


def log_place_of(key: bytes) -> LogPlace:
    return LogPlace(*_LOG_PLACE.unpack_from(key, 1 + SUBJECT_BYTES))


def sidecar_height_of(key: bytes) -> int:
    height: int = _HEIGHT.unpack_from(key, 33)[0]
    return height
