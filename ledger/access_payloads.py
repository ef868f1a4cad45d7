"""What transactions of the access family carry: who may see what, how, why and how long.

Grantees and scopes are unions whose members are tagged, so that later kinds (a care team, a label,
a negation) are new members and change nothing that stands here.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Annotated, ClassVar, Final

from crypto.hashing import Digest
from crypto.record_ids import AccountId, RecordId
from crypto.schema import U64, Count
from ledger.accounts import OrgId, Role
from ledger.purposes import Purpose, check_purpose
from ledger.records_payloads import CategoryId, is_ascending

PURPOSES_MAX: Final = 6
SCOPE_CATEGORIES_MAX: Final = 64
SCOPE_RECORDS_MAX: Final = 256
PAYLOAD_BYTES_MAX: Final = 8 << 10


class AccessLevel(Enum):
    """What a right allows; each level includes the one before it."""

    READ = 1
    READ_WRITE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One account."""

    WIRE_TAG: ClassVar[int] = 1

    account: AccountId


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeOrganisation:
    """Every member of an organisation; its patients and guardians are no members."""

    WIRE_TAG: ClassVar[int] = 2

    org: OrgId


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleAt:
    """Every member of an organisation who has this role there."""

    WIRE_TAG: ClassVar[int] = 3

    org: OrgId
    role: Role


Grantee = Person | WholeOrganisation | RoleAt


@dataclass(frozen=True, slots=True, kw_only=True)
class AllRecords:
    """Whatever the pseudonym has and will have."""

    WIRE_TAG: ClassVar[int] = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """Records of these categories, present and future; ids ascend."""

    WIRE_TAG: ClassVar[int] = 2

    categories: Annotated[tuple[CategoryId, ...], Count(1, SCOPE_CATEGORIES_MAX)]

    def __post_init__(self) -> None:
        if not is_ascending(self.categories):
            raise ValueError("categories do not ascend")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordList:
    """These records, in all their versions; ids ascend."""

    WIRE_TAG: ClassVar[int] = 3

    records: Annotated[tuple[RecordId, ...], Count(1, SCOPE_RECORDS_MAX)]

    def __post_init__(self) -> None:
        if not is_ascending(self.records):
            raise ValueError("records do not ascend")


Scope = AllRecords | Categories | RecordList


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A right: who, what, how, why, when.

    In force from `from_ms` up to but not at `until_ms` (block time, milliseconds); `purposes`
    ascend.
    """

    WIRE_VERSION: ClassVar[int] = 1

    grantee: Grantee
    scope: Scope
    level: AccessLevel
    purposes: Annotated[tuple[Purpose, ...], Count(1, PURPOSES_MAX)]
    from_ms: U64
    until_ms: U64

    def __post_init__(self) -> None:
        if self.from_ms >= self.until_ms:
            raise ValueError("the period ends before it begins")
        if not is_ascending(self.purposes):
            raise ValueError("purposes do not ascend")
        for purpose in self.purposes:
            check_purpose(purpose)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessGrant:
    """`access.grant`: the patient gives a right; its id is the transaction's."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = PAYLOAD_BYTES_MAX

    pseudonym: AccountId
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRevoke:
    """`access.revoke`: the patient ends a right at once."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 128

    pseudonym: AccountId
    grant: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRequest:
    """`access.request`: somebody asks a patient for a right; its id is the transaction's.

    `wanted` names the asker, the asker's organisation, or a role in it. The request itself lapses
    at `expires_ms` (block time).
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = PAYLOAD_BYTES_MAX

    pseudonym: AccountId
    wanted: Terms
    expires_ms: U64


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessApprove:
    """`access.approve`: the patient answers a request with a right no wider than was asked for."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = PAYLOAD_BYTES_MAX

    pseudonym: AccountId
    request: Digest
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessDeny:
    """`access.deny`: the patient answers a request with no."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 128

    pseudonym: AccountId
    request: Digest
