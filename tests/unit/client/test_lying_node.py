"""A node that lies about keys, rights, states, bytes or outcomes is caught, and nothing leaks."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from client.access import grant_access, list_grants, make_terms
from client.errors import (
    AnswerRejected,
    BytesRejected,
    ClientError,
    KeyRejected,
    NotFound,
    ProofRejected,
    Stale,
    Untrusted,
)
from client.handing_on import reseal_records
from client.lookup import list_records
from client.records import PutRecord, get_record, put_record
from crypto.errors import ChunkTampered, CryptoError, KeyCommitmentMismatch, SealedError
from crypto.schema import decode, encode
from ledger.accounts import Account, Role
from ledger.exchange import Witness
from ledger.identity_payloads import Suspend
from ledger.records_state import get_record as get_record_entry
from tests.unit.client.lying_proxy import LyingProxy, lying
from tests.unit.client.people_of_north import Town, make_town
from tests.unit.client.small_node import SmallNode, serve
from tests.unit.ledger.small_consortium import seal_key_of

NOTE = b'{"resourceType": "Observation"}' * 2_000
SECRET = b"resourceType"
WITNESS = "POST /v1/state/witness"


@dataclass(slots=True)
class Scene:
    """A town with one record of Ada's, and a liar before its node."""

    town: Town
    liar: LyingProxy
    url: str
    put: PutRecord
    received: Path

    @asynccontextmanager
    async def lied_to(self, name: str) -> AsyncIterator[Any]:
        async with self.town.acting(name, url=self.url) as client:
            yield client

    def files_left(self) -> list[Path]:
        """Files that a failed transfer has left behind."""
        sealed = [path for home in self.town.folder.iterdir() for path in home.glob("sealed/*")]
        return sealed + [path for path in self.received.glob("**/*") if path.is_file()]


@pytest.fixture
async def scene(tmp_path: Path, note: Path) -> AsyncIterator[Scene]:
    async with serve(node := SmallNode()) as url, lying(url) as (liar, false_url):
        town = await make_town(node, url, tmp_path / "homes")
        async with town.acting("doctor") as doctor:
            put = await put_record(doctor, town.account("ada"), note, category="laboratory")
        yield Scene(town, liar, false_url, put, tmp_path / "received")


@pytest.fixture
def note(tmp_path: Path) -> Path:
    path = tmp_path / "note.json"
    path.write_bytes(NOTE)
    return path


def with_value(prefix: bytes, alter: Callable[[bytes], bytes | None]) -> Callable[[bytes], bytes]:
    """A lie about the values of all keys that begin so, with the honest proofs beside."""

    def lie(body: bytes) -> bytes:
        witness = decode(Witness, body)
        honest = witness.proofs.proofs
        told = tuple(
            replace(proof, value=alter(proof.value))
            if proof.value is not None and prefix in (b"", proof.value[: len(prefix)])
            else proof
            for proof in honest
        )
        return encode(replace(witness, proofs=replace(witness.proofs, proofs=told)))

    return lie


def own_key_for_everybody(value: bytes) -> bytes:
    try:
        account = decode(Account, value)
    except CryptoError:
        return value
    return encode(replace(account, seal_key=seal_key_of("the node's own")))


async def test_the_nodes_own_key_for_a_recipient_gets_no_record(scene: Scene, note: Path) -> None:
    async with scene.lied_to("doctor") as doctor:
        scene.liar.lies[WITNESS] = with_value(b"", own_key_for_everybody)

        with pytest.raises(ProofRejected):
            await put_record(doctor, scene.town.account("ada"), note, category="laboratory")

    assert "PUT /v1/blobs" not in "".join(scene.liar.seen)
    assert "POST /v1/transactions" not in scene.liar.seen


async def test_a_hidden_grant_is_noticed(scene: Scene) -> None:
    async with scene.town.acting("ada") as ada:
        await grant_access(ada, grantee=scene.town.account("south-doctor"))
    async with scene.lied_to("ada") as ada:
        scene.liar.lies[WITNESS] = with_value(b"", lambda _: None)

        with pytest.raises(ProofRejected):
            await list_grants(ada, scene.town.account("ada"))


