"""The path of one transaction, read together from the logs of several nodes.

Lines about a transaction carry its id (level debug); lines about a block carry its height. So the
id leads to the height, and the height to the phases of the block that took the transaction.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

BLOCK_EVENTS: Final = frozenset(
    {"proposed", "voted", "prepared", "committed", "view change", "proposal refused", "block"}
)
_HEAD: Final = ("time", "replica", "event", "height", "view")
_LEFT_OUT: Final = frozenset({*_HEAD, "level", "logger", "tx", "digest8"})


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a log written with `--log-json`; what is none is passed over."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and {"time", "event"} <= event.keys():
                yield event


def trace(events: Iterable[dict[str, Any]], tx_id: str) -> list[dict[str, Any]]:
    """Return what was logged about a transaction and the block that took it, in order of time."""
    told = list(events)
    own = [event for event in told if event.get("tx") == tx_id]
    heights = {event["height"] for event in own if "height" in event}
    found = own + [
        event
        for event in told
        if event["event"] in BLOCK_EVENTS and "tx" not in event and event.get("height") in heights
    ]
    return sorted(found, key=lambda event: str(event["time"]))


def as_row(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event as a row: its head, and the rest in one column."""
    rest = {name: value for name, value in event.items() if name not in _LEFT_OUT}
    return {**{name: event.get(name) for name in _HEAD}, "what": rest or None}
