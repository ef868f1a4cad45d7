from collections.abc import Sequence

import pytest

from crypto.envelopes import seal_key_id
from crypto.hashing import Digest
from ledger.accounts import (
    Role,
    directory_key,
    get_directory_entry,
)
from ledger.identity_payloads import (
    DirectoryNote,
    ShareDirectory,
)
from tests.unit.ledger.small_consortium import (
    SOUTH,
    Consortium,
    account_of,
)
from tests.unit.ledger.small_consortium import (
    seal_key_of as seal_key_with,
)

ADMIN, SECOND_ADMIN, OTHER_ADMIN = (
    "first admin of north",
    "second admin of north",
    "first admin of south",
)


@pytest.fixture
def consortium() -> Consortium:
    return Consortium()


def note(recipient: str, salt: int, key: str | None = None) -> DirectoryNote:
    return DirectoryNote(
        recipient=account_of(recipient),
        key_id=seal_key_id(seal_key_with(key or recipient)),
        note=Digest(bytes([salt]) * 32),
    )


def share(about: str, notes: Sequence[DirectoryNote]) -> ShareDirectory:
    return ShareDirectory(
        about=account_of(about), notes=tuple(sorted(notes, key=lambda one: one.recipient))
    )


def test_a_registration_brings_notes_for_the_person_and_the_agent(
    consortium: Consortium,
) -> None:
    notes = (note("pat", 1), note("agent of north", 2))

    patient = consortium.register("pat", Role.PATIENT, notes=notes)

    for one in notes:
        entry = get_directory_entry(consortium.state, patient, one.recipient)
        assert entry is not None
        assert (entry.note, entry.key_id, entry.height) == (one.note, one.key_id, 1)


@pytest.mark.parametrize("by", ["pat", "agent of north"])
def test_the_patient_and_the_agent_share_the_directory_with_a_writer(
    consortium: Consortium, by: str
) -> None:
    patient = consortium.register("pat", Role.PATIENT)
    writer = consortium.register("dr. s", Role.DOCTOR, SOUTH)
    shared = note("dr. s", 7)

    result = consortium.submit(
        "identity.share_directory", share("pat", [shared]), by, sidecars=[shared.note]
    )

    assert result.receipts[0].accepted
    assert [(place.digest, place.key) for place in result.sidecars] == [
        (shared.note, directory_key(patient, writer))
    ]
    assert result.receipts[0].events[0].subject == patient


def test_sharing_again_replaces_the_note(consortium: Consortium) -> None:
    patient = consortium.register("pat", Role.PATIENT)
    consortium.register("dr. s", Role.DOCTOR, SOUTH)
    for salt in (7, 8):
        shared = note("dr. s", salt)
        consortium.submit(
            "identity.share_directory", share("pat", [shared]), "pat", sidecars=[shared.note]
        )

    entry = get_directory_entry(consortium.state, patient, account_of("dr. s"))

    assert entry is not None
    assert entry.note == bytes([8]) * 32


def test_a_directory_is_not_shared_by_others_nor_for_nobody(consortium: Consortium) -> None:
    consortium.register("pat", Role.PATIENT)
    consortium.register("dr. s", Role.DOCTOR, SOUTH)
    cases = [
        ("dr. s", share("pat", [note("dr. s", 7)]), "identity.not_holder"),
        (ADMIN, share("pat", [note("dr. s", 7)]), "identity.not_holder"),
        ("agent of south", share("pat", [note("dr. s", 7)]), "identity.not_holder"),
        ("pat", share("nobody", [note("dr. s", 7)]), "identity.unknown"),
        ("pat", share("pat", [note("nobody", 7)]), "identity.unknown"),
        ("pat", share("pat", [note("dr. s", 7, key="old")]), "identity.note_key"),
    ]

    for by, payload, code in cases:
        receipt = consortium.outcome(
            "identity.share_directory",
            payload,
            by,
            sidecars=[one.note for one in payload.notes],
        )

        assert receipt.code == code


def test_a_stale_note_names_the_key_in_force(consortium: Consortium) -> None:
    consortium.register("pat", Role.PATIENT)
    stale = note("agent of north", 7, key="old")

    receipt = consortium.outcome(
        "identity.share_directory", share("pat", [stale]), "pat", sidecars=[stale.note]
    )

    agent = consortium.account("agent of north")
    assert receipt.events[0].fields == (
        ("recipient", agent.account_id),
        ("key_id", agent.seal_key_id),
    )


@pytest.mark.parametrize(
    "listed", [(), (Digest(bytes([7]) * 32), Digest(bytes([8]) * 32)), (Digest(bytes([8]) * 32),)]
)
def test_the_sidecars_listed_are_exactly_those_the_payload_names(
    consortium: Consortium, listed: tuple[Digest, ...]
) -> None:
    consortium.register("pat", Role.PATIENT)
    payload = share("pat", [note("agent of north", 7)])

    receipt = consortium.outcome("identity.share_directory", payload, "pat", sidecars=listed)

    assert receipt.code == "transaction.sidecars"


def test_the_order_of_notes_is_part_of_the_form() -> None:
    notes = sorted((note("a", 1), note("b", 2)), key=lambda one: one.recipient, reverse=True)

    with pytest.raises(ValueError, match="ascending by recipient"):
        ShareDirectory(about=account_of("a"), notes=tuple(notes))
