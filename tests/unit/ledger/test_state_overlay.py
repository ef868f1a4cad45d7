import hypothesis.strategies as st
from hypothesis import given
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from typing_extensions import override

from ledger.state import MemoryState, Overlay

keys = st.binary(min_size=0, max_size=3).map(lambda tail: b"t/" + tail) | st.sampled_from(
    [b"t", b"u", b"t/\xff", b"t0"]
)
values = st.binary(max_size=2)


def expected_scan(
    entries: dict[bytes, bytes], prefix: bytes, start: bytes, limit: int
) -> list[tuple[bytes, bytes]]:
    found = [
        (key, value)
        for key, value in sorted(entries.items())
        if key.startswith(prefix) and key >= start
    ]
    return found[:limit]


class OverlayMachine(RuleBasedStateMachine):
    """An overlay over a base behaves like a dict that is copied at every savepoint."""

    def __init__(self) -> None:
        super().__init__()
        base = {b"t/" + bytes([index]): b"base" for index in range(0, 200, 7)}
        self.base = MemoryState(base)
        self.overlay = Overlay(self.base)
        self.model = dict(base)
        self.saved: list[dict[bytes, bytes]] = []

    @rule(key=keys, value=values)
    def put(self, key: bytes, value: bytes) -> None:
        self.overlay.put(key, value)
        self.model[key] = value

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        self.overlay.delete(key)
        self.model.pop(key, None)

    @rule(count=st.integers(60, 90))
    def put_many(self, count: int) -> None:
        for index in range(count):
            self.put(b"t/" + bytes([index, 0]), b"many")

    @rule()
    def begin(self) -> None:
        self.overlay.begin()
        self.saved.append(dict(self.model))

    @precondition(lambda self: self.saved)
    @rule()
    def commit(self) -> None:
        self.overlay.commit()
        self.saved.pop()

    @precondition(lambda self: self.saved)
    @rule()
    def discard(self) -> None:
        self.overlay.discard()
        self.model = self.saved.pop()

    @rule(key=keys)
    def get(self, key: bytes) -> None:
        assert self.overlay.get(key) == self.model.get(key)

    @rule(
        prefix=st.sampled_from([b"", b"t", b"t/", b"t/\x07", b"u"]),
        start=st.just(b"") | keys,
        limit=st.integers(0, 300),
    )
    def scan(self, prefix: bytes, start: bytes, limit: int) -> None:
        found = list(self.overlay.scan(prefix, start=start, limit=limit))
        assert found == expected_scan(self.model, prefix, start, limit)

    @invariant()
    def base_is_untouched(self) -> None:
        assert self.base.get(b"t/\x07") == b"base"

    @override
    def teardown(self) -> None:
        while self.saved:
            self.commit()
        self.base.apply(self.overlay.writes)
        assert self.base.entries() == dict(sorted(self.model.items()))


def test_an_overlay_is_a_dict_with_savepoints() -> None:
    run_state_machine_as_test(OverlayMachine)


def test_a_scan_does_not_notice_writes_made_while_it_runs() -> None:
    overlay = Overlay(MemoryState({b"a1": b"", b"a3": b""}))
    overlay.put(b"a2", b"")

    seen: list[bytes] = []
    for key, _ in overlay.scan(b"a", limit=10):
        seen.append(key)
        overlay.put(b"a9", b"new")

    assert seen == [b"a1", b"a2", b"a3"]


def test_an_overlay_over_an_overlay_reads_through_both() -> None:
    base = MemoryState({b"a": b"base", b"b": b"base"})
    lower = Overlay(base)
    lower.put(b"b", b"lower")
    upper = Overlay(lower)
    upper.delete(b"a")

    assert upper.get(b"a") is None
    assert list(upper.scan(b"", limit=9)) == [(b"b", b"lower")]
    assert lower.get(b"a") == b"base"


@given(st.dictionaries(keys, values), st.dictionaries(keys, st.none() | values))
def test_applying_writes_changes_exactly_those_keys(
    entries: dict[bytes, bytes], writes: dict[bytes, bytes | None]
) -> None:
    state = MemoryState(entries)

    state.apply(writes)

    expected = {**entries, **writes}
    assert state.entries() == {
        key: value for key, value in sorted(expected.items()) if value is not None
    }
    assert [key for key, _ in state.scan(b"", limit=1_000)] == list(state.entries())
