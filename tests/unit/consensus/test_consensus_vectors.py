"""The golden vectors of consensus: what is on the wire and in the journal stays what it is."""

import json

import pytest

from consensus.messages import MESSAGE_KINDS, decode_message, encode_message
from consensus.records import decode_record, encode_record
from consensus.verification import message_signature_jobs
from crypto.evidence import Evidence, check_evidence
from crypto.schema import decode
from crypto.signatures import is_valid_many
from crypto.votes import check_commit_certificate, check_prepared_certificate
from tests.vectors import make_consensus_vectors as vectors

GOLDEN = json.loads(vectors.FILE.read_text(encoding="utf-8"))


def test_the_vectors_are_what_the_code_writes_today() -> None:
    assert vectors.make_vectors() == GOLDEN


def test_every_kind_of_message_has_a_vector() -> None:
    assert {type(one) for one in vectors.MESSAGES.values()} == set(MESSAGE_KINDS)


@pytest.mark.parametrize("name", GOLDEN["messages"])
def test_a_golden_message_decodes_and_encodes_to_itself(name: str) -> None:
    encoded = bytes.fromhex(GOLDEN["messages"][name])

    assert decode_message(encoded) == vectors.MESSAGES[name]
    assert encode_message(decode_message(encoded)) == encoded


@pytest.mark.parametrize("name", GOLDEN["records"])
def test_a_golden_record_decodes_and_encodes_to_itself(name: str) -> None:
    encoded = bytes.fromhex(GOLDEN["records"][name])

    assert decode_record(encoded) == vectors.RECORDS[name]
    assert encode_record(decode_record(encoded)) == encoded


@pytest.mark.parametrize("name", GOLDEN["messages"])
def test_every_signature_in_a_golden_message_is_a_real_one(name: str) -> None:
    jobs = message_signature_jobs(
        vectors.MESSAGES[name], {vectors.EPOCH: vectors.VALIDATORS}, vectors.CHAIN
    )

    assert all(is_valid_many(jobs))


def test_the_golden_certificates_prove_what_they_say() -> None:
    members, chain, epoch = vectors.VALIDATORS, vectors.CHAIN, vectors.EPOCH

    check_commit_certificate(vectors.COMMITTED, members, chain, epoch=epoch)
    check_prepared_certificate(vectors.PREPARED, members, chain, epoch=epoch)


def test_the_golden_evidence_proves_an_equivocation() -> None:
    evidence = decode(Evidence, bytes.fromhex(GOLDEN["evidence"]["encoded"]))

    check_evidence(evidence, vectors.VALIDATORS, vectors.CHAIN)
    assert evidence == vectors.EVIDENCE
