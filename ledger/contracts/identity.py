"""Identity: hospital admins register and suspend the people of their hospital; people own keys.

An account's id is the digest of its first sign key, made on the person's own device. The admin
vouches for who it is and can suspend it, but never adds or rotates a key: the key itself proves at
registration that it agrees to this account (organisation and role are part of what it signs), and
only its holder names a successor. Every key that was ever in force keeps its record, so an old
signature can be judged by the key of its time.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from crypto.envelopes import seal_key_id
from crypto.errors import InvalidSignature
from crypto.hashing import ChainId
from crypto.record_ids import AccountId
from crypto.schema import encode
from crypto.signatures import SignatureJob, account_id, check_job, key_id
from ledger.accounts import (
    ADMINS_MAX,
    Account,
    DirectoryEntry,
    KeyRecord,
    OrgId,
    Role,
    Status,
    add_account,
    directory_key,
    get_account,
    get_key,
    get_organisation,
    make_seal_record,
    make_sign_record,
    organisation_key,
    put_account,
    put_key_record,
    seal_key_in_force,
)
from ledger.contract import ANY_ROLE, Context, Kind, Lane, Rule
from ledger.errors import Refused
from ledger.identity_payloads import (
    DirectoryNote,
    Register,
    Restore,
    RotateKey,
    ShareDirectory,
    Suspend,
)
from ledger.key_proofs import registration_job, rotation_job, seal_binding_job
from ledger.state import Overlay, StateView

if TYPE_CHECKING:
    from ledger.transactions import Transaction

CONSORTIUM_ROLES: Final = (Role.CONSORTIUM_ADMIN, Role.KEY_AGENT, Role.NODE)
"""Roles that genesis and governance give; no hospital admin does."""


def on_register(context: Context, payload: Register) -> None:
    sender = context.sender
    if payload.role in CONSORTIUM_ROLES:
        raise Refused("identity.role", f"a hospital admin registers no {payload.role.value}")
    new_id = account_id(payload.sign_key)
    if get_account(context.state, new_id) is not None:
        raise Refused("identity.exists", f"account {new_id.hex()} exists", (("account", new_id),))
    _check_possession(possession_job(context.chain_id, sender.org, payload))
    _check_binding(binding_job(payload))
    add_account(
        context.state,
        Account(
            account_id=new_id,
            org=sender.org,
            role=payload.role,
            status=Status.ACTIVE,
            sign_key=payload.sign_key,
            sign_key_id=key_id(payload.sign_key),
            seal_key=payload.seal_key,
            seal_key_id=seal_key_id(payload.seal_key),
            seal_binding=payload.seal_binding,
            registered_height=context.height,
            specialty=payload.specialty,
            licence=payload.licence,
            categories=payload.categories,
            in_custody=payload.in_custody,
        ),
    )
    if payload.role is Role.HOSPITAL_ADMIN:
        _add_admin(context.state, sender.org, new_id)
    _put_notes(context, new_id, payload.notes)
    context.emit(
        "identity.registered",
        new_id,
        ("org", sender.org),
        ("role", payload.role.value),
        ("by", sender.account_id),
    )


def on_suspend(context: Context, payload: Suspend) -> None:
    account = _account_of_own_hospital(context, payload.account_id)
    if account.status is Status.SUSPENDED:
        raise Refused("identity.already_suspended", f"{account.account_id.hex()} is suspended")
    if account.role is Role.HOSPITAL_ADMIN:
        _remove_admin(context.state, account.org, account.account_id)
    put_account(context.state, replace(account, status=Status.SUSPENDED))
    context.emit(
        "identity.suspended",
        account.account_id,
        ("by", context.sender.account_id),
        ("reason", payload.reason),
    )


def on_restore(context: Context, payload: Restore) -> None:
    account = _account_of_own_hospital(context, payload.account_id)
    if account.status is Status.ACTIVE:
        raise Refused("identity.not_suspended", f"{account.account_id.hex()} is not suspended")
    if account.role is Role.HOSPITAL_ADMIN:
        _add_admin(context.state, account.org, account.account_id)
    put_account(context.state, replace(account, status=Status.ACTIVE))
    context.emit(
        "identity.restored",
        account.account_id,
        ("by", context.sender.account_id),
        ("reason", payload.reason),
    )


def on_rotate_key(context: Context, payload: RotateKey) -> None:
    """End the old keys in this block and put the new ones in force."""
    account = context.sender
    if payload.in_custody and account.role is not Role.PATIENT:
        raise Refused("identity.custody", "only a patient's keys may be in custody")
    seal = seal_key_in_force(account)
    if seal is None:
        raise _node_refusal()
    sign_key = payload.sign_key or account.sign_key
    seal_key = payload.seal_key or seal.key
    if payload.sign_key is not None and payload.possession is not None:
        _check_possession(
            rotation_job(
                payload.sign_key,
                payload.possession,
                chain_id=context.chain_id,
                account_id=account.account_id,
            )
        )
    _check_binding(
        seal_binding_job(
            sign_key, payload.seal_binding, account_id=account.account_id, seal_key=seal_key
        )
    )
    rotated = replace(
        account,
        sign_key=sign_key,
        sign_key_id=key_id(sign_key),
        seal_key=seal_key,
        seal_key_id=seal_key_id(seal_key),
        seal_binding=payload.seal_binding,
        in_custody=payload.in_custody,
    )
    if payload.sign_key is not None:
        _succeed(context, account.sign_key_id, make_sign_record(rotated, context.height))
    if payload.seal_key is not None:
        _succeed(context, seal.key_id, make_seal_record(rotated, context.height))
    put_account(context.state, rotated)
    context.emit(
        "identity.key_rotated",
        account.account_id,
        ("sign_key_id", rotated.sign_key_id),
        ("seal_key_id", seal_key_id(seal_key)),
    )


def on_share_directory(context: Context, payload: ShareDirectory) -> None:
    account = get_account(context.state, payload.about)
    if account is None:
        raise Refused("identity.unknown", f"no account {payload.about.hex()} is registered")
    organisation = get_organisation(context.state, account.org)
    assert organisation is not None, "an account's organisation exists"
    if context.sender.account_id not in (account.account_id, organisation.agent):
        raise Refused(
            "identity.not_holder", "the person or its organisation's agent shares the directory"
        )
    _put_notes(context, account.account_id, payload.notes)
    context.emit(
        "identity.directory_shared",
        account.account_id,
        ("by", context.sender.account_id),
        ("count", len(payload.notes)),
    )


def possession_job(chain_id: ChainId, org: OrgId, payload: Register) -> SignatureJob:
    """Return the check that the new key agrees to the account it gets at `org`."""
    return registration_job(
        payload.sign_key,
        payload.possession,
        chain_id=chain_id,
        org=org,
        role=payload.role,
        seal_key=payload.seal_key,
    )


def binding_job(payload: Register) -> SignatureJob:
    """Return the check that the new account's sign key vouches for its seal key."""
    return seal_binding_job(
        payload.sign_key,
        payload.seal_binding,
        account_id=account_id(payload.sign_key),
        seal_key=payload.seal_key,
    )


