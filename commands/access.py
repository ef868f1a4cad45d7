"""`medledger access`: ask, answer, grant, revoke, explain, and who has looked."""

from typing import Any

import click

from client.access import (
    Granted,
    Revoked,
    approve_request,
    chain_time_ms,
    deny_request,
    explain_access,
    find_request,
    grant_access,
    list_grants,
    list_requests,
    make_terms,
    read_log,
    request_access,
    revoke_access,
)
from client.connection import Client
from client.directories import share_directory
from client.transactions import Outcome
from commands.home import (
    account_named,
    digest_named,
    home_options,
    make_home,
    record_named,
    run_client,
)
from commands.output import say, show, show_rows
from commands.rights import (
    GRANTEE_HELP,
    LEVELS,
    READ,
    SCOPE_HELP,
    grant_row,
    parse_grantee,
    parse_scope,
    terms_row,
)
from commands.times import parse_time_ms, time_text
from crypto.hashing import Digest
from ledger.access_payloads import (
    AccessLevel,
    Person,
)
from ledger.decision import Action
from ledger.purposes import TREAT


@click.group()
def access() -> None:
    """Rights: request, approve, deny, grant, revoke, list, explain, log."""


@access.command()
@click.option("--to", "grantee", required=True, help=GRANTEE_HELP)
@click.option("--scope", default="all", show_default=True, help=SCOPE_HELP)
@click.option("--level", type=click.Choice(tuple(LEVELS)), default=READ, show_default=True)
@click.option("--purpose", "purposes", multiple=True, default=(TREAT,), show_default=True)
@click.option("--from", "start", help="When it begins: 2026-12-24, or in 2h; now if left out.")
@click.option("--until", help="When it ends: 7d, 2026-12-24T18:00; open if left out.")
@home_options
def grant(grantee: str, scope: str, level: str, purposes: tuple[str, ...], **options: Any) -> None:
    """Give somebody a right to the actor's records, with the keys of existing ones.

    \b
    Example:
      medledger access grant --to dr-bob --scope category:imaging --until 7d --as anna
    """
    start, until = options.pop("start"), options.pop("until")

    async def work(client: Client) -> Granted:
        now = await chain_time_ms(client)
        granted = await grant_access(
            client,
            grantee=parse_grantee(client, grantee),
            scope=await parse_scope(client, client.actor.account, scope),
            level=LEVELS[level],
            purposes=purposes,
            from_ms=parse_time_ms(start, now_ms=now, option="--from"),
            until_ms=parse_time_ms(until, now_ms=now, option="--until"),
        )
        if LEVELS[level] is AccessLevel.READ_WRITE:
            await _share_with_writer(client, grantee)
        return granted

    _show_granted(run_client(make_home(**options), work))


@access.command()
@click.option("--patient", required=True, help="Label, contact or account of the patient.")
@click.option("--scope", default="all", show_default=True, help=SCOPE_HELP)
@click.option("--level", type=click.Choice(tuple(LEVELS)), default=READ, show_default=True)
@click.option("--purpose", "purposes", multiple=True, default=(TREAT,), show_default=True)
@click.option("--until", help="When the right is to end: 7d, 2026-12-24; open if left out.")
@home_options
def request(
    patient: str, scope: str, level: str, purposes: tuple[str, ...], **options: Any
) -> None:
    """Ask a patient for a right.

    \b
    Example:
      medledger access request --patient anna --until 7d --as dr-bob
    """
    until = options.pop("until")

    async def work(client: Client) -> Outcome:
        now = await chain_time_ms(client)
        pseudonym = account_named(client, patient)
        return await request_access(
            client,
            pseudonym,
            scope=await parse_scope(client, pseudonym, scope),
            level=LEVELS[level],
            purposes=purposes,
            until_ms=parse_time_ms(until, now_ms=now, option="--until"),
        )

    outcome = run_client(make_home(**options), work)
    show(
        {"request": outcome.tx_id, "height": outcome.height},
        f"request {outcome.tx_id.hex()} waits for the patient",
    )


@access.command()
@click.argument("request_id")
@click.option("--scope", help="Narrower than was asked for: " + SCOPE_HELP)
@click.option("--until", help="Earlier than was asked for.")
@home_options
def approve(request_id: str, scope: str | None, until: str | None, **options: Any) -> None:
    """Answer a request with the right that was asked for, or a narrower one.

    \b
    Example:
      medledger access approve 7c...01 --until 1d --as anna
    """
    wanted = Digest(digest_named(request_id, "request id"))

    async def work(client: Client) -> Granted:
        asked = (await find_request(client, wanted)).wanted
        if scope is None and until is None:
            return await approve_request(client, wanted)
        now = await chain_time_ms(client)
        ends = parse_time_ms(until, now_ms=now, option="--until")
        narrowed = await make_terms(
            client,
            grantee=asked.grantee,
            scope=asked.scope
            if scope is None
            else await parse_scope(client, client.actor.account, scope),
            level=asked.level,
            purposes=asked.purposes,
            from_ms=asked.from_ms,
            until_ms=asked.until_ms if ends is None else ends,
        )
        return await approve_request(client, wanted, terms=narrowed)

    _show_granted(run_client(make_home(**options), work))


