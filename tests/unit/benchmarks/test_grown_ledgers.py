"""Ledgers that a benchmark lets grow are ledgers: whole, certified, the same at every member."""

from pathlib import Path

import pytest

from benchmarks.growth.making import Growth, make_grown
from benchmarks.scene.local import load_members
from crypto.votes import CommitCertificate, check_commit_certificate
from genesis.document import chain_id_of
from genesis.files import load_genesis
from ledger.blocks import Header
from ledger.contracts.governance import get_validators
from storage.chain import Chain, open_chain
from storage.check import check_start, findings
from storage.database import open_database
from storage.keys import STATE
from storage.layout import NodeLayout, make_layout

GROWTH = Growth(blocks=7, state_keys=900, grants=3)


def quiet(_text: str) -> None:
    """Tell nobody."""


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("grown") / "net"
    make_grown(directory, GROWTH, quiet)
    return directory


def layouts(directory: Path) -> list[NodeLayout]:
    return [make_layout(member.directory) for member in load_members(directory)]


def check_certified(chain: Chain, header: Header, certificate: CommitCertificate) -> None:
    validators = get_validators(chain.world.view)
    check_commit_certificate(certificate, validators, chain.chain_id, epoch=header.epoch)


@pytest.mark.parametrize("index", range(4))
def test_every_member_gets_a_whole_ledger_that_a_quorum_certified(grown: Path, index: int) -> None:
    layout = layouts(grown)[index]
    with open_database(layout.ledger) as database:
        chain = open_chain(database, chain_id_of(load_genesis(layout.genesis)))

        found = findings(
            check_start(
                chain,
                layout.journal,
                check_certificate=lambda header, one: check_certified(chain, header, one),
            )
        )

        assert found == []
        assert chain.tip.height >= GROWTH.blocks


def test_the_size_that_is_told_is_that_of_the_ledger(grown: Path) -> None:
    size, seconds = make_grown(grown, GROWTH, quiet)

    assert seconds == 0, "what was made by the same wish is used again"
    with open_database(layouts(grown)[0].ledger) as database:
        assert sum(1 for _ in database.scan(STATE)) == size.state_keys >= GROWTH.state_keys


def test_a_ledger_that_grew_by_another_wish_is_not_used(grown: Path) -> None:
    with pytest.raises(FileExistsError, match="grown in another way"):
        make_grown(grown, Growth(blocks=8), quiet)
