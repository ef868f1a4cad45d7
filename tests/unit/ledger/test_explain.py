"""`explain`: the rule that fired, the transactions behind it, and whether keys or nodes keep it."""

import pytest

from crypto.record_ids import AccountId, RecordId
from ledger.access_payloads import (
    AccessLevel,
    Categories,
    RecordList,
    RoleAt,
    WholeOrganisation,
)
from ledger.accounts import Role
from ledger.decision import Action
from ledger.explain import Explanation, Keeper, KeyState, explain
from ledger.purposes import HPAYMT, PUBHLTH, TREAT
from tests.unit.ledger.record_samples import (
    AUDITOR,
    CATEGORIES,
    DOCTOR,
    HOUR_MS,
    OTHER_PATIENT,
    PATIENT,
    SOUTH_DOCTOR,
    SOUTH_NURSE,
    Hospitals,
)
from tests.unit.ledger.small_consortium import NORTH, SOUTH, account_of


@pytest.fixture
def world() -> Hospitals:
    return Hospitals()


@pytest.fixture
def record_id(world: Hospitals) -> RecordId:
    return world.put()


def ask(
    world: Hospitals,
    by: str,
    record_id: RecordId,
    action: Action = Action.READ,
    *,
    purpose: str = TREAT,
    time_ms: int | None = None,
    on_behalf_of: AccountId | None = None,
) -> Explanation:
    found = explain(
        world.chain.state,
        requester=account_of(by),
        record_id=record_id,
        action=action,
        purpose=purpose,
        time_ms=world.time_ms if time_ms is None else time_ms,
        on_behalf_of=on_behalf_of,
    )
    assert found is not None
    return found


def test_nothing_is_explained_about_a_record_that_does_not_exist(world: Hospitals) -> None:
    found = explain(
        world.chain.state,
        requester=account_of(DOCTOR),
        record_id=RecordId(b"\x00" * 16),
        action=Action.READ,
        purpose=TREAT,
        time_ms=world.time_ms,
    )

    assert found is None


def test_the_decision_is_the_one_that_contracts_make(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))

    for label in (PATIENT, DOCTOR, SOUTH_DOCTOR, SOUTH_NURSE, AUDITOR):
        assert ask(world, label, record_id).decision == world.decide(label, record_id)


def test_a_grant_is_told_whole_and_by_its_transaction(
    world: Hospitals, record_id: RecordId
) -> None:
    terms = world.terms(SOUTH_DOCTOR, from_ms=1_790_000_000_000, until_ms=1_900_000_000_000)
    grant_id = world.grant(terms)

    found = ask(world, SOUTH_DOCTOR, record_id)

    assert found.because == (grant_id,)
    assert found.sentences[0] == (
        f"Grant {grant_id.hex()[:8]}: doctor {account_of(SOUTH_DOCTOR).hex()[:8]} of south may "
        "read all records for TREAT from 2026-09-21 14:13:20 UTC until 2030-03-17 17:46:40 UTC."
    )


def test_a_new_grant_is_permitted_with_its_key_pending(
    world: Hospitals, record_id: RecordId
) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))

    found = ask(world, SOUTH_DOCTOR, record_id)

    assert (found.key, found.kept_by) == (KeyState.PENDING, Keeper.HONEST_NODES)
    assert found.sentences[-1].startswith("Permitted, key pending")


def test_a_grant_with_its_envelope_holds_a_key(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(SOUTH_DOCTOR))
    page = world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR)])
    world.accept("records.envelopes", page, PATIENT)

    found = ask(world, SOUTH_DOCTOR, record_id)

    assert found.key is KeyState.HELD
    assert "kept by honest nodes" in found.sentences[-1]


def test_an_organisations_staff_opens_through_its_agent(world: Hospitals) -> None:
    world.grant(world.terms(WholeOrganisation(org=SOUTH)))
    record_id = world.put()

    found = ask(world, SOUTH_NURSE, record_id)

    assert found.key is KeyState.WITH_AGENT
    assert "everybody who works at south" in found.sentences[0]
    assert "agent hands a key over" in found.sentences[-1]


def test_a_role_that_was_not_meant_is_kept_out_by_agent_and_nodes(world: Hospitals) -> None:
    world.grant(world.terms(RoleAt(org=SOUTH, role=Role.DOCTOR)))
    record_id = world.put()

    found = ask(world, SOUTH_NURSE, record_id)

    assert not found.decision.permitted
    assert (found.key, found.kept_by) == (KeyState.WITH_AGENT, Keeper.HONEST_NODES)
    assert "has a key for others" in found.sentences[-1]


def test_who_never_had_a_right_is_kept_out_by_keys(world: Hospitals, record_id: RecordId) -> None:
    found = ask(world, SOUTH_DOCTOR, record_id)

    assert (found.key, found.kept_by) == (KeyState.NONE, Keeper.KEYS)
    assert found.sentences[0].startswith("No right in force lets doctor")
    assert found.sentences[-1].startswith("Keys keep this shut")


def test_after_a_revocation_honest_nodes_keep_it_until_a_fresh_seal(
    world: Hospitals, record_id: RecordId
) -> None:
    grant_id = world.grant(world.terms(SOUTH_DOCTOR))
    page = world.make_page(PATIENT, [(record_id, SOUTH_DOCTOR)])
    world.accept("records.envelopes", page, PATIENT)
    world.revoke(grant_id)

    before = ask(world, SOUTH_DOCTOR, record_id)
    world.accept("records.reseal", world.make_reseal(record_id), PATIENT)
    after = ask(world, SOUTH_DOCTOR, record_id)

    assert (before.key, before.kept_by) == (KeyState.HELD, Keeper.HONEST_NODES)
    assert "until the record is sealed afresh" in before.sentences[-1]
    assert (after.key, after.kept_by) == (KeyState.NONE, Keeper.KEYS)


