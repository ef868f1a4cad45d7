"""A person's home on this computer: keys under labels, contacts, sealed directories.

    wallet.keystore                     the private keys, locked with the passphrase
    contacts.json                       label -> account id: whom I mean by a name
    seen.json                           chain id -> newest certified height seen (`client.seen`)
    directories/<pseudonym>.<account>   a patient's directory, sealed to the account's own seal key

Nothing here is in clear but the contacts, which are names somebody chose for public ids. A contact
is a claim of this file's owner; keys always come from proven state.
"""

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from client.errors import DirectoryUnknown, LabelTaken, LocalError, UnknownLabel
from crypto.directory import Directory, open_directory, seal_directory
from crypto.envelopes import (
    EnvelopeKind,
    SealPrivateKey,
    SealScheme,
    make_seal_private_key,
    seal_key_id,
    seal_public_key,
)
from crypto.errors import InvalidNote
from crypto.hashing import ChainId
from crypto.keystore import (
    KDF_DEFAULT,
    AccountEntry,
    Kdf,
    KeystoreContent,
    entry_seal_keys,
    entry_sign_key,
    load_keystore,
    make_account_entry,
    save_keystore,
    store_seal_key,
    store_sign_key,
)
from crypto.notes import make_note_info
from crypto.record_ids import AccountId
from crypto.signatures import (
    Scheme,
    SigningKey,
    account_id,
    make_signing_key,
    public_key,
)

KEYSTORE_NAME: Final = "wallet.keystore"
LOCK_NAME: Final = ".lock"
CONTACTS_NAME: Final = "contacts.json"
DIRECTORIES_NAME: Final = "directories"
CONTACTS_BYTES_MAX: Final = 4 << 20
SEAL_KEYS_KEPT_MAX: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """One account's keys, loaded; `seal_keys` newest first, because old seals need old keys."""

    label: str
    account: AccountId
    sign_key: SigningKey = field(repr=False)
    seal_keys: tuple[SealPrivateKey, ...] = field(repr=False)

    @property
    def seal_key(self) -> SealPrivateKey:
        """The key that others seal to."""
        return self.seal_keys[0]

    def seal_key_named(self, key_id: bytes) -> SealPrivateKey | None:
        """Return the private key of that id, if it is one of these."""
        return next(
            (key for key in self.seal_keys if seal_key_id(seal_public_key(key)) == key_id), None
        )


@dataclass(slots=True, kw_only=True)
class Wallet:
    """An opened home; the passphrase stays in memory to lock the keystore after a change.

    `seen` is the digest of the keystore's file as this process knows it, empty if there is none.
    """

    home: Path
    passphrase: str = field(repr=False)
    content: KeystoreContent = field(repr=False)
    kdf: Kdf = KDF_DEFAULT
    contacts: dict[str, AccountId] = field(default_factory=dict)
    seen: bytes = b""


def create_wallet(home: Path, passphrase: str, *, kdf: Kdf = KDF_DEFAULT) -> Wallet:
    """Make an empty wallet in `home`; raise `LocalError` if one is there, `WeakPassphrase`."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = home / KEYSTORE_NAME
    if path.exists():
        raise LocalError(f"{path} exists; open it, or choose another --home", code="wallet.exists")
    content = KeystoreContent(accounts=())
    wallet = Wallet(home=home, passphrase=passphrase, content=content, kdf=kdf)
    _save(wallet, ())
    return wallet


def open_wallet(home: Path, passphrase: str, *, kdf: Kdf = KDF_DEFAULT) -> Wallet:
    """Open the wallet in `home`; raise `LocalError` if there is none, or a `KeystoreError`."""
    path = home / KEYSTORE_NAME
    if not path.exists():
        raise LocalError(f"there is no {path}; make keys first", code="wallet.missing")
    seen = _digest_of(path)
    content = load_keystore(path, passphrase)
    wallet = Wallet(home=home, passphrase=passphrase, content=content, kdf=kdf, seen=seen)
    wallet.contacts = _load_contacts(home / CONTACTS_NAME)
    return wallet


def make_keys(
    wallet: Wallet,
    label: str,
    *,
    created_ms: int,
    sign_scheme: Scheme = Scheme.P256,
    seal_scheme: SealScheme = SealScheme.P256,
) -> Keys:
    """Make the keys of a new account under `label` and save them; raise `LabelTaken`."""
    sign_key = make_signing_key(sign_scheme)
    seal_key = make_seal_private_key(seal_scheme)
    account = account_id(public_key(sign_key))
    return add_keys(
        wallet, label, account, sign_key=sign_key, seal_keys=(seal_key,), created_ms=created_ms
    )


def add_keys(
    wallet: Wallet,
    label: str,
    account: AccountId,
    *,
    sign_key: SigningKey,
    seal_keys: tuple[SealPrivateKey, ...],
    created_ms: int,
) -> Keys:
    """Keep an account's keys under `label` and save them; raise `LabelTaken`."""
    check_label(label)
    if _find_entry(wallet, label) is not None or label in wallet.contacts:
        raise LabelTaken(f"{label!r} names an account or contact already; choose another label")
    entry = make_account_entry(
        label=label,
        account_id=account,
        sign_key=sign_key,
        seal_keys=seal_keys,
        created_ms=created_ms,
    )
    _save(wallet, (*wallet.content.accounts, entry))
    return find_keys(wallet, label)


