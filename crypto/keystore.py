"""A person's private keys in one file, locked with a passphrase.

    magic (8) | header length, u16 | header (canonical) | ciphertext | SHA-256 of all before

The header names the key derivation, its cost, the salt and the nonce, and is the associated data of
the ciphertext (AES-256-GCM over the canonical `KeystoreContent`). The trailing hash tells the two
everyday failures apart: a damaged file from a mistyped passphrase. It protects nothing against
somebody who alters the file on purpose; the tag does.

The cost is bounded both ways: too cheap a file was not made by us, too expensive a one is an attack
on whoever opens it. The command line reads both derivations; a browser has PBKDF2 only.
"""

import hashlib
import os
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Final, TypeAlias, assert_never

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.exceptions import RuntimeError as SodiumError
from nacl.pwhash import argon2id

from crypto.envelopes import SealPrivateKey, SealScheme, seal_public_key
from crypto.errors import (
    DecodeError,
    InvalidKey,
    KeystoreCorrupt,
    KeystoreExposed,
    KeystoreParameters,
    WrongPassphrase,
)
from crypto.passphrases import check_passphrase, passphrase_bytes
from crypto.record_ids import AccountId
from crypto.schema import U32, U64, Bytes16, Bytes32, Count, Name, Size, decode, encode
from crypto.signatures import Scheme, SigningKey, public_key

MAGIC: Final = b"\x89MLKS\r\n\x1a"
HEADER_BYTES_MAX: Final = 256
FILE_BYTES_MAX: Final = 4 << 20

ARGON2_OPERATIONS_MIN: Final = 2
ARGON2_OPERATIONS_MAX: Final = 10
ARGON2_MEMORY_KIB_MIN: Final = 19 * 1024
ARGON2_MEMORY_KIB_MAX: Final = 1024 * 1024
PBKDF2_ITERATIONS_MIN: Final = 600_000
PBKDF2_ITERATIONS_MAX: Final = 10_000_000

_HASH_BYTES: Final = 32
_TAG_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2id:
    """Argon2id (RFC 9106), one lane: passes over the memory, and the memory in KiB."""

    WIRE_TAG: ClassVar[int] = 1

    operations: U32
    memory_kib: U32


@dataclass(frozen=True, slots=True, kw_only=True)
class Pbkdf2Sha256:
    """PBKDF2 with HMAC-SHA256 (RFC 8018): what a browser has natively."""

    WIRE_TAG: ClassVar[int] = 2

    iterations: U32


Kdf: TypeAlias = Argon2id | Pbkdf2Sha256

KDF_DEFAULT: Final = Argon2id(operations=3, memory_kib=128 * 1024)
"""About 0.2 s and 128 MiB on a small server of 2026."""

KDF_CHEAPEST: Final = Argon2id(operations=ARGON2_OPERATIONS_MIN, memory_kib=ARGON2_MEMORY_KIB_MIN)
"""The least that any file may ask for (OWASP's minimum, 2 passes over 19 MiB); 15 ms."""

