"""People and organisations: looking them up, suspending and restoring, replacing one's own keys."""

from dataclasses import replace
from typing import Final

from client.connection import Client, act, ask, check_done, scan
from client.errors import LocalError, NotFound, Refused
from client.proving import now_ms, prove
from client.session import open_session
from client.transactions import WINDOW_MS, Outcome
from client.wallet import (
    Keys,
    Wallet,
    add_keys,
    find_keys,
    labels,
    remove_keys,
    replace_keys,
)
from crypto.envelopes import make_seal_private_key, seal_public_key
from crypto.record_ids import AccountId
from crypto.signatures import account_id, make_signing_key, public_key
from ledger.accounts import (
    Account,
    Organisation,
    Status,
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

ROTATION_OPEN_MS: Final = 2 * WINDOW_MS
"""How long after its keys were made a rotation may still be committed, with room to spare."""


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
    outcome = await act(client, "identity.suspend", Suspend(account_id=account, reason=reason))
    is_done = (await find_person(client, account)).status is Status.SUSPENDED
    check_done(outcome, "the account is suspended", is_done=is_done)
    return outcome


async def restore_person(client: Client, account: AccountId, *, reason: str = "") -> Outcome:
    """Let a suspended person act again."""
    outcome = await act(client, "identity.restore", Restore(account_id=account, reason=reason))
    is_done = (await find_person(client, account)).status is Status.ACTIVE
    check_done(outcome, "the account is active", is_done=is_done)
    return outcome


async def rotate_keys(client: Client, *, sign: bool = True, seal: bool = True) -> Outcome:
    """Replace the actor's sign key, seal key or both; old seal keys stay in the wallet.

    The new keys are saved before the ledger hears of them, and put in force once proven state names
    them. A rotation that was cut off between the two is finished first (`finish_rotation`).
    """
    await _check_no_rotation_open(client)
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
    rotated = find_keys(client.wallet, waiting)
    account, _ = await _account_seen_by(client, keys, rotated)
    check_done(outcome, "the keys were replaced", is_done=_is_in_force(rotated, account))
    _put_in_force(client, keys, rotated)
    await open_session(client.node, client.trust, client.actor, node_index=client.node_index)
    return outcome


async def finish_rotation(client: Client, label: str) -> bool:
    """Mend a wallet whose rotation was cut off: put waiting keys in force if the ledger has.

    Returns whether it has. Waiting keys are forgotten only once proven state shows other keys in
    force at a time when the rotation cannot be committed any more: a node that refuses them for
    whatever reason must not make the wallet destroy the only keys of an account.
    """
    keys = find_keys(client.wallet, label)
    if label + NEXT not in labels(client.wallet):
        return False
    waiting = find_keys(client.wallet, label + NEXT)
    account, time_ms = await _account_seen_by(client, keys, waiting)
    if _is_in_force(waiting, account):
        _put_in_force(client, keys, waiting)
        return True
    if time_ms >= _created_ms(client.wallet, waiting.label) + ROTATION_OPEN_MS:
        remove_keys(client.wallet, waiting.label)
    return False


async def _check_no_rotation_open(client: Client) -> None:
    """Finish a rotation that was cut off; raise `LocalError` while it may still be committed."""
    label = client.actor.label
    if label + NEXT not in labels(client.wallet):
        return
    await finish_rotation(client, label)
    if label + NEXT in labels(client.wallet):
        raise LocalError(
            f"earlier new keys of {label} may still come into force; try again in "
            f"{ROTATION_OPEN_MS // 60_000} minutes",
            code="wallet.rotation_open",
        )


async def _account_seen_by(client: Client, keys: Keys, waiting: Keys) -> tuple[Account, int]:
    """Return the proven account and its state's time, in a session of whichever keys open one."""
    for candidate in (replace(waiting, account=keys.account), keys):
        try:
            await open_session(client.node, client.trust, candidate, node_index=client.node_index)
        except Refused:
            if candidate is keys:
                raise
            continue
        break
    entry = account_key(keys.account)
    account, view = await prove(
        client.node,
        client.trust,
        lambda view: get_account(view, keys.account),
        (entry,),
        at_least_height=client.height,
    )
    if account is None:
        raise NotFound(f"no account {keys.account.hex()} is registered", code="account.unknown")
    return account, view.time_ms


def _created_ms(wallet: Wallet, label: str) -> int:
    return next(one.created_ms for one in wallet.content.accounts if one.label == label)


def _is_in_force(keys: Keys, account: Account) -> bool:
    sign_key, seal_key = public_key(keys.sign_key), seal_public_key(keys.seal_key)
    return (account.sign_key, account.seal_key) == (sign_key, seal_key)


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
