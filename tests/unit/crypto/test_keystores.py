import hashlib
import os
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from nacl.pwhash import argon2id

from crypto import keystore as keystore_module
from crypto import passphrases
from crypto.envelopes import SealScheme, make_seal_private_key
from crypto.errors import (
    DecodeError,
    InvalidKey,
    KeystoreCorrupt,
    KeystoreExposed,
    KeystoreParameters,
    WeakPassphrase,
    WrongPassphrase,
)
from crypto.keystore import (
    KDF_BROWSER,
    KDF_CHEAPEST,
    KDF_DEFAULT,
    Argon2id,
    Kdf,
    KeystoreContent,
    Pbkdf2Sha256,
    check_kdf,
    entry_seal_keys,
    entry_sign_key,
    load_keystore,
    lock_keystore,
    make_account_entry,
    save_keystore,
    store_seal_key,
    unlock_keystore,
)
from crypto.passphrases import check_passphrase, make_passphrase, passphrase_bytes
from crypto.schema import decode, encode
from crypto.signatures import Scheme, account_id, make_signing_key, public_key
from crypto.words import WORDS

PASSPHRASE = "correct horse battery"
SIGN_KEY = make_signing_key(Scheme.P256)
SEAL_KEYS = (make_seal_private_key(SealScheme.P256), make_seal_private_key(SealScheme.RSA_3072))
ENTRY = make_account_entry(
    label="Dr. Müller",
    account_id=account_id(public_key(SIGN_KEY)),
    sign_key=SIGN_KEY,
    seal_keys=SEAL_KEYS,
    created_ms=1_795_219_200_000,
)
CONTENT = KeystoreContent(accounts=(ENTRY,))
EMPTY = KeystoreContent(accounts=())


def rehash(body: bytes) -> bytes:
    """Complete a file as somebody would who alters it on purpose."""
    return body + hashlib.sha256(body).digest()


@pytest.mark.parametrize("kdf", [KDF_CHEAPEST, KDF_DEFAULT, KDF_BROWSER])
def test_a_keystore_opens_with_its_passphrase(kdf: Kdf) -> None:
    file = lock_keystore(CONTENT, PASSPHRASE, kdf=kdf)

    assert unlock_keystore(file, PASSPHRASE, name="keys") == CONTENT


@pytest.mark.parametrize("kdf", [KDF_CHEAPEST, KDF_BROWSER])
@pytest.mark.parametrize("other", ["correct horse batterz", "correct horse battery ", ""])
def test_another_passphrase_is_called_wrong_and_nothing_else(kdf: Kdf, other: str) -> None:
    file = lock_keystore(CONTENT, PASSPHRASE, kdf=kdf)

    with pytest.raises(WrongPassphrase, match="keys of Ann"):
        unlock_keystore(file, other, name="keys of Ann")


def test_the_keys_come_out_as_they_went_in() -> None:
    file = lock_keystore(CONTENT, PASSPHRASE, kdf=KDF_CHEAPEST)

    entry = unlock_keystore(file, PASSPHRASE, name="keys").accounts[0]

    assert entry_sign_key(entry).secret == SIGN_KEY.secret
    assert [key.secret for key in entry_seal_keys(entry)] == [key.secret for key in SEAL_KEYS]


def test_halves_of_a_key_that_do_not_belong_together_are_refused() -> None:
    other = store_seal_key(make_seal_private_key(SealScheme.P256), 0)
    seal_keys = (replace(ENTRY.seal_keys[0], public=other.public),)
    sign_key = replace(ENTRY.sign_key, secret=make_signing_key(Scheme.P256).secret)

    with pytest.raises(InvalidKey, match="Müller"):
        entry_sign_key(replace(ENTRY, sign_key=sign_key))
    with pytest.raises(InvalidKey, match="Müller"):
        entry_seal_keys(replace(ENTRY, seal_keys=seal_keys))


def test_every_flipped_or_missing_byte_is_called_damage() -> None:
    file = lock_keystore(EMPTY, PASSPHRASE, kdf=KDF_CHEAPEST)

    for position in range(len(file)):
        changed = bytearray(file)
        changed[position] ^= 1 << position % 8
        for damaged in (bytes(changed), file[:position]):
            with pytest.raises(KeystoreCorrupt, match="keys of Ann"):
                unlock_keystore(damaged, PASSPHRASE, name="keys of Ann")
    with pytest.raises(KeystoreCorrupt):
        unlock_keystore(file + b"\x00", PASSPHRASE, name="keys")


