"""What a node said when it ended, kept in its directory for whoever asks why it does not run."""

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from commands.output import code_of
from storage.errors import LeaseTaken
from storage.layout import NodeLayout

CLEAN = "node.stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How and when (Unix time, ms) the last process ended: code and text of its failure."""

    at_ms: int
    code: str
    text: str

    @property
    def is_clean(self) -> bool:
        return self.code == CLEAN


class LastWords:
    """Keeps how the node in a directory ends; a process that is killed leaves no words."""

    def __init__(self, directory: Path) -> None:
        self.path = NodeLayout(directory).ended

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):  # Those of an earlier process: from now on this one is.
            self.path.unlink(missing_ok=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(problem, LeaseTaken):
            return  # The node that runs goes on: these are not its words.
        if problem is None:
            code, text = CLEAN, "it was told to stop"
        else:
            code, text = _code_of(problem), str(problem)
        ended = {"at_ms": time.time_ns() // 1_000_000, "code": code, "text": text}
        with contextlib.suppress(OSError):  # A full or missing disk is found by looking at it.
            self.path.write_text(json.dumps(ended) + "\n", encoding="utf-8")


def read_words(directory: Path) -> Ended | None:
    """Return what the last process said, None if it ended without a word."""
    try:
        told = json.loads(NodeLayout(directory).ended.read_text(encoding="utf-8"))
        return Ended(at_ms=int(told["at_ms"]), code=str(told["code"]), text=str(told["text"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _code_of(problem: BaseException) -> str:
    """Return the stable code of a named error; a mistake of our own has only its kind."""
    is_named = isinstance(problem, OSError) or isinstance(getattr(problem, "code", None), str)
    if is_named and isinstance(problem, Exception):
        return code_of(problem)
    return type(problem).__name__
