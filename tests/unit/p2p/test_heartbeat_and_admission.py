from hypothesis import given
from hypothesis import strategies as st

from p2p.admission import Admission, admit, discharge, make_admission, source_of
from p2p.dialing import DialTerms, backoff_s
from p2p.heartbeat import Heartbeat, beat, make_ping, on_pong


def make_heartbeat() -> Heartbeat:
    return Heartbeat(idle_beats=3, stall_beats=4)


def test_silence_for_longer_than_allowed_ends_a_link() -> None:
    heartbeat = make_heartbeat()

    reasons = [beat(heartbeat, is_listening=True, is_blocked=False) for _ in range(4)]

    assert reasons == [None, None, None, "idle"]


def test_silence_does_not_count_while_we_do_not_listen() -> None:
    heartbeat = make_heartbeat()

    reasons = [beat(heartbeat, is_listening=False, is_blocked=False) for _ in range(20)]

    assert not any(reasons)


def test_a_peer_that_takes_nothing_for_longer_than_allowed_is_left() -> None:
    heartbeat = make_heartbeat()

    reasons = []
    for _ in range(5):
        heartbeat.quiet = 0  # It is heard all the time.
        reasons.append(beat(heartbeat, is_listening=True, is_blocked=True))

    assert reasons == [None, None, None, None, "write_stalled"]


def test_the_round_trip_is_measured_and_smoothed() -> None:
    heartbeat = make_heartbeat()

    on_pong(heartbeat, make_ping(heartbeat, 1.0), 1.25)
    first = heartbeat.rtt_ms
    on_pong(heartbeat, make_ping(heartbeat, 2.0), 2.125)

    assert first == 250
    assert heartbeat.rtt_ms == 250 - 125 / 8


def test_a_pong_nobody_waits_for_measures_nothing() -> None:
    heartbeat = make_heartbeat()
    ping = make_ping(heartbeat, 1.0)

    on_pong(heartbeat, b"", 1.5)
    on_pong(heartbeat, bytes(8), 1.5)
    on_pong(heartbeat, ping, 2.0)
    on_pong(heartbeat, ping, 9.0)

    assert heartbeat.rtt_ms == 1000


def open_gate() -> Admission:
    return make_admission(strangers_max=3, sources_max=2, per_second=10, now=0.0)


def test_one_source_has_few_unproven_connections() -> None:
    gate = open_gate()

    answers = [admit(gate, "a", is_known=False, now=0.0) for _ in range(3)]

    assert answers == [None, None, "source_busy"]


def test_strangers_together_have_few_unproven_connections() -> None:
    gate = open_gate()

    answers = [admit(gate, source, is_known=False, now=0.0) for source in "abcd"]

    assert answers == [None, None, None, "strangers_busy"]


def test_a_known_source_is_let_in_when_strangers_fill_the_gate() -> None:
    gate = open_gate()
    for source in "abc":
        admit(gate, source, is_known=False, now=0.0)

    assert admit(gate, "peer", is_known=True, now=0.0) is None


def test_handshakes_of_strangers_are_limited_per_second() -> None:
    gate = open_gate()

    def come_and_go(now: float) -> str | None:
        answer = admit(gate, "a", is_known=False, now=now)
        if answer is None:
            discharge(gate, "a", is_known=False)
        return answer

    answers = [come_and_go(0.0) for _ in range(11)]
    later = come_and_go(0.11)

    assert answers == [None] * 10 + ["strangers_rate"]
    assert later is None


@given(
    steps=st.lists(
        st.tuples(st.sampled_from("abcdef"), st.booleans(), st.booleans(), st.floats(0, 5))
    )
)
def test_the_gate_is_never_overfull_and_empties_again(
    steps: list[tuple[str, bool, bool, float]],
) -> None:
    gate = open_gate()
    inside: list[tuple[str, bool]] = []

    for source, is_known, leaves, now in steps:
        if leaves and inside:
            gone, was_known = inside.pop()
            discharge(gate, gone, is_known=was_known)
        elif admit(gate, source, is_known=is_known, now=now) is None:
            inside.append((source, is_known))

        assert sum(not known for _, known in inside) <= 3
        assert all(inside.count((one, known)) <= 2 for one in "abcdef" for known in (True, False))
    for source, is_known in inside:
        discharge(gate, source, is_known=is_known)

    assert not gate.open_by_source
    assert gate.strangers == 0


def test_addresses_of_one_subscriber_are_one_source() -> None:
    assert source_of("10.1.2.3") == "10.1.2.3"
    assert source_of("::ffff:10.1.2.3") == "10.1.2.3"
    assert source_of("2001:db8:1:2::1") == source_of("2001:db8:1:2:ffff::9")
    assert source_of("2001:db8:1:2::1") != source_of("2001:db8:1:3::1")
    assert source_of("hospital.example") is None


@given(failures=st.integers(0, 10_000), permille=st.integers(0, 1000))
def test_the_pause_between_attempts_is_capped_and_never_nothing(
    failures: int, permille: int
) -> None:
    terms = DialTerms(backoff_min_s=0.05, backoff_max_s=1.0, handshake_s=5.0, shutdown_s=1.0)

    pause = backoff_s(failures, terms, permille)

    assert 0.025 <= pause <= 1.0


def test_the_pause_doubles_with_every_failure() -> None:
    terms = DialTerms(backoff_min_s=0.05, backoff_max_s=1.0, handshake_s=5.0, shutdown_s=1.0)

    pauses = [backoff_s(failures, terms, 1000) for failures in range(7)]

    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
