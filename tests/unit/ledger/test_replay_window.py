import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.hashing import Digest
from ledger.parameters import TX_WINDOW_MS_LIMIT
from ledger.receipts import Receipt
from ledger.replay import ReplayWindow, Status, needed_from_ms, transaction_status

START_MS = 1_000_000_000


def tx_id(number: int) -> Digest:
    return Digest(hashlib.sha256(number.to_bytes(8, "big")).digest())


def receipt(*, accepted: bool) -> Receipt:
    return Receipt(
        tx_id=tx_id(1),
        height=1,
        index=0,
        accepted=accepted,
        code="ok" if accepted else "identity.exists",
        events=(),
    )


blocks = st.lists(
    st.tuples(st.integers(1, 5_000), st.lists(st.integers(1, 20_000), max_size=4)), max_size=30
)


@given(blocks)
def test_an_id_is_kept_while_its_transaction_is_valid(
    history: list[tuple[int, list[int]]],
) -> None:
    window = ReplayWindow(height=0, time_ms=START_MS)
    decided: dict[Digest, int] = {}
    time_ms, number = START_MS, 0

    for height, (step_ms, lifetimes) in enumerate(history, start=1):
        time_ms += step_ms
        added = []
        for lifetime_ms in lifetimes:
            number += 1
            added.append((tx_id(number), time_ms + lifetime_ms))
        window.add_block(height, time_ms, added)
        decided.update(added)

        for known, valid_until_ms in decided.items():
            if valid_until_ms > time_ms:
                assert window.contains(known, valid_until_ms)
        assert not window.contains(tx_id(0), time_ms + 1)


@given(blocks)
def test_what_has_expired_is_forgotten(history: list[tuple[int, list[int]]]) -> None:
    window = ReplayWindow(height=0, time_ms=START_MS)
    time_ms = START_MS
    for height, (step_ms, lifetimes) in enumerate(history, start=1):
        time_ms += step_ms
        ids = [(tx_id(height * 100 + at), time_ms + one) for at, one in enumerate(lifetimes)]
        window.add_block(height, time_ms, ids)

    window.add_block(len(history) + 1, time_ms + 30_000, [])

    assert len(window) == 0


def test_a_window_rebuilt_from_the_last_blocks_answers_as_the_whole_one() -> None:
    whole = ReplayWindow(height=0, time_ms=START_MS)
    chain = [
        (
            height,
            START_MS + height * 100_000,
            [(tx_id(height), START_MS + height * 100_000 + 600_000)],
        )
        for height in range(1, 31)
    ]
    for height, time_ms, ids in chain:
        whole.add_block(height, time_ms, ids)

    tip_ms = chain[-1][1]
    needed = [one for one in chain if one[1] > needed_from_ms(tip_ms)]
    first_height = needed[0][0]
    rebuilt = ReplayWindow(height=first_height - 1, time_ms=START_MS + (first_height - 1) * 100_000)
    for height, time_ms, ids in needed:
        rebuilt.add_block(height, time_ms, ids)

    assert len(needed) < len(chain)
    assert rebuilt.is_complete()
    for _, _, ids in chain:
        for known, valid_until_ms in ids:
            assert rebuilt.contains(known, valid_until_ms) == whole.contains(known, valid_until_ms)


def test_a_window_is_complete_from_genesis_or_once_it_spans_the_longest_validity() -> None:
    fresh = ReplayWindow(height=0, time_ms=START_MS)
    joined = ReplayWindow(height=70, time_ms=START_MS)

    assert fresh.is_complete()
    assert not joined.is_complete()
    joined.add_block(71, START_MS + TX_WINDOW_MS_LIMIT - 1, [])
    assert not joined.is_complete()
    joined.add_block(72, START_MS + TX_WINDOW_MS_LIMIT, [])
    assert joined.is_complete()


def test_blocks_are_added_in_order_and_time_rises() -> None:
    window = ReplayWindow(height=4, time_ms=START_MS)

    with pytest.raises(AssertionError):
        window.add_block(6, START_MS + 1, [])
    with pytest.raises(AssertionError):
        window.add_block(5, START_MS, [])


def status_of(**changes: Any) -> Status:
    facts: dict[str, Any] = {
        "receipt": None,
        "is_pending": False,
        "window_ms": (START_MS, START_MS + 10),
        "tip_time_ms": START_MS + 5,
        "indexed_from_ms": START_MS - 1,
    }
    return transaction_status(**{**facts, **changes})


def test_a_receipt_says_what_became_of_a_transaction() -> None:
    assert status_of(receipt=receipt(accepted=True)) is Status.COMMITTED
    assert status_of(receipt=receipt(accepted=False)) is Status.REFUSED
    assert status_of(receipt=receipt(accepted=True), tip_time_ms=START_MS + 99) is Status.COMMITTED


def test_expired_is_said_at_the_exact_millisecond_and_only_of_a_covered_window() -> None:
    assert status_of(tip_time_ms=START_MS + 9) is Status.UNKNOWN
    assert status_of(tip_time_ms=START_MS + 10) is Status.EXPIRED
    assert status_of(tip_time_ms=START_MS + 10, indexed_from_ms=START_MS) is Status.UNKNOWN
    assert status_of(tip_time_ms=START_MS + 10, window_ms=None) is Status.UNKNOWN


def test_a_waiting_transaction_is_pending_until_its_window_has_ended() -> None:
    assert status_of(is_pending=True) is Status.PENDING
    assert status_of(is_pending=True, window_ms=None) is Status.PENDING
    assert status_of(is_pending=True, tip_time_ms=START_MS + 10) is Status.EXPIRED
    assert (
        status_of(is_pending=True, tip_time_ms=START_MS + 10, indexed_from_ms=START_MS)
        is Status.PENDING
    )