@access.command()
@click.argument("request_id")
@home_options
def deny(request_id: str, **options: Any) -> None:
    """Answer a request with no.

    \b
    Example:
      medledger access deny 7c...01 --as anna
    """
    wanted = Digest(digest_named(request_id, "request id"))
    outcome = run_client(make_home(**options), lambda client: deny_request(client, wanted))
    show({"tx_id": outcome.tx_id, "height": outcome.height}, "denied")


@access.command()
@click.argument("grant_id")
@click.option(
    "--reseal/--no-reseal", default=True, show_default=True, help="New keys for what it covered."
)
@home_options
def revoke(grant_id: str, *, reseal: bool, **options: Any) -> None:
    """End a right at once, seal what it covered afresh, and show what had been opened.

    \b
    Example:
      medledger access revoke 9b...77 --as anna
    """
    wanted = Digest(digest_named(grant_id, "grant id"))
    done: Revoked = run_client(
        make_home(**options), lambda client: revoke_access(client, wanted, reseal=reseal)
    )
    opened = [
        {"record": one.record_id, "reader": one.reader, "last": time_text(one.last_ms)}
        for one in done.opened
    ]
    show(
        {
            "grant": wanted,
            "height": done.outcome.height,
            "opened_before": opened,
            "resealed": done.keys.resealed,
            "failed": [{"record": one, "reason": why} for one, why in done.keys.failed],
        },
        f"ended in block {done.outcome.height}; {done.keys.resealed} records sealed afresh;"
        f" {len(opened)} had been opened, which nobody can take back",
    )
    for record_id, why in done.keys.failed:
        say(f"  not sealed afresh yet: {record_id.hex()}: {why}")


@access.command(name="list")
@click.option("--patient", help="Label, contact or account; the actor when left out.")
@home_options
def list_rights(patient: str | None, **options: Any) -> None:
    """List the rights in force and the requests that wait.

    \b
    Example:
      medledger access list --as anna
    """

    async def work(client: Client) -> list[dict[str, Any]]:
        pseudonym = client.actor.account if patient is None else account_named(client, patient)
        rows = [grant_row(client, one) for one in await list_grants(client, pseudonym)]
        for one in await list_requests(client, pseudonym):
            row = terms_row(client, one.wanted)
            rows.append({"kind": "request", "id": one.request_id, **row})
        return rows

    columns = ("kind", "id", "who", "scope", "level", "purposes", "from", "until")
    show_rows("Rights", columns, run_client(make_home(**options), work))


@access.command()
@click.argument("record_id")
@click.option("--requester", required=True, help="Whose access is in question.")
@click.option(
    "--action", type=click.Choice([one.value for one in Action]), default=Action.READ.value
)
@click.option("--purpose", default=TREAT, show_default=True)
@home_options
def explain(record_id: str, requester: str, action: str, purpose: str, **options: Any) -> None:
    """Say why somebody may or may not do something with a record, from proven state.

    \b
    Example:
      medledger access explain 3f...9a --requester dr-bob --as anna
    """
    wanted = record_named(record_id)

    async def work(client: Client) -> dict[str, Any]:
        found = await explain_access(
            client,
            wanted,
            requester=account_named(client, requester),
            action=Action(action),
            purpose=purpose,
        )
        return {
            "permitted": found.decision.permitted,
            "rule": found.decision.rule,
            "code": found.decision.code,
            "because": list(found.because),
            "key": found.key.value,
            "kept_by": found.kept_by.value,
            "sentences": list(found.sentences),
        }

    answer = run_client(make_home(**options), work)
    verdict = "permitted" if answer["permitted"] else f"denied ({answer['code']})"
    show(answer, "\n".join([verdict, *("  " + one for one in answer["sentences"])]))


@access.command()
@click.option("--patient", help="Label, contact or account; the actor when left out.")
@home_options
def log(patient: str | None, **options: Any) -> None:
    """Show who did what with a patient's records, in plain words.

    \b
    Example:
      medledger access log --as anna
    """

    async def work(client: Client) -> list[dict[str, Any]]:
        pseudonym = client.actor.account if patient is None else account_named(client, patient)
        return [
            {
                "time": time_text(one.time_ms),
                "block": one.height,
                "kind": one.kind,
                "what": one.sentence,
                "tx_id": one.tx_id,
            }
            for one in await read_log(client, pseudonym)
        ]

    show_rows("Log", ("time", "block", "what"), run_client(make_home(**options), work))


async def _share_with_writer(client: Client, grantee: str) -> None:
    """A person who may write needs the patient's category names: the sealed directory."""
    named = parse_grantee(client, grantee)
    if isinstance(named, Person):
        await share_directory(client, client.actor.account, [named.account])


def _show_granted(done: Granted) -> None:
    show(
        {
            "grant": done.grant_id,
            "height": done.outcome.height,
            "envelopes": done.keys.envelopes,
            "failed": [{"record": one, "reason": why} for one, why in done.keys.failed],
        },
        f"grant {done.grant_id.hex()} in block {done.outcome.height};"
        f" keys of {done.keys.envelopes} existing records handed on",
    )
