"""Scrubbing: everything stored is read and hashed again in the background, over and over.

A disk that changes bytes says nothing; whoever reads them years later finds out. This finds out
first, at a bounded share of one processor, while other nodes still have the bytes, and has them
mended: blocks, receipts, sidecars and blobs by copies from peers, a state entry by the leaf of the
tree that proves it, and a tree that is damaged itself by a snapshot.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias, TypeVar

from crypto.cid import Cid
from crypto.errors import DecodeError
from crypto.hashing import Digest
from ledger.records_state import get_seal, is_blob_live, iterate_seals
from ledger.tree.cache import NodeCache
from ledger.tree.errors import TreeError
from ledger.tree.leaves import FIRST_KEY_HASH, iterate_leaves
from p2p.errors import P2pError
from shell.blobs import Blobs
from shell.bodies import find_sidecars
from shell.chain import Chain
from shell.fetching import ensure_here
from shell.joining import Joining
from shell.mending import Mending, report_damage, report_damaged_receipts
from shell.sidecars import Sidecars, is_live
from storage.blob_reads import check_blob
from storage.blobs import has_blob, is_erased, iterate_blobs
from storage.blocks import get_block
from storage.errors import BlockCorrupt, ReceiptsCorrupt, StorageError
from storage.keys import LOG, META, SIDECARS, STALE, TX_INDEX, state_key
from storage.receipts import get_encoded_receipts
from storage.sidecars import check_sidecars, has_sidecar, put_sidecars
from storage.world import StoredNodes, state_root

log = logging.getLogger("medledger.scrubbing")

T = TypeVar("T")

FIRST_PASS_S: Final = 5.0
PASS_PAUSE_S: Final = 30.0
SLICE_PAUSE_S: Final = 0.002
LEAVES_AT_ONCE: Final = 64
ROWS_AT_ONCE: Final = 512
SIDECARS_AT_ONCE: Final = 256
NODES_MAX: Final = 1_000
LACKING_MAX: Final = 1 << 16
"""So many of each kind are remembered as not to be had; more are asked for all the same."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something damaged, by its stable code; `text` names it."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Missing:
    """What this node has to keep and does not have: sidecars that live entries name, or a blob."""

    sidecars: tuple[Digest, ...] = ()
    blob: Cid | None = None


Steps: TypeAlias = Generator[Found | Missing | None, None, None]


@dataclass(slots=True, kw_only=True)
class Scrubbing:
    """What is scrubbed, and what has come of it since the start.

    `percent` of one processor is what it may take; `checked` counts portions of work by kind,
    `found` damage by code, `mended` what was put right here (blocks and receipts are counted where
    they are mended). `lacking_blobs` and `lacking_sidecars` are what this node has to keep and
    nobody has given it, each with the pass that asked last.
    """

    chain: Chain
    mending: Mending
    blobs: Blobs
    sidecars: Sidecars
    joining: Joining
    percent: int
    passes: int = 0
    doing: str = ""
    checked: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    mended: Counter[str] = field(default_factory=Counter)
    lacking_blobs: dict[Cid, int] = field(default_factory=dict)
    lacking_sidecars: dict[Digest, int] = field(default_factory=dict)


async def keep_scrubbing(
    scrubbing: Scrubbing, *, first_s: float = FIRST_PASS_S, pause_s: float = PASS_PAUSE_S
) -> None:
    """Begin soon after the start: what a snapshot did not bring is missing until then."""
    await asyncio.sleep(first_s)
    while scrubbing.percent:
        await scrub_once(scrubbing)
        await asyncio.sleep(pause_s)


async def scrub_once(scrubbing: Scrubbing) -> None:
    """Go through everything once; damage is told, counted and mended as it is found."""
    for what, steps in (
        ("missing sidecars", _missing_sidecars(scrubbing)),
        ("missing blobs", _missing_blobs(scrubbing)),
        ("blocks", _blocks(scrubbing)),
        ("state", _state(scrubbing)),
        ("rows", _rows(scrubbing)),
        ("sidecars", _sidecars(scrubbing)),
        ("blobs", _blobs(scrubbing)),
    ):
        scrubbing.doing = what
        try:
            await _run_slowly(scrubbing, what, steps)
        except (StorageError, DecodeError) as problem:
            # It stands on damage of another kind, which has a turn of its own: go on to that.
            scrubbing.found[problem.code] += 1
            log.warning("scrub broken off", extra={"what": what, "reason": str(problem)})
    scrubbing.doing = ""
    _forget_unseen(scrubbing.lacking_blobs, scrubbing.passes)
    _forget_unseen(scrubbing.lacking_sidecars, scrubbing.passes)
    scrubbing.passes += 1


