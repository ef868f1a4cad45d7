"""Looking for damage: quickly before a node starts, and thoroughly while its operator waits.

Both are generators of what they find and how far they are, so that the caller may show progress,
breathe, or stop. A finding names the file, what is wrong and the way out. Damaged blobs are put
aside and damaged sidecars dropped on the way, for they must not be served.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from crypto.cid import Cid
from crypto.errors import CryptoError
from crypto.hashing import Digest
from crypto.schema import decode
from crypto.votes import CommitCertificate
from ledger.blocks import Header, genesis_header_digest, header_digest
from ledger.tree.cache import NodeCache
from ledger.tree.errors import NodeCorrupt, NodeMissing
from ledger.tree.leaves import iterate_leaves
from storage.blob_reads import check_blob
from storage.blobs import BlobStore, iterate_blobs
from storage.blocks import get_block, get_header, get_stored_header, state_root_after
from storage.chain import Chain
from storage.errors import (
    REBUILD,
    BlockCorrupt,
    ReceiptsCorrupt,
    StateCorrupt,
    StorageError,
)
from storage.journal import read_journal
from storage.keys import HEADERS, STATE, header_key, height_of, state_key
from storage.receipts import get_encoded_receipts
from storage.sidecars import SidecarStore, check_sidecars
from storage.world import StoredNodes, state_root

LAST_BLOCKS: Final = 64
LEAVES_PER_STEP: Final = 1_000
WALK_NODES_MAX: Final = 1_000

CheckCertificate: TypeAlias = Callable[[Header, CommitCertificate], None]
"""Raises `InvalidCertificate` unless the replica set of that height signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something damaged; `text` names the file, what is wrong with it and the way out.

    `height` or `cid` say which block or blob a peer's copy could mend.
    """

    code: str
    text: str
    height: int | None = None
    cid: Cid | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a check is: `done` of `total` of `what`."""

    what: str
    done: int
    total: int


Report: TypeAlias = Iterator[Finding | Progress]


def check_start(
    chain: Chain,
    journal_directory: Path,
    *,
    last_blocks: int = LAST_BLOCKS,
    check_certificate: CheckCertificate | None = None,
) -> Report:
    """Check what a node is about to rely on: the tip, the last blocks, the state, the journal."""
    yield from _check_journal(journal_directory)
    yield from _check_tip(chain)
    first = max(chain.history.headers_from, chain.tip.height - last_blocks + 1)
    yield from _check_blocks(chain, first, check_certificate)
    yield from _check_roots(chain, first)


def check_everything(
    chain: Chain,
    journal_directory: Path,
    blobs: BlobStore,
    sidecars: SidecarStore,
    *,
    check_certificate: CheckCertificate | None = None,
) -> Report:
    """Check every block, every state entry, every blob and every sidecar."""
    yield from _check_journal(journal_directory)
    yield from _check_tip(chain)
    yield from _check_blocks(chain, chain.history.headers_from, check_certificate)
    yield from _check_roots(chain, 1)
    yield from _check_state(chain)
    yield from _check_blobs(blobs)
    yield from _check_all_sidecars(sidecars)


def findings(report: Report) -> list[Finding]:
    """Run a check to its end and return what it found."""
    return [one for one in report if isinstance(one, Finding)]


def _check_journal(directory: Path) -> Report:
    try:
        read_journal(directory)
    except StorageError as problem:
        yield _finding(problem)
    yield Progress(what="journal", done=1, total=1)


def _check_tip(chain: Chain) -> Report:
    """The tip names the last stored block, and nothing is stored above it."""
    tip, path = chain.tip, chain.database.path
    try:
        header = get_header(chain, tip.height)
        if header is not None and header_digest(header) != tip.digest:
            yield _finding(BlockCorrupt(tip.height, path, "it is not the block the tip names"))
        for key, _ in chain.database.scan(HEADERS, start=header_key(tip.height + 1)):
            problem = f"a block above the tip, which is {tip.height}"
            yield _finding(BlockCorrupt(height_of(key), path, problem))
    except StorageError as problem:
        yield _finding(problem)
    yield Progress(what="tip", done=1, total=1)


def _check_blocks(chain: Chain, first: int, check_certificate: CheckCertificate | None) -> Report:
    """Every block was decided, continues the one before it, and is whole if it is kept whole."""
    total = chain.tip.height - first + 1
    for done, height in enumerate(range(first, chain.tip.height + 1), start=1):
        try:
            _check_block(chain, height, check_certificate)
        except StorageError as problem:
            yield _finding(problem)
        try:
            get_encoded_receipts(chain, height)
        except ReceiptsCorrupt as problem:
            yield _finding(problem)
        except BlockCorrupt:
            pass  # The header that carries the root is told in its own turn.
        yield Progress(what="blocks", done=done, total=total)


