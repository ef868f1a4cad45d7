"""STREAM over AES-256-GCM: a plaintext as 64 KiB chunks that cannot be cut, swapped or extended.

Chunk i is sealed with the nonce `prefix (7) || i, u32 big-endian || last (1)`: its position and
whether it is the last are part of what authenticates it (Hoang, Reyhanitabar, Rogaway, Vizar,
"Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015, §7). The
opener demands the last mark on the last chunk and nothing behind it.

Both directions work on blocks of 16 chunks in two fixed buffers and cost no copy of the content.
"""

from collections.abc import Callable, Iterator
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.errors import ChunkTampered, SealedError, SealedTruncated, TrailingBytes
from crypto.padding import PADDED_BYTES_MIN
from crypto.sealed_format import CHUNK_BYTES, TAG_BYTES
from crypto.streams import Buffer, Readable, read_into

SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + TAG_BYTES
BLOCK_CHUNKS: Final = 16
BLOCK_BYTES: Final = BLOCK_CHUNKS * CHUNK_BYTES
SEALED_BLOCK_BYTES: Final = BLOCK_CHUNKS * SEALED_CHUNK_BYTES


def chunk_nonce(prefix: bytes, position: int, *, is_last: bool) -> bytes:
    """Return the nonce of the chunk at `position`, from 0."""
    return prefix + position.to_bytes(4, "big") + (b"\x01" if is_last else b"\x00")


