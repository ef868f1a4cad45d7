"""The chain as it runs: what is stored, and what the node derives from it in memory.

Derived, and rebuilt at start: the replay window, the replica sets of the heights around the tip,
and who waits for a height or a receipt. All of it moves when a block is published.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from api.ports import TransactionStatus
from consensus.blocks import Block, CertifiedBlock
from consensus.membership import Pace
from consensus.records import Restarted
from crypto.hashing import ChainId, Digest
from crypto.quorum import QuorumSystem
from crypto.schema import decode, encode
from crypto.validators import Epoch, ValidatorSet, after_restart, under_restart
from crypto.votes import CommitCertificate
from ledger.blocks import BlockBodies, Header, header_digest
from ledger.contracts.governance import VALIDATORS_KEY, get_validators
from ledger.parameters import PARAMETERS_KEY, Parameters, get_parameters
from ledger.pool import Pool
from ledger.receipts import Receipt
from ledger.replay import ReplayWindow, Status, needed_from_ms, transaction_status
from ledger.state import StateView
from ledger.transactions import Transaction, hash_signed
from ledger.validation import ParentFacts
from storage import blocks as stored_blocks
from storage import receipts as stored_receipts
from storage.chain import Chain as StoredChain
from storage.chain import Tip

log = logging.getLogger("medledger.chain")

RECEIPTS_KEPT_MAX: Final = 4_096
RECEIPT_BLOCKS_KEPT_MAX: Final = 16
"""Receipts kept in memory: those of the newest block at least, and of as many before as fit."""


@dataclass(slots=True, kw_only=True)
class Chain:
    """The open chain of a running node.

    `sets` are the replica sets of the tip's height and of the two after it, by epoch. `tip_set` is
    the first of them, `next_set` that of the height after the tip, `later_set` the one after that;
    so with the paces. Every transaction of a block with a time above `indexed_from_ms` is found by
    its id. The last block since the start that changed a node's entry is `nodes_height`. `receipts`
    are those of the newest blocks, by height: whoever follows the chain reads them at once.
    """

    stored: StoredChain
    genesis: bytes
    pool: Pool
    replay: ReplayWindow
    indexed_from_ms: int
    tip_set: ValidatorSet
    next_epoch: Epoch
    next_set: ValidatorSet
    later_set: ValidatorSet
    next_pace: Pace
    later_pace: Pace
    sets: dict[Epoch, ValidatorSet]
    nodes_height: int = 0
    receipts: dict[int, tuple[Receipt, ...]] = field(default_factory=dict)
    restart: Restarted | None = None
    height_waiters: dict[asyncio.Future[None], int] = field(default_factory=dict)
    receipt_waiters: dict[Digest, list[asyncio.Future[None]]] = field(default_factory=dict)

    @property
    def chain_id(self) -> ChainId:
        return self.stored.chain_id

    @property
    def tip(self) -> Tip:
        return self.stored.tip

    def view(self) -> StateView:
        """Return the state after the tip."""
        return self.stored.world.view

    def parameters(self) -> Parameters:
        return get_parameters(self.view())

    def validator_sets(self) -> Mapping[Epoch, ValidatorSet]:
        return self.sets

    def quorum(self) -> QuorumSystem:
        return self.next_set.quorum

    def parent_facts(self, certificate: Digest) -> ParentFacts:
        """Return what the next block is checked against; `certificate` is what it carries."""
        tip = self.tip
        return ParentFacts(
            chain_id=self.chain_id,
            height=tip.height,
            header=tip.digest,
            certificate=certificate,
            time_ms=tip.time_ms,
            state_root=tip.state_root,
            receipts_root=tip.receipts_root,
            epoch=self.next_epoch,
            validators=self.next_set,
            next_validators=_set_digest(self.later_set),
        )

    def status(self, tx_id: Digest) -> TransactionStatus:
        """Return what this node can prove about a transaction."""
        place, history = stored_blocks.find_transaction(self.stored, tx_id), self.stored.history
        if place is not None and place.height < history.whole_from:
            return TransactionStatus(
                tx_id=tx_id, state=Status.PRUNED, receipt=None, pruned_height=place.height
            )
        receipt = None if place is None else stored_receipts.get_receipt(self.stored, place)
        entry = self.pool.find(tx_id)
        window = None
        if entry is not None:
            body = entry.transaction.body
            window = (body.valid_from_ms, body.valid_until_ms)
        state = transaction_status(
            receipt=receipt,
            is_pending=entry is not None,
            window_ms=window,
            tip_time_ms=self.tip.time_ms,
            indexed_from_ms=self.indexed_from_ms,
        )
        return TransactionStatus(tx_id=tx_id, state=state, receipt=receipt)

    def certified_block(self, height: int) -> CertifiedBlock | None:
        """Return a decided block in the form that peers exchange.

        The parent's certificate beside it is the one stored here, which proves the same as the
        one that the header names.
        """
        stored = stored_blocks.get_block(self.stored, height)
        if stored is None:
            return None
        header = decode(Header, stored.header)
        parent = stored_blocks.get_stored_header(self.stored, height - 1)
        hashes = [hash_signed(one, self.chain_id) for one in stored.transactions]
        block = Block(
            height=header.height,
            view=header.view,
            proposer=header.proposer,
            parent=header.parent,
            digest=header_digest(header),
            header=stored.header,
            parent_certificate=None
            if parent is None
            else decode(CommitCertificate, parent.certificate),
            payload=b"".join(hashes),
        )
        return CertifiedBlock(
            block=block,
            certificate=decode(CommitCertificate, stored.certificate),
            bodies=encode(BlockBodies(transactions=stored.transactions)),
        )


def open_live_chain(stored: StoredChain, genesis: bytes, pool: Pool) -> Chain:
    """Derive what a running node keeps in memory from the stored chain.

    Raises `BlockCorrupt` where a block of the replay window is damaged.
    """
    tip = stored.tip
    above_ms = needed_from_ms(tip.time_ms)
    entries = tuple(stored_blocks.replay_entries(stored, above_ms))
    replay = _replay_before(stored, entries, above_ms)
    for one in entries:
        replay.add_block(one.height, one.time_ms, one.ids)
    current_set, next_set, later_set = _sets_around(stored)
    chain = Chain(
        stored=stored,
        genesis=genesis,
        pool=pool,
        replay=replay,
        indexed_from_ms=_indexed_from_ms(stored),
        tip_set=current_set,
        next_epoch=tip.epoch,
        next_set=next_set,
        later_set=later_set,
        next_pace=_pace(_parameters_before(stored)),
        later_pace=_pace(get_parameters(stored.world.view)),
        sets={tip.epoch: current_set},
    )
    _number_epochs(chain, tip.epoch, current_set)
    return chain


def keep_receipts(chain: Chain, height: int, receipts: tuple[Receipt, ...]) -> None:
    """Keep what a block that is durable has done, in place of what is older and too much."""
    chain.receipts[height] = receipts
    total = sum(len(one) for one in chain.receipts.values())
    while len(chain.receipts) > 1 and (
        total > RECEIPTS_KEPT_MAX or len(chain.receipts) > RECEIPT_BLOCKS_KEPT_MAX
    ):
        total -= len(chain.receipts.pop(min(chain.receipts)))


def expect_restart(chain: Chain, restart: Restarted) -> None:
    """Number the epochs above the restart's block by it, now or when the tip comes there."""
    chain.restart = restart
    _number_epochs(chain, chain.tip.epoch, chain.tip_set)


