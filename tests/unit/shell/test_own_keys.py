"""A node's keys over a change of epoch: in force at its first height, old ones destroyed."""

from pathlib import Path

import pytest

from crypto.errors import KeystoreCorrupt
from crypto.keystore import KDF_CHEAPEST
from crypto.signatures import Scheme, public_key, sign_preimage
from crypto.validators import Epoch, ReplicaId, Validator, ValidatorSet
from shell.keys import (
    KEYSTORE_NAME,
    NEXT_KEYSTORE_NAME,
    NodeKeys,
    identity_of,
    load_node_keys,
    make_node_keys,
    save_node_keys,
)
from shell.own_keys import OwnKeys, holds, make_next_keys, open_own_keys, put_in_force, sign_at
from tests.simulation.ideal import make_validators

PASSPHRASE = "nine words that nobody guesses"
ME = ReplicaId(2)


def make_keys(directory: Path) -> OwnKeys:
    directory.mkdir(mode=0o700, exist_ok=True)
    save_node_keys(directory, make_node_keys(), PASSPHRASE, created_ms=1, kdf=KDF_CHEAPEST)
    return open_own_keys(directory, PASSPHRASE, ME)


def make_next(directory: Path, *, keeps_tls: bool = False) -> NodeKeys:
    return make_next_keys(
        directory, PASSPHRASE, created_ms=2, kdf=KDF_CHEAPEST, keeps_tls=keeps_tls
    )


def set_with(keys: NodeKeys | None) -> ValidatorSet:
    """Four members, of which this node is one if it has keys."""
    others = [one for one in make_validators(4).members if one.index != ME]
    if keys is None:
        return ValidatorSet(members=tuple(others))
    me = Validator(
        index=ME,
        org="hospital-2",
        vote_key=public_key(keys.vote).data,
        tls_pin=identity_of(keys).pin,
    )
    return ValidatorSet(members=tuple(sorted([*others, me], key=lambda one: one.index)))


def test_the_next_key_signs_from_the_first_height_whose_set_names_it(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys")
    old, new = keys.present, make_next(keys.directory)

    sets = {Epoch(4): set_with(old), Epoch(5): set_with(new)}

    is_held = holds(keys, set_with(new))
    is_changed_before = put_in_force(keys, set_with(old), set_with(old))
    ahead = sign_at(keys, sets, Epoch(5), b"x")
    is_changed = put_in_force(keys, set_with(old), set_with(new))
    behind = sign_at(keys, sets, Epoch(4), b"x")

    assert is_held
    assert not is_changed_before
    assert is_changed
    assert ahead == sign_at(keys, sets, Epoch(5), b"x") == sign_preimage(new.vote, b"x")
    assert behind == sign_preimage(old.vote, b"x")
    assert keys.present == new


def test_the_former_keystore_lives_until_the_first_height_of_its_successor_is_decided(
    tmp_path: Path,
) -> None:
    keys = make_keys(tmp_path / "keys")
    former = (keys.directory / KEYSTORE_NAME).read_bytes()
    old, new = keys.present, make_next(keys.directory)
    holds(keys, set_with(new))

    put_in_force(keys, set_with(old), set_with(new))
    while_agreeing = (keys.directory / KEYSTORE_NAME).read_bytes()
    put_in_force(keys, set_with(new), set_with(new))

    assert while_agreeing == former
    assert load_node_keys(keys.directory, PASSPHRASE) == new
    assert not (keys.directory / NEXT_KEYSTORE_NAME).exists()
    assert keys.former is None
    assert all(former not in path.read_bytes() for path in keys.directory.iterdir())


def test_a_node_that_was_down_over_the_change_starts_with_the_key_of_its_height(
    tmp_path: Path,
) -> None:
    keys = make_keys(tmp_path / "keys")
    old, new = keys.present, make_next(keys.directory)

    before = open_own_keys(keys.directory, PASSPHRASE, ME)
    put_in_force(before, set_with(old), set_with(old))
    at_the_change = open_own_keys(keys.directory, PASSPHRASE, ME)
    put_in_force(at_the_change, set_with(old), set_with(new))
    after = open_own_keys(keys.directory, PASSPHRASE, ME)
    put_in_force(after, set_with(new), set_with(new))

    assert before.present == old
    assert at_the_change.present == after.present == new
    assert open_own_keys(keys.directory, PASSPHRASE, ME).present == new


def test_a_crash_after_the_former_keystore_was_overwritten_is_finished_at_the_next_start(
    tmp_path: Path,
) -> None:
    keys = make_keys(tmp_path / "keys")
    new = make_next(keys.directory)
    path = keys.directory / KEYSTORE_NAME
    path.write_bytes(bytes(path.stat().st_size))

    again = open_own_keys(keys.directory, PASSPHRASE, ME)

    assert again.present == new
    assert load_node_keys(keys.directory, PASSPHRASE) == new


def test_a_damaged_present_keystore_is_not_taken_for_a_destroyed_one(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys")
    make_next(keys.directory)
    path = keys.directory / KEYSTORE_NAME
    path.write_bytes(bytes(40) + path.read_bytes()[40:])

    with pytest.raises(KeystoreCorrupt):
        open_own_keys(keys.directory, PASSPHRASE, ME)

    assert (keys.directory / NEXT_KEYSTORE_NAME).exists()


def test_next_keys_are_made_once_and_found_while_the_node_runs(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys")
    unknown = make_node_keys()

    first = make_next(keys.directory)
    second = make_next(keys.directory)

    assert first == second
    assert holds(keys, set_with(first))
    assert not holds(keys, set_with(unknown))
    assert holds(keys, set_with(None))


def test_next_keys_under_another_passphrase_are_said_to_be_of_no_use(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys")
    foreign = make_node_keys()
    save_node_keys(
        keys.directory,
        foreign,
        "another nine words nobody guesses",
        created_ms=2,
        kdf=KDF_CHEAPEST,
        name=NEXT_KEYSTORE_NAME,
    )

    assert not holds(keys, set_with(foreign))


def test_only_the_vote_key_changes_if_the_tls_key_is_to_stay(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys")

    new = make_next(keys.directory, keeps_tls=True)

    assert identity_of(new).pin == identity_of(keys.present).pin
    assert public_key(new.vote) != public_key(keys.present.vote)
    assert new.vote.scheme is Scheme.ED25519
