"""A patient's directory: what the opaque categories and tags on the chain mean, and to whom.

On the chain a category is 16 random bytes per (pseudonym, category). All categories of the list are
created at registration, used or not, so that the existence of one tells nothing. The names, and the
key under which labels become tags (`crypto.tags`), are known to the patient, the author
organisation and writers only: each of them holds the directory as a sealed note.
"""

import secrets
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final

from crypto.envelopes import EnvelopeInfo, EnvelopeKind, SealKey, SealPrivateKey
from crypto.errors import DecodeError, InvalidNote
from crypto.notes import open_note, seal_note
from crypto.record_ids import AccountId
from crypto.schema import Bytes16, Bytes32, Count, Size, decode, encode

CATEGORIES: Final = (
    "allergies",
    "medications",
    "problems",
    "laboratory",
    "imaging",
    "documents",
    "vitals",
    "immunizations",
    "mental-health",
    "sexual-health",
    "substance-use",
    "genetics",
    "encounters",
    "other",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One category of one patient: its name, and the id that stands for it on the chain."""

    name: Annotated[str, Size(1, 32)]
    category_id: Bytes16


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """What the opaque ids of one pseudonym mean; names and ids are each unique."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 4096

    pseudonym: AccountId
    tag_key: Bytes32 = field(repr=False)
    categories: Annotated[tuple[Category, ...], Count(1, 64)]

    def __post_init__(self) -> None:
        names = {category.name for category in self.categories}
        ids = {category.category_id for category in self.categories}
        if len(names) != len(self.categories) or len(ids) != len(self.categories):
            raise ValueError("a category's name or id occurs twice")


def make_directory(pseudonym: AccountId, names: tuple[str, ...] = CATEGORIES) -> Directory:
    """Return a new patient's directory with fresh ids and a fresh tag key."""
    return Directory(
        pseudonym=pseudonym,
        tag_key=secrets.token_bytes(32),
        categories=tuple(
            Category(name=name, category_id=secrets.token_bytes(16)) for name in names
        ),
    )


def seal_directory(recipient: SealKey, directory: Directory, info: EnvelopeInfo) -> bytes:
    """Return the directory as a sealed note for one recipient."""
    assert info.kind is EnvelopeKind.DIRECTORY, "a directory is bound as a directory"
    assert info.pseudonym == directory.pseudonym, "a directory is bound to its own patient"
    return seal_note(recipient, encode(directory), info)


def open_directory(private: SealPrivateKey, note: bytes, info: EnvelopeInfo) -> Directory:
    """Return the directory that a note holds; raise `InvalidNote`."""
    assert info.kind is EnvelopeKind.DIRECTORY, "a directory is bound as a directory"
    try:
        directory = decode(Directory, open_note(private, note, info))
    except DecodeError as problem:
        raise InvalidNote(f"the note holds no directory: {problem}") from problem
    if directory.pseudonym != info.pseudonym:
        raise InvalidNote("the directory is another patient's")
    return directory


def find_category(directory: Directory, name: str) -> Category | None:
    """Return the category of that name, if the patient has it."""
    return next((one for one in directory.categories if one.name == name), None)


def category_name(directory: Directory, category_id: bytes) -> str | None:
    """Return what an opaque id stands for, if it is one of this patient's."""
    known = {category.category_id: category.name for category in directory.categories}
    return known.get(category_id)
