"""Rule 12: whose clock is off, when a block's time is compared, and how far a liar can push it."""

from dataclasses import replace
from typing import Any, cast

import pytest

from consensus.messages import Status
from crypto.hashing import Digest
from ledger.blocks import Header
from ledger.errors import InvalidBlock
from ledger.parameters import Parameters
from shell.clocks import offset_ms
from shell.proposals import HEARD_MAX, Proposals, _wait_ms, note_heard
from tests.vectors.make_consensus_vectors import STATUS

PARAMETERS = Parameters(time_delta_ms=1_000, time_delta_past_ms=10_000)
NOW_MS = 1_800_000_000_000


class Ticking:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at_ms = NOW_MS

    def now_ms(self) -> int:
        return self.at_ms


def header_at(time_ms: int) -> Header:
    """A header of which only the time matters here."""
    header = object.__new__(Header)
    object.__setattr__(header, "time_ms", time_ms)
    return header


def make_proposals(clock: Ticking) -> Proposals:
    nothing: Any = None
    return Proposals(chain=nothing, pool=nothing, clock=cast("Any", clock), replica=nothing)


def heard_clock(clock_ms: int) -> Status:
    return replace(STATUS, clock_ms=clock_ms)


@pytest.mark.parametrize(("rtt_ms", "offset"), [(None, -30), (0.0, -30), (60.0, 0), (100.0, 20)])
def test_an_offset_is_corrected_by_half_the_round_trip(rtt_ms: float | None, offset: int) -> None:
    status = heard_clock(NOW_MS)

    assert offset_ms(status, NOW_MS + 30, rtt_ms) == offset


def test_a_block_a_little_ahead_is_kept_until_it_is_due() -> None:
    ahead = header_at(NOW_MS + 1_400)

    assert _wait_ms(ahead, NOW_MS, PARAMETERS) == 400
    assert _wait_ms(ahead, NOW_MS + 400, PARAMETERS) == 0


def test_a_block_far_ahead_or_far_behind_is_refused() -> None:
    with pytest.raises(InvalidBlock, match="due in"):
        _wait_ms(header_at(NOW_MS + 3_600_000), NOW_MS, PARAMETERS)
    with pytest.raises(InvalidBlock, match="behind"):
        _wait_ms(header_at(NOW_MS - 10_001), NOW_MS, PARAMETERS)


def test_a_block_is_compared_with_the_clock_at_which_its_header_arrived() -> None:
    """The parent took long to execute here: that is not the primary's fault."""
    late = header_at(NOW_MS - 9_000)

    assert _wait_ms(late, NOW_MS + 5_000, PARAMETERS, heard_ms=NOW_MS) == 0
    with pytest.raises(InvalidBlock):
        _wait_ms(late, NOW_MS + 5_000, PARAMETERS)


def test_the_first_arrival_of_a_header_counts_and_few_are_remembered() -> None:
    clock = Ticking()
    proposals = make_proposals(clock)
    note_heard(proposals, Digest(bytes(32)))
    clock.at_ms += 700
    note_heard(proposals, Digest(bytes(32)))

    assert proposals.heard == {Digest(bytes(32)): NOW_MS}
    for number in range(3 * HEARD_MAX):
        note_heard(proposals, Digest(number.to_bytes(32, "big")))
    assert len(proposals.heard) == HEARD_MAX


def test_a_primary_that_pushes_every_block_does_not_drift_the_chain() -> None:
    """Attack 15: each of thousands of blocks is as late as it may be; correct clocks differ."""
    clocks_ms = [NOW_MS - 200, NOW_MS, NOW_MS + 150]  # Of the three correct replicas; q = 3, f = 1.
    needed, elapsed_ms, parent_ms = 2, 0, NOW_MS
    for _ in range(5_000):
        pushed_ms = max(parent_ms + 1, max(clocks_ms) + elapsed_ms + PARAMETERS.time_delta_ms)
        waits = sorted(
            _wait_ms(header_at(pushed_ms), clock_ms + elapsed_ms, PARAMETERS)
            for clock_ms in clocks_ms
        )
        elapsed_ms += waits[needed - 1] + 1  # Two correct votes and the liar's own decide.
        parent_ms = pushed_ms
        fastest_ms = max(clocks_ms) + elapsed_ms
        assert parent_ms <= fastest_ms + PARAMETERS.time_delta_ms

    assert parent_ms - NOW_MS <= elapsed_ms + 150 + PARAMETERS.time_delta_ms
