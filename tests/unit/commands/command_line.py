"""Running a command line in this process as a shell does: words in, status and text out."""

import contextlib
import io
import json
from dataclasses import dataclass
from typing import Any

import cli
from commands.output import Exit
from commands.running import run


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What is left of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output; anything beside it is an error."""
        return json.loads(self.out)


def invoke(*words: object) -> Ended:
    """Run a command; an exception other than its exit is the test's failure."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status: int | str | None = run(cli.medledger, [str(word) for word in words])
        except SystemExit as ended:
            status = ended.code
    assert isinstance(status, int), f"an exit status, not {status!r}"
    return Ended(status=status, out=out.getvalue(), err=err.getvalue())


def check_refused(ended: Ended, status: Exit, code: str) -> None:
    """Assert that a command ended with one line that carries this code, and this exit status."""
    lines = ended.err.splitlines()
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("error: "), lines[0]
    assert lines[0].endswith(f" [{code}]"), lines[0]
    assert (ended.status, ended.out) == (status, ""), ended


def check_refused_in_json(ended: Ended, status: Exit, code: str) -> None:
    """Assert the same of a command that was asked for JSON."""
    assert ended.status == status, ended
    assert ended.json["error"] == code
    assert ended.json["exit_status"] == status
    assert ended.json["detail"]
