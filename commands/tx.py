"""`medledger tx`: look at a transaction, or hand a signed one in."""

import base64
from pathlib import Path
from typing import Any

import click

from client.connection import Client
from client.plain_http import get_json, post_json
from client.receipts import export_receipt
from commands.home import digest_named, home_options, make_home, run_client
from commands.http_status import node_url_option, told_by_node
from commands.output import Exit, fail, failures, settings, show, show_rows
from commands.trace import as_row, read_events, trace
from crypto.hashing import Digest
from crypto.schema import encode
from ledger.exchange import ReceiptFile
from ledger.replay import Status

WAIT_S_MAX = 30
ANSWER_S = 10
OUTCOMES = {"COMMITTED": Exit.OK, "REFUSED": Exit.REFUSED, "EXPIRED": Exit.REFUSED}


@click.group()
def tx() -> None:
    """Transactions: show, submit, trace."""


@tx.command(name="show")
@click.argument("tx_id")
@node_url_option
def show_transaction(tx_id: str, url: str) -> None:
    """Show what became of a transaction: state, block, index, code, events.

    \b
    Example:
      medledger tx show 9b...77 --node http://127.0.0.1:8080
    """
    wanted = digest_named(tx_id, "transaction id")
    with told_by_node(url):
        status = {**get_json(url, f"/v1/transactions/{wanted.hex()}")}
    _show_status(status)


@tx.command()
@click.argument("tx_id")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Where the receipt file goes; it must not exist yet.",
)
@home_options
def receipt(tx_id: str, out: Path, **options: Any) -> None:
    """Write a receipt that needs no node: `medledger verify` checks it offline, for ever.

    Who sent the transaction may have it, and who may see the log of everybody it names.

    \b
    Example:
      medledger tx receipt 9b...77 --out grant.receipt --as anna
    """
    wanted = Digest(digest_named(tx_id, "transaction id"))

    async def work(client: Client) -> ReceiptFile:
        return await export_receipt(client, wanted)

    file = run_client(make_home(**options), work)
    with failures({OSError: Exit.LOCAL}), out.open("xb") as written:
        written.write(encode(file))
    found = file.proof.receipt
    show({"tx_id": found.tx_id, "height": found.height, "code": found.code, "file": str(out)})


@tx.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--wait",
    "wait_s",
    type=click.IntRange(0, WAIT_S_MAX),
    default=20,
    show_default=True,
    help="Seconds to wait.",
)
@node_url_option
def submit(file: Path, wait_s: int, url: str) -> None:
    """Hand in a signed transaction from FILE (canonical bytes); the same one again is no mistake.

    \b
    Example:
      medledger tx submit grant.tx --node http://127.0.0.1:8080
    """
    with failures({OSError: Exit.LOCAL}):
        signed = base64.b64encode(file.read_bytes()).decode()
    batch = {"transactions": [{"signed": signed, "sidecars": []}]}
    with told_by_node(url):
        answers = post_json(url, "/v1/transactions", batch)
        answer = {**(answers[0] if isinstance(answers, list) else answers)}
    if "code" in answer and "state" not in answer:
        status = Exit.REFUSED if answer.get("definite") else Exit.UNKNOWN
        fail(status, str(answer["code"]), str(answer.get("detail", "the node did not take it")))
    with told_by_node(url):
        path = f"/v1/transactions/{answer['tx_id']}?wait_ms={wait_s * 1000}"
        found = {**get_json(url, path, timeout_s=wait_s + ANSWER_S)}
    _show_status(found)


@tx.command(name="trace")
@click.argument("tx_id")
@click.argument(
    "logs",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
def trace_transaction(tx_id: str, logs: tuple[Path, ...]) -> None:
    """Read the path of a transaction together from the LOGS of nodes (JSON, level debug).

    \b
    Example:
      medledger tx trace 9b...77 devnet/nodes/*/node.log
    """
    wanted = digest_named(tx_id, "transaction id").hex()
    with failures({OSError: Exit.LOCAL}):
        found = trace((event for path in logs for event in read_events(path)), wanted)
    if not found:
        fail(
            Exit.REFUSED,
            "trace.nothing",
            f"no line of these logs is about {wanted}: are they written with --log-json and"
            " --log-level debug, and of that time?",
        )
    columns = ("time", "replica", "event", "height", "view", "what")
    show_rows("Path", columns, [as_row(event) for event in found])


def _show_status(status: dict[str, Any]) -> None:
    state = str(status.get("state"))
    outcome = OUTCOMES.get(state, Exit.UNKNOWN)
    if outcome is Exit.OK:
        show(status)
        return
    if not settings().as_json:
        show(status)
    if state == Status.PRUNED.value:
        fail(
            Exit.UNKNOWN,
            "history.pruned",
            f"transaction {status.get('tx_id')} was decided in block {status.get('height')}, whose"
            " receipts this node has pruned: ask a node that keeps more",
            found=status,
        )
    code = str((status.get("receipt") or {}).get("code", f"transaction.{state.lower()}"))
    fail(outcome, code, f"transaction {status.get('tx_id')} is {state}", found=status)
