"""Attacks 1 and 2: valid messages, bent, through decoding, verification and `handle`."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.errors import InvalidMessage, UnknownEpoch
from consensus.events import TimerKind
from consensus.invariants import retained, retained_max
from consensus.messages import (
    MESSAGE_KINDS,
    Message,
    NewView,
    decode_message,
    encode_message,
)
from consensus.state import ReplicaState
from consensus.verification import make_verifiable, message_signature_jobs
from crypto.encoding import encode_value
from crypto.errors import DecodeError
from crypto.schema import from_plain, to_plain
from crypto.votes import CommitCertificate, PreparedCertificate
from tests.simulation.ideal import CHAIN, is_signed
from tests.unit.consensus.message_examples import BLOCK, LEAVERS, MESSAGES, SETS
from tests.unit.consensus.mutated import mutate
from tests.unit.consensus.replicas import (
    commit,
    committed,
    decide_next,
    expire,
    fresh,
    hand,
    hand_all,
    new_view,
    prepare,
    prepared,
    propose_to,
    replica,
)

PEERS = (0, 2, 3)


def in_the_middle() -> ReplicaState:
    state = replica(me=1)
    propose_to(state, BLOCK)
    hand_all(state, prepare(2, BLOCK), commit(0, BLOCK))
    return state


def one_decided() -> ReplicaState:
    state = replica(me=1)
    decide_next(state, "a")
    return state


def in_the_next_view() -> ReplicaState:
    state = in_the_middle()
    expire(state, TimerKind.VIEW_CHANGE)
    return state


def just_started() -> ReplicaState:
    return replica(me=1)


def behind_the_fence() -> ReplicaState:
    state, _ = fresh(me=1, records=())
    hand(state, 0, commit(1, BLOCK))
    return state


STANDINGS: tuple[Callable[[], ReplicaState], ...] = (
    just_started,
    in_the_middle,
    one_decided,
    in_the_next_view,
    behind_the_fence,
)


def take(state: ReplicaState, sender: int, encoded: bytes) -> str:
    """Do with a peer's bytes what a node does, and say how far they came.

    Signatures are asked for and then taken as good: a liar's own are, and if others' are too the
    core must not fall over either.
    """
    try:
        message = make_verifiable(decode_message(encoded), SETS)
    except DecodeError:
        return "refused"
    try:
        jobs = message_signature_jobs(message, SETS, CHAIN)
    except InvalidMessage:
        return "refused"
    except UnknownEpoch:
        return "unknown epoch"
    hand(state, sender, message)
    return "signed" if all(is_signed(job) for job in jobs) else "unsigned"


@pytest.mark.parametrize("kind", MESSAGE_KINDS)
@settings(max_examples=150)
@given(draw=st.randoms(use_true_random=False), standing=st.sampled_from(STANDINGS))
def test_no_bent_message_raises_or_fills_the_memory(
    kind: type[Message], standing: Callable[[], ReplicaState], draw: random.Random
) -> None:
    state = standing()
    limit = retained_max(state.members.quorum)
    valid = [one for one in MESSAGES if type(one) is kind]

    for _ in range(4):
        take(state, draw.choice(PEERS), mutate(draw.choice(valid), MESSAGES, draw))

    assert retained(state) <= limit


def test_mutations_reach_every_depth() -> None:
    """A fuzzer whose bytes are all refused at the door shows nothing about what is behind it."""
    draw = random.Random(1)
    reached: dict[type[Message], set[str]] = {kind: set() for kind in MESSAGE_KINDS}

    for _ in range(100):
        for valid in MESSAGES:
            reached[type(valid)].add(take(in_the_middle(), 2, mutate(valid, MESSAGES, draw)))

    for kind, outcomes in reached.items():
        assert "refused" in outcomes, kind
        assert outcomes & {"signed", "unsigned"}, kind


@given(order=st.lists(st.sampled_from(range(3)), min_size=1, max_size=9))
def test_no_order_or_repetition_of_view_changes_makes_another_new_view(order: list[int]) -> None:
    """Attack 1: however an entry is repeated, it is one view-change, and three are needed."""
    good = new_view(BLOCK, view=1, leavers=LEAVERS, signer=1)
    plain = to_plain(good)
    assert isinstance(plain, tuple)
    entries = tuple(plain[1][index] for index in order)

    try:
        message = decode_message(encode_value((plain[0], entries, plain[2])))
    except DecodeError:
        assert order != sorted(set(order))
        return

    assert isinstance(message, NewView)
    assert [one.signer for one in message.view_changes] == sorted(
        {LEAVERS[index].signer for index in order}
    )
    if len(set(order)) < 3:
        with pytest.raises(InvalidMessage, match="a quorum has 3"):
            message_signature_jobs(message, SETS, CHAIN)
        return
    assert encode_message(message) == encode_message(good)


@pytest.mark.parametrize("good", [prepared(BLOCK), committed(BLOCK)])
@given(data=st.data())
def test_no_order_or_repetition_of_votes_adds_weight(
    good: PreparedCertificate | CommitCertificate, data: st.DataObject
) -> None:
    """Attack 1: a certificate of fewer signers never passes for one of a quorum."""
    votes = good.signatures
    order = data.draw(st.lists(st.sampled_from(range(len(votes))), min_size=1, max_size=9))
    plain = to_plain(good)
    assert isinstance(plain, tuple)
    bent = (*plain[:-1], tuple(plain[-1][index] for index in order))

    try:
        certificate = from_plain(type(good), bent)
    except DecodeError:
        assert order != sorted(set(order))
        return

    assert {signer for signer, _ in certificate.signatures} == {votes[one][0] for one in order}
    assert len(certificate.signatures) == len(set(order))
