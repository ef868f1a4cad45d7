"""Patients' directories: what opaque categories and tags mean, fetched, opened, kept, shared."""

from collections.abc import Sequence

from client.connection import Client, act, ask, entries
from client.errors import DirectoryUnknown, NotFound
from client.recipients import check_seal_key
from client.transactions import Outcome
from client.transfers import fetch_sidecar
from client.wallet import find_directory, keep_directory, open_directory_note
from crypto.directory import Directory, find_category, seal_directory
from crypto.envelopes import EnvelopeKind, Sidecar, make_sidecar
from crypto.hashing import ChainId
from crypto.notes import make_note_info
from crypto.record_ids import AccountId
from crypto.tags import Tag, TagKind, make_tag
from ledger.access_payloads import Categories
from ledger.accounts import (
    Account,
    account_key,
    directory_key,
    get_account,
    get_directory_entry,
    seal_key_in_force,
)
from ledger.identity_payloads import DirectoryNote, ShareDirectory
from ledger.recipients import Recipient


async def get_directory(client: Client, pseudonym: AccountId) -> Directory:
    """Return a patient's directory, from here or from the chain; raise `DirectoryUnknown`."""
    keys = client.actor
    kept = find_directory(client.wallet, client.chain_id, keys, pseudonym)
    if kept is not None:
        return kept
    entry = await ask(
        client,
        lambda view: get_directory_entry(view, pseudonym, keys.account),
        (directory_key(pseudonym, keys.account),),
    )
    if entry is None:
        raise DirectoryUnknown(
            f"the directory of patient {pseudonym.hex()[:16]} was not shared with {keys.label}; "
            "the patient or the hospital's key agent can share it"
        )
    note = await fetch_sidecar(client.node, entry.note)
    directory = open_directory_note(client.chain_id, keys, pseudonym, note)
    keep_directory(client.wallet, client.chain_id, keys, directory)
    return directory


async def share_directory(
    client: Client, pseudonym: AccountId, recipients: Sequence[AccountId]
) -> Outcome:
    """Seal a patient's directory to further accounts: the patient does, or the key agent."""
    directory = await get_directory(client, pseudonym)
    readers = [directory_reader(one) for one in await find_accounts(client, recipients)]
    notes, contents = make_directory_notes(client.chain_id, directory, readers)
    payload = ShareDirectory(about=pseudonym, notes=notes)
    sidecars = [(one.digest, one.content) for one in contents]
    return await act(client, "identity.share_directory", payload, sidecars=sidecars)


async def find_accounts(client: Client, wanted: Sequence[AccountId]) -> list[Account]:
    """Return proven accounts whose seal keys are vouched for; raise `NotFound`, `KeyRejected`."""
    if not wanted:
        return []
    view = await entries(client, [account_key(one) for one in wanted])
    found = []
    for account_id in sorted(set(wanted)):
        account = get_account(view, account_id)
        if account is None:
            raise NotFound(f"no account {account_id.hex()} is registered", code="account.unknown")
        check_seal_key(account)
        found.append(account)
    return found


def make_directory_notes(
    chain_id: ChainId, directory: Directory, recipients: Sequence[Recipient]
) -> tuple[tuple[DirectoryNote, ...], tuple[Sidecar, ...]]:
    """Return the notes of a directory for some accounts, ascending, and their sidecars."""
    notes, sidecars = [], []
    for recipient in sorted(recipients, key=lambda one: one.account):
        info = make_note_info(
            chain_id=chain_id,
            kind=EnvelopeKind.DIRECTORY,
            pseudonym=directory.pseudonym,
            recipient=recipient.account,
            recipient_key_id=recipient.key_id,
        )
        sidecar = make_sidecar(seal_directory(recipient.seal_key, directory, info))
        sidecars.append(sidecar)
        notes.append(
            DirectoryNote(recipient=recipient.account, key_id=recipient.key_id, note=sidecar.digest)
        )
    return tuple(notes), tuple(sidecars)


def directory_reader(account: Account) -> Recipient:
    """Return an account as somebody to whom a directory is sealed."""
    seal = seal_key_in_force(account)
    assert seal is not None, "a directory is for people and agents"
    return Recipient(
        account=account.account_id,
        key_id=seal.key_id,
        seal_key=seal.key,
        reason="directory",
    )


def category_id(directory: Directory, name: str) -> bytes:
    """Return the opaque id of a category; raise `DirectoryUnknown` naming those there are."""
    category = find_category(directory, name)
    if category is None:
        known = ", ".join(one.name for one in directory.categories)
        raise DirectoryUnknown(f"no category {name!r}; there are: {known}", code="category.unknown")
    return category.category_id


def label_tags(directory: Directory, codes: Sequence[str]) -> tuple[Tag, ...]:
    """Return the opaque tags of labels such as `http://loinc.org|4548-4`, ascending."""
    return tuple(sorted({make_tag(directory.tag_key, TagKind.LABEL, code) for code in codes}))


async def category_scope(client: Client, pseudonym: AccountId, names: Sequence[str]) -> Categories:
    """Return the scope of a grant over named categories."""
    directory = await get_directory(client, pseudonym)
    return Categories(categories=tuple(sorted({category_id(directory, one) for one in names})))