async def test_the_state_from_before_ones_own_grant_is_noticed(scene: Scene) -> None:
    told: list[bytes] = []

    def replay(body: bytes) -> bytes:
        told.append(body)
        return told[0]

    async with scene.lied_to("ada") as ada:
        pseudonym = scene.town.account("ada")
        scene.liar.lies[WITNESS] = replay
        assert await list_grants(ada, pseudonym) == ()
        scene.liar.lies.clear()
        await grant_access(ada, grantee=scene.town.account("south-doctor"))
        scene.liar.lies[WITNESS] = replay

        with pytest.raises(Stale):
            await list_grants(ada, pseudonym)


@pytest.mark.parametrize("at", [0, 40, 200, 2_000, -1])
async def test_one_flipped_byte_of_a_blob_leaves_no_plaintext(scene: Scene, at: int) -> None:
    def flip(body: bytes) -> bytes:
        altered = bytearray(body)
        altered[at] ^= 1
        return bytes(altered)

    async with scene.lied_to("ada") as ada:
        scene.liar.lies["GET /v1/blobs"] = flip

        with pytest.raises(SealedError):
            await get_record(ada, scene.put.record_id, scene.received)

    assert scene.files_left() == []


async def test_damage_behind_a_good_beginning_leaves_no_plaintext(
    scene: Scene, tmp_path: Path
) -> None:
    long_note = tmp_path / "long.bin"
    long_note.write_bytes(SECRET * 100_000)
    async with scene.town.acting("doctor") as doctor:
        put = await put_record(doctor, scene.town.account("ada"), long_note, category="imaging")
    async with scene.lied_to("ada") as ada:
        scene.liar.lies["GET /v1/blobs"] = lambda body: body[:-40] + bytes(40)

        with pytest.raises(ChunkTampered):
            await get_record(ada, put.record_id, scene.received)

    assert scene.files_left() == []


async def test_another_records_bytes_do_not_pass(scene: Scene, note: Path) -> None:
    async with scene.town.acting("doctor") as doctor:
        other = await put_record(doctor, scene.town.account("ada"), note, category="laboratory")
    async with scene.lied_to("ada") as ada:
        scene.liar.lies["GET /v1/blobs"] = lambda _: scene.town.node.kept[other.cid]

        with pytest.raises(KeyCommitmentMismatch):
            await get_record(ada, scene.put.record_id, scene.received)

    assert scene.files_left() == []


async def test_another_envelope_does_not_pass(scene: Scene) -> None:
    async with scene.lied_to("ada") as ada:
        scene.liar.lies["GET /v1/sidecars"] = lambda body: body[:-1] + bytes([body[-1] ^ 1])

        with pytest.raises(BytesRejected):
            await get_record(ada, scene.put.record_id, scene.received)

    assert scene.files_left() == []


async def test_more_or_fewer_bytes_than_the_seal_has_do_not_pass(scene: Scene) -> None:
    async with scene.lied_to("ada") as ada:
        scene.liar.lies["GET /v1/blobs"] = lambda body: body + b"more"
        with pytest.raises(BytesRejected):
            await get_record(ada, scene.put.record_id, scene.received)

        scene.liar.lies["GET /v1/blobs"] = lambda body: body[:-1]
        with pytest.raises(ClientError):
            await get_record(ada, scene.put.record_id, scene.received)

    assert scene.files_left() == []


async def test_a_put_that_never_happened_is_noticed(scene: Scene, note: Path) -> None:
    def all_is_well(body: bytes) -> bytes:
        answers = json.loads(body)
        for answer in answers:
            answer["state"] = "COMMITTED"
            answer["receipt"]["code"] = "ok"
        return json.dumps(answers).encode()

    async with scene.lied_to("doctor") as doctor:
        scene.town.node.before_take = lambda: suspend(scene, "ada", "north")
        scene.liar.lies["POST /v1/transactions"] = all_is_well

        with pytest.raises(NotFound):
            await put_record(doctor, scene.town.account("ada"), note, category="laboratory")


async def test_a_node_of_another_chain_gets_no_session(scene: Scene) -> None:
    def other_chain(body: bytes) -> bytes:
        return json.dumps({**json.loads(body), "chain_id": "00" * 32}).encode()

    scene.liar.lies["GET /v1/node"] = other_chain

    with pytest.raises(Untrusted) as refusal:
        async with scene.lied_to("ada"):
            pass

    assert refusal.value.code == "trust.wrong_chain"
    assert "POST /v1/sessions" not in scene.liar.seen


