"""Every import contract is seen to break when it is violated: a linter that never fires is none."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

LAYERS = "Who stands above whom"
CORES = "The cores know no world"
CONSENSUS = "Storage, p2p, api and client carry bytes"
# (importing module, statement, beginning of the contract that must break)
VIOLATIONS = [
    ("crypto.votes", "import ledger", LAYERS),
    ("ledger.blocks", "import consensus", LAYERS),
    ("consensus.core", "import ledger", LAYERS),
    ("storage.blocks", "import p2p", LAYERS),
    ("api.routes", "import shell", LAYERS),
    ("client.wallet", "import shell", LAYERS),
    ("shell.replica", "import client", LAYERS),
    ("shell.replica", "import commands", LAYERS),
    ("consensus.core", "import time", CORES),
    ("consensus.core", "def f():\n    import logging", CORES),
    ("ledger.pool", "import random", CORES),
    ("ledger.contracts.access", "from datetime import datetime", CORES),
    ("storage.journal", "import consensus", CONSENSUS),
    ("p2p.frames", "import consensus", CONSENSUS),
    ("api.routes", "import consensus", CONSENSUS),
    ("client.wallet", "import consensus", CONSENSUS),
    ("p2p.frames", "import ledger", "p2p carries bytes: the ledger"),
    ("client.wallet", "import storage", "The client runs no node"),
    ("storage.blocks", "import node", "Rooms do not reach up"),
    ("ledger.blocks", "import config", "Rooms do not reach up"),
    ("shell.replica", "import cli", "Nobody imports the command line"),
    ("storage.blocks", "import plyvel", "LevelDB is known to storage.database alone"),
    ("ledger.blocks", "import msgpack", "One encoder: msgpack"),
    ("shell.verifier", "import ecdsa", "The second implementation"),
    ("crypto.keystore", "import aiohttp", "Crypto touches no network"),
]


@pytest.fixture
def skeleton(repository: Path, tmp_path: Path) -> Path:
    """Empty rooms under the real contracts."""
    project = (repository / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
    for package in tomllib.loads(project)["tool"]["setuptools"]["packages"]:
        room = tmp_path / package.replace(".", "/")
        room.mkdir(parents=True)
        (room / "__init__.py").touch()
    return tmp_path


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_empty_rooms_keep_every_contract(skeleton: Path) -> None:
    assert lint(skeleton).returncode == 0


def test_the_database_file_may_import_plyvel(skeleton: Path) -> None:
    (skeleton / "storage" / "database.py").write_text("import plyvel\n", encoding="utf-8")

    assert lint(skeleton).returncode == 0


@pytest.mark.parametrize(("module", "statement", "contract"), VIOLATIONS)
def test_a_violated_contract_breaks(
    skeleton: Path, module: str, statement: str, contract: str
) -> None:
    path = skeleton / (module.replace(".", "/") + ".py")
    path.write_text(statement + "\n", encoding="utf-8")

    outcome = lint(skeleton)

    broken = [line for line in outcome.stdout.splitlines() if " BROKEN" in line]
    assert outcome.returncode == 1
    assert any(line.startswith(contract) for line in broken), outcome.stdout


def test_every_contract_is_among_the_violations(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))

    unseen = [
        contract["name"]
        for contract in project["tool"]["importlinter"]["contracts"]
        if not any(contract["name"].startswith(beginning) for *_, beginning in VIOLATIONS)
    ]

    assert not unseen, f"add a violation for each, or it may never fire: {unseen}"
