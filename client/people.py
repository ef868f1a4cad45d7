"""People and organisations: looking them up, suspending and restoring, replacing one's own keys."""

from dataclasses import replace
from typing import Final

from client.connection import Client, act, ask, scan
from client.errors import NotFound, Refused
from client.proving import now_ms
from client.session import open_session
from client.transactions import Outcome
from client.wallet import Keys, add_keys, find_keys, labels, remove_keys, replace_keys
from crypto.envelopes import make_seal_private_key, seal_public_key
from crypto.record_ids import AccountId
from crypto.signatures import account_id, make_signing_key, public_key
from ledger.accounts import (
    Account,
    Organisation,
    account_key,
    get_account,
    get_organisation,
    get_organisations,
    organisation_key,
)
from ledger.identity_payloads import Restore, RotateKey, Suspend
from ledger.key_proofs import sign_rotation, sign_seal_binding

NEXT: Final = " (next keys)"
"""After a label: keys that wait for the ledger to put them in force."""


async def find_person(client: Client, account: AccountId) -> Account:
    """Return a proven account; raise `NotFound`."""
    found = await ask(client, lambda view: get_account(view, account), (account_key(account),))
    if found is None:
        raise NotFound(f"no account {account.hex()} is registered", code="account.unknown")
    return found


async def find_organisation(client: Client, org: str) -> Organisation:
    """Return a proven organisation; raise `NotFound`."""
    found = await ask(client, lambda view: get_organisation(view, org), (organisation_key(org),))
    if found is None:
        raise NotFound(f"no organisation {org} exists on this chain", code="organisation.unknown")
    return found


async def list_organisations(client: Client) -> tuple[Organisation, ...]:
    """Return the members, by slug; each is proven."""
    return tuple(get_organisations(await scan(client, organisation_key(""))))


async def suspend_person(client: Client, account: AccountId, *, reason: str = "") -> Outcome:
    """End at once what a person of the own hospital may do."""
    return await act(client, "identity.suspend", Suspend(account_id=account, reason=reason))


async def restore_person(client: Client, account: AccountId, *, reason: str = "") -> Outcome:
    """Let a suspended person act again."""
    return await act(client, "identity.restore", Restore(account_id=account, reason=reason))


async def rotate_keys(client: Client, *, sign: bool = True, seal: bool = True) -> Outcome:
    """Replace the actor's sign key, seal key or both; old seal keys stay in the wallet.

    The new keys are saved before the ledger hears of them. `finish_rotation` mends a wallet whose
    rotation was cut off between the two.
    """
    keys = client.actor
    account = await find_person(client, keys.account)
    sign_key = make_signing_key(keys.sign_key.scheme) if sign else keys.sign_key
    seal_private = make_seal_private_key(keys.seal_key.scheme) if seal else keys.seal_key
    seal_key = seal_public_key(seal_private)
    waiting = keys.label + NEXT
    placeholder = account_id(public_key(make_signing_key(keys.sign_key.scheme)))
    add_keys(
        client.wallet,
        waiting,
        placeholder,
        sign_key=sign_key,
        seal_keys=(seal_private,),
        created_ms=now_ms(),
    )
    possession = sign_rotation(sign_key, chain_id=client.chain_id, account_id=keys.account)
    payload = RotateKey(
        sign_key=public_key(sign_key) if sign else None,
        possession=possession if sign else None,
        seal_key=seal_key if seal else None,
        seal_binding=sign_seal_binding(sign_key, account_id=keys.account, seal_key=seal_key),
        in_custody=account.in_custody,
    )
    outcome = await act(client, "identity.rotate_key", payload)
    _put_in_force(client, keys, find_keys(client.wallet, waiting))
    await open_session(client.node, client.trust, client.actor, node_index=client.node_index)
    return outcome


async def finish_rotation(client: Client, label: str) -> bool:
    """Mend a wallet whose rotation was cut off: put waiting keys in force if the ledger has.

    Returns whether it has. The node tells by opening a session for them, or not.
    """
    keys = find_keys(client.wallet, label)
    if label + NEXT not in labels(client.wallet):
        return False
    waiting = find_keys(client.wallet, label + NEXT)
    try:
        await open_session(
            client.node,
            client.trust,
            replace(waiting, account=keys.account),
            node_index=client.node_index,
        )
        account = await find_person(client, keys.account)
    except Refused:
        remove_keys(client.wallet, waiting.label)
        return False
    if account.seal_key != seal_public_key(waiting.seal_key):
        remove_keys(client.wallet, waiting.label)
        return False
    _put_in_force(client, keys, waiting)
    return True


def _put_in_force(client: Client, keys: Keys, next_keys: Keys) -> None:
    is_new_seal = seal_public_key(next_keys.seal_key) != seal_public_key(keys.seal_key)
    client.keys = replace_keys(
        client.wallet,
        keys.label,
        sign_key=next_keys.sign_key,
        seal_key=next_keys.seal_key if is_new_seal else None,
        created_ms=now_ms(),
    )
    remove_keys(client.wallet, next_keys.label)
