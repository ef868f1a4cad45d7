"""What the house rules look at: the files of the repository, as git lists them."""

import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ROOT_MODULES = ("cli.py", "config.py", "node.py")


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def tracked_files() -> tuple[Path, ...]:
    """Every tracked file, relative to the repository; a released archive has no git to ask."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if listed.returncode == 0:
        names = [Path(name) for name in listed.stdout.split("\0") if name]
    else:
        names = [path.relative_to(REPOSITORY) for path in REPOSITORY.rglob("*")]
    return tuple(
        sorted(
            name
            for name in names
            if (REPOSITORY / name).is_file()
            and not any(part.startswith(".venv") for part in name.parts)
        )
    )


@pytest.fixture(scope="session")
def python_sources(tracked_files: tuple[Path, ...]) -> dict[Path, str]:
    """The text of every tracked Python file."""
    return {
        path: (REPOSITORY / path).read_text(encoding="utf-8")
        for path in tracked_files
        if path.suffix == ".py"
    }


@pytest.fixture(scope="session")
def rooms() -> tuple[str, ...]:
    """The top-level packages; what has no `__init__.py` is not a room."""
    found = sorted(path.parent.name for path in REPOSITORY.glob("*/__init__.py"))
    assert "crypto" in found, "the rooms stand at the top level"
    return tuple(found)


@pytest.fixture(scope="session")
def room_sources(python_sources: dict[Path, str], rooms: tuple[str, ...]) -> dict[Path, str]:
    """The product itself: rooms and root modules, without tests and scripts."""
    return {
        path: source
        for path, source in python_sources.items()
        if path.parts[0] in rooms or str(path) in ROOT_MODULES
    }
