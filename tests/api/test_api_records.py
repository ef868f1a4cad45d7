"""Lists, logs and explanations: each shows what its asker may know, and no more."""

import pytest

from ledger.access_payloads import AccessGrant, AccessRequest, RecordList
from tests.api.asking import Server
from tests.api.ports_in_memory import MemoryNode
from tests.api.written_records import enter_read, grant, revoke, write
from tests.unit.ledger.record_samples import (
    AUDITOR,
    DOCTOR,
    HOUR_MS,
    OTHER_PATIENT,
    PATIENT,
    SOUTH_DOCTOR,
)
from tests.unit.ledger.small_consortium import account_of

P = f"/v1/patients/{account_of(PATIENT).hex()}"


async def test_a_list_holds_the_records_oldest_first_a_page_at_a_time(
    server: Server, node: MemoryNode
) -> None:
    written = [write(node).record_id.hex() for _ in range(3)]

    first = (await server.get(f"{P}/records?limit=2", by=DOCTOR)).json
    second = (await server.get(f"{P}/records?limit=2&after={first['next']}", by=DOCTOR)).json

    assert [one["record_id"] for one in first["records"]] == written[:2]
    assert [one["record_id"] for one in second["records"]] == written[2:]
    assert "next" not in second


async def test_a_narrow_right_shows_its_records_only(server: Server, node: MemoryNode) -> None:
    written = [write(node).record_id for _ in range(4)]
    scope = RecordList(records=(written[2],))
    terms = node.hospitals.terms(SOUTH_DOCTOR, scope)
    node.accept("access.grant", AccessGrant(pseudonym=account_of(PATIENT), terms=terms), PATIENT)

    answer = (await server.get(f"{P}/records", by=SOUTH_DOCTOR)).json
    shown = await server.get(f"/v1/records/{written[2].hex()}", by=SOUTH_DOCTOR)
    hidden = await server.get(f"/v1/records/{written[1].hex()}", by=SOUTH_DOCTOR)
    unknown = await server.get(f"/v1/records/{'00' * 16}", by=SOUTH_DOCTOR)

    assert [one["record_id"] for one in answer["records"]] == [written[2].hex()]
    assert "next" not in answer
    assert shown.status == 200
    assert hidden.code == unknown.code == "record.not_visible"


@pytest.mark.parametrize("page", ["records", "grants", "log"])
@pytest.mark.parametrize("by", [SOUTH_DOCTOR, OTHER_PATIENT, "south auditor"])
async def test_strangers_see_nothing_of_a_patient(
    server: Server, node: MemoryNode, page: str, by: str
) -> None:
    write(node)

    answer = await server.get(f"{P}/{page}", by=by)

    assert answer.status == 403
    assert answer.code == "patient.not_visible"


async def test_versions_come_latest_first_with_their_seals(
    server: Server, node: MemoryNode
) -> None:
    written = write(node)
    new = node.hospitals.make_version(written.record_id)
    node.accept("records.version", new, DOCTOR)

    answer = await server.get(f"/v1/records/{written.record_id.hex()}/versions", by=DOCTOR)

    versions = answer.json["versions"]
    assert [one["ordinal"] for one in versions] == [2, 1]
    assert versions[0]["version_id"] == new.version_id.hex()
    assert versions[0]["seal"]["size_bytes"] == new.seal.size_bytes


async def test_the_log_tells_the_patient_and_the_auditor_who_did_what(
    server: Server, node: MemoryNode
) -> None:
    written = write(node)
    grant(node, SOUTH_DOCTOR)
    enter_read(node, written, SOUTH_DOCTOR)

    for by in (PATIENT, AUDITOR):
        entries = (await server.get(f"{P}/log", by=by)).json["entries"]
        assert [one["kind"] for one in entries[-3:]] == [
            "record.put",
            "access.granted",
            "record.read",
        ]
        assert "read record" in entries[-1]["sentence"]
    assert (await server.get(f"{P}/log", by=DOCTOR)).code == "patient.not_visible"


async def test_the_log_goes_on_after_its_cursor(server: Server, node: MemoryNode) -> None:
    for _ in range(5):
        write(node)
    whole = (await server.get(f"{P}/log", by=PATIENT)).json["entries"]

    found, after = [], ""
    while True:
        page = (await server.get(f"{P}/log?limit=2&after={after}", by=PATIENT)).json
        found += page["entries"]
        if "next" not in page:
            break
        after = page["next"]

    assert found == whole


