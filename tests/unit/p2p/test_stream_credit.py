import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p.errors import PeerUnreachable, ProtocolViolation
from p2p.streams import (
    CHUNK_COST_BYTES,
    CREDIT_MAX,
    Outflow,
    accept_chunk,
    add_credit,
    chunk_cost,
    end_inflow,
    next_chunk,
    open_inflow,
    spend_credit,
    stop_outflow,
    take_grant,
)


async def test_a_reader_gets_the_chunks_and_then_the_end() -> None:
    inflow = open_inflow(1000)
    accept_chunk(inflow, b"one")
    accept_chunk(inflow, b"two")
    end_inflow(inflow, None)

    taken = [await next_chunk(inflow) for _ in range(3)]

    assert taken == [b"one", b"two", None]


async def test_a_reader_gets_what_arrived_before_the_failure() -> None:
    inflow = open_inflow(1000)
    accept_chunk(inflow, b"one")
    end_inflow(inflow, PeerUnreachable("gone"))

    first = await next_chunk(inflow)

    assert first == b"one"
    with pytest.raises(PeerUnreachable):
        await next_chunk(inflow)


async def test_a_waiting_reader_is_woken_by_a_chunk() -> None:
    inflow = open_inflow(1000)
    reader = asyncio.ensure_future(next_chunk(inflow))
    await asyncio.sleep(0)

    accept_chunk(inflow, b"at last")

    assert await reader == b"at last"


def test_a_chunk_that_was_not_paid_for_is_a_violation() -> None:
    inflow = open_inflow(200)
    accept_chunk(inflow, bytes(100))

    with pytest.raises(ProtocolViolation, match="window_exceeded"):
        accept_chunk(inflow, bytes(100))


def test_an_empty_chunk_is_a_violation() -> None:
    with pytest.raises(ProtocolViolation, match="empty_chunk"):
        accept_chunk(open_inflow(200), b"")


def test_a_chunk_after_the_end_is_a_violation() -> None:
    inflow = open_inflow(200)
    end_inflow(inflow, None)

    with pytest.raises(ProtocolViolation, match="chunk_after_end"):
        accept_chunk(inflow, b"late")


def test_tiny_chunks_are_no_way_round_the_window() -> None:
    inflow = open_inflow(100 * CHUNK_COST_BYTES)
    for _ in range(98):
        accept_chunk(inflow, b"x")

    with pytest.raises(ProtocolViolation, match="window_exceeded"):
        accept_chunk(inflow, b"x")


@given(sizes=st.lists(st.integers(1, 400), max_size=80))
async def test_what_a_reader_holds_never_passes_its_window(sizes: list[int]) -> None:
    inflow, outflow = open_inflow(1000), Outflow(credit=1000)
    held = 0

    for size in sizes:
        while outflow.credit < chunk_cost(bytes(size)):
            chunk = await next_chunk(inflow)
            assert chunk is not None
            held -= chunk_cost(chunk)
            granted = take_grant(inflow)
            if granted:
                add_credit(outflow, granted)
        assert await spend_credit(outflow, bytes(size))
        accept_chunk(inflow, bytes(size))
        held += chunk_cost(bytes(size))

        assert held <= 1000
        assert held + inflow.credit + inflow.freed == 1000


async def test_a_sender_waits_for_credit_and_goes_on_with_it() -> None:
    outflow = Outflow()
    sender = asyncio.ensure_future(spend_credit(outflow, b"chunk"))
    await asyncio.sleep(0)
    assert not sender.done()

    add_credit(outflow, chunk_cost(b"chunk"))

    assert await sender
    assert outflow.credit == 0


async def test_a_sender_nobody_listens_to_is_told_so() -> None:
    outflow = Outflow()
    sender = asyncio.ensure_future(spend_credit(outflow, b"chunk"))
    await asyncio.sleep(0)

    stop_outflow(outflow)

    assert not await sender


@pytest.mark.parametrize("granted", [0, CREDIT_MAX])
def test_an_absurd_grant_is_a_violation(granted: int) -> None:
    outflow = Outflow(credit=1)

    with pytest.raises(ProtocolViolation, match="absurd_grant"):
        add_credit(outflow, granted)