def replace_keys(
    wallet: Wallet,
    label: str,
    *,
    sign_key: SigningKey | None = None,
    seal_key: SealPrivateKey | None = None,
    created_ms: int,
) -> Keys:
    """Put new keys in force under `label`; earlier seal keys stay, for what is sealed to them."""
    entry = _entry(wallet, label)
    if sign_key is not None:
        entry = replace(entry, sign_key=store_sign_key(sign_key))
    if seal_key is not None:
        kept = (store_seal_key(seal_key, created_ms), *entry.seal_keys)
        entry = replace(entry, seal_keys=kept[:SEAL_KEYS_KEPT_MAX])
    others = tuple(one for one in wallet.content.accounts if one.label != label)
    _save(wallet, (*others, entry))
    return find_keys(wallet, label)


def remove_keys(wallet: Wallet, label: str) -> None:
    """Forget an account's keys: what is sealed to them alone is lost."""
    _entry(wallet, label)
    _save(wallet, tuple(one for one in wallet.content.accounts if one.label != label))


def labels(wallet: Wallet) -> tuple[str, ...]:
    """Return the labels of the accounts whose keys are here, sorted."""
    return tuple(sorted(entry.label for entry in wallet.content.accounts))


def find_keys(wallet: Wallet, label: str) -> Keys:
    """Return the keys under `label`; raise `UnknownLabel`."""
    return _loaded(_entry(wallet, label))


def all_keys(wallet: Wallet) -> Iterator[Keys]:
    """Yield the keys of every account here."""
    for entry in wallet.content.accounts:
        yield _loaded(entry)


def find_account(wallet: Wallet, name: str) -> AccountId:
    """Return the account that a label, a contact or 64 hex digits name; raise `UnknownLabel`."""
    entry = _find_entry(wallet, name)
    if entry is not None:
        return entry.account_id
    if name in wallet.contacts:
        return wallet.contacts[name]
    if len(name) == 64:
        try:
            return AccountId(bytes.fromhex(name))
        except ValueError:
            pass  # Not an id: say that nobody is known by that name.
    known = ", ".join(sorted((*labels(wallet), *wallet.contacts))) or "nobody"
    raise UnknownLabel(f"nobody is known as {name!r}; known: {known}; or give 64 hex digits")


def name_of(wallet: Wallet, account: AccountId) -> str | None:
    """Return what this wallet calls an account."""
    for entry in wallet.content.accounts:
        if entry.account_id == account:
            return entry.label
    return next((label for label, one in wallet.contacts.items() if one == account), None)


def add_contact(wallet: Wallet, label: str, account: AccountId) -> None:
    """Remember an account by a name; raise `LabelTaken` if the name means another one."""
    check_label(label)
    if wallet.contacts.get(label, account) != account or _find_entry(wallet, label) is not None:
        raise LabelTaken(f"{label!r} names another account or contact; choose another label")
    wallet.contacts[label] = account
    ordered = {one: wallet.contacts[one].hex() for one in sorted(wallet.contacts)}
    _write_private(wallet.home / CONTACTS_NAME, json.dumps(ordered, indent=2).encode() + b"\n")


