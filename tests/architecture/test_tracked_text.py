"""What may not stand in any tracked file: addresses of registries, paths of one machine, stubs."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TEXT_BYTES_MAX = 1_000_000

# The patterns are put together from halves, so that this file does not find itself.
FORBIDDEN = {
    "registry address": (
        r"pypi\." + r"org|python" + r"hosted\.org|npm" + r"js\.(org|com)|"
        r"--(extra-)?index" + r"-url\b|--find" + r"-links\b|cr" + r"ates\.io"
    ),
    "path of one machine": (
        r"(?<![\w.])/(work|root|home|farm)" + r"/|/Us" + r"ers/\w|(?<![\w.])/tm" + r"p/\w"
    ),
    "unfinished work": r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b|NotImpl" + r"emented",
    "merge conflict": r"^(<{7}|>{7})( |$)",
}
# path -> kinds it may contain, with the reason beside it.
ALLOWED: dict[str, set[str]] = {
    "scripts/lock.sh": {"registry address"},  # Asks the resolver to leave the addresses out.
}


def find_forbidden(text: str) -> Iterator[tuple[str, int]]:
    """(kind, line) of everything that may not be in a tracked file."""
    for number, line in enumerate(text.splitlines(), 1):
        for kind, pattern in FORBIDDEN.items():
            if re.search(pattern, line):
                yield kind, number


def test_tracked_files_name_no_registry_no_machine_and_no_unfinished_work(
    repository: Path, tracked_files: tuple[Path, ...]
) -> None:
    read = 0
    found = []
    for path in tracked_files:
        content = (repository / path).read_bytes()
        if len(content) > TEXT_BYTES_MAX or b"\0" in content:
            continue
        read += 1
        found += [
            f"{path}:{number}: {kind}"
            for kind, number in find_forbidden(content.decode("utf-8", errors="replace"))
            if kind not in ALLOWED.get(str(path), set())
        ]

    assert read > 30, "the tracked files were really read"
    assert not found, "\n".join(found)


def test_no_large_file_is_tracked(repository: Path, tracked_files: tuple[Path, ...]) -> None:
    found = [
        f"{path}: {(repository / path).stat().st_size} bytes"
        for path in tracked_files
        if (repository / path).stat().st_size > TEXT_BYTES_MAX
    ]

    assert not found, f"records are read by path, never committed: {found}"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("see https://py" + "pi.org/simple", "registry address"),
        ("pip install --index" + "-url x", "registry address"),
        ("open('/wo" + "rk/main')", "path of one machine"),
        ("cd /ro" + "ot/x", "path of one machine"),
        ("x = '/tm" + "p/x'", "path of one machine"),
        ("# TO" + "DO later", "unfinished work"),
        ("raise NotImpl" + "ementedError", "unfinished work"),
        ("<" * 7 + " HEAD", "merge conflict"),
    ],
)
def test_forbidden_text_is_found(text: str, kind: str) -> None:
    assert [found for found, _ in find_forbidden("fine\n" + text)] == [kind]


@pytest.mark.parametrize("text", ["artwork/x", "tests/root/file", "the home page", "~/medledger"])
def test_innocent_text_passes(text: str) -> None:
    assert not list(find_forbidden(text))
