"""What counts as committed, and when: what n - f nodes say in the same bytes."""

import hashlib

from benchmarks.load.blocks import Watch, decided_s, on_announced
from benchmarks.load.outcomes import agreed
from crypto.hashing import Digest
from crypto.schema import encode
from ledger.exchange import BlockOutcomes, TransactionOutcome

QUORUM = 3


def digest_of(label: str) -> Digest:
    return Digest(hashlib.sha256(label.encode()).digest())


def page(*outcomes: tuple[str, str], block: str = "block", first: int = 0) -> bytes:
    return encode(
        BlockOutcomes(
            height=5,
            digest=digest_of(block),
            tx_count=first + len(outcomes),
            first=first,
            outcomes=tuple(
                TransactionOutcome(tx_id=digest_of(label), code=code) for label, code in outcomes
            ),
        )
    )


def test_a_block_that_a_quorum_tells_alike_counts() -> None:
    honest, lie = page(("a", "ok"), ("b", "access.denied")), page(("a", "ok"), ("b", "ok"))

    found = agreed([{5: (honest,)}, {5: (lie,)}, {5: (honest,)}, {5: (honest,)}], QUORUM)

    assert {tx_id: one.code for tx_id, one in found.items()} == {
        digest_of("a"): "ok",
        digest_of("b"): "access.denied",
    }


def test_a_block_that_fewer_tell_alike_counts_for_nothing() -> None:
    one, other = page(("a", "ok")), page(("a", "ok"), block="fork")

    assert agreed([{5: (one,)}, {5: (other,)}, {5: (one,)}, {5: (other,)}], QUORUM) == {}
    assert agreed([{5: (one,)}, {5: (one,)}, {}, {}], QUORUM) == {}
    assert agreed([{}, {}, {}, {}], QUORUM) == {}


def test_all_pages_of_a_block_have_to_be_alike() -> None:
    first, second, other = page(("a", "ok")), page(("b", "ok"), first=1), page(("c", "ok"), first=1)

    whole = agreed([{5: (first, second)}] * 3, QUORUM)
    torn = agreed([{5: (first, second)}, {5: (first, other)}, {5: (first, second)}], QUORUM)

    assert set(whole) == {digest_of("a"), digest_of("b")}
    assert torn == {}


def test_a_block_is_decided_when_the_last_of_a_quorum_announces_it() -> None:
    told: list[int] = []
    watch = Watch(quorum=QUORUM, on_decided=told.append)
    block = {"height": 5, "digest": "aa", "tx_count": 40}

    times = []
    for at_s in (1.0, 2.0, 3.0, 4.0):
        on_announced(watch, block, at_s)
        times.append(decided_s(watch, 5, "aa"))

    assert times == [None, None, 3.0, 3.0]
    assert (told, watch.decided) == ([40], 40)


def test_announcements_of_different_blocks_at_a_height_are_not_counted_together() -> None:
    watch = Watch(quorum=QUORUM, on_decided=lambda _count: None)
    for digest in ("aa", "bb", "aa"):
        on_announced(watch, {"height": 5, "digest": digest, "tx_count": 1}, 1.0)

    assert decided_s(watch, 5, "aa") is None
    assert decided_s(watch, 6, "aa") is None
    assert watch.decided == 0
