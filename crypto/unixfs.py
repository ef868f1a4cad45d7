"""The content address of a byte stream: IPFS's `unixfs-v1-2025` profile, in constant memory.

A stream is cut into leaves of 1 MiB; a stream of at most one leaf is addressed by that raw leaf.
Longer ones become a balanced tree: nodes of at most 1,024 links, each node a dag-pb block with
UnixFS data, each link carrying the address and sizes of its part. Every level is filled from the
left, so the tree, and with it the address, follows from the list of leaf digests and the length
alone: `LeafIndex` is therefore all a reader needs to verify each leaf of a large blob as it
arrives, from several sources, in any order.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from crypto.cid import DAG_PB, RAW, Cid, make_cid
from crypto.errors import InvalidLeafIndex, LeafMismatch
from crypto.schema import Bytes32, Count, Range
from crypto.streams import Buffer, Readable, read_into

LEAF_BYTES: Final = 1 << 20
NODE_LINKS_MAX: Final = 1024
LEAVES_MAX: Final = 1 << 16
BLOB_BYTES_MAX: Final = LEAVES_MAX * LEAF_BYTES
"""64 GiB: bounds the leaf index to about 2 MiB; far above any record."""

_UNIXFS_FILE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafIndex:
    """The SHA-256 of every 1 MiB leaf of one blob, in order; checked against `cid` before use."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = LEAVES_MAX * 34 + 64

    cid: Cid
    size_bytes: Annotated[int, Range(0, BLOB_BYTES_MAX)]
    leaf_digests: Annotated[tuple[Bytes32, ...], Count(1, LEAVES_MAX)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """One part of a node: its address, the content below it, and that plus all node bytes."""

    cid: Cid
    content_bytes: int
    dag_bytes: int


class LeafHasher:
    """SHA-256 of each consecutive 1 MiB of a stream, told to `on_leaf(sha256, size_bytes)`."""

    __slots__ = ("_leaf", "_on_leaf", "_room", "size_bytes")

    def __init__(self, on_leaf: Callable[[bytes, int], None]) -> None:
        self._leaf = hashlib.sha256()
        self._on_leaf = on_leaf
        self._room = LEAF_BYTES
        self.size_bytes = 0

    def update(self, piece: Buffer) -> None:
        """Take the next bytes of the stream; pieces may have any size."""
        rest = memoryview(piece)
        self.size_bytes += len(rest)
        while len(rest) >= self._room:
            self._leaf.update(rest[: self._room])
            rest = rest[self._room :]
            self._on_leaf(self._leaf.digest(), LEAF_BYTES)
            self._leaf = hashlib.sha256()
            self._room = LEAF_BYTES
        if rest:
            self._leaf.update(rest)
            self._room -= len(rest)

    def finish(self) -> None:
        """Tell the last, shorter leaf, if the stream ended inside one."""
        if self._room < LEAF_BYTES:
            self._on_leaf(self._leaf.digest(), LEAF_BYTES - self._room)


class DagBuilder:
    """The balanced tree over leaves that come one by one; holds at most one open node a level."""

    __slots__ = ("_levels",)

    def __init__(self) -> None:
        self._levels: list[list[_Link]] = []

    def add_leaf(self, sha256: bytes, size_bytes: int) -> None:
        """Append one raw leaf."""
        cid = make_cid(RAW, sha256)
        self._add(0, _Link(cid=cid, content_bytes=size_bytes, dag_bytes=size_bytes))

    def finish(self) -> Cid:
        """Close all open nodes and return the root's address; an empty stream is one empty leaf."""
        if not self._levels:
            return make_cid(RAW, hashlib.sha256().digest())
        height = 0
        while height < len(self._levels) - 1 or len(self._levels[height]) > 1:
            if self._levels[height]:
                self._close(height)
            height += 1
        return self._levels[height][0].cid

    def _add(self, height: int, link: _Link) -> None:
        if height == len(self._levels):
            self._levels.append([])
        self._levels[height].append(link)
        if len(self._levels[height]) == NODE_LINKS_MAX:
            self._close(height)

    def _close(self, height: int) -> None:
        links, self._levels[height] = self._levels[height], []
        self._add(height + 1, _make_node(links))


class CidHasher:
    """The content address of a stream, bytes in, like an object of `hashlib`."""

    __slots__ = ("_dag", "_leaves")

    def __init__(self) -> None:
        self._dag = DagBuilder()
        self._leaves = LeafHasher(self._dag.add_leaf)

    @property
    def size_bytes(self) -> int:
        """Bytes taken so far."""
        return self._leaves.size_bytes

    def update(self, piece: Buffer) -> None:
        """Take the next bytes of the stream; pieces may have any size."""
        self._leaves.update(piece)

    def finish(self) -> Cid:
        """Return the address; call once."""
        self._leaves.finish()
        return self._dag.finish()


def cid_of_stream(source: Readable) -> Cid:
    """Return the content address of everything that `source` still holds."""
    hasher = CidHasher()
    _feed(source, hasher.update)
    return hasher.finish()


def make_leaf_index(source: Readable) -> LeafIndex:
    """Return the leaf digests and address of everything that `source` still holds.

    Raises `InvalidLeafIndex` above `BLOB_BYTES_MAX`.
    """
    digests: list[bytes] = []
    dag = DagBuilder()

    def on_leaf(sha256: bytes, size_bytes: int) -> None:
        if len(digests) == LEAVES_MAX:
            raise InvalidLeafIndex(f"more than {BLOB_BYTES_MAX} bytes")
        digests.append(sha256)
        dag.add_leaf(sha256, size_bytes)

    leaves = LeafHasher(on_leaf)
    _feed(source, leaves.update)
    leaves.finish()
    return LeafIndex(
        cid=dag.finish(),
        size_bytes=leaves.size_bytes,
        leaf_digests=tuple(digests) or (hashlib.sha256().digest(),),
    )


def check_leaf_index(cid: Cid, index: LeafIndex) -> None:
    """Raise `InvalidLeafIndex` unless `index` is the one list of leaves behind `cid`."""
    if index.cid != cid:
        raise InvalidLeafIndex("the index is of another content address")
    if len(index.leaf_digests) != leaf_count(index.size_bytes):
        raise InvalidLeafIndex(f"{len(index.leaf_digests)} leaves for {index.size_bytes} bytes")
    dag = DagBuilder()
    for position, sha256 in enumerate(index.leaf_digests):
        dag.add_leaf(sha256, leaf_bytes(index.size_bytes, position))
    if dag.finish() != cid:
        raise InvalidLeafIndex("the leaves do not lead to the content address")


def check_leaf(index: LeafIndex, position: int, leaf: Buffer) -> None:
    """Raise `LeafMismatch` unless `leaf` is the 1 MiB (or last rest) at `position`, from 0."""
    if not 0 <= position < len(index.leaf_digests):
        raise LeafMismatch(f"leaf {position} of {len(index.leaf_digests)}")
    wanted_bytes = leaf_bytes(index.size_bytes, position)
    if memoryview(leaf).nbytes != wanted_bytes:
        raise LeafMismatch(
            f"leaf {position} has {memoryview(leaf).nbytes} bytes, not {wanted_bytes}"
        )
    if hashlib.sha256(leaf).digest() != index.leaf_digests[position]:
        raise LeafMismatch(f"leaf {position} has another digest")


def leaf_count(size_bytes: int) -> int:
    """Return how many leaves a blob of this size has; an empty one has one empty leaf."""
    return max(1, -(-size_bytes // LEAF_BYTES))


def leaf_bytes(size_bytes: int, position: int) -> int:
    """Return the length of the leaf at `position` of a blob of `size_bytes`."""
    return min(LEAF_BYTES, size_bytes - position * LEAF_BYTES)


def _feed(source: Readable, update: Callable[[Buffer], None]) -> None:
    block = memoryview(bytearray(LEAF_BYTES))
    while (count := read_into(source, block)) > 0:
        update(block[:count])


def _make_node(links: list[_Link]) -> _Link:
    """Encode one inner node: dag-pb puts the links before the UnixFS data of the node itself."""
    content_bytes = sum(link.content_bytes for link in links)
    unixfs = b"".join(
        (
            _integer_field(1, _UNIXFS_FILE),
            _integer_field(3, content_bytes),
            *(_integer_field(4, link.content_bytes) for link in links),
        )
    )
    block = b"".join((*map(_encode_link, links), _bytes_field(1, unixfs)))
    return _Link(
        cid=make_cid(DAG_PB, hashlib.sha256(block).digest()),
        content_bytes=content_bytes,
        dag_bytes=len(block) + sum(link.dag_bytes for link in links),
    )


def _encode_link(link: _Link) -> bytes:
    fields = _bytes_field(1, link.cid) + _bytes_field(2, b"") + _integer_field(3, link.dag_bytes)
    return _bytes_field(2, fields)


def _integer_field(number: int, value: int) -> bytes:
    """Protobuf wire type 0."""
    return _varint(number << 3) + _varint(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    """Protobuf wire type 2."""
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