async def _run_slowly(scrubbing: Scrubbing, what: str, steps: Steps) -> None:
    """Take the share of time that it may have, in slices of a few milliseconds."""
    idle = 100 / scrubbing.percent - 1
    started_s = time.perf_counter()
    for step in steps:
        spent_s = time.perf_counter() - started_s
        scrubbing.checked[what] += 1
        match step:
            case Found():
                scrubbing.found[step.code] += 1
                log.warning("scrub found damage", extra={"code": step.code, "reason": step.text})
            case Missing():
                await _fetch(scrubbing, step)
            case None:
                pass
        await asyncio.sleep(max(SLICE_PAUSE_S, spent_s * idle))
        started_s = time.perf_counter()


def _blocks(scrubbing: Scrubbing) -> Steps:
    """Blocks and receipts against their headers, from the oldest to the tip of the moment."""
    stored = scrubbing.chain.stored
    height = stored.history.whole_from
    while height <= stored.tip.height:
        try:
            get_block(stored, height)
            get_encoded_receipts(stored, height)
            yield None
        except BlockCorrupt as problem:
            report_damage(scrubbing.mending, problem.height)
            yield Found(problem.code, str(problem))
        except ReceiptsCorrupt as problem:
            report_damaged_receipts(scrubbing.mending, problem.height)
            yield Found(problem.code, str(problem))
        height = max(height + 1, stored.history.whole_from)


def _state(scrubbing: Scrubbing) -> Steps:
    """The tree of the tip against its root, and every entry against its leaf."""
    chain = scrubbing.chain.stored
    start: bytes | None = FIRST_KEY_HASH
    while start is not None:
        nodes = NodeCache(StoredNodes(chain.database), nodes_max=NODES_MAX)
        try:
            if state_root(chain.world, chain.tip.height) != chain.tip.state_root:
                yield _unmendable(scrubbing, f"the state tree of {chain.database.path}: its root")
                return
            leaves = list(islice(iterate_leaves(nodes, chain.tip.height, start), LEAVES_AT_ONCE))
        except (TreeError, StorageError) as problem:
            yield _unmendable(scrubbing, f"the state tree of {chain.database.path}: {problem}")
            return
        for _, key, value in leaves:
            if _entry_of(scrubbing, key) != value:
                chain.database.put(state_key(key), value)
                scrubbing.mended["state.corrupt"] += 1
                yield Found("state.corrupt", f"the state entry {key!r} was put right by its leaf")
        is_last = len(leaves) < LEAVES_AT_ONCE
        start = None if is_last else _following(leaves[-1][0])
        yield None


def _entry_of(scrubbing: Scrubbing, key: bytes) -> bytes | None:
    try:
        return scrubbing.chain.stored.database.get(state_key(key))
    except StorageError:  # A new row hides the one that cannot be read.
        return None


def _rows(scrubbing: Scrubbing) -> Steps:
    """The rows that nothing else hashes: LevelDB's checksums are verified as they are read."""
    database = scrubbing.chain.stored.database
    for family in (META, TX_INDEX, LOG, SIDECARS, STALE):
        start: bytes | None = family
        while start is not None:
            try:
                keys = [key for key, _ in islice(database.scan(family, start=start), ROWS_AT_ONCE)]
            except StorageError as problem:
                yield _unmendable(scrubbing, str(problem))
                return
            start = keys[-1] + b"\x00" if len(keys) == ROWS_AT_ONCE else None
            yield None


def _sidecars(scrubbing: Scrubbing) -> Steps:
    """Every pack; what is damaged is dropped, so that the next pass finds it missing."""
    problems = yield from check_sidecars(scrubbing.sidecars.store)
    for text in problems:
        yield Found("sidecar.corrupt", text)
    if problems:
        yield from _missing_sidecars(scrubbing)


