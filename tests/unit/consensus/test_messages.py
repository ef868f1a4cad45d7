"""Messages on the wire, and the signatures that must be checked in them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.errors import InvalidMessage, UnknownEpoch
from consensus.messages import (
    MESSAGE_KINDS,
    Blocks,
    Message,
    Proposal,
    Status,
    decode_message,
    encode_message,
)
from consensus.records import (
    Booted,
    FenceLifted,
    FenceRaised,
    NewViewRecord,
    PreparedRecord,
    ProposalRecord,
    Record,
    Restarted,
    ViewChangeRecord,
    decode_record,
    encode_record,
)
from consensus.verification import make_verifiable, message_signature_jobs
from consensus.votes import vote_record
from crypto.errors import DecodeError
from crypto.schema import from_plain, to_plain
from crypto.signatures import SignatureJob
from crypto.validators import Epoch
from crypto.votes import Height
from tests.simulation.ideal import CHAIN, is_signed
from tests.unit.consensus.message_examples import BLOCK, LEAVERS, MESSAGES, SECOND, SETS
from tests.unit.consensus.replicas import (
    certified,
    committed,
    echo,
    make_block,
    new_view,
    prepare,
    prepared,
    start_journal,
    status,
    view_change,
)

RECORDS: list[Record] = [
    start_journal(3),
    FenceRaised(reason="the vote journal is missing"),
    FenceLifted(height=Height(9)),
    ProposalRecord(block=SECOND),
    vote_record(prepare(1, BLOCK)),
    PreparedRecord(certificate=prepared(BLOCK)),
    ViewChangeRecord(message=view_change(1, 2, report=prepared(BLOCK))),
    NewViewRecord(message=new_view(BLOCK, view=1, leavers=LEAVERS, signer=1)),
    Restarted(epoch=Epoch(1_000_000), height=Height(7), digest=BLOCK.digest),
    Booted(number=1, boot_id=b"the first start.", earlier=()),
    Booted(number=2, boot_id=b"the second start", earlier=(b"the first start.",)),
]


def jobs_of(message: Message) -> tuple[SignatureJob, ...]:
    return message_signature_jobs(message, SETS, CHAIN)


def test_there_is_an_example_of_every_message_here() -> None:
    assert {type(message) for message in MESSAGES} == set(MESSAGE_KINDS)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_a_message_survives_the_wire(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@pytest.mark.parametrize("record", RECORDS, ids=lambda one: type(one).__name__)
def test_a_record_survives_the_journal(record: Record) -> None:
    assert decode_record(encode_record(record)) == record


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
@given(data=st.data())
def test_a_damaged_message_does_not_decode_or_is_another_message(
    message: Message, data: st.DataObject
) -> None:
    encoded = encode_message(message)
    at = data.draw(st.integers(0, len(encoded) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != encoded[at]))
    damaged = encoded[:at] + bytes([byte]) + encoded[at + 1 :]

    try:
        decoded = decode_message(damaged)
    except DecodeError:
        return
    assert decoded != message
    assert encode_message(decoded) == damaged


@given(st.binary(max_size=300))
def test_random_bytes_are_no_message_or_spell_one_canonically(encoded: bytes) -> None:
    try:
        message = decode_message(encoded)
    except DecodeError:
        return
    assert encode_message(message) == encoded


@given(st.binary(max_size=300))
def test_random_bytes_are_no_record_or_spell_one_canonically(encoded: bytes) -> None:
    try:
        record = decode_record(encoded)
    except DecodeError:
        return
    assert encode_record(record) == encoded


def test_a_message_longer_than_its_kind_may_be_is_not_parsed() -> None:
    long = encode_message(prepare(1, BLOCK)) + bytes(300)

    with pytest.raises(DecodeError, match="at most 256"):
        decode_message(long)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_every_signature_that_a_message_relies_on_is_checked(message: Message) -> None:
    jobs = jobs_of(message)

    assert all(is_signed(job) for job in jobs)
    for signature in signatures_in(to_plain(message)):
        if isinstance(message, Blocks | Proposal) and signature not in committed_signatures(
            message
        ):
            continue
        assert signature in {job.signature for job in jobs}


def signatures_in(plain: object) -> list[bytes]:
    """Every 64-byte string of a message, wherever it is nested."""
    if isinstance(plain, bytes):
        return [plain] if len(plain) == 64 else []
    if isinstance(plain, tuple):
        return [found for item in plain for found in signatures_in(item)]
    return []


def committed_signatures(message: Blocks | Proposal) -> set[bytes]:
    """The header of a certified block commits to its parent certificate: no second check."""
    if isinstance(message, Proposal):
        return set()
    return {signature for one in message.blocks for _, signature in one.certificate.signatures}


def test_a_certificate_that_all_repeat_is_checked_once() -> None:
    message = new_view(BLOCK, view=1, leavers=LEAVERS, signer=1)

    jobs = jobs_of(message)

    assert len(jobs) == len(set(jobs)) == 3 + 3 + 1


def test_one_false_signature_anywhere_is_found() -> None:
    message = new_view(BLOCK, view=1, leavers=LEAVERS, signer=1)
    false = replace(prepared(BLOCK), primary_signature=bytes(64))
    forged = view_change(0, 1, report=false)
    message = new_view(BLOCK, view=1, leavers=[forged, *LEAVERS[1:]], signer=1)

    assert not all(is_signed(job) for job in jobs_of(message))


@pytest.mark.parametrize(
    "message",
    [
        prepare(9, BLOCK),
        view_change(1, 2, report=prepared(BLOCK, backups=(1,))),
        view_change(1, 2, report=prepared(BLOCK, backups=(1, 2, 3))),
        view_change(1, 2, report=prepared(BLOCK, backups=(2, 9))),
        status(2, certificate=committed(BLOCK, signers=(0, 1))),
        status(2, certificate=committed(BLOCK, signers=(0, 1, 2, 3))),
        new_view(BLOCK, view=1, leavers=LEAVERS[:2], signer=1),
        Blocks(blocks=(replace(certified(BLOCK), certificate=committed(BLOCK, signers=(1, 2))),)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_certificates_that_are_not_exactly_a_quorum_of_members_are_refused(
    message: Message,
) -> None:
    with pytest.raises(InvalidMessage):
        jobs_of(message)


def test_votes_of_an_unknown_epoch_cannot_be_checked() -> None:
    for message in (
        replace(prepare(1, BLOCK), epoch=Epoch(1)),
        status(2, certificate=replace(committed(BLOCK), epoch=Epoch(1))),
    ):
        with pytest.raises(UnknownEpoch):
            jobs_of(message)


def test_what_a_later_epoch_says_is_still_a_hint() -> None:
    later = replace(committed(BLOCK), epoch=Epoch(1))
    status_message = status(9, certificate=later)
    blocks = Blocks(
        blocks=(
            certified(BLOCK),
            replace(certified(SECOND), certificate=replace(committed(SECOND), epoch=Epoch(1))),
        )
    )

    hint = make_verifiable(status_message, SETS)
    some = make_verifiable(blocks, SETS)

    assert isinstance(hint, Status)
    assert (hint.certificate, hint.height) == (None, 9)
    assert some == Blocks(blocks=(certified(BLOCK),))
    assert make_verifiable(prepare(1, BLOCK), SETS) == prepare(1, BLOCK)


def test_an_echo_of_a_later_epoch_is_not_heard_in_parts() -> None:
    """Else a start would take it for an answer, and miss the vote of its key that it shows."""
    later = replace(committed(BLOCK), epoch=Epoch(1))
    shown = echo(b"the present one.", vote=replace(prepare(1, BLOCK), epoch=Epoch(1)))

    for message in (echo(b"the present one.", certificate=later), shown):
        with pytest.raises(UnknownEpoch):
            message_signature_jobs(make_verifiable(message, SETS), SETS, CHAIN)


def test_blocks_come_in_consecutive_heights_each_with_its_own_certificate() -> None:
    with pytest.raises(ValueError, match="consecutive"):
        Blocks(blocks=(certified(BLOCK), certified(make_block("c", height=3))))
    with pytest.raises(ValueError, match="proves another block"):
        Blocks(blocks=(replace(certified(BLOCK), certificate=committed(SECOND)),))


def test_a_payload_is_whole_hashes() -> None:
    plain = list(to_plain(BLOCK))
    plain[-1] = b"x" * 33

    with pytest.raises(DecodeError, match="whole transaction hashes"):
        from_plain(type(BLOCK), tuple(plain))
