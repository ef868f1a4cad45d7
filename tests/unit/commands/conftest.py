"""What tests of commands share: no terminal, no environment of the developer, a node at hand."""

import io
from collections.abc import Iterator

import pytest

from tests.unit.commands.node_at_hand import NodeAtHand, serve_in_thread

VARIABLES = ("HOME", "NODE", "PASSPHRASE", "PASSPHRASE_FILE")


@pytest.fixture(autouse=True)
def _nobody_at_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for name in VARIABLES:
        monkeypatch.delenv(f"MEDLEDGER_{name}", raising=False)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeAtHand]:
    """A node with an API and a home with everybody's keys; tests add to its chain."""
    with serve_in_thread(tmp_path_factory.mktemp("home")) as node:
        yield node
