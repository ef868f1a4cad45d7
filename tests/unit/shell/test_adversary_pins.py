"""No member keeps the pin for ever, whatever it asks for and how often."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crypto.hashing import Digest
from shell.pins import IDLE_S, TURN_S, Pins, pin, release_pin
from tests.unit.shell.live_chain import make_live_chain

HOG, OTHER, THIRD = 1, 2, 3
HEIGHT = 100


@dataclass(slots=True)
class Hand:
    """A clock that stands still until it is moved."""

    now_s: float = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def chunk(first: int, then: int = 0) -> Digest:
    return Digest(bytes([first, *then.to_bytes(4, "big")]) + bytes(27))


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def pins(tmp_path: Path, hand: Hand) -> Iterator[Pins]:
    live = make_live_chain(tmp_path)
    yield Pins(world=live.chain.stored.world, clock_s=hand)
    live.chain.stored.database.close()


def test_a_snapshot_on_its_way_keeps_its_root(pins: Pins, hand: Hand) -> None:
    for number in range(8):
        pin(pins, HOG, HEIGHT, chunk(number % 4, number))
        hand.now_s += IDLE_S - 1

    release_pin(pins)

    assert pins.world.pinned == HEIGHT


def test_asking_for_the_same_again_is_no_progress(pins: Pins, hand: Hand) -> None:
    pin(pins, HOG, HEIGHT, chunk(7))
    for _ in range(2):
        hand.now_s += IDLE_S / 2
        pin(pins, HOG, HEIGHT, chunk(7))
        pin(pins, HOG, HEIGHT, None)

    release_pin(pins)

    assert pins.world.pinned is None


def test_who_begins_anew_again_and_again_has_one_turn(pins: Pins, hand: Hand) -> None:
    heights = []
    for number in range(int(2 * TURN_S / 50)):
        pin(pins, HOG, HEIGHT + 10 * number, chunk(0, number))
        heights.append(pins.world.pinned)
        hand.now_s += 50

    turn = int(TURN_S / 50)
    assert None not in heights[:turn]
    assert set(heights[turn:]) == {None}, "it waits for as long as it has had it"


def test_the_others_have_their_turns_between_those_of_one(pins: Pins, hand: Hand) -> None:
    kept: dict[int, int] = dict.fromkeys((HOG, OTHER), 0)
    for number in range(int(6 * TURN_S / 30)):
        pin(pins, HOG, HEIGHT + 10 * number, chunk(0, number))
        pin(pins, OTHER, HEIGHT + 5 + 10 * number, chunk(0, number))
        for holder in pins.holders:
            kept[holder] += 1
        hand.now_s += 30

    assert min(kept.values()) * 3 > max(kept.values()), kept


def test_a_pin_is_shared_at_one_height_and_moved_by_nobody_who_shares_it(
    pins: Pins, hand: Hand
) -> None:
    pin(pins, HOG, HEIGHT, chunk(1))
    pin(pins, OTHER, HEIGHT - 1, chunk(1))
    pin(pins, THIRD, HEIGHT + 50, chunk(1))
    pin(pins, HOG, HEIGHT + 50, chunk(2))

    assert pins.world.pinned == HEIGHT
    assert set(pins.holders) == {HOG, OTHER}


def test_what_is_remembered_of_rests_does_not_grow(pins: Pins, hand: Hand) -> None:
    for peer_id in range(50):
        pin(pins, peer_id, HEIGHT, chunk(0))
        hand.now_s += 4 * IDLE_S
        release_pin(pins)

    assert len(pins.rests_s) == 1
