from itertools import pairwise
from struct import pack

from hypothesis import given
from hypothesis import strategies as st

from p2p.codes import UNREADABLE, decode_code, encode_code
from p2p.errors import FrameError, FrameTooLarge, UnknownKind
from p2p.frames import (
    FIRST_KIND,
    HEADER_BYTES,
    Control,
    Frame,
    Parser,
    encode_frame,
    feed,
    make_limits,
)

LIMITS = make_limits({40: 10, 41: 300, 42: 0})
frames = st.one_of(
    st.tuples(st.just(40), st.integers(0, 2**32 - 1), st.binary(max_size=10)),
    st.tuples(st.just(41), st.integers(0, 2**32 - 1), st.binary(max_size=300)),
    st.tuples(st.just(42), st.integers(0, 2**32 - 1), st.just(b"")),
)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:stop] for start, stop in pairwise(edges)]


def feed_all(parser: Parser, chunks: list[bytes]) -> list[Frame]:
    return [frame for chunk in chunks for frame in feed(parser, chunk)]


@given(sent=st.lists(frames, max_size=12), places=st.lists(st.integers(0, 5000), max_size=20))
def test_any_chunking_gives_the_same_frames(sent: list[Frame], places: list[int]) -> None:
    stream = b"".join(encode_frame(*frame) for frame in sent)
    parser = Parser(limits=LIMITS)

    received = feed_all(parser, cut(stream, places))

    assert received == sent
    assert not parser.rest


@given(sent=st.lists(frames, max_size=5))
def test_byte_by_byte_gives_the_same_frames(sent: list[Frame]) -> None:
    stream = b"".join(encode_frame(*frame) for frame in sent)
    parser = Parser(limits=LIMITS)

    received = feed_all(parser, [stream[at : at + 1] for at in range(len(stream))])

    assert received == sent


@given(chunks=st.lists(st.binary(max_size=200), max_size=20))
def test_random_bytes_raise_nothing_but_a_frame_error(chunks: list[bytes]) -> None:
    parser = Parser(limits=LIMITS)

    received = feed_all(parser, chunks)

    assert all(len(body) <= LIMITS[kind] for kind, _, body in received)
    assert parser.breach is None or isinstance(parser.breach, FrameError)


@given(chunks=st.lists(st.binary(max_size=400), max_size=30))
def test_what_is_kept_never_exceeds_one_frame_and_one_chunk(chunks: list[bytes]) -> None:
    parser = Parser(limits=LIMITS)

    for chunk in chunks:
        feed(parser, chunk)

        assert len(parser.rest) < HEADER_BYTES + max(LIMITS)


@given(
    before=st.lists(frames, max_size=4),
    junk=st.binary(max_size=50),
    places=st.lists(st.integers(0, 5000), max_size=10),
)
def test_frames_before_a_breach_arrive_in_any_chunking(
    before: list[Frame], junk: bytes, places: list[int]
) -> None:
    stream = b"".join(encode_frame(*frame) for frame in before)
    stream += pack(">IBI", 11, 40, 0) + junk
    parser = Parser(limits=LIMITS)

    received = feed_all(parser, cut(stream, places))

    assert received == before
    assert isinstance(parser.breach, FrameTooLarge)


def test_a_length_over_the_limit_is_refused_before_any_of_the_body_is_kept() -> None:
    parser = Parser(limits=LIMITS)

    received = feed(parser, pack(">IBI", 2**32 - 1, 41, 7))

    assert received == []
    assert isinstance(parser.breach, FrameTooLarge)
    assert not parser.rest


def test_a_kind_without_a_limit_is_refused_even_when_empty() -> None:
    parser = Parser(limits=LIMITS)

    feed(parser, pack(">IBI", 0, 99, 0))

    assert isinstance(parser.breach, UnknownKind)


def test_nothing_is_parsed_after_a_breach() -> None:
    parser = Parser(limits=LIMITS)
    feed(parser, pack(">IBI", 0, 99, 0))

    received = feed(parser, encode_frame(40, 1, b"late"))

    assert received == []


def test_a_frame_of_exactly_its_limit_passes() -> None:
    parser = Parser(limits=LIMITS)

    received = feed(parser, encode_frame(41, 2**32 - 1, bytes(300)))

    assert received == [(41, 2**32 - 1, bytes(300))]


def test_every_control_kind_has_a_limit_below_the_kinds_of_users() -> None:
    limits = make_limits({})

    assert all(limits[control] >= 0 for control in Control)
    assert max(Control) < FIRST_KIND


def test_a_code_comes_back_as_it_was_sent() -> None:
    assert decode_code(encode_code("records.unknown-2")) == "records.unknown-2"


@given(body=st.binary(max_size=100))
def test_what_is_no_code_reads_as_unreadable(body: bytes) -> None:
    code = decode_code(body)

    assert code == UNREADABLE or code.encode() == body
    assert code.isascii()
    assert len(code) <= 64
