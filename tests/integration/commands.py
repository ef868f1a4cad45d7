"""Running commands of the product to their end, as a person at a terminal does."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended; `code` stands in brackets at the end of its last line of error."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def code(self) -> str | None:
        found = re.search(r"\[([a-z0-9_.]+)\]\s*$", self.stderr)
        return None if found is None else found[1]


def run(*arguments: str | Path) -> Ended:
    command = [sys.executable, "-m", "cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    return Ended(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)