KDF_BROWSER: Final = Pbkdf2Sha256(iterations=PBKDF2_ITERATIONS_MIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeystoreHeader:
    """How the file is locked."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = HEADER_BYTES_MAX

    kdf: Kdf
    salt: Bytes16
    nonce: Annotated[bytes, Size(12, 12)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSignKey:
    """A private sign key (32 bytes) beside its public half, which a browser cannot derive."""

    scheme: Scheme
    secret: Bytes32 = field(repr=False)
    public: Annotated[bytes, Size(32, 65)]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSealKey:
    """A private seal key beside its public half; `secret` as in `SealPrivateKey`."""

    scheme: SealScheme
    secret: Annotated[bytes, Size(32, 4096)] = field(repr=False)
    public: Annotated[bytes, Size(65, 422)]
    created_ms: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountEntry:
    """The keys of one account; `seal_keys` newest first, as old ones open what has its old seal."""

    label: Name
    account_id: AccountId
    sign_key: StoredSignKey
    seal_keys: Annotated[tuple[StoredSealKey, ...], Count(0, 32)]
    created_ms: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class KeystoreContent:
    """Everything a keystore keeps; labels and accounts are each unique."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = FILE_BYTES_MAX

    accounts: Annotated[tuple[AccountEntry, ...], Count(0, 1024)]

    def __post_init__(self) -> None:
        labels = {entry.label for entry in self.accounts}
        accounts = {entry.account_id for entry in self.accounts}
        if len(labels) != len(self.accounts) or len(accounts) != len(self.accounts):
            raise ValueError("a label or an account occurs twice")


def make_account_entry(
    *,
    label: str,
    account_id: AccountId,
    sign_key: SigningKey,
    seal_keys: tuple[SealPrivateKey, ...],
    created_ms: int,
) -> AccountEntry:
    """Return the entry of an account whose keys were all made at `created_ms`."""
    return AccountEntry(
        label=label,
        account_id=account_id,
        sign_key=store_sign_key(sign_key),
        seal_keys=tuple(store_seal_key(key, created_ms) for key in seal_keys),
        created_ms=created_ms,
    )


def store_sign_key(key: SigningKey) -> StoredSignKey:
    """Return a sign key as a keystore holds it."""
    return StoredSignKey(scheme=key.scheme, secret=key.secret, public=public_key(key).data)


def store_seal_key(key: SealPrivateKey, created_ms: int) -> StoredSealKey:
    """Return a seal key as a keystore holds it."""
    public = seal_public_key(key).data
    return StoredSealKey(scheme=key.scheme, secret=key.secret, public=public, created_ms=created_ms)


def entry_sign_key(entry: AccountEntry) -> SigningKey:
    """Return an account's sign key; raise `InvalidKey` if its halves do not belong together."""
    key = SigningKey(scheme=entry.sign_key.scheme, secret=entry.sign_key.secret)
    if public_key(key).data != entry.sign_key.public:
        raise InvalidKey(f"the public sign key kept for {entry.label} is not the private one's")
    return key


def entry_seal_keys(entry: AccountEntry) -> tuple[SealPrivateKey, ...]:
    """Return an account's seal keys, newest first; raise `InvalidKey` as `entry_sign_key` does."""
    keys = []
    for stored in entry.seal_keys:
        key = SealPrivateKey(scheme=stored.scheme, secret=stored.secret)
        if seal_public_key(key).data != stored.public:
            raise InvalidKey(f"a public seal key kept for {entry.label} is not the private one's")
        keys.append(key)
    return tuple(keys)


def lock_keystore(
    content: KeystoreContent,
    passphrase: str,
    *,
    kdf: Kdf = KDF_DEFAULT,
    salt: bytes | None = None,
    nonce: bytes | None = None,
) -> bytes:
    """Return the file; salt and nonce are drawn unless a test vector gives them.

    Raises `WeakPassphrase` and `KeystoreParameters`.
    """
    check_passphrase(passphrase)
    check_kdf(kdf, "the new keystore")
    header = KeystoreHeader(
        kdf=kdf,
        salt=secrets.token_bytes(16) if salt is None else salt,
        nonce=secrets.token_bytes(12) if nonce is None else nonce,
    )
    encoded = encode(header)
    start = MAGIC + len(encoded).to_bytes(2, "big") + encoded
    key = _derive(passphrase, header, "the new keystore")
    body = start + AESGCM(key).encrypt(header.nonce, encode(content), start)
    file = body + hashlib.sha256(body).digest()
    assert len(file) <= FILE_BYTES_MAX, "a keystore keeps its bound"
    return file


def unlock_keystore(file: bytes, passphrase: str, *, name: str) -> KeystoreContent:
    """Return what the file keeps; `name` is what errors call it.

    Raises `KeystoreCorrupt`, `KeystoreParameters`, `WrongPassphrase`.
    """
    body = file[:-_HASH_BYTES]
    if hashlib.sha256(body).digest() != file[-_HASH_BYTES:]:
        raise KeystoreCorrupt(f"{name} is damaged or no keystore; restore it from a copy")
    start, header = _read_header(body, name)
    check_kdf(header.kdf, name)
    try:
        key = _derive(passphrase, header, name)
        content = AESGCM(key).decrypt(header.nonce, body[len(start) :], start)
    except InvalidTag as problem:
        raise WrongPassphrase(f"this passphrase does not open {name}") from problem
    try:
        return decode(KeystoreContent, content)
    except DecodeError as problem:
        raise KeystoreCorrupt(f"{name} holds something else than keys: {problem}") from problem


def save_keystore(
    path: Path, content: KeystoreContent, passphrase: str, *, kdf: Kdf = KDF_DEFAULT
) -> None:
    """Write the file, readable by its owner only; the old file stays whole until the new one is."""
    file = lock_keystore(content, passphrase, kdf=kdf)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:  # mkstemp makes it 0600.
            stream.write(file)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def load_keystore(path: Path, passphrase: str) -> KeystoreContent:
    """Return what the file at `path` keeps; raise as `unlock_keystore`, and `KeystoreExposed`."""
    with path.open("rb") as stream:
        mode = os.fstat(stream.fileno()).st_mode
        if mode & 0o077:
            raise KeystoreExposed(f"{path} has mode {mode & 0o777:o}; run: chmod 600 {path}")
        file = stream.read(FILE_BYTES_MAX + 1)
    if len(file) > FILE_BYTES_MAX:
        raise KeystoreCorrupt(f"{path} is larger than any keystore")
    return unlock_keystore(file, passphrase, name=str(path))


def check_kdf(kdf: Kdf, name: str) -> None:
    """Raise `KeystoreParameters` for a derivation too weak to trust or too expensive to run."""
    match kdf:
        case Argon2id():
            limits: tuple[tuple[str, int, int, int], ...] = (
                ("passes", kdf.operations, ARGON2_OPERATIONS_MIN, ARGON2_OPERATIONS_MAX),
                ("KiB", kdf.memory_kib, ARGON2_MEMORY_KIB_MIN, ARGON2_MEMORY_KIB_MAX),
            )
        case Pbkdf2Sha256():
            bounds = (PBKDF2_ITERATIONS_MIN, PBKDF2_ITERATIONS_MAX)
            limits = (("iterations", kdf.iterations, *bounds),)
        case _:
            assert_never(kdf)
    for unit, value, low, high in limits:
        if not low <= value <= high:
            raise KeystoreParameters(f"{name} asks for {value} {unit}; {low} to {high} are allowed")


def _read_header(body: bytes, name: str) -> tuple[bytes, KeystoreHeader]:
    """Return everything before the ciphertext, and the header in it."""
    header_start = len(MAGIC) + 2
    if not body.startswith(MAGIC) or len(body) < header_start:
        raise KeystoreCorrupt(f"{name} is not a keystore")
    header_end = header_start + int.from_bytes(body[len(MAGIC) : header_start], "big")
    if len(body) < header_end + _TAG_BYTES:
        raise KeystoreCorrupt(f"{name} ends too early")
    try:
        return body[:header_end], decode(KeystoreHeader, body[header_start:header_end])
    except DecodeError as problem:
        raise KeystoreCorrupt(f"{name} has no header of version 1: {problem}") from problem


def _derive(passphrase: str, header: KeystoreHeader, name: str) -> bytes:
    """Return the file's key; costs what the header says."""
    secret = passphrase_bytes(passphrase)
    match header.kdf:
        case Argon2id(operations=operations, memory_kib=memory_kib):
            try:
                return argon2id.kdf(32, secret, header.salt, operations, memory_kib * 1024)
            except SodiumError as problem:  # Its only reason: the memory is not to be had.
                raise KeystoreParameters(
                    f"{name} needs {memory_kib} KiB of memory to open; this machine has less"
                ) from problem
        case Pbkdf2Sha256(iterations=iterations):
            return hashlib.pbkdf2_hmac("sha256", secret, header.salt, iterations)
        case _:
            assert_never(header.kdf)
