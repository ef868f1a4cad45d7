"""Who is no peer reads certified blocks, or, where guests are known, under a key once named."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from crypto.validators import ReplicaId, ValidatorSet
from ledger.contracts.governance import (
    LATEST_EPOCH_KEY,
    epoch_key,
    get_validators,
    put_validators,
)
from ledger.nodes import NodeStanding, get_node, put_node
from ledger.state import MemoryState, Overlay
from shell.welcome import GUEST_KINDS, Former, Welcome, answer_guest, known_pins
from tests.unit.shell.live_chain import make_live_chain

STRANGER, FORMER, NEXT = b"\x01" * 32, b"\x02" * 32, b"\x03" * 32


def test_everybody_is_a_guest_of_an_open_node_and_only_known_keys_of_another(
    tmp_path: Path,
) -> None:
    chain = make_live_chain(tmp_path).chain
    member = chain.next_set.members[0].tls_pin

    open_node, other = Welcome(chain=chain, is_open=True), Welcome(chain=chain)

    assert answer_guest(open_node, STRANGER) == GUEST_KINDS
    assert answer_guest(other, member) == GUEST_KINDS
    assert answer_guest(other, STRANGER) is None


def test_keys_of_before_are_known_until_their_node_is_removed(tmp_path: Path) -> None:
    state = MemoryState(make_live_chain(tmp_path).hospitals.chain.state.entries())
    members = get_validators(state).members
    first, second = members[0].tls_pin, members[1].tls_pin
    rekeyed = ValidatorSet(members=(replace(members[0], tls_pin=NEXT), *members[1:]))
    change(state, members[0].index, tls_pin=NEXT, former_tls_pin=FORMER, former_until_height=9)
    with_next = Overlay(state)
    put_validators(with_next, rekeyed, 5)
    state.apply(with_next.writes)

    assert {first, NEXT, FORMER, second} <= known_pins(state, Former())
    change(state, members[0].index, standing=NodeStanding.REMOVED)
    assert known_pins(state, Former()) & {first, NEXT, FORMER, second} == {second}


def test_a_stranger_has_no_epoch_read_twice_however_often_it_calls(tmp_path: Path) -> None:
    """Each block is a new look: a long history of changes must not be read with each."""
    state = MemoryState(make_live_chain(tmp_path).hospitals.chain.state.entries())
    members = get_validators(state).members
    with_next = Overlay(state)
    put_validators(
        with_next, ValidatorSet(members=(replace(members[0], tls_pin=NEXT), *members[1:])), 5
    )
    state.apply(with_next.writes)
    view = CountingView(state)
    former = Former()

    found = [known_pins(view, former) for _ in range(3)]

    assert found[0] == found[1] == found[2]
    assert {members[0].tls_pin, NEXT} <= found[2]
    assert view.asked == Counter({epoch_key(0): 1, epoch_key(1): 1, LATEST_EPOCH_KEY: 3})


class CountingView:
    """A state that counts what it is asked."""

    def __init__(self, state: MemoryState) -> None:
        self.state = state
        self.asked: Counter[bytes] = Counter()

    def get(self, key: bytes) -> bytes | None:
        self.asked[key] += 1
        return self.state.get(key)

    def scan(
        self, prefix: bytes, *, start: bytes = b"", limit: int
    ) -> Iterator[tuple[bytes, bytes]]:
        return self.state.scan(prefix, start=start, limit=limit)


def change(state: MemoryState, index: ReplicaId, **changes: object) -> None:
    entry = get_node(state, index)
    assert entry is not None
    overlay = Overlay(state)
    put_node(overlay, replace(entry, **changes))  # type: ignore[arg-type]  # Fields by name.
    state.apply(overlay.writes)
