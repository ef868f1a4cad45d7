"""What the watch takes for owed: nothing that a healthy primary may rightly have left out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto.validators import Epoch, ReplicaId
from ledger.errors import AccountFull
from ledger.identity_payloads import Restore
from ledger.pool import Pool, PoolLimits
from ledger.transactions import Transaction, decode_transaction
from shell.watch import Waiting, Watch, look, on_block
from shell.watching import find_waiting
from tests.unit.ledger.record_samples import DOCTOR, PATIENT
from tests.unit.ledger.small_consortium import account_of, rotation, signing_key
from tests.unit.shell.live_chain import LiveChain, make_live_chain

BOUND_MS = 20_000
QUOTA = 6


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveChain]:
    made = make_live_chain(tmp_path)
    made.chain.pool = made.proposals.pool = Pool(
        PoolLimits(transactions_max=100, bytes_max=1 << 20, account_transactions_max=QUOTA)
    )
    yield made
    made.chain.stored.database.close()


def signed_by(live: LiveChain, by: str, number: int, *, from_ms: int = 0) -> Transaction:
    payload = Restore(account_id=account_of(str(number)), reason="test")
    chain = live.hospitals.chain
    start_ms = chain.time_ms + from_ms
    signed = chain.signed("identity.restore", payload, by, valid_from_ms=start_ms)
    return decode_transaction(signed, live.chain.chain_id)


def watch_for(live: LiveChain, elapsed_ms: int) -> list[object]:
    """Watch a primary that decides empty blocks with room; return what it is suspected of."""
    watch, base = Watch(bound_ms=BOUND_MS, timeout_ms=2_000), (Epoch(0), ReplicaId(0))
    start_ms = live.hospitals.chain.time_ms
    found: list[object] = []
    for now_ms in range(start_ms, start_ms + elapsed_ms, 250):
        waiting = find_waiting(live.chain, now_ms)
        if now_ms % 1_000 == 0:
            on_block(watch, 1, waiting, now_ms)
        suspicion = look(watch, base, waiting, now_ms).suspicion
        found += [] if suspicion is None else [suspicion]
    return found


def test_a_client_that_fills_its_quota_at_the_primary_accuses_nobody(live: LiveChain) -> None:
    """It has filled its places there, and gives the backups one more."""
    filling = [signed_by(live, DOCTOR, number) for number in range(QUOTA)]
    last = signed_by(live, DOCTOR, QUOTA)
    primary = Pool(live.chain.pool.limits)
    for one in filling:
        primary.add(one, (), live.hospitals.chain.time_ms)
    with pytest.raises(AccountFull):
        primary.add(last, (), live.hospitals.chain.time_ms)
    for one in (last, *filling[:-1]):
        live.chain.pool.add(one, (), live.hospitals.chain.time_ms)

    assert watch_for(live, 50_000) == []


def test_a_client_within_its_quota_is_still_protected(live: LiveChain) -> None:
    live.chain.pool.add(signed_by(live, DOCTOR, 1), (), live.hospitals.chain.time_ms)

    assert len(watch_for(live, 50_000)) == 1


async def test_a_transaction_whose_key_was_replaced_accuses_nobody(live: LiveChain) -> None:
    dead = signed_by(live, DOCTOR, 1)
    alive = signed_by(live, PATIENT, 2)
    for one in (dead, alive):
        live.chain.pool.add(one, (), live.hospitals.chain.time_ms)
    payload = rotation(live.chain.chain_id, DOCTOR, next_key=signing_key("next of the doctor"))

    receipt = await live.submit("identity.rotate_key", payload, DOCTOR)

    assert receipt.accepted, receipt.code
    assert [one.transaction for one in live.chain.pool.entries()] == [alive]


def test_what_comes_early_makes_no_block_due(live: LiveChain) -> None:
    """Else an idle primary, which rightly takes its time, would look slow."""
    start_ms = live.hospitals.chain.time_ms
    live.chain.pool.add(signed_by(live, DOCTOR, 1, from_ms=50_000), (), start_ms)

    waiting = find_waiting(live.chain, start_ms)

    assert waiting == Waiting(oldest_ms=None, count=0, block_max=waiting.block_max)
