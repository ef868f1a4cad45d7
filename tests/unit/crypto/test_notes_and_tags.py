import hmac
import unicodedata
from dataclasses import fields, replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from crypto.directory import (
    CATEGORIES,
    Category,
    Directory,
    category_name,
    find_category,
    make_directory,
    open_directory,
    seal_directory,
)
from crypto.envelopes import (
    EnvelopeInfo,
    EnvelopeKind,
    SealScheme,
    make_seal_private_key,
    seal_public_key,
    wrap,
)
from crypto.errors import DecodeError, EncodeError, InvalidNote
from crypto.hashing import ChainId
from crypto.notes import (
    NOTE_CONTENT_BYTES_MAX,
    SealedNote,
    encrypt_note,
    make_note_info,
    open_note,
    seal_note,
)
from crypto.record_ids import AccountId
from crypto.schema import decode, encode
from crypto.tags import TagKind, make_tag

PSEUDONYM = AccountId(b"P" * 32)
INFO = make_note_info(
    chain_id=ChainId(b"C" * 32),
    kind=EnvelopeKind.REQUEST,
    pseudonym=PSEUDONYM,
    recipient=AccountId(b"A" * 32),
    recipient_key_id=b"k" * 16,
)
DIRECTORY_INFO = replace(INFO, kind=EnvelopeKind.DIRECTORY)
PRIVATE = {scheme: make_seal_private_key(scheme) for scheme in SealScheme}
SCHEMES = pytest.mark.parametrize("scheme", list(SealScheme))
P256 = PRIVATE[SealScheme.P256]


@SCHEMES
@pytest.mark.parametrize("size_bytes", [0, 1, 507, 508, 509, 5_000, NOTE_CONTENT_BYTES_MAX])
def test_a_note_opens_for_its_recipient(scheme: SealScheme, size_bytes: int) -> None:
    content = b"x" * size_bytes

    note = seal_note(seal_public_key(PRIVATE[scheme]), content, INFO)

    assert open_note(PRIVATE[scheme], note, INFO) == content
    assert len(note) <= SealedNote.WIRE_BYTES_MAX


def test_short_notes_look_alike() -> None:
    sizes = {len(seal_note(seal_public_key(P256), b"x" * n, INFO)) for n in range(0, 509, 4)}

    assert len(sizes) == 1


@SCHEMES
def test_every_flipped_byte_of_a_note_is_refused(scheme: SealScheme) -> None:
    note = seal_note(seal_public_key(PRIVATE[scheme]), b"please", INFO)

    for position in range(len(note)):
        changed = bytearray(note)
        changed[position] ^= 1 << position % 8
        with pytest.raises(InvalidNote):
            open_note(PRIVATE[scheme], bytes(changed), INFO)
    for other in (b"", note[:-1], note + b"\x00"):
        with pytest.raises(InvalidNote):
            open_note(PRIVATE[scheme], other, INFO)


@pytest.mark.parametrize("name", [field.name for field in fields(EnvelopeInfo)])
def test_a_note_opens_nowhere_else(name: str) -> None:
    note = seal_note(seal_public_key(P256), b"please", INFO)
    values = {field.name: getattr(INFO, field.name) for field in fields(EnvelopeInfo)}
    changed = EnvelopeKind.PROFILE if name == "kind" else b"\x01" * len(bytes(values[name]))

    with pytest.raises(InvalidNote):
        open_note(P256, note, EnvelopeInfo(**values | {name: changed}))


def test_a_note_whose_author_padded_it_wrongly_is_refused() -> None:
    key = b"n" * 32
    wrapped = wrap(seal_public_key(P256), key, INFO)
    good = decode(SealedNote, encrypt_note(key, wrapped, b"please", INFO))
    bound = b"medledger/note/v1" + encode(INFO)
    padded = AESGCM(key).decrypt(bytes(12), good.ciphertext, bound)

    for other in (
        padded[:-1] + b"\x01",
        padded + bytes(512),
        (2**32 - 1).to_bytes(4, "big") + padded[4:],
        (600).to_bytes(4, "big") + padded[4:],
        (5).to_bytes(4, "big") + padded[4:],
    ):
        ciphertext = AESGCM(key).encrypt(bytes(12), other, bound)
        with pytest.raises(InvalidNote):
            open_note(P256, encode(replace(good, ciphertext=ciphertext)), INFO)


