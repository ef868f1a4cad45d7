"""Enrolment: a person's device makes the keys, the hospital's admin vouches for who it is.

The device writes a file: public keys, the proofs that they agree to this account, and for a patient
the opaque categories with the directory, sealed to the patient, the hospital's key agent and named
writers. The admin checks the file and registers it. No private key ever leaves the device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from client.connection import Client, act, ask
from client.directories import directory_reader, find_accounts, make_directory_notes
from client.errors import EnrolmentInvalid, LocalError, NotFound
from client.proving import now_ms
from client.transactions import Outcome
from client.wallet import Keys, keep_directory, make_keys
from crypto.directory import CATEGORIES, Directory, make_directory
from crypto.envelopes import (
    SealScheme,
    Sidecar,
    check_sidecar,
    seal_key_id,
    seal_public_key,
)
from crypto.errors import DecodeError, InvalidKey, InvalidSignature, SidecarMismatch
from crypto.hashing import ChainId
from crypto.record_ids import AccountId
from crypto.schema import Count, Size, decode, encode
from crypto.signatures import account_id, check_job, public_key
from ledger.accounts import OrgId, Role, get_organisation, organisation_key
from ledger.identity_payloads import DirectoryNote, Register
from ledger.key_proofs import (
    registration_job,
    seal_binding_job,
    sign_registration,
    sign_seal_binding,
)
from ledger.recipients import Recipient

ENROLMENT_BYTES_MAX: Final = 2 << 20
NOTE_BYTES_MAX: Final = 32 << 10
NAMED_ROLES: Final = (Role.HOSPITAL_ADMIN, Role.AUDITOR)
"""Roles with power over a whole hospital: who registers one has to name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """What a device asks its hospital to register; `sidecars` belong to the notes, in order."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = ENROLMENT_BYTES_MAX

    chain_id: ChainId
    org: OrgId
    register: Register
    sidecars: Annotated[tuple[Annotated[bytes, Size(32, NOTE_BYTES_MAX)], ...], Count(0, 64)]

    @property
    def account(self) -> AccountId:
        """The account that registering it makes."""
        return account_id(self.register.sign_key)


async def make_enrolment(
    client: Client,
    label: str,
    *,
    org: OrgId,
    role: Role,
    specialty: str = "",
    writers: Sequence[AccountId] = (),
    in_custody: bool = False,
    categories: tuple[str, ...] = CATEGORIES,
    seal_scheme: SealScheme = SealScheme.P256,
) -> Enrolment:
    """Make keys under `label` and return what the hospital has to register.

    A patient's directory goes to the patient, the hospital's key agent and `writers`, each key
    proven; a device that acts for nobody yet has the agent's key from the founding document.
    Raises `NotFound` for an unknown hospital or writer, `LabelTaken`.
    """
    others = await _readers(client, org, writers) if role is Role.PATIENT else []
    keys = make_keys(client.wallet, label, created_ms=now_ms(), seal_scheme=seal_scheme)
    directory = make_directory(keys.account, categories) if role is Role.PATIENT else None
    notes: tuple[DirectoryNote, ...] = ()
    sidecars: tuple[Sidecar, ...] = ()
    if directory is not None:
        keep_directory(client.wallet, client.chain_id, keys, directory)
        notes, sidecars = make_directory_notes(client.chain_id, directory, [_myself(keys), *others])
    register = _make_register(
        client.chain_id, keys, org, role, specialty, directory, notes, in_custody
    )
    return Enrolment(
        chain_id=client.chain_id,
        org=org,
        register=register,
        sidecars=tuple(one.content for one in sidecars),
    )


def encode_enrolment(enrolment: Enrolment) -> bytes:
    """Return the bytes of the enrolment's file."""
    return encode(enrolment)


def decode_enrolment(file: bytes, *, name: str) -> Enrolment:
    """Return what an enrolment's file holds; raise `EnrolmentInvalid` that names it."""
    try:
        return decode(Enrolment, file)
    except DecodeError as problem:
        raise EnrolmentInvalid(
            f"{name} is no enrolment, or damaged: {problem}; let it be made again"
        ) from problem


