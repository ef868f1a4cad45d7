"""Asking a node's API for what needs no session: where it stands, who its peers are."""

import json
import urllib.error
import urllib.request
from typing import Any

import click

from commands.output import Exit, fail

TIMEOUT_S = 5

node_url_option = click.option(
    "--node",
    "url",
    default="http://127.0.0.1:8443",
    envvar="MEDLEDGER_NODE",
    show_default=True,
    help="Address of the node's API.",
)


def get_json(url: str, path: str, *, timeout_s: float = TIMEOUT_S) -> Any:
    """Return what the node answers; raises `OSError` or `ValueError` when it does not."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is no http address")
    request = urllib.request.Request(url.rstrip("/") + path)  # noqa: S310 - checked above
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
        return json.load(answer)


def post_json(url: str, path: str, body: object, *, timeout_s: float = TIMEOUT_S) -> Any:
    """Return what the node answers to a JSON body, errors included; raises as `get_json`."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is no http address")
    request = urllib.request.Request(  # noqa: S310 - checked above
        url.rstrip("/") + path,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as problem:
        return json.load(problem)


def fetch_status(url: str) -> dict[str, Any]:
    """Return a node's own account of itself, or end the command."""
    return {**_fetched(url, "/v1/node"), "consensus": _fetched(url, "/v1/consensus")}


def fetch_peers(url: str) -> list[dict[str, Any]]:
    """Return what a node says about the other members, or end the command."""
    found = _fetched(url, "/v1/peers")
    rows: list[dict[str, Any]] = found["peers"] if isinstance(found, dict) else found
    return rows


def _fetched(url: str, path: str) -> Any:
    try:
        return get_json(url, path)
    except (OSError, ValueError) as problem:
        fail(
            Exit.UNKNOWN,
            "node.unreachable",
            f"{url} does not answer ({problem}); check the address and that the node runs",
        )
