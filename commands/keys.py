"""`medledger keys`: make, list and rotate the keys in a wallet."""

from dataclasses import replace
from typing import Any

import click

from client.people import finish_rotation, rotate_keys
from client.wallet import find_keys, labels, make_keys
from commands.clock import now_ms
from commands.home import CLIENT_ERRORS, home_options, load_wallet, make_home, run_client
from commands.output import Exit, fail, failures, show, show_rows
from crypto.signatures import key_id, public_key


@click.group()
def keys() -> None:
    """Make, list and rotate the keys in a wallet."""


@keys.command()
@click.argument("label")
@home_options
def new(label: str, **options: Any) -> None:
    """Make fresh keys under LABEL; a hospital has to register them before they count.

    \b
    Example:
      medledger keys new anna
    """
    with failures(CLIENT_ERRORS):
        wallet = load_wallet(make_home(**options), may_create=True)
        made = make_keys(wallet, label, created_ms=now_ms())
    show({"label": label, "account": made.account}, f"{label}: account {made.account.hex()}")


@keys.command(name="list")
@home_options
def list_keys(**options: Any) -> None:
    """List whose keys are in the wallet.

    \b
    Example:
      medledger keys list
    """
    home = make_home(**options)
    with failures(CLIENT_ERRORS):
        wallet = load_wallet(home)
        found = [find_keys(wallet, label) for label in labels(wallet)]
    rows = [
        {
            "label": one.label,
            "account": one.account,
            "sign_key": key_id(public_key(one.sign_key)),
            "seal_keys": len(one.seal_keys),
        }
        for one in found
    ]
    show_rows(f"Keys in {home.directory}", ("label", "account", "sign_key", "seal_keys"), rows)


@keys.command()
@click.option("--sign/--no-sign", default=True, show_default=True, help="Replace the sign key.")
@click.option("--seal/--no-seal", default=True, show_default=True, help="Replace the seal key.")
@home_options
def rotate(*, sign: bool, seal: bool, **options: Any) -> None:
    """Replace the actor's keys on the ledger and in the wallet; old seal keys stay in the wallet.

    \b
    Example:
      medledger keys rotate --as dr-ada
    """
    if not sign and not seal:
        fail(Exit.USAGE, "keys.nothing", "neither key is to be replaced: leave out one of the two")
    outcome = run_client(
        make_home(**options), lambda client: rotate_keys(client, sign=sign, seal=seal)
    )
    show({"tx_id": outcome.tx_id, "height": outcome.height}, "keys rotated")


@keys.command()
@home_options
def finish(**options: Any) -> None:
    """Mend a wallet whose rotation was cut off: take the new keys if the ledger has them.

    \b
    Example:
      medledger keys finish --as dr-ada
    """
    home = make_home(**options)
    label = home.actor
    if label is None:
        fail(Exit.USAGE, "client.no_actor", "say whose keys: --as LABEL")
    nobody_yet = replace(home, actor=None)  # Which keys open a session is what has to be found out.
    finished = run_client(nobody_yet, lambda client: finish_rotation(client, label))
    text = "the new keys are in force" if finished else "no new keys are in force on the ledger"
    show({"label": label, "finished": finished}, f"{label}: {text}")
