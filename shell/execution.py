"""Executing a decided block: the pure transition, one synced batch, then everybody may know.

The loop breathes between slices of a large block. The synced write itself stays on the loop: it
takes a few milliseconds, and a helper thread would wait longer than that for the interpreter
(design page `performance`). A block that is stored already is not executed again.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from consensus.effects import Decide
from crypto.schema import decode, encode
from ledger.blocks import BlockBodies, Header
from ledger.nodes import has_node_entry
from ledger.proposal import forget_dead
from ledger.transactions import Transaction, decode_transaction
from ledger.transition import BlockResult, apply_block_in_slices
from shell.chain import Chain, keep_receipts, publish
from shell.divergence import check_roots
from shell.proposals import Proposals
from shell.sidecars import settle_sidecars
from shell.slices import run_breathing
from storage.chain import DecidedBlock, has_block, publish_commit, stage_block, write_commit
from storage.sidecars import SidecarStore

log = logging.getLogger("medledger.execution")

SLICE_TRANSACTIONS: Final = 64


async def execute(
    chain: Chain, proposals: Proposals, sidecars: SidecarStore, decision: Decide
) -> BlockResult | None:
    """Make a decided block durable and executed; return what it did, None if it was there.

    Raises `StateDiverged`, or a storage error with the tip as it was.
    """
    block = decision.block
    if has_block(chain.stored, block.height, block.digest):
        return None
    header = decode(Header, block.header)
    check_roots(chain, header, decision)
    transactions = await _transactions_of(chain, proposals, decision)
    result = await run_breathing(
        apply_block_in_slices(
            chain.view(),
            chain_id=chain.chain_id,
            height=block.height,
            time_ms=header.time_ms,
            transactions=transactions,
        )
    )
    await asyncio.sleep(0)
    stored = DecidedBlock(
        header=block.header,
        certificate=encode(decision.certificate),
        transactions=tuple(transactions),
    )
    commit = await run_breathing(stage_block(chain.stored, stored, result))
    await asyncio.sleep(0)  # Writing thousands of rows is a step of its own, like those around it.
    write_commit(chain.stored, commit)
    publish_commit(chain.stored, commit)
    if has_node_entry(result.writes):
        chain.nodes_height = block.height
    chain.pool.remove([one.tx_id for one in transactions], decided_ms=proposals.clock.now_ms())
    settle_sidecars(chain, sidecars, transactions, result.sidecars)
    keep_receipts(chain, block.height, result.receipts)
    publish(chain, transactions)
    await asyncio.sleep(0)
    forget_dead(
        chain.pool,
        result.writes,
        state=chain.view(),
        replay=chain.replay,
        parameters=chain.parameters(),
    )
    _log_receipts(block.height, result)
    return result


async def _transactions_of(
    chain: Chain, proposals: Proposals, decision: Decide
) -> Sequence[Transaction]:
    checked = proposals.checked.get(decision.block.digest)
    if checked is not None:
        return [body.transaction for body in checked.bodies]
    assert decision.bodies is not None, "a block was checked here, or brings its bodies"
    transactions: list[Transaction] = []
    for index, signed in enumerate(decode(BlockBodies, decision.bodies).transactions):
        if index % SLICE_TRANSACTIONS == SLICE_TRANSACTIONS - 1:
            await asyncio.sleep(0)
        transactions.append(decode_transaction(signed, chain.chain_id))
    return transactions


def _log_receipts(height: int, result: BlockResult) -> None:
    """Say what became of each transaction: of the refused always, and in which words."""
    is_told = log.isEnabledFor(logging.DEBUG)
    for index in range(len(result.receipts)) if is_told else result.reasons:
        receipt, reason = result.receipts[index], result.reasons.get(index)
        place = {"tx": receipt.tx_id.hex(), "height": height, "index": index, "code": receipt.code}
        if reason is None:
            log.debug("executed", extra=place)
        else:
            log.info("refused", extra={**place, "why": reason})
