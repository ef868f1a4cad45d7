"""Proven state, headers and blocks: what a client checks for itself, and who may ask."""

import asyncio
from typing import Any

import pytest

from crypto.hashing import Digest
from crypto.schema import decode
from crypto.votes import check_commit_certificate
from genesis.files import parse_genesis
from ledger.access_state import ended_prefix, grants_key, requester_key, requests_key
from ledger.accounts import account_key, organisation_key
from ledger.blocks import header_digest
from ledger.contracts.governance import get_validators
from ledger.exchange import ScanQuery, SealedHeader, Witness, WitnessQuery
from ledger.parameters import PARAMETERS_KEY
from ledger.records_state import (
    patient_prefix,
    reads_prefix,
    record_key,
    seal_key,
    version_key,
)
from ledger.tree.proofs import check_many
from tests.api.asking import MSGPACK, Answer, Server
from tests.api.ports_in_memory import MemoryNode
from tests.api.written_records import enter_read, grant, revoke, write
from tests.unit.ledger.record_samples import (
    AUDITOR,
    DOCTOR,
    OTHER_PATIENT,
    PATIENT,
    SOUTH_DOCTOR,
    agent_of,
)
from tests.unit.ledger.small_consortium import NORTH, SOUTH, account_of, genesis

ORGANISATION = organisation_key(NORTH)


async def ask(server: Server, *keys: bytes, by: str | None = None, **changes: Any) -> Answer:
    query = WitnessQuery(**{"keys": keys, "at_least_height": 0, "wait_ms": 0, **changes})
    return await server.post_wire("/v1/state/witness", query, by)


async def walk(server: Server, prefix: bytes, by: str | None, **changes: Any) -> Answer:
    query = ScanQuery(
        **{
            "prefix": prefix,
            "start": b"",
            "limit": 256,
            "at_least_height": 0,
            "wait_ms": 0,
            **changes,
        }
    )
    return await server.post_wire("/v1/state/scan", query, by)


def proven(node: MemoryNode, answer: Answer) -> dict[bytes, bytes | None]:
    """Check an answer as a client does; return what it proves."""
    assert answer.status == 200, answer.body
    assert answer.headers["Content-Type"] == MSGPACK
    found = decode(Witness, answer.body)
    header, certificate = found.sealed_header.header, found.sealed_header.certificate
    validators = get_validators(node.view())
    check_commit_certificate(certificate, validators, node.chain_id, epoch=header.epoch)
    assert certificate.digest == header_digest(header)
    return check_many(header.state_root, found.keys, found.proofs)


async def test_state_is_proven_under_a_certified_header(server: Server, node: MemoryNode) -> None:
    answer = await ask(server, ORGANISATION, PARAMETERS_KEY, organisation_key("nowhere"))

    view = node.certified_view()
    assert proven(node, answer) == {
        ORGANISATION: view.get(ORGANISATION),
        PARAMETERS_KEY: view.get(PARAMETERS_KEY),
        organisation_key("nowhere"): None,
    }


async def test_a_write_is_proven_by_the_block_that_follows_it(
    server: Server, node: MemoryNode
) -> None:
    grant(node, SOUTH_DOCTOR)
    height = node.tip().height
    key = grants_key(account_of(PATIENT))

    too_early = await ask(server, key, by=PATIENT, at_least_height=height, wait_ms=10)
    node.decide([])
    answer = await ask(server, key, by=PATIENT, at_least_height=height)

    assert too_early.code == "state.behind"
    assert proven(node, answer)[key] == node.view().get(key)


async def test_what_governs_is_open_and_what_concerns_people_is_not(server: Server) -> None:
    key = account_key(account_of(DOCTOR))

    open_to_all = await ask(server, ORGANISATION)
    without_session = await ask(server, ORGANISATION, key)
    with_session = await ask(server, ORGANISATION, key, by=SOUTH_DOCTOR)

    assert open_to_all.status == 200
    assert without_session.code == "session.required"
    assert with_session.status == 200


async def test_entries_about_a_patient_are_for_who_may_know_of_the_patient(
    server: Server, node: MemoryNode
) -> None:
    written = write(node)
    version = node.hospitals.latest(written.record_id)
    pseudonym = account_of(PATIENT)
    keys = (
        account_key(pseudonym),
        grants_key(pseudonym),
        record_key(written.record_id),
        version_key(written.record_id, version.version_id),
        seal_key(written.cid),
    )
    node.decide([])

    for by in (PATIENT, DOCTOR, AUDITOR, agent_of(NORTH)):
        assert proven(node, await ask(server, *keys, by=by))[record_key(written.record_id)]
    for key in keys:
        for by in (SOUTH_DOCTOR, OTHER_PATIENT, agent_of(SOUTH), "first admin of south"):
            assert (await ask(server, key, by=by)).code == "state.not_entitled"


async def test_a_right_opens_the_entries_and_its_end_shuts_them(
    server: Server, node: MemoryNode
) -> None:
    written = write(node)
    key = record_key(written.record_id)
    given = grant(node, SOUTH_DOCTOR)
    node.decide([])

    during = await ask(server, key, by=SOUTH_DOCTOR)
    revoke(node, given)
    after = await ask(server, key, by=SOUTH_DOCTOR)

    assert during.status == 200
    assert after.code == "state.not_entitled"