def register_jobs(view: StateView, transaction: "Transaction") -> tuple[SignatureJob, ...]:
    """Return the two signatures inside a registration, if its sender is known."""
    admin = get_account(view, transaction.body.sender)
    if admin is None:
        return ()
    payload: Register = transaction.payload
    return (
        possession_job(transaction.body.chain_id, admin.org, payload),
        binding_job(payload),
    )


KINDS: Final = (
    Kind(
        name="identity.register",
        payload=Register,
        signer=Rule((Role.HOSPITAL_ADMIN,)),
        handler=on_register,
        inner_jobs=register_jobs,
    ),
    Kind(
        name="identity.suspend",
        payload=Suspend,
        signer=Rule((Role.HOSPITAL_ADMIN,)),
        handler=on_suspend,
        lane=Lane.EMERGENCY,
    ),
    Kind(
        name="identity.restore",
        payload=Restore,
        signer=Rule((Role.HOSPITAL_ADMIN,)),
        handler=on_restore,
    ),
    Kind(
        name="identity.rotate_key",
        payload=RotateKey,
        signer=ANY_ROLE,
        handler=on_rotate_key,
    ),
    Kind(
        name="identity.share_directory",
        payload=ShareDirectory,
        signer=ANY_ROLE,
        handler=on_share_directory,
    ),
)


