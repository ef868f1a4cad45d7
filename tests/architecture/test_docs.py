"""What the pages say exists: links, verbs, commands, decisions."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import click
import pytest

LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)|!\[[^\]]*\]\((?P<image>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
VERB = re.compile(r"(?:^|[\s;&|(])make((?: [A-Za-z_]+=\S+)*(?: [a-z][a-z-]*)+)")
DECISION = re.compile(r"^\d{4}-[a-z0-9-]+\.md$")


def find_dead_links(page: Path, text: str, repository: Path) -> Iterator[str]:
    for match in LINK.finditer(FENCE.sub("", text)):
        target = match["target"] or match["image"]
        is_elsewhere = re.match(r"[a-z]+:", target)
        if not is_elsewhere and not leads_somewhere(page, target, repository):
            yield target


def leads_somewhere(page: Path, target: str, repository: Path) -> bool:
    path, _, anchor = target.partition("#")
    linked = (page.parent / path).resolve() if path else page
    if not linked.is_relative_to(repository) or not linked.exists():
        return False
    return not anchor or anchor in anchors(linked.read_text(encoding="utf-8"))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def find_code(text: str) -> Iterator[str]:
    """Every line of code on a page: in fences, and inline."""
    for fence in FENCE.findall(text):
        yield from fence.splitlines()[1:-1]
    yield from INLINE.findall(FENCE.sub("", text))


def find_verbs(text: str) -> Iterator[str]:
    """The `make` verbs that a page names."""
    for line in find_code(text):
        for words in VERB.findall(line.split("#")[0]):
            yield from (word for word in words.split() if "=" not in word)


def find_commands(text: str) -> Iterator[list[str]]:
    """The words after `medledger` in code; `up|down` stands for two commands."""
    for line in find_code(text):
        for match in re.finditer(r"(?:^|[\s/$])medledger(?P<words>( [^#;&><]+)?)$", line.strip()):
            yield split_words(match["words"])


def split_words(words: str) -> list[str]:
    try:
        return shlex.split(words)
    except ValueError:  # A quote that ends on a later line of the example.
        return words.split()


def find_unknown(words: list[str], root: click.Command) -> Iterator[str]:
    """Follow `words` through the groups; what no group knows comes back."""
    command, path = root, "medledger"
    while words and isinstance(command, click.Group):
        context = click.Context(command)
        word = words.pop(0)
        if word.startswith("-") or word.isupper() or word == "...":
            return
        alternatives = word.split("|")
        for name in alternatives:
            if command.get_command(context, name) is None:
                yield f"{path} {name}"
                return
        chosen = command.get_command(context, alternatives[0])
        assert chosen is not None, "the alternatives were just looked up"
        command, path = chosen, f"{path} {alternatives[0]}"
    known = {option for item in command.get_params(click.Context(command)) for option in item.opts}
    for word in words:
        option = word.split("=")[0]
        if option.startswith("--") and option not in known:
            yield f"{path} {option}"


@pytest.fixture(scope="module")
def pages(repository: Path, tracked_files: tuple[Path, ...]) -> dict[Path, str]:
    return {
        repository / path: (repository / path).read_text(encoding="utf-8")
        for path in tracked_files
        if path.suffix == ".md"
    }


@pytest.fixture(scope="module")
def verbs(repository: Path) -> set[str]:
    makefile = (repository / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_every_link_leads_somewhere(repository: Path, pages: dict[Path, str]) -> None:
    dead = [
        f"{page.relative_to(repository)}: {target}"
        for page, text in pages.items()
        for target in find_dead_links(page, text, repository)
    ]

    assert pages, "pages were read"
    assert not dead, "\n".join(dead)


def test_every_make_verb_of_the_pages_exists(
    repository: Path, pages: dict[Path, str], verbs: set[str]
) -> None:
    unknown = [
        f"{page.relative_to(repository)}: make {verb}"
        for page, text in pages.items()
        for verb in find_verbs(text)
        if verb not in verbs
    ]

    assert not unknown, "\n".join(unknown)


def test_every_verb_explains_itself(repository: Path, verbs: set[str]) -> None:
    makefile = (repository / "Makefile").read_text(encoding="utf-8")

    silent = sorted(
        verb for verb in verbs if not re.search(rf"^{verb}:.* ## \S", makefile, re.MULTILINE)
    )

    assert not silent, f"`make help` would not show: {silent}"


@pytest.fixture(scope="module")
def command_line() -> click.Group:
    groups = [item for item in vars(importlib.import_module("cli")).values() if is_group(item)]
    roots = [group for group in groups if not any(is_child(group, other) for other in groups)]
    assert len(roots) == 1, "cli.py composes one command line"
    return roots[0]


def is_group(item: object) -> TypeGuard[click.Group]:
    return isinstance(item, click.Group)


def is_child(group: click.Group, other: click.Group) -> bool:
    return any(group is command for command in other.commands.values())


def test_every_command_of_the_pages_exists(
    repository: Path, pages: dict[Path, str], command_line: click.Group
) -> None:
    unknown = [
        f"{page.relative_to(repository)}: {what}"
        for page, text in pages.items()
        for words in find_commands(text)
        for what in find_unknown(words, command_line)
    ]

    assert not unknown, "\n".join(unknown)


def test_every_decision_is_listed_in_the_index(repository: Path) -> None:
    folder = repository / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    names = sorted(path.name for path in folder.glob("*.md") if path.name != "README.md")

    missing = [
        f"| [{name[:4]}]({name}) | {decision_title(folder / name)} |"
        for name in names
        if f"]({name})" not in index
    ]

    assert all(DECISION.match(name) for name in names), "pages are named NNNN-title.md"
    assert len({name[:4] for name in names}) == len(names), "a number is used once"
    assert not missing, "add to docs/decisions/README.md:\n" + "\n".join(missing)


def decision_title(page: Path) -> str:
    heading = page.read_text(encoding="utf-8").splitlines()[0]
    return re.sub(r"^#\s*(\d{4}[:.\s-]*)?", "", heading)


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text("# One & two\n", encoding="utf-8")
    text = "[x](b.md) ![x](c.png) [y](a.md) [z](a.md#one--two) [w](a.md#three) [e](https://x.y)"

    assert list(find_dead_links(page, text, tmp_path)) == ["b.md", "c.png", "a.md#three"]


def test_a_link_out_of_the_repository_is_found(tmp_path: Path) -> None:
    page = tmp_path / "inside" / "a.md"
    page.parent.mkdir()
    (tmp_path / "b.md").touch()

    assert list(find_dead_links(page, "[x](../b.md)", page.parent)) == ["../b.md"]


def test_verbs_are_found_in_code_and_not_in_prose() -> None:
    text = "make sense of `make demo ONCE=1`\n```sh\nmake PYTHON=x check test  # make tea\n```\n"

    assert list(find_verbs(text)) == ["check", "test", "demo"]


def test_unknown_commands_and_options_are_found() -> None:
    root = click.Group("medledger")
    devnet = click.Group("devnet")
    devnet.add_command(click.Command("up", params=[click.Option(["--nodes"])]))
    devnet.add_command(click.Command("down"))
    root.add_command(devnet)
    text = (
        "`medledger devnet up|down` `medledger devnet up --nodes 4` `medledger fly`\n"
        "`medledger devnet sideways` `.venv/bin/medledger devnet up --node 4` the medledger runs\n"
        "`medledger devnet COMMAND` `medledger`"
    )

    unknown = [what for words in find_commands(text) for what in find_unknown(words, root)]

    assert unknown == ["medledger fly", "medledger devnet sideways", "medledger devnet up --node"]
