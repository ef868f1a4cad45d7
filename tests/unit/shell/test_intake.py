"""The way in: what each transaction that arrives is told, over a chain that decides blocks."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from api.ports import NotTaken, Submitted
from crypto.envelopes import make_sidecar
from crypto.schema import decode, encode
from crypto.signatures import Scheme, SignatureJob
from ledger.identity_payloads import DirectoryNote, ShareDirectory, Suspend
from ledger.pool import Entry, Pool, PoolLimits
from ledger.replay import Status
from ledger.transactions import SignedTransaction, decode_transaction, hash_signed
from shell.chain import wait_height, wait_receipt
from shell.clock import Clock
from shell.intake import Intake, submit, wait_taken
from shell.verifier import Verifier
from storage.errors import ReceiptsCorrupt
from storage.keys import receipt_key
from storage.sidecars import close_sidecars
from tests.unit.ledger.record_samples import DOCTOR, PATIENT, SOUTH_DOCTOR
from tests.unit.ledger.small_consortium import account_of
from tests.unit.shell.live_chain import LiveChain, make_live_chain

ADMIN = "first admin of north"


@dataclass(slots=True)
class Door:
    """An intake, and what it told about new transactions: how many, and whether gossip."""

    live: LiveChain
    intake: Intake
    told: list[tuple[int, bool]] = field(default_factory=list)

    def signed(self, *, by: str = ADMIN, **options: Any) -> bytes:
        """A suspension that the ledger would accept."""
        payload = Suspend(account_id=account_of(DOCTOR), reason="test")
        return self.live.hospitals.chain.signed("identity.suspend", payload, by, **options)

    async def submit(
        self, signed: bytes, *sidecars: bytes, is_gossip: bool = False
    ) -> Submitted | NotTaken:
        (answer,) = await submit(self.intake, [(signed, sidecars)], is_gossip=is_gossip)
        return answer

    async def refusal(self, signed: bytes, *sidecars: bytes) -> tuple[str, bool]:
        """The code of what is not taken, and whether that is for good."""
        answer = await self.submit(signed, *sidecars)
        assert isinstance(answer, NotTaken), answer
        assert not self.told, "nobody hears of it"
        assert len(self.intake.pool) == 0
        return answer.code, answer.definite


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    live = make_live_chain(tmp_path)
    clock = Clock(offset_ms=live.chain.tip.time_ms - time.time_ns() // 1_000_000)
    intake = Intake(chain=live.chain, pool=live.chain.pool, verifier=Verifier(0), clock=clock)
    door = Door(live=live, intake=intake)

    def on_added(entries: Sequence[Entry], is_gossip: bool) -> None:
        door.told.append((len(entries), is_gossip))

    intake.on_added = on_added
    yield door
    close_sidecars(live.sidecars)
    live.chain.stored.database.close()


@pytest.mark.parametrize("is_gossip", [True, False])
async def test_a_good_transaction_waits_and_is_told_once(door: Door, *, is_gossip: bool) -> None:
    signed = door.signed()

    first = await door.submit(signed, is_gossip=is_gossip)
    second = await door.submit(signed)

    assert isinstance(first, Submitted)
    assert first.status.state is Status.PENDING
    assert second == first
    assert door.told == [(1, is_gossip)]


async def test_a_decided_transaction_gives_the_same_receipt_back(door: Door) -> None:
    signed = door.signed()
    (receipt,) = await door.live.decide(decode_transaction(signed, door.live.chain.chain_id))

    again = await door.submit(signed)

    assert isinstance(again, Submitted)
    assert again.status.state is Status.COMMITTED
    assert again.status.receipt == receipt
    assert len(door.intake.pool) == 0
    assert door.told == []


async def test_a_receipt_that_the_disk_damaged_is_the_affair_of_who_asks_for_it(
    door: Door,
) -> None:
    """Others came in the same turn, and are answered."""
    signed, stored = door.signed(), door.live.chain.stored
    await door.live.decide(decode_transaction(signed, door.live.chain.chain_id))
    stored.database.delete(receipt_key(door.live.chain.tip.height, 0))

    damaged, fresh, gossiped = await asyncio.gather(
        door.submit(signed),
        door.submit(door.signed()),
        door.submit(signed, is_gossip=True),
        return_exceptions=True,
    )

    assert isinstance(damaged, ReceiptsCorrupt)
    assert isinstance(fresh, Submitted)
    assert isinstance(gossiped, Submitted)
    assert door.told == [(1, False)]


@pytest.mark.parametrize("was_turned_away", [True, False])
async def test_a_proposal_waits_for_what_is_being_checked_not_for_what_was_turned_away(
    door: Door, *, was_turned_away: bool
) -> None:
    """Who shows each node another signature over one body would hold up every block."""
    chain_id, signed = door.live.chain.chain_id, door.signed()
    await door.submit(signed)
    outer, another = decode(SignedTransaction, signed), decode(SignedTransaction, door.signed())
    variant = encode(replace(outer, signature=another.signature))
    if was_turned_away:
        await door.submit(variant)
    many = [(door.signed(), ()) for _ in range(9)]
    busy = asyncio.create_task(submit(door.intake, many))
    await asyncio.sleep(0)

    await wait_taken(door.intake, [hash_signed(variant, chain_id)])

    is_over = door.intake.offers.task is None
    answers = await busy
    assert is_over is not was_turned_away
    assert len(answers) == 9


async def test_the_same_bytes_twice_in_one_batch_are_verified_and_told_once(door: Door) -> None:
    signed = door.signed()

    answers = await submit(door.intake, [(signed, ()), (signed, ())])

    assert [one.status.state for one in answers if isinstance(one, Submitted)] == [
        Status.PENDING,
        Status.PENDING,
    ]
    assert sum(count for count, _ in door.told) == 1


async def test_two_who_bring_the_same_at_once_are_both_told_that_it_waits(door: Door) -> None:
    signed = door.signed()

    answers = await asyncio.gather(door.submit(signed), door.submit(signed, is_gossip=True))

    assert all(isinstance(one, Submitted) for one in answers)
    assert sum(count for count, _ in door.told) == 1


async def test_an_expired_transaction_is_refused_for_good(door: Door) -> None:
    start_ms = door.live.chain.tip.time_ms - 10_000
    signed = door.signed(valid_from_ms=start_ms, window_ms=10_000)

    assert await door.refusal(signed) == ("transaction.expired", True)


async def test_a_transaction_of_tomorrow_may_be_offered_again(door: Door) -> None:
    signed = door.signed(valid_from_ms=door.live.chain.tip.time_ms + 86_400_000)

    code, definite = await door.refusal(signed)

    assert (code, definite) == ("transaction.early", False)


async def test_an_unknown_sender_may_be_registered_later(door: Door) -> None:
    assert await door.refusal(door.signed(by="nobody")) == ("transaction.unknown_sender", False)


async def test_somebody_elses_account_is_not_for_another_key(door: Door) -> None:
    signed = door.signed(by=DOCTOR, sender=account_of(ADMIN))

    code, definite = await door.refusal(signed)

    assert (code, definite) == ("key.inactive", False)


async def test_a_wrong_signature_is_refused_for_good(door: Door) -> None:
    signed = bytearray(door.signed())
    signed[-1] ^= 1

    code, definite = await door.refusal(bytes(signed))

    assert definite
    assert code.startswith("transaction.")


async def test_another_chains_transaction_is_refused_for_good(door: Door) -> None:
    chain = door.live.hospitals.chain
    payload = Suspend(account_id=account_of(DOCTOR), reason="test")
    ours, chain.chain_id = chain.chain_id, type(chain.chain_id)(bytes(32))
    signed = chain.signed("identity.suspend", payload, ADMIN)
    chain.chain_id = ours

    code, definite = await door.refusal(signed)

    assert definite
    assert "chain" in code


async def test_junk_is_refused_for_good(door: Door) -> None:
    drawn = random.Random(7)
    signed = door.signed()
    junk = [drawn.randbytes(drawn.randrange(1, 300)) for _ in range(100)]
    junk += [signed[:size] for size in range(0, len(signed), 7)] + [signed + b"\x00"]

    answers = await submit(door.intake, [(one, ()) for one in junk])

    assert [one.tx_id for one in answers if isinstance(one, NotTaken)] == [None] * len(junk)
    assert all(one.definite for one in answers if isinstance(one, NotTaken))
    assert door.told == []


@pytest.mark.parametrize("brought", [0, 1, 2])
async def test_sidecars_are_those_that_the_body_lists(door: Door, brought: int) -> None:
    sidecar, other = make_sidecar(b"a note"), make_sidecar(b"another")
    note = DirectoryNote(recipient=account_of(SOUTH_DOCTOR), key_id=bytes(16), note=sidecar.digest)
    signed = door.live.hospitals.chain.signed(
        "identity.share_directory",
        ShareDirectory(about=account_of(PATIENT), notes=(note,)),
        PATIENT,
        sidecars=(sidecar.digest,),
    )

    code, definite = await door.refusal(signed, *[other.content] * brought)
    taken = await door.submit(signed, sidecar.content)

    assert (code, definite) == ("transaction.sidecars", True)
    assert isinstance(taken, Submitted)


async def test_a_full_pool_turns_away_what_may_come_again(door: Door) -> None:
    door.intake.pool = Pool(
        PoolLimits(transactions_max=1, bytes_max=1 << 20, account_transactions_max=9)
    )
    answers = [await door.submit(door.signed(window_ms=50_000 + one)) for one in range(3)]

    refused = [one for one in answers if isinstance(one, NotTaken)]

    assert refused, answers
    assert {one.code for one in refused} <= {"pool.full", "pool.account"}
    assert not any(one.definite for one in refused)


async def test_who_waits_for_a_receipt_or_a_height_is_woken_by_the_block(door: Door) -> None:
    chain = door.live.chain
    transaction = decode_transaction(door.signed(), chain.chain_id)
    await door.submit(transaction.signed)
    waiting = asyncio.gather(
        wait_receipt(chain, transaction.tx_id, 20_000), wait_height(chain, 1, 20_000)
    )
    await asyncio.sleep(0)

    await door.live.decide(transaction)
    status, height = await waiting

    assert (status.state, height) == (Status.COMMITTED, 1)
    assert (chain.receipt_waiters, chain.height_waiters) == ({}, {})
    assert len(door.intake.pool) == 0, "a decided transaction leaves the pool"


async def test_who_waits_for_too_long_learns_how_far_it_is(door: Door) -> None:
    chain = door.live.chain
    transaction = decode_transaction(door.signed(), chain.chain_id)
    await door.submit(transaction.signed)

    status = await wait_receipt(chain, transaction.tx_id, 1)
    height = await wait_height(chain, 1, 1)

    assert (status.state, height) == (Status.PENDING, 0)
    assert (chain.receipt_waiters, chain.height_waiters) == ({}, {})


async def test_an_ed25519_signature_does_not_stand_for_a_p256_key(door: Door) -> None:
    signed = door.signed(scheme=Scheme.ED25519, sender=account_of(ADMIN))

    answer = await door.submit(signed)

    assert isinstance(answer, NotTaken)


async def test_what_a_proposal_had_checked_is_not_verified_again(door: Door) -> None:
    signed = door.signed()
    transaction = decode_transaction(signed, door.live.chain.chain_id)
    jobs: list[int] = []

    class Counting(Verifier):
        @override
        async def is_valid(self, given: Sequence[SignatureJob]) -> list[bool]:
            jobs.append(len(given))
            return await super().is_valid(given)

    door.intake.verifier = Counting(0)
    door.intake.is_checked = {transaction.signed_hash}.__contains__

    answer = await door.submit(signed, is_gossip=True)

    assert isinstance(answer, Submitted)
    assert len(door.intake.pool) == 1
    assert sum(jobs) == 0
