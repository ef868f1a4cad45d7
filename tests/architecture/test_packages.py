"""What pyproject.toml and constraints.txt say is what the repository holds."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

# "name==1.2.3 \" or "name==1.2.3 ; marker \", as `make lock` writes them.
PINNED = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>[^\s;]+)( ; .+)? \\$")
HASHED = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def constraints(repository: Path) -> str:
    return (repository / "constraints.txt").read_text(encoding="utf-8")


def canonical(requirement: str) -> str:
    """The name of a requirement as registries compare it."""
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def direct_dependencies(project: dict[str, Any]) -> set[str]:
    extras = project["project"].get("optional-dependencies", {})
    listed = [*project["project"]["dependencies"], *extras.get("dev", [])]
    return {canonical(requirement) for requirement in listed}


def find_unpinned(constraints: str) -> list[str]:
    """Lines that are neither a comment, an exact version, nor a hash."""
    return [
        line
        for line in constraints.splitlines()
        if line.strip()
        and not line.lstrip().startswith("#")
        and not PINNED.match(line)
        and not HASHED.match(line)
    ]


def test_every_package_is_listed_for_installation(
    project: dict[str, Any], room_sources: dict[Path, str]
) -> None:
    listed = set(project["tool"]["setuptools"]["packages"])

    present = {".".join(path.parent.parts) for path in room_sources if path.name == "__init__.py"}

    assert listed == present, "tool.setuptools.packages in pyproject.toml"


def typed_places(repository: Path) -> set[str]:
    """The folders and files at the top that `make check` hands to mypy."""
    shown = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "check"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [line for line in shown.stdout.splitlines() if "/mypy " in line]
    return set(line.split()[1:])


def test_every_python_file_is_type_checked(
    repository: Path, tracked_files: tuple[Path, ...]
) -> None:
    written = {path.parts[0] for path in tracked_files if path.suffix == ".py"}

    typed = typed_places(repository)

    assert "tests" in typed
    assert written <= typed, f"mypy in the Makefile never sees {sorted(written - typed)}"


def test_every_python_file_of_a_room_lies_in_a_package(
    repository: Path, room_sources: dict[Path, str]
) -> None:
    homeless = [
        str(path)
        for path in room_sources
        if len(path.parts) > 1 and not (repository / path.parent / "__init__.py").exists()
    ]

    assert not homeless, f"these would not be installed: {homeless}"


def test_every_room_is_watched_by_the_import_linter(
    project: dict[str, Any], rooms: tuple[str, ...]
) -> None:
    linter = project["tool"]["importlinter"]
    layers = next(item for item in linter["contracts"] if item["type"] == "layers")
    layered = {room for layer in layers["layers"] for room in layer.split(" | ")}

    assert set(linter["root_packages"]) == set(rooms)
    assert layered == set(rooms), "every room has its place in the layers"


def test_every_room_is_covered_and_first_party(
    project: dict[str, Any], rooms: tuple[str, ...]
) -> None:
    tools = project["tool"]

    assert set(tools["coverage"]["run"]["source"]) == set(rooms)
    assert set(rooms) < set(tools["ruff"]["lint"]["isort"]["known-first-party"])
    assert set(rooms) < set(tools["pytest"]["ini_options"]["testpaths"])


def test_constraints_hold_exact_versions_and_hashes_only(constraints: str) -> None:
    assert find_unpinned(constraints) == []
    assert "://" not in constraints, "the file serves whatever mirror a hospital uses"


def test_every_constraint_has_a_hash(constraints: str) -> None:
    blocks = re.split(r"^(?=[a-z0-9-]+==)", constraints, flags=re.MULTILINE)[1:]

    bare = [block.split(" ")[0] for block in blocks if "--hash=sha256:" not in block]

    assert len(blocks) > 20
    assert not bare


def test_every_direct_dependency_is_pinned(project: dict[str, Any], constraints: str) -> None:
    pinned = {match["name"] for line in constraints.splitlines() if (match := PINNED.match(line))}

    missing = direct_dependencies(project) - pinned

    assert not missing, f"run `make lock`: {sorted(missing)}"


def test_every_direct_dependency_has_its_reason(repository: Path, project: dict[str, Any]) -> None:
    page = (repository / "docs" / "decisions" / "0001-dependencies.md").read_text(encoding="utf-8")

    missing = sorted(name for name in direct_dependencies(project) if f"`{name}`" not in page)

    assert not missing, f"one row each in docs/decisions/0001-dependencies.md: {missing}"


def test_an_unpinned_line_is_found() -> None:
    good = "click==8.5.1 \\\n    --hash=sha256:" + "0" * 64 + "\n    # via medledger\n"

    assert find_unpinned(good) == []
    assert find_unpinned(good + "rich>=15\n--index\n") == ["rich>=15", "--index"]
