"""A wallet keeps keys under labels, contacts, and directories that only its keys open."""

from dataclasses import replace
from pathlib import Path

import pytest

from client.errors import DirectoryUnknown, LabelTaken, LocalError, UnknownLabel
from client.wallet import (
    Wallet,
    add_contact,
    all_keys,
    create_wallet,
    find_account,
    find_directory,
    find_keys,
    keep_directory,
    labels,
    make_keys,
    name_of,
    open_wallet,
    remove_keys,
    replace_keys,
)
from crypto.directory import make_directory
from crypto.envelopes import SealScheme, make_seal_private_key, seal_key_id, seal_public_key
from crypto.errors import WrongPassphrase
from crypto.hashing import ChainId
from crypto.keystore import KDF_CHEAPEST
from crypto.record_ids import AccountId

PASSPHRASE = "a long enough passphrase"
CHAIN = ChainId(b"\x05" * 32)
SOMEBODY = AccountId(b"\x06" * 32)


@pytest.fixture
def wallet(tmp_path: Path) -> Wallet:
    return create_wallet(tmp_path / "home", PASSPHRASE, kdf=KDF_CHEAPEST)


def test_keys_come_back_under_their_label(wallet: Wallet) -> None:
    made = make_keys(wallet, "ada", created_ms=1)

    again = open_wallet(wallet.home, PASSPHRASE)

    assert labels(again) == ("ada",)
    assert find_keys(again, "ada") == made
    assert find_account(again, "ada") == made.account
    assert name_of(again, made.account) == "ada"


def test_the_keystore_is_its_owners_alone(wallet: Wallet) -> None:
    make_keys(wallet, "ada", created_ms=1)
    keep_directory(wallet, CHAIN, find_keys(wallet, "ada"), make_directory(SOMEBODY))
    add_contact(wallet, "bob", SOMEBODY)

    files = [path for path in wallet.home.rglob("*") if path.is_file() and path.name != ".lock"]

    assert len(files) == 3
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_a_wrong_passphrase_opens_nothing(wallet: Wallet) -> None:
    with pytest.raises(WrongPassphrase):
        open_wallet(wallet.home, "another long passphrase")


def test_a_wallet_is_never_overwritten(wallet: Wallet) -> None:
    with pytest.raises(LocalError, match="exists"):
        create_wallet(wallet.home, PASSPHRASE, kdf=KDF_CHEAPEST)


def test_a_missing_wallet_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="make keys first"):
        open_wallet(tmp_path, PASSPHRASE)


def test_a_name_means_one_account(wallet: Wallet) -> None:
    make_keys(wallet, "ada", created_ms=1)
    add_contact(wallet, "bob", SOMEBODY)
    add_contact(wallet, "bob", SOMEBODY)

    with pytest.raises(LabelTaken):
        make_keys(wallet, "ada", created_ms=2)
    with pytest.raises(LabelTaken):
        make_keys(wallet, "bob", created_ms=2)
    with pytest.raises(LabelTaken):
        add_contact(wallet, "ada", SOMEBODY)
    with pytest.raises(LabelTaken):
        add_contact(wallet, "bob", AccountId(b"\x07" * 32))
    assert find_account(open_wallet(wallet.home, PASSPHRASE), "bob") == SOMEBODY


@pytest.mark.parametrize("name", ["", "nobody", "zz" * 32, "ab" * 31])
def test_an_unknown_name_is_refused(wallet: Wallet, name: str) -> None:
    with pytest.raises(UnknownLabel):
        find_account(wallet, name)


def test_sixty_four_digits_name_an_account(wallet: Wallet) -> None:
    assert find_account(wallet, SOMEBODY.hex()) == SOMEBODY


@pytest.mark.parametrize("label", ["", " ada", "a\nb", "x" * 65])
def test_a_label_is_short_and_visible(wallet: Wallet, label: str) -> None:
    with pytest.raises(LocalError):
        make_keys(wallet, label, created_ms=1)


def test_old_seal_keys_stay_behind_the_new_one(wallet: Wallet) -> None:
    before = make_keys(wallet, "ada", created_ms=1)
    fresh = make_seal_private_key(SealScheme.P256)

    after = replace_keys(wallet, "ada", seal_key=fresh, created_ms=2)

    assert after.account == before.account
    assert after.seal_keys == (fresh, before.seal_key)
    assert after.seal_key_named(seal_key_id(seal_public_key(before.seal_key))) == before.seal_key
    assert after.seal_key_named(b"\x00" * 16) is None


def test_removed_keys_are_gone(wallet: Wallet) -> None:
    make_keys(wallet, "ada", created_ms=1)
    make_keys(wallet, "bob", created_ms=1)

    remove_keys(wallet, "ada")

    assert [keys.label for keys in all_keys(open_wallet(wallet.home, PASSPHRASE))] == ["bob"]


def test_a_directory_is_kept_sealed_and_found_again(wallet: Wallet) -> None:
    keys = make_keys(wallet, "ada", created_ms=1)
    directory = make_directory(SOMEBODY)

    keep_directory(wallet, CHAIN, keys, directory)

    assert find_directory(wallet, CHAIN, keys, SOMEBODY) == directory
    assert find_directory(wallet, CHAIN, keys, keys.account) is None
    kept = b"".join(path.read_bytes() for path in (wallet.home / "directories").iterdir())
    assert directory.tag_key not in kept
    assert b"mental-health" not in kept


def test_a_directory_survives_a_new_seal_key_but_opens_for_nobody_else(wallet: Wallet) -> None:
    keys = make_keys(wallet, "ada", created_ms=1)
    directory = make_directory(SOMEBODY)
    keep_directory(wallet, CHAIN, keys, directory)
    rotated = replace_keys(
        wallet, "ada", seal_key=make_seal_private_key(SealScheme.P256), created_ms=2
    )
    thief = replace(keys, seal_keys=(make_seal_private_key(SealScheme.P256),))

    assert find_directory(wallet, CHAIN, rotated, SOMEBODY) == directory
    with pytest.raises(DirectoryUnknown):
        find_directory(wallet, CHAIN, thief, SOMEBODY)


@pytest.mark.parametrize("text", ["[]", "{", '{"bob": "00"}', '{"bob": 7}'])
def test_damaged_contacts_are_named(wallet: Wallet, text: str) -> None:
    (wallet.home / "contacts.json").write_text(text)

    with pytest.raises(LocalError, match=r"contacts\.json"):
        open_wallet(wallet.home, PASSPHRASE)


def test_keys_that_another_process_added_are_not_lost(wallet: Wallet) -> None:
    other = open_wallet(wallet.home, PASSPHRASE)
    make_keys(other, "bob", created_ms=1)

    with pytest.raises(LocalError, match="another process") as refusal:
        make_keys(wallet, "ada", created_ms=1)

    assert refusal.value.code == "wallet.changed"
    assert labels(open_wallet(wallet.home, PASSPHRASE)) == ("bob",)
