"""Where a passphrase comes from: a file, the environment, or a prompt; never the command line."""

import os
import sys
from pathlib import Path

import click

from commands.output import Exit, fail

PASSPHRASE_VARIABLE = "MEDLEDGER_PASSPHRASE"  # noqa: S105 - a variable's name

passphrase_file_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="MEDLEDGER_PASSPHRASE_FILE",
    help=f"File whose first line is the passphrase. Else ${PASSPHRASE_VARIABLE}, else a prompt.",
)


def read_passphrase(file: Path | None, *, what: str, is_new: bool = False) -> str:
    """Return the passphrase of `what`; a new one is asked for twice."""
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as problem:
            why = getattr(problem, "strerror", None) or "it is not text"
            fail(Exit.LOCAL, "passphrase.file", f"cannot read {file}: {why}")
        if not lines or not lines[0]:
            fail(Exit.LOCAL, "passphrase.file", f"{file} is empty: write the passphrase into it")
        return lines[0]
    from_environment = os.environ.get(PASSPHRASE_VARIABLE)
    if from_environment is not None:
        return from_environment
    if not sys.stdin.isatty():
        fail(
            Exit.USAGE,
            "passphrase.missing",
            f"no passphrase for {what}, and no terminal to ask on: give --passphrase-file, or set"
            f" {PASSPHRASE_VARIABLE}",
        )
    prompted: str = click.prompt(
        f"Passphrase of {what}", hide_input=True, confirmation_prompt=is_new, err=True
    )
    return prompted
