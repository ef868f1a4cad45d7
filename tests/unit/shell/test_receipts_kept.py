"""Receipts of the newest blocks are told from memory: what storage has, and not without bound."""

from ledger.identity_payloads import Suspend
from shell.chain import RECEIPT_BLOCKS_KEPT_MAX, RECEIPTS_KEPT_MAX, keep_receipts
from storage.receipts import get_receipts
from tests.unit.ledger.record_samples import DOCTOR
from tests.unit.ledger.small_consortium import account_of
from tests.unit.shell.live_chain import LiveChain


async def test_what_is_kept_of_a_block_is_what_storage_has_of_it(live: LiveChain) -> None:
    payload = Suspend(account_id=account_of(DOCTOR), reason="test")
    receipt = await live.submit("identity.suspend", payload, "first admin of north")
    height = live.chain.tip.height

    await live.decide()

    assert live.chain.receipts[height] == get_receipts(live.chain.stored, height) == (receipt,)
    assert live.chain.receipts[height + 1] == ()


async def test_few_receipts_are_kept_however_large_or_many_the_blocks_are(live: LiveChain) -> None:
    payload = Suspend(account_id=account_of(DOCTOR), reason="test")
    receipt = await live.submit("identity.suspend", payload, "first admin of north")
    chain, many = live.chain, (receipt,) * (RECEIPTS_KEPT_MAX - 1)
    seen = []
    for height, receipts in ((11, (receipt,)), (12, many), (13, many), (14, many * 2)):
        keep_receipts(chain, height, receipts)
        seen.append(sorted(chain.receipts)[-3:])
    for height in range(15, 15 + 2 * RECEIPT_BLOCKS_KEPT_MAX):
        keep_receipts(chain, height, ())

    assert seen[1:] == [[11, 12], [13], [14]]
    assert len(chain.receipts) == RECEIPT_BLOCKS_KEPT_MAX
