"""Ledgers that a benchmark lets grow are ledgers: whole, certified, the same at every member."""

import time
from pathlib import Path

import pytest

from benchmarks.errors import NotGrown
from benchmarks.growth.against_state import Blocks, measure_states
from benchmarks.growth.making import Growth, make_grown, read_size
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

GROWTH = Growth(blocks=3, state_keys=4_000, grants=3, spacing_ms=120_000)


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
    with pytest.raises(NotGrown, match="grown in another way"):
        make_grown(grown, Growth(blocks=8), quiet)


def test_no_block_is_of_the_future(grown: Path) -> None:
    layout = layouts(grown)[0]
    with open_database(layout.ledger) as database:
        chain = open_chain(database, chain_id_of(load_genesis(layout.genesis)))

        assert chain.tip.time_ms < time.time_ns() // 1_000_000


def test_where_no_ledger_was_made_to_grow_the_way_out_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotGrown, match="bench growth"):
        read_size(tmp_path)


def test_what_a_transaction_costs_is_measured_on_a_copy(grown: Path, tmp_path: Path) -> None:
    before = read_size(grown)

    first, second = measure_states([grown, grown], tmp_path, Blocks(count=3, grants=20), quiet)

    assert first["ratio"] == 1
    assert second["cpu_us"] > 0
    assert read_size(grown) == before
    assert list(tmp_path.iterdir()) == []


def test_more_patients_than_there_are_cannot_be_drawn(grown: Path, tmp_path: Path) -> None:
    with pytest.raises(NotGrown, match="patients"):
        measure_states([grown], tmp_path, Blocks(count=100, grants=500), quiet)