async def test_requests_are_for_the_patient_and_for_who_made_them(
    server: Server, node: MemoryNode
) -> None:
    asked, asking = requests_key(account_of(PATIENT)), requester_key(account_of(SOUTH_DOCTOR))

    assert (await ask(server, asked, by=PATIENT)).status == 200
    assert (await ask(server, asking, by=SOUTH_DOCTOR)).status == 200
    assert (await ask(server, asked, by=SOUTH_DOCTOR)).code == "state.not_entitled"
    assert (await ask(server, asking, by=PATIENT)).code == "state.not_entitled"


async def test_read_entries_are_for_the_reader_the_patient_auditors_and_the_agent(
    server: Server, node: MemoryNode
) -> None:
    written = write(node)
    grant(node, SOUTH_DOCTOR)
    enter_read(node, written, SOUTH_DOCTOR)
    node.decide([])
    prefix = reads_prefix(account_of(PATIENT))

    for by in (SOUTH_DOCTOR, PATIENT, AUDITOR, agent_of(NORTH), agent_of(SOUTH)):
        shown = proven(node, await walk(server, prefix, by))
        assert len(shown) == (0 if by == agent_of(SOUTH) else 1), by
    for by in (DOCTOR, OTHER_PATIENT, "south nurse"):
        assert proven(node, await walk(server, prefix, by)) == {}


async def test_a_walk_shows_what_the_asker_may_know_and_goes_on(
    server: Server, node: MemoryNode
) -> None:
    records = [write(node).record_id for _ in range(5)]
    node.decide([])
    prefix = patient_prefix(account_of(PATIENT))

    first = proven(node, await walk(server, prefix, DOCTOR, limit=3))
    rest = proven(node, await walk(server, prefix, DOCTOR, limit=3, start=max(first) + b"\x00"))
    hidden = proven(node, await walk(server, prefix, SOUTH_DOCTOR))

    assert [key[-16:] for key in sorted({**first, **rest})] == records
    assert (len(first), len(rest)) == (3, 2)
    assert hidden == {}


@pytest.mark.parametrize(
    "prefix",
    [
        b"i",
        b"identity/",
        b"identity/account/",
        b"identity/key/",
        b"identity/directory/",
        b"records/",
        b"records/record/",
        b"records/seal/",
        patient_prefix(account_of(PATIENT))[:-1],
        ended_prefix(account_of(PATIENT))[:-1],
    ],
)
async def test_nobody_walks_over_all_people(server: Server, prefix: bytes) -> None:
    answer = await walk(server, prefix, AUDITOR)

    assert answer.code == "state.not_entitled"


async def test_organisations_may_be_walked_by_all(server: Server, node: MemoryNode) -> None:
    answer = await walk(server, organisation_key(""), None)

    assert sorted(proven(node, answer)) == [organisation_key(NORTH), organisation_key(SOUTH)]


async def test_keys_of_no_known_table_are_shown_to_nobody(server: Server) -> None:
    for key in (b"x", b"identity/", b"records/other/1", b"access/", b"emergency/open/1"):
        assert (await ask(server, key, by=AUDITOR)).code == "state.not_entitled"


async def test_headers_and_blocks_are_open(server: Server, node: MemoryNode) -> None:
    receipt_id = grant(node, SOUTH_DOCTOR)
    height = node.tip().height

    header = await server.get(f"/v1/headers/{height}")
    block = await server.get("/v1/blocks/latest")

    sealed = decode(SealedHeader, header.body)
    assert sealed == node.sealed_header(height)
    assert block.json["transactions"] == [receipt_id.hex()]
    assert block.json["digest"] == header_digest(sealed.header).hex()
    assert block.json["header"]["height"] == height
    assert block.json["certificate"]["signers"] == [0, 1, 2]


@pytest.mark.parametrize("height", ["0", "99999", "-1", "x", "1e3", "٣", "9" * 30])
async def test_other_heights_are_refused_by_name(server: Server, height: str) -> None:
    answer = await server.get(f"/v1/blocks/{height}")

    assert answer.code in ("block.unknown", "request.malformed")


async def test_the_founding_document_is_the_pinned_one(server: Server, node: MemoryNode) -> None:
    answer = await server.get("/v1/genesis")

    assert parse_genesis(answer.body, title="the answer") == genesis()


async def test_a_node_says_who_and_where_it_is(server: Server, node: MemoryNode) -> None:
    answer = await server.get("/v1/node")

    assert answer.json["chain_id"] == node.chain_id.hex()
    assert answer.json["node_index"] == 1
    assert answer.json["tip"]["height"] == node.tip().height
    assert answer.json["certified_height"] == node.tip().height - 1
    assert answer.json["clock_ms"] == node.clock_ms()


async def test_a_witness_waits_for_the_block_that_proves(server: Server, node: MemoryNode) -> None:
    height = node.tip().height
    waiting = asyncio.ensure_future(
        ask(server, ORGANISATION, at_least_height=height, wait_ms=20_000)
    )
    await node.awaited.wait()
    node.decide([])
    await node.announce()

    answer = await waiting

    assert proven(node, answer)[ORGANISATION] is not None
    assert Digest(node.tip().digest) == header_digest(
        decode(Witness, answer.body).sealed_header.header
    )
