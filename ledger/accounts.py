"""Who takes part: organisations, accounts and the history of their keys, as they stand in state.

Identity and governance write these entries; every contract, the API and the clients read them
through the getters here, which also own the keys of the tables:

    governance/organisation/<slug>            Organisation
    identity/account/<account 32>             Account
    identity/key/<account 32><key id 16>      KeyRecord
    identity/directory/<about 32><recipient 32>   DirectoryEntry
"""

import string
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, ClassVar, Final, NamedTuple, NewType

from crypto.envelopes import SealKey
from crypto.hashing import Digest
from crypto.record_ids import AccountId
from crypto.schema import U64, Bytes16, Bytes32, Bytes64, Count, Size, decode, encode
from crypto.signatures import PublicKey
from ledger.state import Overlay, StateView

OrgId = NewType("OrgId", Annotated[str, Size(1, 32)])
"""An organisation's slug: 1 .. 32 of a-z, 0-9 and hyphen, not at either end."""

ORGANISATIONS_MAX: Final = 1_000
ADMINS_MAX: Final = 64
CATEGORIES_MAX: Final = 256
NOTES_MAX: Final = 64

ACCOUNTS: Final = b"identity/account/"
"""What the keys of accounts begin with."""

_DECODED_MAX: Final = 4_096
_SLUG: Final = frozenset(string.ascii_lowercase + string.digits + "-")


class Role(Enum):
    """What an account may be; contracts decide what each may do."""

    PATIENT = "patient"
    DOCTOR = "doctor"
    NURSE = "nurse"
    HOSPITAL_ADMIN = "hospital_admin"
    CONSORTIUM_ADMIN = "consortium_admin"
    AUDITOR = "auditor"
    RESEARCHER = "researcher"
    PUBLIC_HEALTH = "public_health"
    INSURER = "insurer"
    GUARDIAN = "guardian"
    DEVICE = "device"
    KEY_AGENT = "key_agent"
    NODE = "node"


class Status(Enum):
    """Whether an account or an organisation may act."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class KeyKind(Enum):
    """What a key is for; no key serves both."""

    SIGN = "sign"
    SEAL = "seal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """A member of the consortium.

    `agent` is the account of its key agent; `admins` are its active hospital admins, ascending.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 8 << 10

    org: OrgId
    name: Annotated[str, Size(1, 128)]
    status: Status
    agent: AccountId
    admins: Annotated[tuple[AccountId, ...], Count(0, ADMINS_MAX)]

    def __post_init__(self) -> None:
        check_slug(self.org)
        if any(one >= two for one, two in pairwise(self.admins)):
            raise ValueError("admins are not strictly ascending")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person, device or agent of one organisation, with the keys in force.

    `seal_binding` is the sign key's signature over the seal key (`ledger.contracts.identity`);
    `specialty` is a public code, empty for patients; `licence` an HMAC under an organisation's
    key; `categories` are a patient's opaque ids, ascending; `in_custody` says that the
    organisation's agent keeps the keys of a patient without a device. A node votes and signs, and
    nobody seals to it: its account alone has no seal key.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 8 << 10

    account_id: AccountId
    org: OrgId
    role: Role
    status: Status
    sign_key: PublicKey
    sign_key_id: Bytes16
    seal_key: SealKey | None
    seal_key_id: Bytes16 | None
    seal_binding: Bytes64 | None
    registered_height: U64
    specialty: Annotated[str, Size(0, 64)]
    licence: Bytes32 | None
    categories: Annotated[tuple[Bytes16, ...], Count(0, CATEGORIES_MAX)]
    in_custody: bool

    def __post_init__(self) -> None:
        for part in (self.seal_key, self.seal_key_id, self.seal_binding):
            if (part is None) != (self.role is Role.NODE):
                raise ValueError("every account but a node's has a seal key, its id and binding")


class SealKeyInForce(NamedTuple):
    """An account's seal key, its id and the sign key's signature over it."""

    key: SealKey
    key_id: bytes
    binding: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """One key an account has or had: `key` is the encoded `PublicKey` or `SealKey`.

    In force from the block `valid_from_height` to the block `valid_until_height`, both included
    (inside one block, order decides); None while it is in force.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 1 << 10

    account_id: AccountId
    key_id: Bytes16
    kind: KeyKind
    key: Annotated[bytes, Size(1, 640)]
    valid_from_height: U64
    valid_until_height: U64 | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryEntry:
    """A sealed note about an account (names, contact data, tag key) for one recipient.

    `note` is the salted digest of the sidecar, sealed to the recipient's key `key_id`.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 256

    about: AccountId
    recipient: AccountId
    key_id: Bytes16
    note: Digest
    height: U64


