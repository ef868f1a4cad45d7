"""What transactions of the identity family carry.

A payload's promises that bytes alone can break are checked here, at decode: a transaction that
breaks one is no transaction. What needs the state is checked by `ledger.contracts.identity`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Final

from crypto.envelopes import SealKey
from crypto.hashing import Digest
from crypto.record_ids import AccountId
from crypto.schema import Bytes16, Bytes32, Bytes64, Count, Size
from crypto.signatures import PublicKey
from ledger.accounts import CATEGORIES_MAX, NOTES_MAX, Role

PAYLOAD_BYTES_MAX: Final = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryNote:
    """A sealed note about an account: the digest of its sidecar and the key it is sealed to."""

    recipient: AccountId
    key_id: Bytes16
    note: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """`identity.register`: a person or device of the sender's hospital, with its first keys.

    `possession` and `seal_binding` are the sign key's proofs (`ledger.key_proofs`). `categories`
    (ascending) and `in_custody` are for patients; `notes` are sealed profiles or directories, at
    most one per recipient, ascending.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = PAYLOAD_BYTES_MAX

    role: Role
    sign_key: PublicKey
    seal_key: SealKey
    seal_binding: Bytes64
    possession: Bytes64
    specialty: Annotated[str, Size(0, 64)]
    licence: Bytes32 | None
    categories: Annotated[tuple[Bytes16, ...], Count(0, CATEGORIES_MAX)]
    in_custody: bool
    notes: Annotated[tuple[DirectoryNote, ...], Count(0, NOTES_MAX)]

    def __post_init__(self) -> None:
        if not _is_ascending(self.categories):
            raise ValueError("categories are not strictly ascending")
        if self.role is not Role.PATIENT and (self.categories or self.in_custody):
            raise ValueError("only patients have categories and custody")
        if self.role is Role.PATIENT and (self.specialty or self.licence):
            raise ValueError("patients have neither specialty nor licence")
        if not _is_ascending([note.recipient for note in self.notes]):
            raise ValueError("notes are not strictly ascending by recipient")


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    """`identity.suspend`: the account may do nothing more; `reason` is a public code."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 256

    account_id: AccountId
    reason: Annotated[str, Size(0, 64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """`identity.restore`: the suspended account may act again."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 256

    account_id: AccountId
    reason: Annotated[str, Size(0, 64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKey:
    """`identity.rotate_key`: the sender's next sign key, seal key or both; None keeps one.

    `possession` is there exactly if `sign_key` is; `seal_binding` is the resulting sign key's, over
    the resulting seal key (`ledger.key_proofs`).
    `in_custody` says who keeps the keys from now on.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 2 << 10

    sign_key: PublicKey | None
    possession: Bytes64 | None
    seal_key: SealKey | None
    seal_binding: Bytes64
    in_custody: bool

    def __post_init__(self) -> None:
        if (self.sign_key is None) != (self.possession is None):
            raise ValueError("a new sign key and its proof of possession come together")
        if self.sign_key is None and self.seal_key is None:
            raise ValueError("no key is rotated")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareDirectory:
    """`identity.share_directory`: sealed notes about `about` for further recipients."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = PAYLOAD_BYTES_MAX

    about: AccountId
    notes: Annotated[tuple[DirectoryNote, ...], Count(1, NOTES_MAX)]

    def __post_init__(self) -> None:
        if not _is_ascending([note.recipient for note in self.notes]):
            raise ValueError("notes are not strictly ascending by recipient")


def _is_ascending(values: Sequence[bytes]) -> bool:
    return all(one < two for one, two in pairwise(values))