def publish(chain: Chain, transactions: Sequence[Transaction]) -> None:
    """Move everything derived to the new tip, and wake who waited for it."""
    tip = chain.tip
    chain.replay.add_block(
        tip.height,
        tip.time_ms,
        [(one.tx_id, one.body.valid_until_ms) for one in transactions],
    )
    current_set = chain.tip_set = chain.next_set
    chain.next_set, chain.later_set = chain.later_set, get_validators(chain.view())
    chain.next_pace, chain.later_pace = chain.later_pace, _pace(chain.parameters())
    _number_epochs(chain, tip.epoch, current_set)
    for one in transactions:
        for waiter in chain.receipt_waiters.pop(one.tx_id, ()):
            _wake(waiter)
    for waiter, height in tuple(chain.height_waiters.items()):
        if height <= tip.height:
            del chain.height_waiters[waiter]
            _wake(waiter)


async def wait_height(chain: Chain, height: int, timeout_ms: int) -> int:
    """Return the tip's height once it is at least `height`, or what it is at the timeout."""
    if chain.tip.height >= height or timeout_ms <= 0:
        return chain.tip.height
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    chain.height_waiters[waiter] = height
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            await waiter
    except TimeoutError:
        pass  # The caller sees how far the chain is.
    finally:
        chain.height_waiters.pop(waiter, None)
    return chain.tip.height


