"""Opaque tags: labels, encounters and external authors of records, as the chain shows them.

A tag is HMAC-SHA256 under the patient's tag key, cut to 16 bytes: equal labels of one patient are
seen to be equal (a grant's provision must match them), and nothing else is seen; the same label of
another patient is another tag. Kind and code go in canonically encoded, so no (kind, code) runs
into another.
"""

import enum
import hmac
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final, NewType

from crypto.hashing import Domain
from crypto.schema import Size, encode

TAG_BYTES: Final = 16

Tag = NewType("Tag", Annotated[bytes, Size(TAG_BYTES, TAG_BYTES)])
"""What the chain shows of a label; 16 bytes."""


class TagKind(enum.Enum):
    """What a tag hides."""

    LABEL = 1
    ENCOUNTER = 2
    EXTERNAL_AUTHOR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TagSource:
    """What goes into a tag; `code` is `system|code` for a label, an identifier otherwise."""

    WIRE_VERSION: ClassVar[int] = 1

    kind: TagKind
    code: Annotated[str, Size(1, 255)]


def make_tag(tag_key: bytes, kind: TagKind, code: str) -> Tag:
    """Return the tag of a label; raise `EncodeError` for a code that is empty or too long."""
    assert len(tag_key) == 32, "a tag key has 32 bytes"
    preimage = Domain.TAG.value + encode(TagSource(kind=kind, code=code))
    return Tag(hmac.digest(tag_key, preimage, "sha256")[:TAG_BYTES])