def test_every_byte_altered_on_purpose_is_refused_too() -> None:
    body = lock_keystore(EMPTY, PASSPHRASE, kdf=KDF_CHEAPEST)[:-32]
    refusals = (KeystoreCorrupt, KeystoreParameters, WrongPassphrase)
    seen = set()

    for position in range(len(body)):
        with pytest.raises(refusals):
            unlock_keystore(rehash(body[:position]), PASSPHRASE, name="keys")
        for bit in (0, 3):
            changed = bytearray(body)
            changed[position] ^= 1 << bit
            with pytest.raises(refusals) as refusal:
                unlock_keystore(rehash(bytes(changed)), PASSPHRASE, name="keys")
            seen.add(refusal.type)

    assert seen == set(refusals)


@pytest.mark.parametrize(
    "kdf",
    [
        Argon2id(operations=1, memory_kib=64 * 1024),
        Argon2id(operations=11, memory_kib=64 * 1024),
        Argon2id(operations=2**32 - 1, memory_kib=64 * 1024),
        Argon2id(operations=3, memory_kib=19 * 1024 - 1),
        Argon2id(operations=3, memory_kib=1024 * 1024 + 1),
        Argon2id(operations=3, memory_kib=100 * 1024 * 1024),
        Pbkdf2Sha256(iterations=599_999),
        Pbkdf2Sha256(iterations=10_000_001),
        Pbkdf2Sha256(iterations=2**32 - 1),
    ],
)
def test_a_file_that_asks_for_too_little_or_too_much_is_refused_before_any_work(kdf: Kdf) -> None:
    cheap = lock_keystore(EMPTY, PASSPHRASE, kdf=KDF_CHEAPEST)
    header_end = 10 + int.from_bytes(cheap[8:10], "big")
    header = decode(keystore_module.KeystoreHeader, cheap[10:header_end])
    encoded = encode(replace(header, kdf=kdf))
    body = cheap[:8] + len(encoded).to_bytes(2, "big") + encoded + cheap[header_end:-32]

    with pytest.raises(KeystoreParameters, match="keys of Ann"):
        unlock_keystore(rehash(body), PASSPHRASE, name="keys of Ann")
    with pytest.raises(KeystoreParameters):
        lock_keystore(EMPTY, PASSPHRASE, kdf=kdf)


@pytest.mark.parametrize("kdf", [KDF_CHEAPEST, KDF_DEFAULT, KDF_BROWSER])
def test_our_own_derivations_are_within_the_bounds(kdf: Kdf) -> None:
    check_kdf(kdf, "keys")


@pytest.mark.parametrize("body", [b"", b"\x89MLKS\r\n\x1a", b"\x89MLKS\r\n\x1a\x00\x01", b"x" * 90])
def test_a_whole_file_that_is_no_keystore_is_refused(body: bytes) -> None:
    with pytest.raises(KeystoreCorrupt):
        unlock_keystore(rehash(body), PASSPHRASE, name="keys")


def test_a_keystore_with_other_things_inside_is_refused() -> None:
    file = lock_keystore(EMPTY, PASSPHRASE, kdf=KDF_CHEAPEST)
    start = file[: 10 + int.from_bytes(file[8:10], "big")]
    header = decode(keystore_module.KeystoreHeader, start[10:])
    key = argon2id.kdf(32, PASSPHRASE.encode(), header.salt, 2, 19 << 20)
    body = start + AESGCM(key).encrypt(header.nonce, b"no keys", start)

    with pytest.raises(KeystoreCorrupt, match="something else"):
        unlock_keystore(rehash(body), PASSPHRASE, name="keys")


def test_two_keystores_of_the_same_keys_share_no_bytes() -> None:
    one, other = (lock_keystore(EMPTY, PASSPHRASE, kdf=KDF_CHEAPEST) for _ in range(2))

    assert one[-60:] != other[-60:]
    assert one != other


def test_secrets_show_in_no_representation() -> None:
    shown = repr(CONTENT)

    assert repr(SIGN_KEY.secret) not in shown
    assert repr(SEAL_KEYS[1].secret) not in shown


