"""Asking a node's API for what needs no session: where it stands, who its peers are."""

import json
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from client.plain_http import get_json
from commands.output import Exit, fail

node_url_option = click.option(
    "--node",
    "url",
    default="http://127.0.0.1:8443",
    envvar="MEDLEDGER_NODE",
    show_default=True,
    help="Address of the node's API.",
)


@contextmanager
def told_by_node(url: str) -> Iterator[None]:
    """End the command with the node's own words, or by saying that it did not answer."""
    try:
        yield
    except urllib.error.HTTPError as problem:
        with problem:
            code, text = _problem_of(problem)
        is_ours = 400 <= problem.code < 500 and problem.code not in (408, 429)
        fail(Exit.REFUSED if is_ours else Exit.UNKNOWN, code, text)
    except (OSError, ValueError, KeyError, TypeError) as problem:
        why = getattr(problem, "reason", None) or problem
        told = str(why) if isinstance(why, OSError | ValueError) else "its answer is not a node's"
        fail(
            Exit.UNKNOWN,
            "node.unreachable",
            f"{url} does not answer as a node does ({told}); check the address and that it runs",
        )


def fetch_status(url: str) -> dict[str, Any]:
    """Return a node's own account of itself, or end the command."""
    with told_by_node(url):
        found = {**get_json(url, "/v1/node"), "consensus": {**get_json(url, "/v1/consensus")}}
        int(found["tip"]["height"])  # It is a node of ours that answers.
    return found


def fetch_peers(url: str) -> list[dict[str, Any]]:
    """Return what a node says about the other members, or end the command."""
    with told_by_node(url):
        return [{**row} for row in get_json(url, "/v1/peers")["peers"]]


def _problem_of(problem: urllib.error.HTTPError) -> tuple[str, str]:
    """Return code and text of a refusal, which need not come from a node of ours."""
    try:
        body = json.load(problem)
        return str(body["code"]), str(body["detail"])
    except (OSError, ValueError, KeyError, TypeError):
        return "node.refused", f"{problem.url} answers {problem.code} {problem.reason}"
