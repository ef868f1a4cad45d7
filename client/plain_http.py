"""Asking a node's API for what needs no session, one question at a time and without a loop."""

import http.client
import json
import urllib.request
from typing import Any, Final

TIMEOUT_S: Final = 5.0


def get_json(url: str, path: str, *, timeout_s: float = TIMEOUT_S) -> Any:
    """Return what the node answers; raises `OSError` or `ValueError` when it does not."""
    return _answer_to(urllib.request.Request(_address(url, path)), timeout_s)  # noqa: S310


def get_text(url: str, path: str, *, timeout_s: float = TIMEOUT_S) -> str:
    """Return what the node answers as text; raises as `get_json`."""
    request = urllib.request.Request(_address(url, path))  # noqa: S310 - checked in `_address`
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return str(answer.read().decode("utf-8"))
    except http.client.HTTPException as problem:
        raise ValueError(str(problem) or type(problem).__name__) from problem


def post_json(url: str, path: str, body: object, *, timeout_s: float = TIMEOUT_S) -> Any:
    """Return what the node answers to a JSON body; raises as `get_json`."""
    request = urllib.request.Request(  # noqa: S310 - checked in `_address`
        _address(url, path),
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    return _answer_to(request, timeout_s)


def _address(url: str, path: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is no http address")
    return url.rstrip("/") + path


def _answer_to(request: urllib.request.Request, timeout_s: float) -> Any:
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return json.load(answer)
    except http.client.HTTPException as problem:  # Whoever answers there speaks no HTTP.
        raise ValueError(str(problem) or type(problem).__name__) from problem