async def test_rights_are_listed_in_force_and_ended(server: Server, node: MemoryNode) -> None:
    ended, in_force = grant(node, SOUTH_DOCTOR), grant(node, DOCTOR)
    revoke(node, ended)

    answer = (await server.get(f"{P}/grants", by=PATIENT)).json

    assert [one["grant_id"] for one in answer["grants"]] == [in_force.hex()]
    assert [one["grant_id"] for one in answer["ended"]] == [ended.hex()]
    assert answer["ended"][0]["ending"] == "revoked"
    assert answer["grants"][0]["terms"]["grantee"] == {"account": account_of(DOCTOR).hex()}


async def test_a_request_is_seen_by_who_was_asked_and_who_asked(
    server: Server, node: MemoryNode
) -> None:
    payload = AccessRequest(
        pseudonym=account_of(PATIENT),
        wanted=node.hospitals.terms(SOUTH_DOCTOR),
        expires_ms=node.hospitals.time_ms + HOUR_MS,
    )
    request_id = node.accept("access.request", payload, SOUTH_DOCTOR).tx_id

    seen = {
        by: (await server.get(f"{P}/requests", by=by)).json["requests"]
        for by in (PATIENT, SOUTH_DOCTOR, DOCTOR)
    }

    assert [one["request_id"] for one in seen[PATIENT]] == [request_id.hex()]
    assert seen[SOUTH_DOCTOR] == seen[PATIENT]
    assert seen[DOCTOR] == []


async def test_an_explanation_has_words_for_who_may_know_of_the_record(
    server: Server, node: MemoryNode
) -> None:
    written = write(node)
    given = grant(node, SOUTH_DOCTOR)
    query = f"patient={account_of(PATIENT).hex()}&record={written.record_id.hex()}"

    theirs = (await server.get(f"/v1/access/explain?{query}", by=SOUTH_DOCTOR)).json
    revoke(node, given)
    afterwards = (await server.get(f"/v1/access/explain?{query}", by=SOUTH_DOCTOR)).json
    asked = f"{query}&requester={account_of(SOUTH_DOCTOR).hex()}"
    patients = (await server.get(f"/v1/access/explain?{asked}", by=PATIENT)).json

    assert theirs["permitted"] is True
    assert theirs["because"] == [given.hex()]
    assert theirs["sentences"]
    assert afterwards == {
        "permitted": False,
        "rule": "default",
        "code": "access.denied",
        "because": [],
    }
    assert patients["permitted"] is False
    assert any("revoked" in sentence for sentence in patients["sentences"])


async def test_only_the_patient_and_auditors_ask_about_others(
    server: Server, node: MemoryNode
) -> None:
    query = f"patient={account_of(PATIENT).hex()}&requester={account_of(SOUTH_DOCTOR).hex()}"

    doctors = await server.get(f"/v1/access/explain?{query}", by=DOCTOR)
    auditors = await server.get(f"/v1/access/explain?{query}", by=AUDITOR)

    assert doctors.code == "explain.not_yours"
    assert auditors.json["permitted"] is False


@pytest.mark.parametrize(
    "path",
    [
        f"{P}/records?after=zz",
        f"{P}/records?after={'00' * 79}",
        f"{P}/records?limit=x",
        f"{P}/records?limit=1&limit=2",
        f"{P}/log?after=1.2",
        f"{P}/log?after=1.2.-3",
        f"{P}/log?after=1.2.{'9' * 40}",
        "/v1/patients/ABCD/records",
        f"/v1/patients/{account_of(PATIENT).hex().upper()}/records",
        "/v1/records/00",
        "/v1/access/explain",
        f"/v1/access/explain?patient={account_of(PATIENT).hex()}&action=fly",
    ],
)
async def test_parameters_of_another_form_are_refused_by_name(server: Server, path: str) -> None:
    answer = await server.get(path, by=PATIENT)

    assert answer.status == 400
    assert answer.code == "request.malformed"


async def test_organisations_are_open_and_patients_accounts_are_not(
    server: Server, node: MemoryNode
) -> None:
    path = f"/v1/people/{account_of(PATIENT).hex()}"

    organisations = (await server.get("/v1/organisations")).json["organisations"]
    unknown = await server.get("/v1/organisations/nowhere")
    doctors = await server.get(path, by=DOCTOR)
    admins = await server.get(path, by="first admin of north")
    strangers = await server.get(path, by=SOUTH_DOCTOR)

    assert [one["org"] for one in organisations] == ["north", "south"]
    assert unknown.code == "organisation.unknown"
    assert doctors.json["role"] == "patient"
    assert admins.status == 200
    assert strangers.code == "person.unknown"