def test_an_entry_that_occurs_twice_is_refused() -> None:
    other = replace(ENTRY, account_id=account_id(public_key(make_signing_key(Scheme.ED25519))))

    for second in (replace(ENTRY, label="other"), other):
        with pytest.raises(ValueError, match="twice"):
            KeystoreContent(accounts=(ENTRY, second))


@given(encoded=st.binary(max_size=100))
def test_decoding_a_content_never_fails_otherwise_than_by_name(encoded: bytes) -> None:
    try:
        content = decode(KeystoreContent, encoded)
    except DecodeError:
        return
    assert encode(content) == encoded


def test_a_file_is_written_whole_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "ann.keys"

    save_keystore(path, CONTENT, PASSPHRASE, kdf=KDF_CHEAPEST)
    save_keystore(path, EMPTY, PASSPHRASE, kdf=KDF_CHEAPEST)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_keystore(path, PASSPHRASE) == EMPTY
    assert os.listdir(tmp_path) == ["ann.keys"]


def test_the_old_file_survives_a_save_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ann.keys"
    save_keystore(path, CONTENT, PASSPHRASE, kdf=KDF_CHEAPEST)

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_keystore(path, EMPTY, PASSPHRASE, kdf=KDF_CHEAPEST)

    assert load_keystore(path, PASSPHRASE) == CONTENT
    assert os.listdir(tmp_path) == ["ann.keys"]


def test_a_weak_passphrase_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(WeakPassphrase):
        save_keystore(tmp_path / "ann.keys", CONTENT, "short", kdf=KDF_CHEAPEST)

    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_read_is_refused_with_the_way_out(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "ann.keys"
    save_keystore(path, CONTENT, PASSPHRASE, kdf=KDF_CHEAPEST)
    path.chmod(mode)

    with pytest.raises(KeystoreExposed, match=re.escape(f"chmod 600 {path}")):
        load_keystore(path, PASSPHRASE)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "ann.keys"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    path.chmod(0o600)

    with pytest.raises(KeystoreCorrupt, match="larger"):
        load_keystore(path, PASSPHRASE)


def test_a_machine_without_the_memory_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ann.keys"
    save_keystore(path, EMPTY, PASSPHRASE, kdf=Argon2id(operations=2, memory_kib=1024 * 1024))
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from crypto.errors import KeystoreParameters\n"
        "from crypto.keystore import load_keystore\n"
        "resource.setrlimit(resource.RLIMIT_AS, (768 << 20, 768 << 20))\n"
        "try: load_keystore(Path(sys.argv[1]), sys.argv[2])\n"
        "except KeystoreParameters as problem: print(problem.code, problem)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(path), PASSPHRASE],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )

    assert done.stdout.startswith(f"keystore.parameters {path} needs 1048576 KiB")


def test_a_passphrase_is_the_same_however_it_is_typed() -> None:
    file = lock_keystore(EMPTY, "Gr\u00fc\u00dfe aus K\u00f6ln", kdf=KDF_CHEAPEST)

    assert unlock_keystore(file, "Gru\u0308\u00dfe aus Ko\u0308ln", name="keys") == EMPTY
    assert passphrase_bytes("u\u0308") == "\u00fc".encode()


@pytest.mark.parametrize(
    "passphrase", ["", "elevenchars", "u\u0308" * 11, "x" * 1025, "\ud800" * 12]
)
def test_a_passphrase_that_is_too_short_or_too_long_or_no_text_is_refused(passphrase: str) -> None:
    with pytest.raises(WeakPassphrase):
        check_passphrase(passphrase)


@pytest.mark.parametrize("passphrase", ["twelve chars", "\u00fc" * 12, "x" * 1024])
def test_a_passphrase_of_twelve_characters_is_accepted(passphrase: str) -> None:
    check_passphrase(passphrase)


def test_generated_passphrases_hold_more_than_77_bits() -> None:
    made = {make_passphrase() for _ in range(200)}

    assert len(WORDS) ** passphrases.WORDS_GENERATED >= 2**77
    assert len(made) == 200
    for passphrase in made:
        check_passphrase(passphrase)
        assert len(passphrase.split("-")) == passphrases.WORDS_GENERATED
        assert set(passphrase.split("-")) <= set(WORDS)


def test_words_are_told_apart_by_their_first_four_letters() -> None:
    assert len(WORDS) == 512
    assert len({word[:4] for word in WORDS}) == 512
    assert all(re.fullmatch("[a-z]{4,7}", word) for word in WORDS)
    assert list(WORDS) == sorted(WORDS)
