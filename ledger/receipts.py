"""Receipts: what became of each transaction of a block, and the events its log is made of."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, TypeAlias

from crypto.hashing import Digest
from crypto.schema import U32, U64, Bytes32, Count, Name, Size

EVENTS_MAX: Final = 1_024
EVENT_FIELDS_MAX: Final = 16
ACCEPTED_CODE: Final = "ok"

EventValue: TypeAlias = U64 | Annotated[bytes, Size(0, 64)] | Annotated[str, Size(0, 128)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A typed, small fact.

    `subject` is the pseudonym in whose log it stands, None for nobody's.
    """

    kind: Name
    subject: Bytes32 | None
    fields: Annotated[tuple[tuple[Name, EventValue], ...], Count(0, EVENT_FIELDS_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of the transaction at `index` of block `height`.

    `code` is `ok`, or the stable code of the refusal; then the only event, if any, names what was
    wrong.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 1 << 20

    tx_id: Digest
    height: U64
    index: U32
    accepted: bool
    code: Name
    events: Annotated[tuple[Event, ...], Count(0, EVENTS_MAX)]
