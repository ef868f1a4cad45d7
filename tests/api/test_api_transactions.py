"""Handing transactions in and asking what became of them."""

import asyncio
import base64

from crypto.hashing import Digest
from crypto.schema import decode
from ledger.access_payloads import AccessGrant
from ledger.accounts import Role
from ledger.exchange import SUBMIT_ITEMS_MAX, BlockOutcomes, SubmitBatch, SubmitItem
from ledger.receipts import Receipt
from tests.api.asking import MSGPACK, Server
from tests.api.ports_in_memory import MemoryNode
from tests.api.written_records import grant
from tests.unit.ledger.record_samples import AUDITOR, DOCTOR, PATIENT, SOUTH_DOCTOR
from tests.unit.ledger.small_consortium import NORTH, account_of, registration


def a_grant(node: MemoryNode, *, by: str = PATIENT) -> bytes:
    """A signed grant of the patient's, or somebody's attempt at one."""
    terms = node.hospitals.terms(SOUTH_DOCTOR)
    return node.signed("access.grant", AccessGrant(pseudonym=account_of(PATIENT), terms=terms), by)


def batch(*signed: bytes) -> SubmitBatch:
    return SubmitBatch(items=tuple(SubmitItem(signed=one, sidecars=()) for one in signed))


async def test_each_transaction_of_a_batch_has_its_answer(server: Server, node: MemoryNode) -> None:
    good, refused, broken = a_grant(node), a_grant(node, by=DOCTOR), b"no transaction"

    answer = await server.post_wire("/v1/transactions", batch(good, refused, broken), PATIENT)

    first, second, third = answer.json
    assert answer.status == 202
    assert first["state"] == second["state"] == "PENDING"
    assert third == {
        "tx_id": None,
        "code": "transaction.malformed",
        "detail": third["detail"],
        "definite": True,
    }
    states = [
        (await server.get(f"/v1/transactions/{one['tx_id']}", by=PATIENT)).json
        for one in (first, second)
    ]
    assert [one["state"] for one in states] == ["COMMITTED", "REFUSED"]
    assert states[1]["receipt"]["accepted"] is False


async def test_handing_in_again_tells_what_became_of_it(server: Server, node: MemoryNode) -> None:
    signed = a_grant(node)
    await server.post_wire("/v1/transactions", batch(signed))

    again = await server.post_wire("/v1/transactions", batch(signed))

    assert again.status == 200
    assert again.json[0]["state"] == "COMMITTED"
    assert again.json[0]["receipt"]["events"][0]["kind"] == "access.granted"


async def test_json_is_taken_as_well(server: Server, node: MemoryNode) -> None:
    row = {"signed": base64.b64encode(a_grant(node)).decode(), "sidecars": []}

    answer = await server.ask("POST", "/v1/transactions", json={"transactions": [row]})

    assert answer.status == 202
    assert answer.json[0]["state"] == "PENDING"


async def test_a_forged_signature_is_definitely_refused(server: Server, node: MemoryNode) -> None:
    signed = bytearray(a_grant(node))
    signed[-1] ^= 1

    answer = await server.post_wire("/v1/transactions", batch(bytes(signed)))

    assert answer.json[0]["code"] in ("transaction.signature", "transaction.high_s")
    assert answer.json[0]["definite"] is True


async def test_the_wait_ends_with_the_receipt(server: Server, node: MemoryNode) -> None:
    node.is_deciding = False
    handed_in = await server.post_wire("/v1/transactions", batch(a_grant(node)))
    tx_id = handed_in.json[0]["tx_id"]
    waiting = asyncio.ensure_future(server.get(f"/v1/transactions/{tx_id}?wait_ms=20000"))
    await node.awaited.wait()

    node.decide_waiting()
    await node.announce()
    answer = await waiting

    assert answer.json["state"] == "COMMITTED"


async def test_an_open_outcome_is_told_as_open(server: Server, node: MemoryNode) -> None:
    node.is_deciding = False
    handed_in = await server.post_wire("/v1/transactions", batch(a_grant(node)))
    tx_id = handed_in.json[0]["tx_id"]

    pending = await server.get(f"/v1/transactions/{tx_id}?wait_ms=10")
    unknown = await server.get(f"/v1/transactions/{bytes(32).hex()}")

    assert pending.json == {"tx_id": tx_id, "state": "PENDING"}
    assert unknown.json == {"tx_id": bytes(32).hex(), "state": "UNKNOWN"}


