"""Whether and how content is compressed before it is sealed.

Compression leaks when secret text and text that an attacker chose share one stream: the sealed size
then tells whether the two agree (CRIME, BREACH). Therefore one stream holds one document of one
author, nothing of the transport or of anybody else is compressed with it, and the padded size hides
the rest (`crypto.padding`). What is compressed is decided by the content type alone, never by
trying, so that the size tells nothing about which way the trial went.
"""

import zlib
from collections.abc import Callable
from typing import Final

from crypto.errors import CompressionInvalid, LengthMismatch
from crypto.streams import Buffer

GZIP_LEVEL: Final = 6
_GZIP_WINDOW: Final = 31  # zlib's spelling of: a gzip member with the largest window.
_PIECE_BYTES: Final = 1 << 20

_COMPRESSIBLE_TYPES: Final = frozenset(
    {
        "application/csv",
        "application/fhir+ndjson",
        "application/hl7-v2",
        "application/javascript",
        "application/json",
        "application/ndjson",
        "application/rtf",
        "application/x-ndjson",
        "application/xml",
    }
)


def is_compressible(content_type: str) -> bool:
    """Whether content of this media type is text that gzip shrinks (FHIR about 17 times)."""
    kind = content_type.split(";")[0].strip()
    return (
        kind.startswith("text/")
        or kind in _COMPRESSIBLE_TYPES
        or kind.endswith(("+json", "+xml", "+ndjson"))
    )


class Deflater:
    """Makes one gzip member, without a name or a time in it; output goes to `write`."""

    __slots__ = ("_deflate", "_write")

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._deflate = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        self._write = write

    def update(self, piece: Buffer) -> None:
        """Take the next bytes of the original."""
        self._write(self._deflate.compress(piece))

    def finish(self) -> None:
        """Close the member."""
        self._write(self._deflate.flush())


class Inflater:
    """Opens exactly one gzip member of exactly `content_bytes`; never inflates beyond that."""

    __slots__ = ("_inflate", "_left_bytes", "_write")

    def __init__(self, content_bytes: int, write: Callable[[bytes], None]) -> None:
        self._inflate = zlib.decompressobj(_GZIP_WINDOW)
        self._left_bytes = content_bytes
        self._write = write

    def update(self, piece: Buffer) -> None:
        """Take the next stored bytes.

        Raises `LengthMismatch` when the member holds more than it may, `CompressionInvalid` when
        it is damaged or something follows it.
        """
        waiting: Buffer = piece
        while waiting:
            if self._inflate.eof:
                raise CompressionInvalid("something follows the compressed content")
            waiting = self._step(waiting)

    def finish(self) -> None:
        """Demand the end of the member and all of the declared content."""
        while not self._inflate.eof:
            left_bytes = self._left_bytes
            self._step(b"")  # The last input may stand for more output than one piece.
            if left_bytes == self._left_bytes and not self._inflate.eof:
                raise CompressionInvalid("the compressed content ends too early")
        if self._left_bytes:
            raise LengthMismatch(f"{self._left_bytes} bytes of content are missing")

    def _step(self, waiting: Buffer) -> bytes:
        """Inflate up to one piece; return what was not consumed."""
        output_max = min(
            _PIECE_BYTES, self._left_bytes + 1
        )  # One more shows a bomb; 0 is no limit.
        try:
            output = self._inflate.decompress(waiting, output_max)
        except zlib.error as problem:
            raise CompressionInvalid(f"not a gzip member: {problem}") from problem
        if len(output) > self._left_bytes:
            raise LengthMismatch("the content is longer than its metadata declares")
        self._left_bytes -= len(output)
        if output:
            self._write(output)
        return self._inflate.unconsumed_tail or self._inflate.unused_data
