"""Frames: the unit in which bytes travel between two nodes, and their incremental parser.

A frame is `u32 body length | u8 kind | u32 request id | body`, integers big-endian. Kinds below
`FIRST_KIND` are the room's own and are listed here; the others belong to whoever uses the room.
The request id is 0 for a message nobody answers; else it joins the frames of one conversation and
is chosen by the side that asked. `docs/p2p.md` describes the conversations.

The parser is sans-I/O: bytes in any portions go in, whole frames come out. A length is compared
with the limit of its kind before one byte of the body is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct
from typing import Final, TypeAlias

from p2p.codes import CODE_BYTES_MAX
from p2p.errors import FrameError, FrameTooLarge, UnknownKind

Frame: TypeAlias = tuple[int, int, bytes]
"""(kind, request id, body); a bare tuple because there are a million of them a second."""

HEADER: Final = Struct(">IBI")
HEADER_BYTES: Final = HEADER.size
KIND_COUNT: Final = 256
FIRST_KIND: Final = 32
"""The lowest kind that the room's users may give a meaning."""

SHARED_BYTES_MAX: Final = 64 * 1024
"""Body limit of every lane below consensus: the most that a consensus frame waits behind."""

REQUEST_ID_MAX: Final = 2**32 - 1
UNKNOWN: Final = -1
"""Stands in a limit table for a kind that is refused."""


class Control(IntEnum):
    """The room's own kinds."""

    PING = 1  # u64 chosen by the sender, returned in PONG
    PONG = 2
    WELCOME = 3  # u8: 1 = you are a member here, 0 = you are a guest; first frame of the acceptor
    GOODBYE = 4  # code: why the sender closes
    REPLY = 5  # the last (or only) part of the answer to a request
    REPLY_PART = 6  # an earlier part of a long answer
    FAILED = 7  # code: the request is refused, or its stream ends unfinished
    CANCEL = 8  # the asking side has lost interest, or cannot go on
    STREAM_CHUNK = 9  # one portion of a streamed answer
    STREAM_END = 10  # the streamed answer is complete
    STREAM_WINDOW = 11  # u32: the asking side takes so many bytes more
    PUSH_CHUNK = 12  # one portion of an upload
    PUSH_END = 13  # the upload is complete
    PUSH_WINDOW = 14  # u32: the answering side takes so many bytes more


CONTROL_BYTES_MAX: Final[Mapping[Control, int]] = {
    Control.PING: 8,
    Control.PONG: 8,
    Control.WELCOME: 1,
    Control.GOODBYE: CODE_BYTES_MAX,
    Control.REPLY: SHARED_BYTES_MAX,
    Control.REPLY_PART: SHARED_BYTES_MAX,
    Control.FAILED: CODE_BYTES_MAX,
    Control.CANCEL: 0,
    Control.STREAM_CHUNK: SHARED_BYTES_MAX,
    Control.STREAM_END: 0,
    Control.STREAM_WINDOW: 4,
    Control.PUSH_CHUNK: SHARED_BYTES_MAX,
    Control.PUSH_END: 0,
    Control.PUSH_WINDOW: 4,
}


@dataclass(slots=True, kw_only=True)
class Parser:
    """What one connection has delivered and not yet made into frames.

    `limits` has a body limit in bytes for each of the 256 kinds, `UNKNOWN` to refuse it. `rest`
    is the beginning of an unfinished frame, `needed` the least length at which it is worth another
    look. Once `breach` is set nothing more is parsed: the connection has lost its framing.
    """

    limits: tuple[int, ...]
    rest: bytearray = field(default_factory=bytearray)
    needed: int = HEADER_BYTES
    breach: FrameError | None = None


def make_limits(kinds: Mapping[int, int]) -> tuple[int, ...]:
    """Return the limit table of the room's own kinds together with those of its user."""
    limits = [UNKNOWN] * KIND_COUNT
    for control, bytes_max in CONTROL_BYTES_MAX.items():
        limits[control] = bytes_max
    for kind, bytes_max in kinds.items():
        assert FIRST_KIND <= kind < KIND_COUNT, "kinds below FIRST_KIND are the room's own"
        assert 0 <= bytes_max < 2**32, "a length has 32 bits"
        limits[kind] = bytes_max
    return tuple(limits)


def encode_frame(kind: int, request_id: int, body: bytes) -> bytes:
    return HEADER.pack(len(body), kind, request_id) + body


def feed(parser: Parser, chunk: bytes) -> list[Frame]:
    """Take in the next bytes of a connection; return the frames they complete, in order.

    After a breach the frames before it are still returned, and `parser.breach` says what it was.
    """
    if parser.breach is not None:
        return []
    rest = parser.rest
    if rest:
        rest += chunk
        if len(rest) < parser.needed:
            return []
        chunk = bytes(rest)
        rest.clear()
    return _split(parser, chunk)


def _split(parser: Parser, chunk: bytes) -> list[Frame]:
    limits = parser.limits
    unpack = HEADER.unpack_from
    frames: list[Frame] = []
    offset, end = 0, len(chunk)
    needed = HEADER_BYTES
    while end - offset >= HEADER_BYTES:
        length, kind, request_id = unpack(chunk, offset)
        if length > limits[kind]:
            parser.breach = _make_breach(kind, length, limits[kind])
            return frames
        start = offset + HEADER_BYTES
        stop = start + length
        if stop > end:
            needed = HEADER_BYTES + length
            break
        frames.append((kind, request_id, chunk[start:stop]))
        offset = stop
    parser.needed = needed
    if offset < end:
        parser.rest += chunk[offset:]
    return frames


def _make_breach(kind: int, length: int, limit: int) -> FrameError:
    if limit == UNKNOWN:
        return UnknownKind(f"kind {kind}")
    return FrameTooLarge(f"{length} bytes of kind {kind}, at most {limit}")
