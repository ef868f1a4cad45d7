"""A temporary that never holds plaintext on disk: for pipes, whose length is not known, and gzip.

Up to 8 MiB stay in memory; beyond that the bytes go to a nameless temporary file, encrypted under a
key that lives in this object only. What a crash leaves behind is noise.
"""

import contextlib
import secrets
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.errors import ContentTooLarge, SpoolDamaged
from crypto.streams import Buffer, Readable, read_into

MEMORY_BYTES_MAX: Final = 8 << 20
_CHUNK_BYTES: Final = 256 << 10
_TAG_BYTES: Final = 16


class Spool:
    """Write everything, `rewind`, read everything (again); `size_bytes` is what was written."""

    __slots__ = ("_aead", "_chunk", "_file", "_filled", "_position", "_unread", "size_bytes")

    def __init__(self, directory: Path | None = None) -> None:
        self._aead = AESGCM(secrets.token_bytes(32))
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115 (closed by `close`)
            max_size=MEMORY_BYTES_MAX, dir=None if directory is None else str(directory)
        )
        self._chunk = memoryview(bytearray(_CHUNK_BYTES))
        self._filled = 0
        self._position = 0
        self._unread = memoryview(b"")
        self.size_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, piece: Buffer) -> None:
        """Append bytes."""
        rest = memoryview(piece)
        self.size_bytes += len(rest)
        while rest:
            count = min(_CHUNK_BYTES - self._filled, len(rest))
            self._chunk[self._filled : self._filled + count] = rest[:count]
            self._filled += count
            rest = rest[count:]
            if self._filled == _CHUNK_BYTES:
                self._flush()

    def rewind(self) -> None:
        """Go to the start for reading; nothing more can be written."""
        if self._filled:
            self._flush()
        self._file.seek(0)
        self._position = 0
        self._unread = memoryview(b"")

    def readinto(self, buffer: memoryview) -> int:
        """Fill some of `buffer`; 0 at the end. Raises `SpoolDamaged`."""
        if not self._unread:
            self._unread = memoryview(self._next_chunk())
        count = min(len(buffer), len(self._unread))
        buffer[:count] = self._unread[:count]
        self._unread = self._unread[count:]
        return count

    def close(self) -> None:
        """Drop the bytes and the key."""
        self._file.close()

    def _flush(self) -> None:
        self._file.write(self._aead.encrypt(self._nonce(), self._chunk[: self._filled], None))
        self._position += 1
        self._filled = 0

    def _next_chunk(self) -> bytes:
        if self._position * _CHUNK_BYTES >= self.size_bytes:
            return b""
        sealed = self._file.read(_CHUNK_BYTES + _TAG_BYTES)
        try:
            opened = self._aead.decrypt(self._nonce(), sealed, None)
        except InvalidTag as problem:
            raise SpoolDamaged("the temporary file changed while it was in use") from problem
        self._position += 1
        return opened

    def _nonce(self) -> bytes:
        return self._position.to_bytes(12, "big")


def spool_encrypted(pipe: Readable, *, bytes_max: int, directory: Path | None = None) -> Spool:
    """Return everything that a pipe delivers as a rewound spool, which the caller closes.

    Raises `ContentTooLarge` above `bytes_max`.
    """
    block = memoryview(bytearray(_CHUNK_BYTES))
    with contextlib.ExitStack() as until_whole:
        spool = until_whole.enter_context(Spool(directory))
        while (count := read_into(pipe, block)) > 0:
            if spool.size_bytes + count > bytes_max:
                raise ContentTooLarge(f"the input holds more than {bytes_max} bytes")
            spool.write(block[:count])
        spool.rewind()
        until_whole.pop_all()
    return spool
