"""Structured logs: one line per event, its fields beside it, as JSON or as text."""

import json
import logging
import sys
from typing import Final

from typing_extensions import override

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class EventFormatter(logging.Formatter):
    """Writes `time level logger event` and whatever the event was logged with."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self.as_json = as_json

    @override
    def format(self, record: logging.LogRecord) -> str:
        fields = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        head = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if self.as_json:
            return json.dumps(head | fields, default=str)
        told = " ".join(f"{name}={value}" for name, value in fields.items())
        return " ".join([*head.values(), told]).rstrip()


def start_logging(level: str, *, as_json: bool) -> None:
    """Send the node's events to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EventFormatter(as_json=as_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("medledger").setLevel(level.upper())
