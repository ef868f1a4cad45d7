"""Who gets a session, and when it ends."""

import pytest

from api.sessions import SESSION_MS
from ledger.identity_payloads import Suspend
from tests.api.asking import Server
from tests.api.ports_in_memory import MemoryNode
from tests.unit.ledger.record_samples import DOCTOR, NURSE, PATIENT
from tests.unit.ledger.small_consortium import account_of, rotation, signing_key

ME = f"/v1/people/{account_of(DOCTOR).hex()}"


async def test_a_signed_claim_opens_a_session(server: Server) -> None:
    answer = await server.get(ME, by=DOCTOR)

    assert answer.status == 200
    assert answer.json["role"] == "doctor"


async def test_without_a_session_nobody_sees_people(server: Server) -> None:
    answer = await server.get(ME)

    assert answer.status == 401
    assert answer.code == "session.required"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("value", ["Bearer ", "Bearer abcdef", "Basic dXNlcjpwYXNz", "Bearer \xff"])
async def test_a_token_that_nobody_was_given_is_refused(server: Server, value: str) -> None:
    answer = await server.get(ME, headers={"Authorization": value})

    assert answer.code == "session.unknown"


async def test_a_claim_for_another_address_is_refused(server: Server) -> None:
    answer = await server.open_session(DOCTOR, origin="http://evil.example")

    assert answer.code == "session.origin"


async def test_a_claim_for_another_node_is_refused(server: Server) -> None:
    answer = await server.open_session(DOCTOR, node_index=2)

    assert answer.code == "session.signature"


async def test_a_claim_for_another_chain_is_refused(server: Server) -> None:
    answer = await server.open_session(DOCTOR, chain_id=bytes(32))

    assert answer.code == "session.signature"


async def test_a_nonce_serves_once(server: Server) -> None:
    nonce = await server.challenge(DOCTOR)
    first = await server.open_session(DOCTOR, nonce=nonce)

    second = await server.open_session(DOCTOR, nonce=nonce)

    assert first.status == 201
    assert second.code == "session.nonce"


async def test_a_failed_claim_does_not_use_the_nonce_up(server: Server) -> None:
    nonce = await server.challenge(DOCTOR)
    await server.open_session(DOCTOR, nonce=nonce, node_index=2)

    answer = await server.open_session(DOCTOR, nonce=nonce)

    assert answer.status == 201


async def test_a_nonce_given_to_another_account_is_refused(server: Server) -> None:
    nonce = await server.challenge(NURSE)

    answer = await server.open_session(DOCTOR, nonce=nonce)

    assert answer.code == "session.nonce"


async def test_a_nonce_is_over_after_a_minute(server: Server, node: MemoryNode) -> None:
    nonce = await server.challenge(DOCTOR)

    node.ahead_ms += 59_999
    just_in_time = await server.open_session(DOCTOR, nonce=nonce)
    node.ahead_ms += 1
    too_late = await server.open_session(DOCTOR, nonce=nonce)

    assert just_in_time.status == 201
    assert too_late.code == "session.nonce"


@pytest.mark.parametrize(
    ("issued_ms", "expires_ms"),
    [(0, 60_001), (0, 0), (60_001, 120_000), (-60_000, 0), (10, 5)],
    ids=["too long", "empty", "from the future", "over", "backwards"],
)
async def test_a_claim_is_valid_now_and_for_a_minute(
    server: Server, node: MemoryNode, issued_ms: int, expires_ms: int
) -> None:
    now_ms = node.clock_ms()

    answer = await server.open_session(
        DOCTOR, issued_ms=now_ms + issued_ms, expires_ms=now_ms + expires_ms
    )

    assert answer.code == "session.expired"


async def test_another_persons_key_opens_nothing(server: Server) -> None:
    named_truly = await server.open_session(DOCTOR, signer=NURSE)
    named_falsely = await server.open_session(
        DOCTOR, signer=NURSE, sent={"key_id": (await _key_id(server, DOCTOR))}
    )

    assert named_truly.code == "session.key"
    assert named_falsely.code == "session.signature"


async def test_a_stranger_gets_no_session(server: Server) -> None:
    answer = await server.open_session("stranger")

    assert answer.code == "session.account"


async def test_a_suspended_account_loses_its_session_at_once(
    server: Server, node: MemoryNode
) -> None:
    before = await server.get(ME, by=DOCTOR)
    payload = Suspend(account_id=account_of(DOCTOR), reason="left")
    node.accept("identity.suspend", payload, "first admin of north")

    after = await server.get(ME, by=DOCTOR)
    again = await server.open_session(DOCTOR)

    assert before.status == 200
    assert after.code == "session.account"
    assert again.code == "session.account"


async def test_a_rotated_key_ends_the_sessions_it_opened(server: Server, node: MemoryNode) -> None:
    await server.token(DOCTOR)
    payload = rotation(node.chain_id, DOCTOR, next_key=signing_key("doctor's second"))
    node.accept("identity.rotate_key", payload, DOCTOR)

    answer = await server.get(ME, by=DOCTOR)

    assert answer.code == "session.key"


async def test_a_session_ends_after_its_time(server: Server, node: MemoryNode) -> None:
    await server.token(DOCTOR)

    node.ahead_ms += SESSION_MS - 1
    before = await server.get(ME, by=DOCTOR)
    node.ahead_ms += 1
    after = await server.get(ME, by=DOCTOR)

    assert before.status == 200
    assert after.code == "session.unknown"


async def test_a_session_ends_when_it_is_closed(server: Server) -> None:
    closed = await server.ask("DELETE", "/v1/sessions", by=DOCTOR)

    answer = await server.get(ME, by=DOCTOR)

    assert closed.status == 204
    assert answer.code == "session.unknown"


async def test_an_account_keeps_its_sixteen_latest_sessions(server: Server) -> None:
    first = await server.token(PATIENT)
    for _ in range(16):
        answer = await server.open_session(PATIENT)
    headers = {"Authorization": f"Bearer {first}"}

    oldest = await server.get("/v1/organisations/north", headers=headers)
    oldest_person = await server.get(ME, headers=headers)
    newest = await server.get(ME, headers={"Authorization": f"Bearer {answer.json['token']}"})

    assert oldest.status == 200, "an open address asks for no session"
    assert oldest_person.code == "session.unknown"
    assert newest.status == 200


async def _key_id(server: Server, label: str) -> str:
    answer = await server.get(f"/v1/people/{account_of(label).hex()}", by=DOCTOR)
    return str(answer.json["sign_key_id"])