def test_a_revoked_grant_is_named_as_what_would_have_permitted(
    world: Hospitals, record_id: RecordId
) -> None:
    grant_id = world.grant(world.terms(SOUTH_DOCTOR))
    world.revoke(grant_id)

    found = ask(world, SOUTH_DOCTOR, record_id)

    assert found.because == (grant_id,)
    assert f"Grant {grant_id.hex()[:8]} was revoked at 2026-" in found.sentences[1]


def test_an_expired_grant_is_named_before_and_after_it_is_set_aside(
    world: Hospitals, record_id: RecordId
) -> None:
    until_ms = world.time_ms + HOUR_MS
    grant_id = world.grant(world.terms(SOUTH_DOCTOR, until_ms=until_ms))
    world.chain.apply(after_ms=2 * HOUR_MS)

    standing = ask(world, SOUTH_DOCTOR, record_id)
    world.grant(world.terms(SOUTH_NURSE))
    aside = ask(world, SOUTH_DOCTOR, record_id)

    assert standing.because == aside.because == (grant_id,)
    assert "ended at 2026-" in standing.sentences[1]
    assert "ended at 2026-" in aside.sentences[1]


def test_a_grant_that_speaks_of_the_requester_says_why_it_does_not_permit(
    world: Hospitals, record_id: RecordId
) -> None:
    world.grant(
        world.terms(
            SOUTH_DOCTOR,
            Categories(categories=CATEGORIES[1:]),
            purposes=(HPAYMT,),
            from_ms=world.time_ms + HOUR_MS,
            until_ms=world.time_ms + 2 * HOUR_MS,
        )
    )

    found = ask(world, SOUTH_DOCTOR, record_id, Action.WRITE)

    assert "begins only at" in found.sentences[1]
    assert "is for HPAYMT only" in found.sentences[1]
    assert "is for reading only" in found.sentences[1]
    assert "covers other records" in found.sentences[1]


def test_grants_of_others_are_nobodys_near_miss(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(SOUTH_NURSE))

    found = ask(world, SOUTH_DOCTOR, record_id)

    assert found.because == ()
    assert len(found.sentences) == 2


def test_treatment_names_the_put_behind_it(world: Hospitals, record_id: RecordId) -> None:
    found = ask(world, DOCTOR, record_id)

    assert found.because == (world.record(record_id).tx_id,)
    assert f"was written at {NORTH}, where doctor" in found.sentences[0]
    assert found.key is KeyState.WITH_AGENT


@pytest.mark.parametrize(
    ("by", "action", "purpose", "words"),
    [
        (PATIENT, Action.READ, TREAT, "is the requester's own."),
        (AUDITOR, Action.LOG, "HOPERAT", "sees traces here"),
        (DOCTOR, Action.READ, PUBHLTH, "does not admit the purpose PUBHLTH"),
    ],
)
def test_every_rule_has_its_words(
    world: Hospitals, record_id: RecordId, by: str, action: Action, purpose: str, words: str
) -> None:
    assert words in ask(world, by, record_id, action, purpose=purpose).sentences[0]


def test_who_may_not_act_is_told_why(world: Hospitals, record_id: RecordId) -> None:
    represented = ask(world, DOCTOR, record_id, on_behalf_of=account_of(OTHER_PATIENT))
    unknown = ask(world, "nobody", record_id)
    world.suspend(DOCTOR)
    suspended = ask(world, DOCTOR, record_id)
    world.suspend_organisation(SOUTH)
    organisation = ask(world, SOUTH_DOCTOR, record_id)

    assert represented.sentences[0].endswith("has not delegated anything.")
    assert unknown.sentences[0].endswith("is not registered.")
    assert suspended.sentences[0].endswith("is suspended.")
    assert organisation.sentences[0].startswith("The organisation of Doctor")


def test_an_unlimited_right_lasts_until_it_is_revoked(
    world: Hospitals, record_id: RecordId
) -> None:
    world.grant(world.terms(SOUTH_DOCTOR, until_ms=2**64 - 1, level=AccessLevel.READ_WRITE))

    found = ask(world, SOUTH_DOCTOR, record_id)

    assert "may read and write all records" in found.sentences[0]
    assert found.sentences[0].endswith("until it is revoked.")


@pytest.mark.parametrize(
    ("grantee", "words"),
    [
        (WholeOrganisation(org=SOUTH), "everybody who works at south may read 2 categories"),
        (RoleAt(org=SOUTH, role=Role.DOCTOR), "every doctor of south may read 2 categories"),
    ],
)
def test_grantees_and_scopes_have_words(
    world: Hospitals, record_id: RecordId, grantee: WholeOrganisation | RoleAt, words: str
) -> None:
    world.grant(world.terms(grantee, Categories(categories=CATEGORIES[:2])))

    assert words in ask(world, SOUTH_DOCTOR, record_id).sentences[0]


def test_a_list_of_records_has_words(world: Hospitals, record_id: RecordId) -> None:
    world.grant(world.terms(SOUTH_DOCTOR, RecordList(records=(record_id,))))

    assert "may read 1 record for TREAT" in ask(world, SOUTH_DOCTOR, record_id).sentences[0]


def test_an_ended_grant_that_never_meant_this_is_not_named(
    world: Hospitals, record_id: RecordId
) -> None:
    elsewhere = Categories(categories=CATEGORIES[1:])
    world.revoke(world.grant(world.terms(SOUTH_DOCTOR, elsewhere)))

    assert ask(world, SOUTH_DOCTOR, record_id).because == ()