def _account_of_own_hospital(context: Context, account: AccountId) -> Account:
    found = get_account(context.state, account)
    if found is None:
        raise Refused("identity.unknown", f"no account {account.hex()} is registered")
    if found.org != context.sender.org:
        raise Refused("identity.other_org", f"the account belongs to {found.org}")
    if found.role is Role.NODE:
        raise _node_refusal()
    return found


def _node_refusal() -> Refused:
    return Refused("identity.node", "a node's account changes with its replica set: propose that")


def _check_possession(job: SignatureJob) -> None:
    try:
        check_job(job)
    except InvalidSignature as problem:
        raise Refused(
            "identity.possession", "the new sign key did not agree to this account"
        ) from problem


def _check_binding(job: SignatureJob) -> None:
    try:
        check_job(job)
    except InvalidSignature as problem:
        raise Refused("identity.binding", "the sign key did not sign the seal key") from problem


def _put_notes(context: Context, about: AccountId, notes: Sequence[DirectoryNote]) -> None:
    for note in notes:
        recipient = get_account(context.state, note.recipient)
        if recipient is None:
            raise Refused("identity.unknown", f"no account {note.recipient.hex()} is registered")
        seal = seal_key_in_force(recipient)
        if seal is None or seal.key_id != note.key_id:
            raise Refused(
                "identity.note_key",
                f"the note for {note.recipient.hex()} is sealed to a key not in force",
                (("recipient", note.recipient), ("key_id", b"" if seal is None else seal.key_id)),
            )
        key = directory_key(about, note.recipient)
        entry = DirectoryEntry(
            about=about,
            recipient=note.recipient,
            key_id=note.key_id,
            note=note.note,
            height=context.height,
        )
        context.state.put(key, encode(entry))
        context.keep_sidecar(note.note, key)


def _add_admin(state: Overlay, org: OrgId, account: AccountId) -> None:
    organisation = get_organisation(state, org)
    assert organisation is not None, "an account's organisation exists"
    if len(organisation.admins) == ADMINS_MAX:
        raise Refused("identity.admins_full", f"{org} has {ADMINS_MAX} active admins already")
    admins = tuple(sorted((*organisation.admins, account)))
    state.put(organisation_key(org), encode(replace(organisation, admins=admins)))


def _remove_admin(state: Overlay, org: OrgId, account: AccountId) -> None:
    organisation = get_organisation(state, org)
    assert organisation is not None, "an account's organisation exists"
    admins = tuple(one for one in organisation.admins if one != account)
    if not admins:
        raise Refused("identity.last_admin", f"{org} would be left without an active admin")
    state.put(organisation_key(org), encode(replace(organisation, admins=admins)))


def _succeed(context: Context, old_key_id: bytes, successor: KeyRecord) -> None:
    """Close the old key's record and open its successor's; no key comes back."""
    account = successor.account_id
    if get_key(context.state, account, successor.key_id) is not None:
        raise Refused("identity.key_reused", f"key {successor.key_id.hex()} was in force before")
    old = get_key(context.state, account, old_key_id)
    assert old is not None, "a key in force has a record"
    put_key_record(context.state, replace(old, valid_until_height=context.height))
    put_key_record(context.state, successor)
