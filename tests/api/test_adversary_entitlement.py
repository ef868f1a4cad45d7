"""What the rules refuse must not be learned, fetched or served on some other way."""

import pytest

from crypto.record_ids import RecordId
from tests.api.asking import Server
from tests.api.ports_in_memory import MemoryNode
from tests.api.written_records import enter_read, grant, revoke, write
from tests.unit.ledger.record_samples import (
    DOCTOR,
    OTHER_PATIENT,
    PATIENT,
    SOUTH_DOCTOR,
    agent_of,
)
from tests.unit.ledger.small_consortium import NORTH, SOUTH, account_of


def explain_path(record_id: RecordId) -> str:
    return f"/v1/access/explain?patient={account_of(PATIENT).hex()}&record={record_id.hex()}"


async def test_explaining_a_record_that_may_not_be_known_tells_no_more_than_of_one_that_is_not(
    node: MemoryNode, server: Server
) -> None:
    """Otherwise whoever guesses or has seen an id learns whose record it is."""
    written = write(node)

    hidden = await server.get(explain_path(written.record_id), by=SOUTH_DOCTOR)
    unknown = await server.get(explain_path(RecordId(bytes(16))), by=SOUTH_DOCTOR)

    assert hidden.json == unknown.json
    assert hidden.json["code"] == "access.denied"


async def test_the_patient_is_told_why_a_stranger_is_refused(
    node: MemoryNode, server: Server
) -> None:
    written = write(node)
    path = explain_path(written.record_id) + f"&requester={account_of(SOUTH_DOCTOR).hex()}"

    answer = await server.get(path, by=PATIENT)

    assert answer.json["permitted"] is False
    assert answer.json["sentences"]


@pytest.mark.parametrize("who", [PATIENT, agent_of(NORTH)])
async def test_a_node_that_lags_behind_hands_no_envelope_out(
    node: MemoryNode, server: Server, who: str
) -> None:
    """It cannot know whether a right has ended meanwhile, or a seal was replaced."""
    written = write(node)
    path = f"/v1/sidecars/{written.envelopes[account_of(who)].hex()}"
    await server.token(who)

    before = await server.get(path, by=who)
    node.freshness = False
    after = await server.get(path, by=who)

    assert before.status == 200
    assert after.code == "node.behind"


async def test_an_agent_gets_no_envelope_from_the_millisecond_on_at_which_the_right_ends(
    node: MemoryNode, server: Server
) -> None:
    until_ms = node.hospitals.time_ms + 60_000
    grant(node, SOUTH_DOCTOR, until_ms=until_ms)
    written = write(node)
    path = f"/v1/sidecars/{written.envelopes[account_of(SOUTH_DOCTOR)].hex()}?read="
    read = enter_read(node, written, SOUTH_DOCTOR)
    await server.token(SOUTH_DOCTOR)

    node.ahead_ms = until_ms - 1 - node.hospitals.time_ms
    before = await server.get(path + read.hex(), by=SOUTH_DOCTOR)
    node.ahead_ms += 1
    after = await server.get(path + read.hex(), by=SOUTH_DOCTOR)

    assert before.status == 200
    assert after.code == "access.denied"


async def test_a_right_that_ended_closes_blob_envelope_and_list_at_once(
    node: MemoryNode, server: Server
) -> None:
    granted = grant(node, SOUTH_DOCTOR)
    written = write(node)
    read = enter_read(node, written, SOUTH_DOCTOR)
    paths = [
        f"{written.blob_path}?read={read.hex()}",
        f"/v1/sidecars/{written.envelopes[account_of(SOUTH_DOCTOR)].hex()}?read={read.hex()}",
        f"/v1/records/{written.record_id.hex()}",
        f"/v1/records/{written.record_id.hex()}/versions",
        f"/v1/patients/{account_of(PATIENT).hex()}/records",
        f"/v1/patients/{account_of(PATIENT).hex()}/grants",
    ]
    before = [(await server.get(path, by=SOUTH_DOCTOR)).status for path in paths]

    revoke(node, granted)
    after = [(await server.get(path, by=SOUTH_DOCTOR)).status for path in paths]

    assert before == [200] * len(paths)
    assert all(status in (403, 404) for status in after), after


async def test_another_patients_session_shows_nothing(node: MemoryNode, server: Server) -> None:
    written = write(node)
    put = node.hospitals.record(written.record_id).tx_id.hex()
    pseudonym = account_of(PATIENT).hex()

    for path in (
        f"/v1/records/{written.record_id.hex()}",
        f"/v1/patients/{pseudonym}/records",
        f"/v1/patients/{pseudonym}/log",
        f"/v1/patients/{pseudonym}/grants",
        f"/v1/people/{pseudonym}",
        f"/v1/events?subject={pseudonym}",
        f"/v1/sidecars/{written.envelopes[account_of(PATIENT)].hex()}",
    ):
        assert (await server.get(path, by=OTHER_PATIENT)).status in (403, 404), path
    requests = await server.get(f"/v1/patients/{pseudonym}/requests", by=OTHER_PATIENT)
    body = await server.get(f"/v1/transactions/{put}/body", by=OTHER_PATIENT)
    status = await server.get(f"/v1/transactions/{put}", by=OTHER_PATIENT)

    assert requests.json["requests"] == []
    assert {"payload_hex", "signed_hex"}.isdisjoint(body.json)
    assert "events" not in status.json["receipt"]


@pytest.mark.parametrize("org", [NORTH, SOUTH])
async def test_a_foreign_agent_gets_no_envelope_of_a_record_it_may_not_know(
    node: MemoryNode, server: Server, org: str
) -> None:
    written = write(node)
    path = f"/v1/sidecars/{written.envelopes[account_of(PATIENT)].hex()}"

    answer = await server.get(path, by=f"agent of {org}")

    assert (answer.status == 200) == (org == NORTH)


async def test_a_doctor_without_a_read_entry_gets_neither_bytes_nor_key(
    node: MemoryNode, server: Server
) -> None:
    grant(node, SOUTH_DOCTOR)
    written = write(node)
    others = enter_read(node, written, DOCTOR)
    envelope = written.envelopes[account_of(SOUTH_DOCTOR)].hex()

    stolen = await server.get(f"{written.blob_path}?read={others.hex()}", by=SOUTH_DOCTOR)
    key = await server.get(f"/v1/sidecars/{envelope}", by=SOUTH_DOCTOR)

    assert stolen.code == "read.not_yours"
    assert key.code == "read.required"