async def test_what_a_receipt_says_about_people_is_for_them(
    server: Server, node: MemoryNode
) -> None:
    tx_id = grant(node, SOUTH_DOCTOR).hex()
    path = f"/v1/transactions/{tx_id}"

    shown = {
        by: (await server.get(f"{path}/receipt", by=by)).json
        for by in (None, PATIENT, AUDITOR, DOCTOR, SOUTH_DOCTOR)
    }
    bytes_for_all = await server.get(f"{path}/receipt", headers={"Accept": MSGPACK})
    bytes_for_one = await server.get(f"{path}/receipt", by=PATIENT, headers={"Accept": MSGPACK})

    assert {by for by, receipt in shown.items() if "events" in receipt} == {PATIENT, AUDITOR}
    assert all(receipt["event_count"] == 1 for receipt in shown.values())
    assert bytes_for_all.code == "state.not_entitled"
    assert decode(Receipt, bytes_for_one.body) == node.decided[Digest(bytes.fromhex(tx_id))][1]


async def test_a_body_shows_kind_and_window_and_more_to_its_people(
    server: Server, node: MemoryNode
) -> None:
    tx_id = grant(node, SOUTH_DOCTOR).hex()

    strangers = (await server.get(f"/v1/transactions/{tx_id}/body", by=SOUTH_DOCTOR)).json
    senders = (await server.get(f"/v1/transactions/{tx_id}/body", by=PATIENT)).json

    assert strangers["kind"] == "access.grant"
    assert not {"sender", "payload_hex", "signed_hex"} & set(strangers)
    assert senders["sender"] == account_of(PATIENT).hex()
    assert senders["signed_hex"] == node.decided[Digest(bytes.fromhex(tx_id))][0].hex()


async def test_staff_are_named_as_senders(server: Server, node: MemoryNode) -> None:
    payload = registration(node.chain_id, NORTH, "new doctor", Role.DOCTOR)
    tx_id = node.accept("identity.register", payload, "first admin of north").tx_id

    body = (await server.get(f"/v1/transactions/{tx_id.hex()}/body", by=SOUTH_DOCTOR)).json

    assert body["sender"] == account_of("first admin of north").hex()


async def test_an_unknown_transaction_has_no_receipt(server: Server) -> None:
    for part in ("receipt", "body"):
        answer = await server.get(f"/v1/transactions/{bytes(32).hex()}/{part}", by=DOCTOR)
        assert answer.code == "transaction.unknown"


async def test_a_batch_of_too_many_is_refused_whole(server: Server) -> None:
    rows = [{"signed": "AA=="}] * (SUBMIT_ITEMS_MAX + 1)

    answer = await server.ask("POST", "/v1/transactions", json={"transactions": rows})

    assert answer.code == "request.malformed"


async def test_anybody_reads_the_outcomes_of_a_block_and_no_events(
    server: Server, node: MemoryNode
) -> None:
    await server.post_wire("/v1/transactions", batch(a_grant(node), a_grant(node, by=DOCTOR)))
    height = node.tip().height

    answer = await server.get(f"/v1/blocks/{height}/outcomes")

    page = decode(BlockOutcomes, answer.body)
    assert page.digest == node.tip().digest
    assert (page.first, page.tx_count) == (0, 2)
    assert [one.code == "ok" for one in page.outcomes] == [True, False]


async def test_the_outcomes_of_a_block_come_a_page_at_a_time(
    server: Server, node: MemoryNode
) -> None:
    await server.post_wire("/v1/transactions", batch(*(a_grant(node) for _ in range(3))))
    url = f"/v1/blocks/{node.tip().height}/outcomes"

    pages = [
        decode(BlockOutcomes, (await server.get(f"{url}?first={first}&limit=2")).body)
        for first in (0, 2, 4)
    ]

    whole = decode(BlockOutcomes, (await server.get(url)).body).outcomes
    assert [one.outcomes for one in pages] == [whole[:2], whole[2:], ()]
    assert len(whole) == 3


async def test_the_outcomes_of_a_block_that_is_not_here_are_unknown(server: Server) -> None:
    answer = await server.get("/v1/blocks/99999/outcomes")

    assert (answer.status, answer.json["code"]) == (404, "block.unknown")
