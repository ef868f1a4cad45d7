"""Sidecars between nodes: durable before a vote, found again from peers, served while live.

A sidecar may be stored and served exactly as long as a state entry names it; what a refused or
expired transaction brought is dropped.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

from crypto.hashing import Digest
from crypto.schema import encode
from ledger.contract import SidecarPlace
from ledger.transactions import Transaction
from shell.bodies import Bodies, Body, FoundSidecars, decode_wanted, find_sidecars
from shell.chain import Chain
from shell.proposals import Checked
from shell.slices import run_breathing
from storage.blocks import sidecar_places
from storage.errors import SidecarCorrupt, SidecarMissing
from storage.sidecars import (
    SidecarStore,
    drop_sidecars,
    get_sidecar,
    put_sidecars,
    sweep_sidecars,
)

log = logging.getLogger("medledger.sidecars")

REPLY_BYTES_TARGET: Final = 4 << 20


@dataclass(slots=True, kw_only=True)
class Sidecars:
    """The sidecar store with what decides whether one is live.

    `checked_blocks` are the undecided proposals, whose sidecars this node has promised to serve.
    """

    store: SidecarStore
    chain: Chain
    bodies: Bodies
    checked_blocks: Callable[[], Collection[Checked]]


def store_sidecars(store: SidecarStore, bodies: Iterable[Body]) -> None:
    """Make the sidecars of a proposal durable before this node promises to serve them."""
    contents = [
        pair
        for body in bodies
        for pair in zip(body.transaction.body.sidecars, body.sidecars, strict=True)
    ]
    if contents:
        put_sidecars(store, contents)


def settle_sidecars(
    chain: Chain,
    store: SidecarStore,
    transactions: Iterable[Transaction],
    kept: Iterable[SidecarPlace],
) -> None:
    """Drop what came with a decided block's refused transactions; `chain` is after the block.

    What an earlier block keeps alive stays: whoever has seen a sidecar can list it again in a
    transaction that is sure to be refused, and must not destroy it everywhere by that.
    """
    live = {place.digest for place in kept}
    dropped = [
        digest
        for transaction in transactions
        for digest in transaction.body.sidecars
        if digest not in live and not is_live(chain, digest)
    ]
    if dropped:
        drop_sidecars(store, dropped)


def is_live(chain: Chain, digest: Digest) -> bool:
    """Whether a state entry at the tip names the sidecar."""
    view = chain.view()
    for _, key in sidecar_places(chain.stored, digest):
        entry = view.get(key)
        if entry is not None and entry.find(digest) >= 0:
            return True
    return False


async def find_live_sidecar(sidecars: Sidecars, digest: Digest) -> bytes | None:
    """Return a live sidecar's content, asking peers for one that is not here or is damaged."""
    if not is_live(sidecars.chain, digest):
        return None
    try:
        return get_sidecar(sidecars.store, digest)
    except SidecarMissing:
        pass  # A peer has it.
    except SidecarCorrupt as problem:
        log.warning("damaged sidecar", extra={"reason": str(problem)})
    found = await find_sidecars(sidecars.bodies, [digest], ())
    content = found.get(digest)
    if content is not None:
        put_sidecars(sidecars.store, [(digest, content)])
    return content


async def answer_sidecars(sidecars: Sidecars, _peer_id: int, body: bytes) -> bytes:
    """Answer a peer with what is here, and live, of the sidecars it asks for."""
    contents: list[bytes] = []
    size = 0
    for digest in decode_wanted(body):
        if not is_live(sidecars.chain, digest):
            continue
        content = sidecars.bodies.get_sidecar(digest)
        if content is not None:
            size += len(content) + 8
            if size > REPLY_BYTES_TARGET:
                break
            contents.append(content)
    return encode(FoundSidecars(contents=tuple(contents)))


async def sweep_sidecars_once(sidecars: Sidecars, *, before_ms: int) -> int:
    """Erase what no state entry names any more: refused, replaced, or never decided."""
    pending = {
        digest
        for checked in sidecars.checked_blocks()
        for body in checked.bodies
        for digest in body.transaction.body.sidecars
    }
    steps = sweep_sidecars(
        sidecars.store,
        lambda digest: digest in pending or is_live(sidecars.chain, digest),
        before_ms=before_ms,
    )
    return await run_breathing(steps)
