"""A node that says "done" about what never happened, or shows the state from before."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from client.access import grant_access, list_grants, revoke_access
from client.errors import ClientError, OutcomeRejected, Refused, Stale, Untrusted
from client.people import NEXT, find_person, finish_rotation, rotate_keys, suspend_person
from client.seen import SEEN_NAME, keep_seen, load_seen_height
from client.trust import make_trust
from client.wallet import find_keys, labels
from ledger.accounts import Status
from tests.unit.client.lying_proxy import LyingProxy, lying
from tests.unit.client.people_of_north import Town, make_town
from tests.unit.client.small_node import SmallNode, serve
from tests.unit.ledger.small_consortium import genesis

WITNESS = "POST /v1/state/witness"
SUBMIT = "POST /v1/transactions"


@pytest.fixture
async def told(tmp_path: Path) -> AsyncIterator[tuple[Town, LyingProxy, str]]:
    async with serve(node := SmallNode()) as url, lying(url) as (liar, false_url):
        yield await make_town(node, url, tmp_path / "homes"), liar, false_url


def never_handed_in(height: int) -> bytes:
    """The answer of a node that keeps a transaction to itself and says it was accepted."""
    receipt = {"height": height, "index": 0, "code": "ok", "accepted": True, "events": []}
    return json.dumps([{"state": "COMMITTED", "receipt": receipt}]).encode()


async def test_a_right_is_ended_only_when_state_proves_it(
    told: tuple[Town, LyingProxy, str],
) -> None:
    town, liar, false_url = told
    async with town.acting("ada") as ada:
        granted = await grant_access(ada, grantee=town.account("south-doctor"))
    async with town.acting("ada", url=false_url) as ada:
        height = town.node.chain.height - 1
        liar.swallowed[SUBMIT] = never_handed_in(height)

        with pytest.raises(OutcomeRejected):
            await revoke_access(ada, granted.grant_id, reseal=False)


async def test_a_person_is_suspended_only_when_state_proves_it(
    told: tuple[Town, LyingProxy, str],
) -> None:
    town, liar, false_url = told
    async with town.acting("admin-north", url=false_url) as admin:
        liar.swallowed[SUBMIT] = never_handed_in(town.node.chain.height - 1)

        with pytest.raises(OutcomeRejected):
            await suspend_person(admin, town.account("doctor"))

        assert (await find_person(admin, town.account("doctor"))).status is Status.ACTIVE


async def test_keys_are_replaced_only_when_state_proves_it(
    told: tuple[Town, LyingProxy, str],
) -> None:
    town, liar, false_url = told
    async with town.acting("ada", url=false_url) as ada:
        before = ada.actor
        liar.swallowed[SUBMIT] = never_handed_in(town.node.chain.height - 1)

        with pytest.raises(OutcomeRejected):
            await rotate_keys(ada, sign=False)

        assert find_keys(ada.wallet, "ada").seal_key == before.seal_key


async def test_a_height_that_no_chain_has_is_refused(told: tuple[Town, LyingProxy, str]) -> None:
    town, liar, false_url = told
    async with town.acting("admin-north", url=false_url) as admin:
        for height in (2**70, -1):
            liar.swallowed[SUBMIT] = never_handed_in(height)

            with pytest.raises(Untrusted):
                await suspend_person(admin, town.account("doctor"))


async def test_the_chain_never_goes_back_behind_what_was_seen(
    told: tuple[Town, LyingProxy, str],
) -> None:
    town, liar, false_url = told
    recorded: list[bytes] = []

    def record(body: bytes) -> bytes:
        recorded.append(body)
        return body

    async with town.acting("ada", url=false_url) as ada:
        liar.lies[WITNESS] = record
        await list_grants(ada, town.account("ada"))
        old = recorded[-1]
        async with town.acting("ada") as elsewhere:
            await grant_access(elsewhere, grantee=town.account("south-doctor"))
        assert len(await list_grants(ada, town.account("ada"))) == 1
        liar.lies[WITNESS] = lambda _: old

        with pytest.raises(Stale):
            await list_grants(ada, town.account("ada"))


async def test_a_node_that_refuses_new_keys_does_not_make_the_wallet_destroy_them(
    told: tuple[Town, LyingProxy, str],
) -> None:
    """The rotation is on the ledger; the node hid that, and goes on refusing sessions."""
    town, liar, false_url = told
    async with town.acting("ada", url=false_url) as ada:
        liar.lies[SUBMIT] = lambda _: json.dumps([{"state": "UNKNOWN"}]).encode()
        liar.refusing["GET /v1/transactions"] = 503
        with pytest.raises(ClientError):
            await rotate_keys(ada)
        liar.refusing["POST /v1/sessions"] = 403

        with pytest.raises(Refused):
            await finish_rotation(ada, "ada")

        assert "ada" + NEXT in labels(ada.wallet)
        liar.refusing.clear()
        assert await finish_rotation(ada, "ada")


async def test_a_wallet_remembers_what_it_has_seen_when_it_is_opened_again(
    told: tuple[Town, LyingProxy, str],
) -> None:
    """Ada ends a right, goes home, and puts a record later the same minute through a liar."""
    town, liar, false_url = told
    recorded: list[bytes] = []

    def record(body: bytes) -> bytes:
        recorded.append(body)
        return body

    async with town.acting("ada", url=false_url) as ada:
        granted = await grant_access(ada, grantee=town.account("south-doctor"))
        liar.lies[WITNESS] = record
        await list_grants(ada, town.account("ada"))
        liar.lies.clear()
        await revoke_access(ada, granted.grant_id, reseal=False)
    liar.lies[WITNESS] = lambda _: recorded[0]

    async with town.acting("ada", url=false_url) as ada:
        with pytest.raises(Stale):
            await list_grants(ada, town.account("ada"))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"00": -1}', b"\xff" * 100])
def test_a_damaged_note_of_what_was_seen_counts_as_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / SEEN_NAME).write_bytes(content)
    trust = make_trust(genesis())
    lower = replace(trust, height=5)

    before = load_seen_height(tmp_path, trust.chain_id)
    keep_seen(tmp_path, replace(trust, height=7))
    keep_seen(tmp_path, lower)

    assert before == 0
    assert load_seen_height(tmp_path, trust.chain_id) == 7
    assert [path.name for path in tmp_path.iterdir()] == [SEEN_NAME]
