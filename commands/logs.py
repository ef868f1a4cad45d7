"""Structured logs: one line per event, its fields beside it, as JSON or as text."""

import json
import logging
import sys
import time
from typing import Final

from typing_extensions import override

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class EventFormatter(logging.Formatter):
    """Writes `time level logger event` and whatever the event was logged with.

    `replica` is the index of the node that writes: lines of several nodes may be read as one.
    """

    def __init__(self, *, as_json: bool, replica: int | None = None) -> None:
        super().__init__()
        self.as_json = as_json
        self.replica = {} if replica is None else {"replica": replica}

    @override
    def format(self, record: logging.LogRecord) -> str:
        own = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        fields = self.replica | own
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        head = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if self.as_json:
            return json.dumps(head | fields, default=str)
        told = [f"{name}={value}" for name, value in fields.items()]
        return " ".join(_one_line(part) for part in (*head.values(), *told))


def start_logging(level: str, *, as_json: bool, replica: int | None = None) -> None:
    """Send the node's events to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EventFormatter(as_json=as_json, replica=replica))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("medledger").setLevel(level.upper())


def _one_line(text: str) -> str:
    """Keep an event on its line, whatever a peer has put into it."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