async def test_a_challenge_for_another_node_is_not_signed(scene: Scene) -> None:
    def other_node(body: bytes) -> bytes:
        return json.dumps({**json.loads(body), "node_index": 3}).encode()

    scene.liar.lies["POST /v1/sessions/challenge"] = other_node

    with pytest.raises(Untrusted):
        async with scene.lied_to("ada"):
            pass

    assert "POST /v1/sessions" not in scene.liar.seen


async def test_a_list_with_somebody_elses_record_is_refused(scene: Scene, note: Path) -> None:
    await scene.town.enrol("bob", Role.PATIENT, writers=(scene.town.account("doctor"),))
    async with scene.town.acting("doctor") as doctor:
        bobs = await put_record(doctor, scene.town.account("bob"), note, category="laboratory")

    def swap(body: bytes) -> bytes:
        return body.replace(scene.put.record_id.hex().encode(), bobs.record_id.hex().encode())

    async with scene.lied_to("doctor") as doctor:
        scene.liar.lies["GET /v1/patients"] = swap

        with pytest.raises(AnswerRejected):
            await list_records(doctor, scene.town.account("ada"))


async def test_damaged_bytes_are_not_sealed_afresh(scene: Scene) -> None:
    async with scene.town.acting("ada") as ada:
        await grant_access(ada, grantee=scene.town.account("south-doctor"))
    suspend(scene, "south-doctor", "south")
    async with scene.lied_to("ada") as ada:
        scene.liar.lies["GET /v1/blobs"] = lambda body: body[:-1] + bytes([body[-1] ^ 1])

        done = await reseal_records(ada, scene.town.account("ada"))

    state = scene.town.node.view()
    record = get_record_entry(state, scene.put.record_id)
    assert record is not None
    assert done.resealed == 0
    assert [record_id for record_id, _ in done.failed] == [scene.put.record_id]
    assert scene.files_left() == []


async def test_recipients_that_change_under_way_cost_a_fresh_key(scene: Scene, note: Path) -> None:
    async with scene.town.acting("ada") as ada:
        await grant_access(ada, grantee=scene.town.account("south-doctor"))
    async with scene.lied_to("doctor") as doctor:
        scene.town.node.before_take = lambda: suspend(scene, "south-doctor", "south")

        put = await put_record(doctor, scene.town.account("ada"), note, category="laboratory")

    uploads = {line for line in scene.liar.seen if line.startswith("PUT")}
    assert scene.town.account("south-doctor") not in put.recipients
    assert len(uploads) == 2


async def test_an_envelope_that_hides_another_key_is_refused(scene: Scene) -> None:
    """Who sealed wrongly, or a wallet with other keys: the envelope does not open."""
    async with scene.town.acting("ada") as ada:
        keys = ada.actor
        thief = replace(keys, seal_keys=scene.town.keys("doctor").seal_keys)
        assert thief.seal_key_named(b"\x00" * 16) is None
        ada.keys = thief

        with pytest.raises((NotFound, KeyRejected)):
            await get_record(ada, scene.put.record_id, scene.received)

    assert scene.files_left() == []


async def test_a_right_begins_with_the_chains_time_not_the_nodes_word(scene: Scene) -> None:
    def tomorrow(body: bytes) -> bytes:
        answer = json.loads(body)
        answer["tip"]["time_ms"] += 86_400_000
        answer["clock_ms"] += 86_400_000
        return json.dumps(answer).encode()

    scene.liar.lies["GET /v1/node"] = tomorrow
    async with scene.lied_to("ada") as ada:
        terms = await make_terms(ada, grantee=scene.town.account("south-doctor"))

    assert terms.from_ms <= scene.town.node.clock_ms()


def suspend(scene: Scene, name: str, org: str) -> None:
    """Suspend somebody behind the client's back."""
    node = scene.town.node
    payload = Suspend(account_id=scene.town.account(name), reason="left")
    signed = node.chain.signed("identity.suspend", payload, f"first admin of {org}")
    node.take(signed, ())