def check_enrolment(enrolment: Enrolment, *, chain_id: ChainId, org: OrgId) -> None:
    """Raise `EnrolmentInvalid` unless its keys agree to this account at `org` on this chain."""
    if enrolment.chain_id != chain_id:
        raise EnrolmentInvalid("the enrolment is for another chain; let it be made again")
    if enrolment.org != org:
        raise EnrolmentInvalid(f"the enrolment is for {enrolment.org}, you register for {org}")
    register = enrolment.register
    possession = registration_job(
        register.sign_key,
        register.possession,
        chain_id=chain_id,
        org=org,
        role=register.role,
        seal_key=register.seal_key,
    )
    binding = seal_binding_job(
        register.sign_key,
        register.seal_binding,
        account_id=enrolment.account,
        seal_key=register.seal_key,
    )
    try:
        check_job(possession)
        check_job(binding)
        if len(enrolment.sidecars) != len(register.notes):
            raise EnrolmentInvalid("the enrolment's notes and their contents differ in number")
        for note, content in zip(register.notes, enrolment.sidecars, strict=True):
            check_sidecar(note.note, content)
    except (InvalidSignature, InvalidKey, SidecarMismatch) as problem:
        raise EnrolmentInvalid(
            f"the enrolment was altered: {problem}; let it be made again"
        ) from problem


def check_role(enrolment: Enrolment, meant: Role | None) -> None:
    """Raise `EnrolmentInvalid` for another role than `meant`, or one that has to be named.

    The file comes from the person's own device, which says what it likes.
    """
    role = enrolment.register.role
    if role is meant or (meant is None and role not in NAMED_ROLES):
        return
    raise EnrolmentInvalid(
        f"the enrolment asks for the role {role.value}; if that is meant, say so: "
        f"--role {role.value}"
    )


async def register_person(client: Client, enrolment: Enrolment, *, org: OrgId) -> Outcome:
    """Register an enrolment as the hospital's admin, after checking it."""
    check_enrolment(enrolment, chain_id=client.chain_id, org=org)
    notes = enrolment.register.notes
    sidecars = [
        (note.note, content) for note, content in zip(notes, enrolment.sidecars, strict=True)
    ]
    return await act(client, "identity.register", enrolment.register, sidecars=sidecars)


def _make_register(
    chain_id: ChainId,
    keys: Keys,
    org: OrgId,
    role: Role,
    specialty: str,
    directory: Directory | None,
    notes: tuple[DirectoryNote, ...],
    in_custody: bool,
) -> Register:
    seal_key = seal_public_key(keys.seal_key)
    ids = () if directory is None else [one.category_id for one in directory.categories]
    return Register(
        role=role,
        sign_key=public_key(keys.sign_key),
        seal_key=seal_key,
        seal_binding=sign_seal_binding(keys.sign_key, account_id=keys.account, seal_key=seal_key),
        possession=sign_registration(
            keys.sign_key, chain_id=chain_id, org=org, role=role, seal_key=seal_key
        ),
        specialty=specialty,
        licence=None,
        categories=tuple(sorted(ids)),
        in_custody=in_custody,
        notes=notes,
    )


async def _readers(client: Client, org: OrgId, writers: Sequence[AccountId]) -> list[Recipient]:
    """Return who else reads a new patient's directory: the hospital's key agent, and writers."""
    organisation = await ask(
        client, lambda view: get_organisation(view, org), (organisation_key(org),)
    )
    if organisation is None:
        raise NotFound(f"no organisation {org} exists on this chain", code="organisation.unknown")
    if client.keys is not None:
        accounts = await find_accounts(client, (organisation.agent, *writers))
        return [directory_reader(one) for one in accounts]
    founders = (one.body.agent for one in client.founding.statements if one.body.org == org)
    for founder in founders:
        if account_id(founder.sign_key) == organisation.agent and not writers:
            return [
                Recipient(
                    account=organisation.agent,
                    key_id=seal_key_id(founder.seal_key),
                    seal_key=founder.seal_key,
                    reason="directory",
                )
            ]
    raise LocalError(
        f"the keys of {org}'s agent or of writers can be proven to somebody with an account only: "
        "enrol at the hospital's desk, with --as",
        code="client.no_actor",
    )


def _myself(keys: Keys) -> Recipient:
    seal_key = seal_public_key(keys.seal_key)
    return Recipient(
        account=keys.account, key_id=seal_key_id(seal_key), seal_key=seal_key, reason="directory"
    )
