"""The command line as a whole: every command explains itself, wrong usage ends with status 2."""

from collections.abc import Iterator

import click
import pytest

import cli
from commands.output import Exit
from commands.running import run
from tests.unit.commands.command_line import check_refused, check_refused_in_json, invoke


def commands_of(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands_of(command, *path, name)
        else:
            yield (*path, name), command


COMMANDS = dict(commands_of(cli.medledger))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example_of_itself(path: tuple[str, ...]) -> None:
    ended = invoke(*path, "--help")

    assert ended.status == Exit.OK
    assert f"medledger {' '.join(path)}" in ended.out.partition("Example:")[2]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_an_unknown_option_is_wrong_usage(path: tuple[str, ...]) -> None:
    ended = invoke(*path, "--no-such-option")

    check_refused(ended, Exit.USAGE, "usage.invalid")
    assert f"medledger {' '.join(path)} --help" in ended.err


@pytest.mark.parametrize(
    "words",
    [
        ("bogus",),
        ("keys", "bogus"),
        ("keys", "new"),
        ("record", "get"),
        ("record", "put", "no such file", "--patient", "anna", "--category", "imaging"),
        ("record", "put", ".", "--patient", "anna", "--category", "imaging"),
        ("access", "grant"),
        ("access", "grant", "--to", "anna", "--level", "all"),
        ("person", "enrol", "anna", "--org", "north", "--role", "king"),
        ("devnet", "up", "-n", "0"),
        ("devnet", "up", "-n", "many"),
        ("bench", "run", "--rate", "-1"),
        ("bench", "run", "--seconds", "0"),
        ("bench", "growth", "members", "--out", "x", "-n", "17"),
        ("bench", "growth", "chain", "--out", "x"),
        ("init", "statement", "x", "--invitation", "no such file"),
        ("tx", "submit", "no such file"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_one_line_and_status_2(words: tuple[str, ...]) -> None:
    check_refused(invoke(*words), Exit.USAGE, "usage.invalid")
    check_refused_in_json(invoke("--json", *words), Exit.USAGE, "usage.invalid")


def test_json_may_be_asked_for_behind_the_command() -> None:
    ended = invoke("devnet", "status", "--dir", "no such folder", "--json")

    check_refused_in_json(ended, Exit.LOCAL, "devnet.missing")


def test_what_stands_behind_two_dashes_is_no_option() -> None:
    ended = invoke("person", "show", "--", "--json")

    assert not ended.out, "nobody asked for JSON"


def test_an_interrupted_command_leaves_the_outcome_open() -> None:
    @click.group()
    def group() -> None:
        """A command line."""

    @group.command()
    def wait() -> None:
        """End as after Ctrl-C."""
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        run(group, ["wait"])

    assert ended.value.code == Exit.UNKNOWN


def test_the_version_is_told() -> None:
    ended = invoke("--version")

    assert ended.status == Exit.OK
    assert "version" in ended.out