async def wait_receipt(chain: Chain, tx_id: Digest, timeout_ms: int) -> TransactionStatus:
    """Return a transaction's status once it is final, or what it is at the timeout."""
    status = chain.status(tx_id)
    if status.state not in (Status.PENDING, Status.UNKNOWN) or timeout_ms <= 0:
        return status
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    chain.receipt_waiters.setdefault(tx_id, []).append(waiter)
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            await waiter
    except TimeoutError:
        pass  # The outcome is open; the status says so.
    finally:
        waiters = chain.receipt_waiters.get(tx_id, [])
        if waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del chain.receipt_waiters[tx_id]
    status = chain.status(tx_id)
    log.debug("receipt told", extra={"tx": tx_id.hex(), "state": status.state.value})
    return status


def _replay_before(
    stored: StoredChain, entries: Sequence[stored_blocks.ReplayEntries], above_ms: int
) -> ReplayWindow:
    """Return the window as it stood before the first of `entries`."""
    if not entries:
        tip = stored.tip
        return ReplayWindow(height=tip.height, time_ms=tip.time_ms, covered_from_ms=above_ms)
    first = entries[0]
    return ReplayWindow(
        height=first.height - 1, time_ms=first.time_ms - 1, covered_from_ms=above_ms
    )


def _indexed_from_ms(stored: StoredChain) -> int:
    """Return the time of the last block whose transactions may be missing in the index."""
    before = stored_blocks.get_header(stored, stored.history.indexed_from - 1)
    return 0 if before is None else before.time_ms


def _sets_around(stored: StoredChain) -> tuple[ValidatorSet, ValidatorSet, ValidatorSet]:
    """Return the sets of the tip's height and of the two after it.

    That of height h stands in the state after block h - 2; heights 1 and 2 have genesis' own.
    """
    height = stored.tip.height
    return (
        _set_after(stored, max(0, height - 2)),
        _set_after(stored, max(0, height - 1)),
        get_validators(stored.world.view),
    )


def _set_after(stored: StoredChain, height: int) -> ValidatorSet:
    encoded = stored_blocks.entry_after(stored, height, VALIDATORS_KEY)
    assert encoded is not None, "genesis wrote the replica set"
    return decode(ValidatorSet, encoded)


def _parameters_before(stored: StoredChain) -> Parameters:
    """Return the parameters in the state before the tip; those of genesis count twice."""
    height = max(0, stored.tip.height - 1)
    encoded = stored_blocks.entry_after(stored, height, PARAMETERS_KEY)
    assert encoded is not None, "genesis wrote the parameters"
    return decode(Parameters, encoded)


def _pace(parameters: Parameters) -> Pace:
    return Pace(idle_block_ms=parameters.idle_block_ms, rotate_every=parameters.rotate_every)


def _number_epochs(chain: Chain, epoch: Epoch, current_set: ValidatorSet) -> None:
    """Count epochs on from the tip's: one more for each height whose set differs."""
    chain.next_epoch = Epoch(epoch + (chain.next_set != current_set))
    restart = chain.restart
    if restart is not None and restart.height == chain.tip.height:
        chain.next_epoch = max(chain.next_epoch, under_restart(chain.next_epoch, restart.epoch))
    later_epoch = Epoch(chain.next_epoch + (chain.later_set != chain.next_set))
    chain.sets = {
        epoch: current_set,
        chain.next_epoch: chain.next_set,
        later_epoch: chain.later_set,
        after_restart(chain.next_epoch): chain.next_set,  # Others may have restarted the chain.
    }


@lru_cache(maxsize=4)
def _set_digest(validators: ValidatorSet) -> Digest:
    return validators.digest()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