class ChunkSealer:
    """Seals a plaintext of known length; sealed bytes go to `emit` as views that do not last.

    The caller writes into `room()`, then says with `advance` how much: content is read from its
    file straight into the block that is encrypted.
    """

    __slots__ = (
        "_aead",
        "_block",
        "_emit",
        "_filled",
        "_left_bytes",
        "_position",
        "_prefix",
        "_sealed",
    )

    def __init__(
        self,
        *,
        chunk_key: bytes,
        nonce_prefix: bytes,
        plaintext_bytes: int,
        emit: Callable[[memoryview], None],
    ) -> None:
        assert plaintext_bytes >= 1, "the last chunk is not empty"
        self._aead = AESGCM(chunk_key)
        self._prefix = nonce_prefix
        self._emit = emit
        self._block = memoryview(bytearray(min(BLOCK_BYTES, plaintext_bytes)))
        chunks = -(-len(self._block) // CHUNK_BYTES)
        self._sealed = memoryview(bytearray(chunks * SEALED_CHUNK_BYTES))
        self._filled = 0
        self._position = 0
        self._left_bytes = plaintext_bytes  # Still to be sealed, the open block included.

    def room(self) -> memoryview:
        """Return where the next plaintext goes; empty once the whole plaintext is there."""
        return self._block[self._filled : min(len(self._block), self._left_bytes)]

    def advance(self, count: int) -> None:
        """Say that `count` bytes of `room()` are plaintext now."""
        self._filled += count
        if self._filled == min(len(self._block), self._left_bytes):
            self._flush()

    def write(self, piece: Buffer) -> None:
        """Take the next bytes of the plaintext, by copy."""
        rest = memoryview(piece)
        while rest:
            room = self.room()
            assert room, "a plaintext keeps its announced length"
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self.advance(count)
            rest = rest[count:]

    def write_zeros(self) -> None:
        """Fill the rest of the plaintext with zeros."""
        while room := self.room():
            room[:] = bytes(len(room))
            self.advance(len(room))

    def finish(self) -> None:
        """Hold the caller to the announced length."""
        assert self._left_bytes == 0, "a plaintext keeps its announced length"

    def _flush(self) -> None:
        sealed_end = 0
        for start in range(0, self._filled, CHUNK_BYTES):
            chunk = self._block[start : min(start + CHUNK_BYTES, self._filled)]
            self._left_bytes -= len(chunk)
            nonce = chunk_nonce(self._prefix, self._position, is_last=self._left_bytes == 0)
            target = self._sealed[sealed_end : sealed_end + len(chunk) + TAG_BYTES]
            self._aead.encrypt_into(nonce, chunk, None, target)
            sealed_end += len(target)
            self._position += 1
        self._filled = 0
        self._emit(self._sealed[:sealed_end])


class ChunkOpener:
    """Opens the chunks that `source` holds up to its end; tells every sealed byte to `on_sealed`.

    `plaintext_bytes_declared` is set by the caller as soon as it has read it inside the first
    block; it only sharpens what a failure is called.
    """

    __slots__ = (
        "_aead",
        "_on_sealed",
        "_prefix",
        "_source",
        "plaintext_bytes_declared",
    )

    def __init__(
        self,
        *,
        source: Readable,
        chunk_key: bytes,
        nonce_prefix: bytes,
        on_sealed: Callable[[memoryview], None],
    ) -> None:
        self._source = source
        self._aead = AESGCM(chunk_key)
        self._prefix = nonce_prefix
        self._on_sealed = on_sealed
        self.plaintext_bytes_declared: int | None = None

    def blocks(self) -> Iterator[memoryview]:
        """Yield the authenticated plaintext: the first chunk, then up to 1 MiB at a time.

        A view lasts until the next is asked for. Raises `SealedTruncated`, `TrailingBytes` or
        `ChunkTampered`. Reading one block ahead is what tells which chunk is the last.
        """
        block = memoryview(bytearray(SEALED_CHUNK_BYTES))
        block_bytes = read_into(self._source, block)
        if block_bytes == 0:
            raise SealedTruncated("the file ends before its first chunk")
        # Most records are one chunk: they never pay for the large buffers.
        is_long = block_bytes == SEALED_CHUNK_BYTES
        ahead = memoryview(bytearray(SEALED_BLOCK_BYTES if is_long else 1))
        plaintext = memoryview(bytearray(BLOCK_BYTES if is_long else block_bytes))
        position = 0
        while block_bytes > 0:
            ahead_bytes = read_into(self._source, ahead)
            sealed, is_last = block[:block_bytes], ahead_bytes == 0
            self._on_sealed(sealed)
            yield plaintext[: self._open_block(sealed, plaintext, position, ends=is_last)]
            position += -(-block_bytes // SEALED_CHUNK_BYTES)
            if len(block) < len(ahead):
                block = memoryview(bytearray(len(ahead)))
            block, ahead, block_bytes = ahead, block, ahead_bytes

    def _open_block(
        self, block: memoryview, plaintext: memoryview, position: int, *, ends: bool
    ) -> int:
        """Decrypt one block into `plaintext`; return how many bytes that made."""
        opened_end = 0
        for start in range(0, len(block), SEALED_CHUNK_BYTES):
            chunk = block[start : start + SEALED_CHUNK_BYTES]
            is_last = ends and start + SEALED_CHUNK_BYTES >= len(block)
            target = plaintext[opened_end : opened_end + max(0, len(chunk) - TAG_BYTES)]
            if not target or not self._opens(chunk, target, position, is_last=is_last):
                raise self._diagnosis(chunk, position, is_last=is_last)
            opened_end += len(target)
            position += 1
        return opened_end

    def _opens(
        self, chunk: memoryview, target: memoryview, position: int, *, is_last: bool
    ) -> bool:
        nonce = chunk_nonce(self._prefix, position, is_last=is_last)
        try:
            self._aead.decrypt_into(nonce, chunk, None, target)
        except InvalidTag:
            return False
        return True

    def _diagnosis(self, chunk: memoryview, position: int, *, is_last: bool) -> SealedError:
        """Say what is wrong with a chunk that does not open where it stands."""
        opened_bytes = len(chunk) - TAG_BYTES
        scratch = memoryview(bytearray(max(1, opened_bytes)))
        if opened_bytes > 0 and self._opens(chunk, scratch, position, is_last=not is_last):
            if is_last:
                return SealedTruncated(
                    f"the file ends after chunk {position}, which is not its last"
                )
            return TrailingBytes(f"chunk {position} is the last, but the file goes on")
        end_bytes = position * CHUNK_BYTES + opened_bytes
        declared_bytes = self.plaintext_bytes_declared
        if declared_bytes is not None:
            is_cut = is_last and end_bytes < declared_bytes
            is_extended = end_bytes > declared_bytes or (
                end_bytes == declared_bytes and not is_last
            )
        else:
            is_cut, is_extended = is_last and end_bytes < PADDED_BYTES_MIN, False
        if is_cut:
            return SealedTruncated(f"the file ends inside chunk {position}")
        if is_extended:
            return TrailingBytes(f"chunk {position} should be the last and is too long")
        return ChunkTampered(f"chunk {position} is damaged or not this file's")
