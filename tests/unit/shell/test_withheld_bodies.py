"""Attack 14: a block shown with its transactions to some only is completed from those who voted."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from crypto.hashing import Digest
from crypto.schema import encode
from crypto.signatures import SIGNATURE_BYTES
from ledger.exchange import SubmitBatch, SubmitItem
from ledger.identity_payloads import Suspend
from ledger.pool import Pool, PoolLimits
from ledger.transactions import Transaction, decode_transaction
from p2p.errors import RequestTimeout
from shell.bodies import Bodies, BodiesMissing, answer_transactions, find_bodies
from shell.kinds import Kind
from shell.verifier import Verifier
from tests.unit.ledger.record_samples import DOCTOR
from tests.unit.ledger.small_consortium import account_of
from tests.unit.shell.live_chain import LiveChain

LIAR, HOLDER = 1, 2
Answer = Callable[[int, bytes], Awaitable[bytes]]


@dataclass(slots=True)
class Peers:
    """Peers that answer questions for transactions, each in its way; `asked` in their order."""

    answers: dict[int, Answer]
    asked: list[int] = field(default_factory=list)

    def connected(self) -> Sequence[int]:
        return tuple(self.answers)

    async def request(self, peer_id: int, kind: Kind, body: bytes, _timeout_ms: int) -> bytes:
        assert kind is Kind.FIND_TRANSACTIONS
        self.asked.append(peer_id)
        return await self.answers[peer_id](peer_id, body)


def new_pool() -> Pool:
    return Pool(PoolLimits(transactions_max=99, bytes_max=1 << 20, account_transactions_max=99))


def bodies_of(live: LiveChain, pool: Pool, peers: Peers) -> Bodies:
    return Bodies(
        chain=live.chain,
        pool=pool,
        verifier=Verifier(0),
        network=cast("Any", peers),
        recall=lambda _: None,
        get_sidecar=lambda _: None,
    )


def signed(live: LiveChain, count: int) -> list[Transaction]:
    payload = Suspend(account_id=account_of(DOCTOR), reason="test")
    made = [
        live.hospitals.chain.signed("identity.suspend", payload, "first admin of north")
        for _ in range(count)
    ]
    return [decode_transaction(one, live.chain.chain_id) for one in made]


def holder_of(live: LiveChain, transactions: Sequence[Transaction]) -> Answer:
    """A peer that has them in its pool, and answers as a node does."""
    pool = new_pool()
    for one in transactions:
        pool.add(one, (), 0)
    bodies = bodies_of(live, pool, Peers({}))

    async def answer(peer_id: int, body: bytes) -> bytes:
        return await answer_transactions(bodies, peer_id, body)

    return answer


async def nothing(_peer_id: int, _body: bytes) -> bytes:
    return b""


async def silence(_peer_id: int, _body: bytes) -> bytes:
    raise RequestTimeout("no answer")


async def junk(_peer_id: int, _body: bytes) -> bytes:
    return b"\xff junk"


def items(*pairs: tuple[bytes, tuple[bytes, ...]]) -> Answer:
    async def answer(_peer_id: int, _body: bytes) -> bytes:
        return encode(
            SubmitBatch(items=tuple(SubmitItem(signed=one, sidecars=two) for one, two in pairs))
        )

    return answer


async def test_what_was_withheld_is_fetched_from_whoever_voted(live: LiveChain) -> None:
    transactions = signed(live, 3)
    pool = new_pool()
    pool.add(transactions[1], (), 0)
    peers = Peers({LIAR: nothing, HOLDER: holder_of(live, transactions)})
    hashes = [one.signed_hash for one in transactions]

    found = await find_bodies(bodies_of(live, pool, peers), hashes, (HOLDER,))

    assert [one.transaction.signed for one in found] == [one.signed for one in transactions]
    assert peers.asked == [HOLDER], "who voted for the block has promised to have it"


@pytest.mark.parametrize("lie", ["nothing", "silence", "junk", "sidecars", "others"])
async def test_a_holder_that_lies_is_followed_by_the_next(live: LiveChain, lie: str) -> None:
    first, second, other = signed(live, 3)
    lies: dict[str, Answer] = {
        "nothing": nothing,
        "silence": silence,
        "junk": junk,
        "sidecars": items((first.signed, (b"s" * 40,)), (second.signed, (b"s" * 40,))),
        "others": items((other.signed, ()), (other.signed, ())),
    }
    peers = Peers({LIAR: lies[lie], HOLDER: holder_of(live, [first, second])})
    hashes = [first.signed_hash, second.signed_hash]

    found = await find_bodies(bodies_of(live, new_pool(), peers), hashes, (LIAR, HOLDER))

    assert [one.transaction.signed for one in found] == [first.signed, second.signed]
    assert [one.sidecars for one in found] == [(), ()]
    assert peers.asked == [LIAR, HOLDER]


async def test_a_listed_transaction_that_nobody_signed_is_not_taken(live: LiveChain) -> None:
    """A block lists hashes of signed bytes: a liar can list, and then show, a false signature."""
    (one,) = signed(live, 1)
    forged = decode_transaction(
        one.signed[:-SIGNATURE_BYTES] + b"\x01" * SIGNATURE_BYTES, live.chain.chain_id
    )
    peers = Peers({LIAR: items((forged.signed, ()))})

    with pytest.raises(BodiesMissing):
        await find_bodies(bodies_of(live, new_pool(), peers), [forged.signed_hash], (LIAR,))


async def test_what_nobody_has_is_said_to_be_missing(live: LiveChain) -> None:
    (one,) = signed(live, 1)
    peers = Peers({LIAR: nothing, HOLDER: nothing})

    with pytest.raises(BodiesMissing, match="1 transactions"):
        await find_bodies(bodies_of(live, new_pool(), peers), [one.signed_hash], (LIAR,))

    assert peers.asked == [LIAR, HOLDER], "everybody is asked, once"


async def test_what_is_being_taken_in_here_is_asked_of_nobody(live: LiveChain) -> None:
    (transaction,) = signed(live, 1)
    pool, peers = new_pool(), Peers(answers={HOLDER: holder_of(live, [transaction])})
    bodies = bodies_of(live, pool, peers)

    async def take_in(_wanted: Iterable[Digest]) -> None:
        pool.add(transaction, (), 0)

    bodies.wait_taken = take_in

    (found,) = await find_bodies(bodies, [transaction.signed_hash], [HOLDER])

    assert found.transaction is transaction
    assert peers.asked == []
