"""Running one command line: what click finds wrong ends as everything else does, in one line."""

from collections.abc import Sequence

import click

from commands.output import Exit, fail


def run(group: click.Group, arguments: Sequence[str]) -> int:
    """Run a command; return its exit status, or raise `SystemExit` with that of a failure.

    `--json` counts wherever it stands: nobody remembers which options belong before the command.
    """
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    as_json = "--json" in words[:end]
    if as_json:
        words = ["--json", *(one for one in words[:end] if one != "--json"), *words[end:]]
    try:
        status = group.main(words, prog_name="medledger", standalone_mode=False)
    except click.UsageError as problem:
        asked = "medledger" if problem.ctx is None else problem.ctx.command_path
        text = f"{_one_line(problem.format_message())} (see `{asked} --help`)"
        fail(Exit.USAGE, "usage.invalid", text, as_json=as_json)
    except click.ClickException as problem:
        fail(Exit.LOCAL, "command.failed", _one_line(problem.format_message()), as_json=as_json)
    except click.Abort:
        text = "interrupted: what was under way may have happened, look before you repeat it"
        fail(Exit.UNKNOWN, "command.interrupted", text, as_json=as_json)
    return status if isinstance(status, int) else Exit.OK


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