def keep_directory(wallet: Wallet, chain_id: ChainId, keys: Keys, directory: Directory) -> None:
    """Keep a patient's directory, sealed to the account's own key."""
    folder = wallet.home / DIRECTORIES_NAME
    folder.mkdir(mode=0o700, exist_ok=True)
    public = seal_public_key(keys.seal_key)
    info = make_note_info(
        chain_id=chain_id,
        kind=EnvelopeKind.DIRECTORY,
        pseudonym=directory.pseudonym,
        recipient=keys.account,
        recipient_key_id=seal_key_id(public),
    )
    note = seal_directory(public, directory, info)
    _write_private(_directory_path(wallet, directory.pseudonym, keys), note)


def find_directory(
    wallet: Wallet, chain_id: ChainId, keys: Keys, pseudonym: AccountId
) -> Directory | None:
    """Return a directory kept here; None if there is none that opens."""
    try:
        note = _directory_path(wallet, pseudonym, keys).read_bytes()
    except FileNotFoundError:
        return None
    return open_directory_note(chain_id, keys, pseudonym, note)


def open_directory_note(
    chain_id: ChainId,
    keys: Keys,
    pseudonym: AccountId,
    note: bytes,
) -> Directory:
    """Open a directory sealed to one of the account's keys; raise `DirectoryUnknown`."""
    for private in keys.seal_keys:
        info = make_note_info(
            chain_id=chain_id,
            kind=EnvelopeKind.DIRECTORY,
            pseudonym=pseudonym,
            recipient=keys.account,
            recipient_key_id=seal_key_id(seal_public_key(private)),
        )
        try:
            return open_directory(private, note, info)
        except InvalidNote:
            continue
    raise DirectoryUnknown(
        f"the directory of patient {pseudonym.hex()[:16]} does not open with the keys of "
        f"{keys.label}; ask the patient or the hospital's key agent to share it again"
    )


def check_label(label: str) -> None:
    """Raise `LocalError` unless `label` is 1 .. 64 printable bytes without blanks at its ends."""
    if not 1 <= len(label.encode()) <= 64 or not label.isprintable() or label != label.strip():
        raise LocalError(
            f"{label!r} is no label: 1 to 64 printable characters", code="wallet.label"
        )


def _entry(wallet: Wallet, label: str) -> AccountEntry:
    entry = _find_entry(wallet, label)
    if entry is None:
        known = ", ".join(labels(wallet)) or "none"
        raise UnknownLabel(f"no keys under the label {label!r}; there are: {known}")
    return entry


def _find_entry(wallet: Wallet, label: str) -> AccountEntry | None:
    return next((one for one in wallet.content.accounts if one.label == label), None)


def _loaded(entry: AccountEntry) -> Keys:
    return Keys(
        label=entry.label,
        account=entry.account_id,
        sign_key=entry_sign_key(entry),
        seal_keys=entry_seal_keys(entry),
    )


def _save(wallet: Wallet, accounts: tuple[AccountEntry, ...]) -> None:
    """Write the keystore, unless another process has: its keys must not be lost."""
    path = wallet.home / KEYSTORE_NAME
    content = KeystoreContent(accounts=tuple(sorted(accounts, key=lambda entry: entry.label)))
    with (wallet.home / LOCK_NAME).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _digest_of(path) != wallet.seen:
            raise LocalError(
                f"{path} was changed by another process; run the command again",
                code="wallet.changed",
            )
        save_keystore(path, content, wallet.passphrase, kdf=wallet.kdf)
        wallet.seen = _digest_of(path)
    wallet.content = content


def _digest_of(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except FileNotFoundError:
        return b""


def _directory_path(wallet: Wallet, pseudonym: AccountId, keys: Keys) -> Path:
    return wallet.home / DIRECTORIES_NAME / f"{pseudonym.hex()}.{keys.account.hex()[:16]}"


def _load_contacts(path: Path) -> dict[str, AccountId]:
    try:
        with path.open("rb") as stream:
            text = stream.read(CONTACTS_BYTES_MAX + 1)
    except FileNotFoundError:
        return {}
    try:
        contacts = {
            str(label): AccountId(bytes.fromhex(account))
            for label, account in json.loads(text).items()
        }
    except (ValueError, AttributeError, TypeError) as problem:
        raise LocalError(f"{path} is damaged: {problem}", code="wallet.contacts") from problem
    if any(len(account) != 32 for account in contacts.values()):
        raise LocalError(f"{path} holds an id that is not 64 hex digits", code="wallet.contacts")
    return contacts


def _write_private(path: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:32]}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:  # mkstemp makes it 0600.
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
