"""`medledger tx`: look at a transaction, or hand a signed one in."""

import base64
from pathlib import Path
from typing import Any

import click

from commands.http_status import get_json, node_url_option, post_json
from commands.output import Exit, fail, show

OUTCOMES = {"COMMITTED": Exit.OK, "REFUSED": Exit.REFUSED, "EXPIRED": Exit.REFUSED}


@click.group()
def tx() -> None:
    """Transactions: show, submit."""


@tx.command(name="show")
@click.argument("tx_id")
@node_url_option
def show_transaction(tx_id: str, url: str) -> None:
    """Show what became of a transaction: state, block, index, code, events.

    \b
    Example:
      medledger tx show 9b...77 --node http://127.0.0.1:8080
    """
    status = _asked(url, f"/v1/transactions/{tx_id}")
    _show_status(status)


@tx.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--wait", "wait_s", default=20, show_default=True, help="Seconds to wait.")
@node_url_option
def submit(file: Path, wait_s: int, url: str) -> None:
    """Hand in a signed transaction from FILE (canonical bytes); the same one again is no mistake.

    \b
    Example:
      medledger tx submit grant.tx --node http://127.0.0.1:8080
    """
    signed = base64.b64encode(file.read_bytes()).decode()
    try:
        answers = post_json(
            url, "/v1/transactions", {"transactions": [{"signed": signed, "sidecars": []}]}
        )
    except (OSError, ValueError) as problem:
        fail(Exit.UNKNOWN, "node.unreachable", f"{url} does not answer: {problem}")
    answer = answers[0] if isinstance(answers, list) else answers
    if "code" in answer and "state" not in answer:
        status = Exit.REFUSED if answer.get("definite") else Exit.UNKNOWN
        fail(status, answer["code"], answer.get("detail", "the node did not take it"))
    _show_status(_asked(url, f"/v1/transactions/{answer['tx_id']}?wait_ms={wait_s * 1000}"))


def _asked(url: str, path: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = get_json(url, path, timeout_s=70)
    except (OSError, ValueError) as problem:
        fail(Exit.UNKNOWN, "node.unreachable", f"{url} does not answer: {problem}")
    return found


def _show_status(status: dict[str, Any]) -> None:
    show(status)
    outcome = OUTCOMES.get(status["state"], Exit.UNKNOWN)
    if outcome is not Exit.OK:
        code = (status.get("receipt") or {}).get("code", status["state"].lower())
        fail(outcome, code, f"transaction {status['tx_id']} is {status['state']}")