def _missing_sidecars(scrubbing: Scrubbing) -> Steps:
    chain, store = scrubbing.chain, scrubbing.sidecars.store
    wanted: dict[Digest, None] = {}
    start: bytes | None = SIDECARS
    while start is not None:
        rows = chain.stored.database.scan(SIDECARS, start=start)
        keys = [key for key, _ in islice(rows, ROWS_AT_ONCE)]
        for key in keys:
            digest = Digest(key[1:33])
            if not has_sidecar(store, digest) and is_live(chain, digest):
                wanted[digest] = None
            if len(wanted) == SIDECARS_AT_ONCE:
                yield Missing(sidecars=tuple(wanted))
                wanted.clear()
        start = keys[-1] + b"\x00" if len(keys) == ROWS_AT_ONCE else None
        yield None
    if wanted:
        yield Missing(sidecars=tuple(wanted))


def _blobs(scrubbing: Scrubbing) -> Steps:
    """Every leaf of every blob; a damaged one is put aside by whoever finds it."""
    store = scrubbing.blobs.store
    for cid, _ in list(iterate_blobs(store)):
        try:
            if has_blob(store, cid):
                yield from check_blob(store, cid)
        except StorageError as problem:
            yield Found(problem.code, str(problem))
            if _is_kept(scrubbing, cid):
                yield Missing(blob=cid)


def _missing_blobs(scrubbing: Scrubbing) -> Steps:
    """What this node has promised to keep: a wiped one has the promises, and not the bytes."""
    start = b""
    while True:
        seals = list(iterate_seals(scrubbing.chain.view(), start=start, limit=LEAVES_AT_ONCE))
        for _, seal in seals:
            if not has_blob(scrubbing.blobs.store, seal.cid) and _is_kept(scrubbing, seal.cid):
                yield Missing(blob=seal.cid)
        if len(seals) < LEAVES_AT_ONCE:
            return
        start = seals[-1][0] + b"\x00"
        yield None


def _is_kept(scrubbing: Scrubbing, cid: Cid) -> bool:
    """Whether this node promised to keep a blob that is still to be kept."""
    blobs, view = scrubbing.blobs, scrubbing.chain.view()
    seal = get_seal(view, cid)
    if seal is None or blobs.replica not in seal.stored_by or is_erased(blobs.store, cid):
        return False
    return is_blob_live(view, cid)


async def _fetch(scrubbing: Scrubbing, missing: Missing) -> None:
    """Fetch from peers what is missing; what nobody has is asked for again in the next pass."""
    _note_lacking(scrubbing, missing)
    try:
        if missing.blob is not None:
            await ensure_here(scrubbing.blobs, missing.blob)
            scrubbing.mended["blob.missing"] += 1
            scrubbing.lacking_blobs.pop(missing.blob, None)
        if missing.sidecars:
            found = await find_sidecars(scrubbing.sidecars.bodies, missing.sidecars, ())
            if found:
                put_sidecars(scrubbing.sidecars.store, found.items())
            scrubbing.mended["sidecar.missing"] += len(found)
            for digest in found:
                scrubbing.lacking_sidecars.pop(digest, None)
    except (StorageError, P2pError) as problem:
        log.warning("not fetched", extra={"reason": str(problem)})


def _note_lacking(scrubbing: Scrubbing, missing: Missing) -> None:
    """Remember what is asked for until it is here; what is lacking for long was found once."""
    lacking, number = scrubbing.lacking_sidecars, scrubbing.passes
    for digest in missing.sidecars:
        if digest not in lacking:
            scrubbing.found["sidecar.missing"] += 1
        if digest in lacking or len(lacking) < LACKING_MAX:
            lacking[digest] = number
    blobs = scrubbing.lacking_blobs
    if missing.blob is not None and (missing.blob in blobs or len(blobs) < LACKING_MAX):
        blobs[missing.blob] = number


def _forget_unseen(lacking: dict[T, int], number: int) -> None:
    """Forget what this pass did not find missing: it came by itself, or need not be kept now."""
    for key in [key for key, seen in lacking.items() if seen != number]:
        del lacking[key]


def _unmendable(scrubbing: Scrubbing, text: str) -> Found:
    """Damage that no copy of one thing mends: the state is fetched anew, as a whole."""
    scrubbing.joining.is_wanted = True
    return Found("state.corrupt", f"{text}: a snapshot is fetched from peers")


def _following(key_hash: bytes) -> bytes | None:
    following = int.from_bytes(key_hash, "big") + 1
    return following.to_bytes(32, "big") if following < 1 << 256 else None
