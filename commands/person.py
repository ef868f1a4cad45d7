"""`medledger person`: enrol on one's own device, register, suspend, restore."""

from pathlib import Path
from typing import Any

import click

from client.connection import Client
from client.directories import share_directory
from client.enrolment import (
    ENROLMENT_BYTES_MAX,
    Enrolment,
    check_role,
    decode_enrolment,
    encode_enrolment,
    make_enrolment,
    register_person,
)
from client.people import find_person, restore_person, suspend_person
from client.transactions import Outcome
from client.wallet import add_contact, find_account, name_of
from commands.home import (
    CLIENT_ERRORS,
    account_named,
    home_options,
    load_wallet,
    make_home,
    run_client,
)
from commands.output import Exit, fail, failures, show
from ledger.accounts import OrgId, Role

ROLES = tuple(role.value for role in Role if role is not Role.NODE)


@click.group()
def person() -> None:
    """People: enrol, register, show, suspend, restore."""


@person.command()
@click.argument("label")
@click.option("--org", required=True, help="The hospital that will register this person.")
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--specialty", default="", help="Public code, for staff.")
@click.option("--writer", "writers", multiple=True, help="Doctors who may file records (patients).")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Enrolment file.")
@home_options
def enrol(
    label: str,
    org: str,
    role: str,
    specialty: str,
    writers: tuple[str, ...],
    out: Path | None,
    **options: Any,
) -> None:
    """Make LABEL's keys on this device, and the file that the hospital registers.

    \b
    Example:
      medledger person enrol anna --org hospital-a --role patient
      medledger person enrol anna --org hospital-a --role patient --writer dr-ada \\
        --as admin-hospital-a
    """
    home = make_home(**options)
    path = out or Path(f"{label}.enrolment")
    if not path.parent.is_dir() or (out is None and path.name != f"{label}.enrolment"):
        fail(Exit.USAGE, "enrolment.path", f"cannot write {path}: name a file with --out")

    async def work(client: Client) -> Enrolment:
        return await make_enrolment(
            client,
            label,
            org=OrgId(org),
            role=Role(role),
            specialty=specialty,
            writers=[account_named(client, one) for one in writers],
        )

    made = run_client(home, work, may_create=True)
    with failures(CLIENT_ERRORS):
        path.write_bytes(encode_enrolment(made))
    show(
        {"label": label, "account": made.account, "file": path},
        f"{label}: account {made.account.hex()}; let {org} register {path}",
    )


@person.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--contact", help="Remember the person under this name.")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    help="The role you mean to give; required for admins and auditors.",
)
@home_options
def register(file: Path, contact: str | None, role: str | None, **options: Any) -> None:
    """Register the person of an enrolment FILE, as an admin of the hospital.

    \b
    Example:
      medledger person register anna.enrolment --as admin-hospital-a
    """
    with failures(CLIENT_ERRORS):
        if file.stat().st_size > ENROLMENT_BYTES_MAX:
            fail(Exit.LOCAL, "enrolment.invalid", f"{file} is too large to be an enrolment")
        content = file.read_bytes()

    async def work(client: Client) -> tuple[Enrolment, Outcome]:
        enrolment = decode_enrolment(content, name=str(file))
        check_role(enrolment, None if role is None else Role(role))
        admin = await find_person(client, client.actor.account)
        outcome = await register_person(client, enrolment, org=admin.org)
        if contact is not None and name_of(client.wallet, enrolment.account) is None:
            add_contact(client.wallet, contact, enrolment.account)
        return enrolment, outcome

    enrolment, outcome = run_client(make_home(**options), work)
    account = enrolment.account
    show(
        {"account": account, "tx_id": outcome.tx_id, "height": outcome.height},
        f"registered {enrolment.register.role.value} {account.hex()} in block {outcome.height}",
    )


@person.command(name="show")
@click.argument("name")
@home_options
def show_person(name: str, **options: Any) -> None:
    """Show an account as the ledger proves it; NAME is a label, a contact or 64 hex digits.

    \b
    Example:
      medledger person show dr-ada --as anna
    """

    async def work(client: Client) -> dict[str, Any]:
        found = await find_person(client, account_named(client, name))
        return {
            "account": found.account_id,
            "organisation": found.org,
            "role": found.role.value,
            "status": found.status.value,
            "specialty": found.specialty,
            "sign_key": found.sign_key_id,
            "seal_key": found.seal_key_id,
            "registered_height": int(found.registered_height),
            "categories": len(found.categories),
            "in_custody": found.in_custody,
        }

    show(run_client(make_home(**options), work))


@person.command()
@click.argument("name")
@click.option("--reason", default="", help="Public, non-clinical code.")
@home_options
def suspend(name: str, reason: str, **options: Any) -> None:
    """End at once what a person of the own hospital may do.

    \b
    Example:
      medledger person suspend dr-ada --reason left --as admin-hospital-a
    """
    outcome = run_client(
        make_home(**options),
        lambda client: suspend_person(client, account_named(client, name), reason=reason),
    )
    show({"tx_id": outcome.tx_id, "height": outcome.height}, f"{name} is suspended")


@person.command()
@click.argument("name")
@click.option("--reason", default="", help="Public, non-clinical code.")
@home_options
def restore(name: str, reason: str, **options: Any) -> None:
    """Let a suspended person act again.

    \b
    Example:
      medledger person restore dr-ada --as admin-hospital-a
    """
    outcome = run_client(
        make_home(**options),
        lambda client: restore_person(client, account_named(client, name), reason=reason),
    )
    show({"tx_id": outcome.tx_id, "height": outcome.height}, f"{name} is active again")


@person.command()
@click.argument("name")
@click.argument("account")
@home_options
def remember(name: str, account: str, **options: Any) -> None:
    """Call an account (64 hex digits) by a NAME of your own from now on.

    \b
    Example:
      medledger person remember dr-ada 5f0c...e1
    """
    with failures(CLIENT_ERRORS):
        wallet = load_wallet(make_home(**options))
        found = find_account(wallet, account)
        add_contact(wallet, name, found)
    show({"name": name, "account": found}, f"{name} is {found.hex()}")


@person.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--patient", help="Whose directory; the actor's own when left out.")
@home_options
def share(names: tuple[str, ...], patient: str | None, **options: Any) -> None:
    """Let staff file records: seal the patient's category names to them.

    \b
    Example:
      medledger person share dr-ada --as anna
    """

    async def work(client: Client) -> Outcome:
        pseudonym = client.actor.account if patient is None else account_named(client, patient)
        return await share_directory(
            client, pseudonym, [account_named(client, one) for one in names]
        )

    outcome = run_client(make_home(**options), work)
    show(
        {"tx_id": outcome.tx_id, "height": outcome.height},
        f"the directory is sealed to {', '.join(names)}",
    )