def account_key(account_id: bytes) -> bytes:
    return ACCOUNTS + account_id


def key_record_key(account_id: bytes, key_id: bytes) -> bytes:
    return b"identity/key/" + account_id + key_id


def directory_key(about: bytes, recipient: bytes) -> bytes:
    return b"identity/directory/" + about + recipient


def organisation_key(org: str) -> bytes:
    return b"governance/organisation/" + org.encode()


def get_account(view: StateView, account_id: bytes) -> Account | None:
    encoded = view.get(account_key(account_id))
    return None if encoded is None else _account(encoded)


def get_organisation(view: StateView, org: str) -> Organisation | None:
    encoded = view.get(organisation_key(org))
    return None if encoded is None else _organisation(encoded)


def get_key(view: StateView, account_id: bytes, key_id: bytes) -> KeyRecord | None:
    encoded = view.get(key_record_key(account_id, key_id))
    return None if encoded is None else decode(KeyRecord, encoded)


def get_directory_entry(view: StateView, about: bytes, recipient: bytes) -> DirectoryEntry | None:
    encoded = view.get(directory_key(about, recipient))
    return None if encoded is None else decode(DirectoryEntry, encoded)


def get_organisations(view: StateView) -> Iterator[Organisation]:
    """Yield every member, by slug."""
    for _, encoded in view.scan(organisation_key(""), limit=ORGANISATIONS_MAX):
        yield _organisation(encoded)


def is_active(view: StateView, account: Account) -> bool:
    """Whether the account and its organisation may act."""
    if account.status is not Status.ACTIVE:
        return False
    organisation = get_organisation(view, account.org)
    return organisation is not None and organisation.status is Status.ACTIVE


def seal_key_in_force(account: Account) -> SealKeyInForce | None:
    """Return what others seal to when they seal to the account; None for a node."""
    key, key_id, binding = account.seal_key, account.seal_key_id, account.seal_binding
    if key is None or key_id is None or binding is None:
        return None
    return SealKeyInForce(key, key_id, binding)


def is_key_valid_at(record: KeyRecord, height: int) -> bool:
    """Whether the key was in force in the block at `height`."""
    until = record.valid_until_height
    return record.valid_from_height <= height and (until is None or height <= until)


def sign_key_of(record: KeyRecord) -> PublicKey:
    assert record.kind is KeyKind.SIGN, "a sign key was asked for"
    return decode(PublicKey, record.key)


def seal_key_of(record: KeyRecord) -> SealKey:
    assert record.kind is KeyKind.SEAL, "a seal key was asked for"
    return decode(SealKey, record.key)


def add_account(state: Overlay, account: Account) -> None:
    """Write a new account with the records of its first keys."""
    put_account(state, account)
    put_key_record(state, make_sign_record(account, account.registered_height))
    if seal_key_in_force(account) is not None:
        put_key_record(state, make_seal_record(account, account.registered_height))


def put_organisation(state: Overlay, organisation: Organisation) -> None:
    state.put(organisation_key(organisation.org), encode(organisation))


def put_account(state: Overlay, account: Account) -> None:
    state.put(account_key(account.account_id), encode(account))


def put_key_record(state: Overlay, record: KeyRecord) -> None:
    state.put(key_record_key(record.account_id, record.key_id), encode(record))


def make_sign_record(account: Account, height: int) -> KeyRecord:
    """Return the record of the account's sign key, in force from `height` on."""
    return KeyRecord(
        account_id=account.account_id,
        key_id=account.sign_key_id,
        kind=KeyKind.SIGN,
        key=encode(account.sign_key),
        valid_from_height=height,
        valid_until_height=None,
    )


def make_seal_record(account: Account, height: int) -> KeyRecord:
    """Return the record of the account's seal key, in force from `height` on."""
    seal = seal_key_in_force(account)
    assert seal is not None, "nobody seals to a node"
    return KeyRecord(
        account_id=account.account_id,
        key_id=seal.key_id,
        kind=KeyKind.SEAL,
        key=encode(seal.key),
        valid_from_height=height,
        valid_until_height=None,
    )


def check_slug(org: str) -> None:
    """Raise `ValueError` unless `org` is a slug."""
    if not org or not _SLUG.issuperset(org) or org[0] == "-" or org[-1] == "-":
        raise ValueError(f"organisation {org!r} is not made of a-z, 0-9 and inner hyphens")


@lru_cache(maxsize=_DECODED_MAX)
def _account(encoded: bytes) -> Account:
    return decode(Account, encoded)


@lru_cache(maxsize=_DECODED_MAX)
def _organisation(encoded: bytes) -> Organisation:
    return decode(Organisation, encoded)
