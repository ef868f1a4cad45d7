"""What drivers sign ahead: the same for the same seed, nobody's twice, undone if it is not sent."""

from collections import Counter
from collections.abc import Callable

import pytest

from benchmarks.load.people import make_person
from benchmarks.load.planning import (
    NEWCOMERS_FROM,
    RIGHTS_PER_PATIENT,
    Planned,
    Shard,
    Town,
    add_givers,
    draw_kinds,
    forget,
    make_shard,
    plan,
    plan_people,
    room_for_rights,
)
from benchmarks.load.records import Agent
from crypto.envelopes import SealScheme, make_seal_private_key, seal_public_key
from crypto.hashing import ChainId
from crypto.signatures import Scheme, account_id, make_signing_key, public_key
from ledger.accounts import OrgId, Role
from ledger.transactions import check_transaction_signature, decode_transaction

CHAIN = ChainId(bytes(range(32)))
ORGS = (OrgId("north"), OrgId("south"))
NOW_MS = 1_800_000_000_000

MakeShard = Callable[..., Shard]


@pytest.fixture(scope="module")
def town() -> Town:
    keys = [make_signing_key(Scheme.P256) for _ in ORGS]
    admins = tuple((account_id(public_key(key)), key) for key in keys)
    seal_key = seal_public_key(make_seal_private_key(SealScheme.P256))
    agents = tuple(Agent(account=account, seal_key=seal_key) for account, _ in admins)
    return Town(
        seed=7, chain_id=CHAIN, orgs=ORGS, admins=admins, agents=agents, patients=9, doctors=3
    )


def mixed(shard: Shard, count: int) -> list[Planned]:
    kinds = draw_kinds(shard, {"grant": 2, "revoke": 1, "register": 1}, count)
    return list(plan(shard, kinds, NOW_MS, rate_per_s=None))


def ids(planned: list[Planned]) -> list[bytes]:
    return [one.tx_id for one in planned]


def with_rights(town: Town, index: int = 0, *, rights: int = 10) -> Shard:
    shard = make_shard(town, index, 2)
    list(plan(shard, ["grant"] * rights, NOW_MS, rate_per_s=None))
    return shard


def test_the_same_seed_signs_the_same_transactions(town: Town) -> None:
    one, other = with_rights(town), with_rights(town)

    first, second = mixed(one, 40), mixed(other, 40)

    assert [one.item.signed for one in first] == [two.item.signed for two in second]


def test_all_that_is_signed_is_valid_and_different(town: Town) -> None:
    shards = [with_rights(town, 0), with_rights(town, 1)]

    planned = [one for shard in shards for one in (*plan_people(shard, NOW_MS), *mixed(shard, 40))]

    decoded = [decode_transaction(one.item.signed, CHAIN) for one in planned]
    for one in decoded:
        check_transaction_signature(one)
    assert [one.tx_id for one in decoded] == ids(planned)
    assert len(set(ids(planned))) == len(planned) == 9 + 3 + 80


def test_every_person_is_registered_by_exactly_one_driver(town: Town) -> None:
    shards = [make_shard(town, index, 2) for index in range(2)]

    registered = Counter(
        decode_transaction(one.item.signed, CHAIN).payload.sign_key.data
        for shard in shards
        for one in plan_people(shard, NOW_MS)
    )

    wanted = [
        make_person(town.seed, role, number, ORGS)
        for role, count in ((Role.PATIENT, 9), (Role.DOCTOR, 3))
        for number in range(count)
    ]
    assert registered == Counter(public_key(one.sign_key).data for one in wanted)


def test_kinds_come_in_exact_shares(town: Town) -> None:
    shard = make_shard(town, 0, 1)

    drawn = draw_kinds(shard, {"grant": 3, "read": 1}, 400)

    assert Counter(drawn) == {"grant": 300, "read": 100}
    assert drawn != sorted(drawn)


def test_a_right_is_taken_back_after_all_that_were_given_before_it(town: Town) -> None:
    shard = with_rights(town, rights=3)
    given = [one.grant for one in shard.granted]

    planned = list(plan(shard, ["revoke", "grant", "revoke"], NOW_MS, rate_per_s=None))

    revoked = [one.right.grant for one in (planned[0], planned[2]) if one.right is not None]
    assert revoked == given[:2]


def test_what_is_not_sent_is_undone(town: Town) -> None:
    shard, untouched = with_rights(town), with_rights(town)
    sent = mixed(untouched, 12)

    planned = mixed(shard, 40)
    forget(shard, planned[12:])

    assert ids(planned[:12]) == ids(sent)
    assert shard.granted == untouched.granted
    assert shard.registered == untouched.registered
    assert room_for_rights(shard) == room_for_rights(untouched)


def test_patients_who_come_later_give_rights_too(town: Town) -> None:
    shard = make_shard(town, 0, 1)
    before = room_for_rights(shard)

    planned = list(add_givers(shard, 2, NOW_MS))

    assert len(planned) == 2
    assert room_for_rights(shard) == before + 2 * RIGHTS_PER_PATIENT
    assert all(one.number < NEWCOMERS_FROM for one in shard.givers)


def test_what_is_due_much_later_is_valid_later(town: Town) -> None:
    shard = make_shard(town, 0, 1)

    planned = list(plan(shard, ["grant"] * 31, NOW_MS, rate_per_s=0.1))

    first, last = (decode_transaction(one.item.signed, CHAIN).body for one in planned[::30])
    assert first.valid_from_ms < NOW_MS < first.valid_until_ms
    assert last.valid_from_ms < NOW_MS + 300_000 < last.valid_until_ms
    assert last.valid_from_ms > first.valid_from_ms