def test_a_note_whose_wrapped_key_has_another_length_is_refused() -> None:
    wrapped = wrap(seal_public_key(P256), b"n" * 64, INFO)

    with pytest.raises(InvalidNote):
        open_note(P256, encrypt_note(b"n" * 32, wrapped, b"please", INFO), INFO)


@given(content=st.binary(max_size=2_000))
def test_any_bytes_are_no_note_or_none_of_ours(content: bytes) -> None:
    with pytest.raises(InvalidNote):
        open_note(P256, content, INFO)


@SCHEMES
def test_a_directory_opens_for_its_recipient(scheme: SealScheme) -> None:
    directory = make_directory(PSEUDONYM)

    note = seal_directory(seal_public_key(PRIVATE[scheme]), directory, DIRECTORY_INFO)

    assert open_directory(PRIVATE[scheme], note, DIRECTORY_INFO) == directory
    assert directory.tag_key.hex() not in repr(directory)


def test_a_new_directory_has_every_category_with_an_id_of_its_own() -> None:
    one, other = make_directory(PSEUDONYM), make_directory(PSEUDONYM)

    assert tuple(category.name for category in one.categories) == CATEGORIES
    assert len(CATEGORIES) == 14
    ids = {category.category_id for category in one.categories + other.categories}
    assert len(ids) == 28
    assert one.tag_key != other.tag_key


def test_names_and_ids_of_categories_lead_to_each_other() -> None:
    directory = make_directory(PSEUDONYM)

    imaging = find_category(directory, "imaging")

    assert imaging is not None
    assert category_name(directory, imaging.category_id) == "imaging"
    assert find_category(directory, "dentistry") is None
    assert category_name(directory, bytes(16)) is None


def test_a_directory_that_names_something_twice_is_refused() -> None:
    first = Category(name="imaging", category_id=b"1" * 16)
    same_name = Category(name="imaging", category_id=b"2" * 16)
    same_id = Category(name="vitals", category_id=b"1" * 16)

    for second in (same_name, same_id):
        with pytest.raises(ValueError, match="twice"):
            Directory(pseudonym=PSEUDONYM, tag_key=bytes(32), categories=(first, second))


def test_a_note_that_holds_no_directory_or_another_patients_is_refused() -> None:
    recipient = seal_public_key(P256)
    elsewhere = replace(DIRECTORY_INFO, pseudonym=AccountId(b"Q" * 32))
    other = encode(make_directory(AccountId(b"Q" * 32)))

    for note in (
        seal_note(recipient, b"not a directory", DIRECTORY_INFO),
        seal_note(recipient, other, DIRECTORY_INFO),
        seal_directory(recipient, make_directory(AccountId(b"Q" * 32)), elsewhere),
    ):
        with pytest.raises(InvalidNote):
            open_directory(P256, note, DIRECTORY_INFO)


@given(encoded=st.binary(max_size=200))
def test_decoding_a_directory_never_fails_otherwise_than_by_name(encoded: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(Directory, encoded)


def test_a_tag_is_a_short_hmac_over_kind_and_code() -> None:
    tag = make_tag(b"t" * 32, TagKind.LABEL, "sys|HIV")

    message = b"medledger/tag/v1" + b"\x93\x01\x01\xa7sys|HIV"
    assert tag == hmac.digest(b"t" * 32, message, "sha256")[:16]


@given(
    codes=st.lists(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_tags_of_other_kinds_codes_and_patients_differ(codes: list[str]) -> None:
    one, other = (unicodedata.normalize("NFC", code) for code in codes)
    sources = {(kind, code) for kind in TagKind for code in (one, other)}

    tags = {make_tag(key * 32, kind, code) for key in (b"a", b"b") for kind, code in sources}

    assert len(tags) == 2 * len(sources)


@pytest.mark.parametrize("code", ["", "x" * 256, "decomposed u\u0308"])
def test_a_code_that_has_no_tag_is_refused(code: str) -> None:
    with pytest.raises(EncodeError):
        make_tag(b"t" * 32, TagKind.LABEL, code)