def _check_block(chain: Chain, height: int, check_certificate: CheckCertificate | None) -> None:
    path = chain.database.path
    stored, header = get_stored_header(chain, height), get_header(chain, height)
    assert stored is not None, "heights up to the tip have blocks"
    assert header is not None, "heights up to the tip have headers"
    get_block(chain, height)
    try:
        certificate = decode(CommitCertificate, stored.certificate)
        if check_certificate is not None:
            check_certificate(header, certificate)
    except CryptoError as problem:
        raise BlockCorrupt(height, path, f"its certificate: {problem}") from problem
    if (certificate.height, certificate.digest) != (height, header_digest(header)):
        raise BlockCorrupt(height, path, "its certificate is of another block")
    if header.parent != _digest_before(chain, header):
        raise BlockCorrupt(height, path, "it does not continue the block before it")


def _digest_before(chain: Chain, header: Header) -> Digest:
    """Return the digest of the stored parent; a damaged one is told in its own turn."""
    if header.height == 1:
        return genesis_header_digest(chain.chain_id)
    if header.height == chain.history.headers_from:
        return header.parent  # The first that a snapshot brought: a certificate stands for it.
    try:
        parent = get_header(chain, header.height - 1)
    except BlockCorrupt:
        return header.parent
    assert parent is not None, "heights up to the tip have headers"
    return header_digest(parent)


def _check_roots(chain: Chain, first: int) -> Report:
    """The stored trees have the roots that headers and tip carry, as far as they are kept."""
    for height in range(max(first, chain.world.oldest_provable), chain.tip.height + 1):
        try:
            if state_root(chain.world, height) != state_root_after(chain, height):
                yield _finding(
                    StateCorrupt(
                        f"the state tree in {chain.database.path} does not have the root of height"
                        f" {height}: {REBUILD}"
                    )
                )
        except StorageError as problem:
            yield _finding(problem)
    yield Progress(what="state roots", done=1, total=1)


def _check_state(chain: Chain) -> Report:
    """The entries that contracts read are those of the tree that the chain commits to."""
    nodes = NodeCache(StoredNodes(chain.database), nodes_max=WALK_NODES_MAX)
    count = 0
    try:
        for _, key, value in iterate_leaves(nodes, chain.tip.height):
            if chain.database.get(state_key(key)) != value:
                yield _finding(_other_entry(chain, key))
            count += 1
            if count % LEAVES_PER_STEP == 0:
                yield Progress(what="state entries", done=count, total=count)
        rows = sum(1 for _ in chain.database.scan(STATE))
        if rows != count:
            yield _finding(
                StateCorrupt(
                    f"the database {chain.database.path} has {rows} state entries where the tree"
                    f" has {count}: {REBUILD}"
                )
            )
    except (NodeCorrupt, NodeMissing, StorageError) as problem:
        yield Finding(
            code=StateCorrupt.code,
            text=f"the state in {chain.database.path} is damaged ({problem}): {REBUILD}",
        )
    yield Progress(what="state entries", done=count, total=count)


def _other_entry(chain: Chain, key: bytes) -> StateCorrupt:
    return StateCorrupt(
        f"the state entry {key!r} in {chain.database.path} is not that of the state tree: {REBUILD}"
    )


def _check_blobs(blobs: BlobStore) -> Report:
    done_bytes, total_bytes = 0, max(1, blobs.stored_bytes)
    for cid, size_bytes in list(iterate_blobs(blobs)):
        steps = check_blob(blobs, cid)
        try:
            for _ in steps:
                yield Progress(what="blob bytes", done=done_bytes, total=total_bytes)
        except StorageError as problem:
            yield Finding(code=problem.code, text=str(problem), cid=cid)
        done_bytes += size_bytes
    yield Progress(what="blob bytes", done=done_bytes, total=total_bytes)


def _check_all_sidecars(sidecars: SidecarStore) -> Report:
    steps = check_sidecars(sidecars)
    done, problems = 0, ()
    while True:
        try:
            next(steps)
        except StopIteration as finished:
            problems = finished.value
            break
        done += 1
        yield Progress(what="packs of sidecars", done=done, total=done)
    for text in problems:
        yield Finding(code="sidecar.corrupt", text=text)


def _finding(problem: StorageError) -> Finding:
    height = problem.height if isinstance(problem, BlockCorrupt | ReceiptsCorrupt) else None
    return Finding(code=problem.code, text=str(problem), height=height)
