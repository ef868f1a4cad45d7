"""What an operator does with the directory of a stopped node: plan, prune, check."""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from commands.output import Exit
from commands.prune import directory_bytes
from config import Limits, NodeConfig, Pruning, dump_config
from crypto.schema import decode, encode
from crypto.validators import ReplicaId
from crypto.votes import CommitCertificate
from genesis.files import dump_genesis
from ledger.identity_payloads import Suspend
from ledger.transactions import decode_transaction
from shell.restart import begin_journal
from storage.chain import StoredHeader
from storage.database import open_database
from storage.keys import STATE, TRANSACTIONS, header_key, height_of, receipt_key, transaction_key
from storage.layout import NodeLayout, make_layout
from storage.lease import release_lease, take_lease
from storage.rows import open_row, seal_row
from storage.sidecars import close_sidecars
from tests.unit.commands.command_line import check_refused, invoke
from tests.unit.ledger.record_samples import DOCTOR
from tests.unit.ledger.small_consortium import account_of
from tests.unit.shell.live_chain import make_live_chain

BLOCKS = 80
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a node that stopped after eighty blocks, an hour apart."""
    root = tmp_path_factory.mktemp("stopped") / "node"
    root.mkdir(mode=0o700)
    live = make_live_chain(root)

    async def decide() -> None:
        for _ in range(BLOCKS):
            payload = Suspend(account_id=account_of(DOCTOR), reason="test")
            signed = live.hospitals.chain.signed(
                "identity.suspend", payload, "first admin of north"
            )
            await live.decide(decode_transaction(signed, live.chain.chain_id), after_ms=HOUR_MS)

    asyncio.run(decide())
    close_sidecars(live.sidecars)
    live.chain.stored.database.close()
    layout = make_layout(root)
    layout.genesis.write_bytes(dump_genesis(live.hospitals.chain.document))
    layout.config.write_text(
        dump_config(
            NodeConfig(
                node_index=0,
                directory=root,
                limits=Limits(proof_heights=3),
                pruning=Pruning(keep_blocks=75),
            )
        )
    )
    begin_journal(layout.journal, live.chain.chain_id, ReplicaId(0))
    return root


@pytest.fixture
def node(stopped: Path, tmp_path: Path) -> NodeLayout:
    """A copy of it for one test."""
    return NodeLayout(Path(shutil.copytree(stopped, tmp_path / "node")))


def flip_row(node: NodeLayout, key: bytes) -> None:
    """Change the last byte of a row, as no writer of ours would."""
    with open_database(node.ledger) as database:
        stored = database.get(key)
        assert stored is not None
        database.put(key, stored[:-1] + bytes([stored[-1] ^ 1]))


def heights_in(node: NodeLayout) -> set[int]:
    with open_database(node.ledger) as database:
        return {height_of(key) for key, _ in database.scan(TRANSACTIONS)}


def test_a_plan_says_what_would_go_and_what_stays(node: NodeLayout) -> None:
    planned = invoke("--json", "prune", "plan", node.root, "--keep-blocks", 70)

    assert planned.status == Exit.OK
    told = planned.json
    assert (told["tip"], told["blocks"], told["transactions"]) == (BLOCKS, 10, 10)
    assert (told["whole_blocks_from"], told["headers_from"]) == (11, 1)
    assert told["bytes_count"] > 1_000
    assert heights_in(node) == set(range(1, BLOCKS + 1))


def test_a_run_follows_the_settings_of_the_node(node: NodeLayout) -> None:
    pruned = invoke("--json", "prune", "run", node.root)

    assert pruned.status == Exit.OK, pruned.err
    assert pruned.json["whole_blocks_from"] == BLOCKS - 75 + 1
    assert heights_in(node) == set(range(BLOCKS - 75 + 1, BLOCKS + 1))


def test_a_run_prunes_no_more_than_a_node_can_do_without(node: NodeLayout) -> None:
    pruned = invoke("--json", "prune", "run", node.root, "--keep-blocks", 1)

    assert pruned.json["whole_blocks_from"] == pruned.json["must_stay_from"] == BLOCKS - 63
    assert invoke("fsck", node.root, "--deep").status == Exit.OK
    assert invoke("--json", "prune", "plan", node.root, "--keep-blocks", 1).json["blocks"] == 0


def test_without_a_wish_everything_is_kept_and_the_way_is_said(node: NodeLayout) -> None:
    kept = invoke("prune", "run", node.root, "--keep-blocks", 0)

    assert kept.status == Exit.OK
    assert "say --keep-blocks or --keep-days" in kept.out
    assert heights_in(node) == set(range(1, BLOCKS + 1))


@pytest.mark.parametrize("words", [("prune", "run"), ("prune", "plan"), ("fsck",)])
def test_nothing_is_done_to_the_directory_of_a_running_node(
    node: NodeLayout, words: tuple[str, ...]
) -> None:
    lease = take_lease(node.lease)

    ended = invoke(*words, node.root)
    release_lease(lease)

    check_refused(ended, Exit.LOCAL, "node.running")


def test_a_whole_directory_passes(node: NodeLayout) -> None:
    quick, deep = invoke("fsck", node.root), invoke("fsck", node.root, "--deep")

    assert (quick.status, deep.status) == (Exit.OK, Exit.OK), (quick.err, deep.err)
    assert f"up to block {BLOCKS}" in deep.out


def test_a_finding_names_the_block_the_database_and_the_way_out(node: NodeLayout) -> None:
    flip_row(node, transaction_key(70, 0))

    found = invoke("fsck", node.root)
    told = invoke("--json", "fsck", node.root)

    assert (found.status, told.status) == (Exit.LOCAL, Exit.LOCAL)
    (line,) = [one for one in found.out.splitlines() if one]
    assert f"block 70 in the database {node.ledger} is damaged" in line
    assert line.endswith("a copy from a peer can replace it [block.corrupt]")
    assert [one["code"] for one in told.json["findings"]] == ["block.corrupt"]
    assert told.json["error"] == "storage.damaged"


def test_a_certificate_that_no_quorum_signed_is_a_finding(node: NodeLayout) -> None:
    key = header_key(70)
    with open_database(node.ledger) as database:
        stored = decode(StoredHeader, open_row(key, database.get(key) or b""))
        certificate = decode(CommitCertificate, stored.certificate)
        forged = tuple((signer, bytes(64)) for signer, _ in certificate.signatures)
        unsigned = replace(stored, certificate=encode(replace(certificate, signatures=forged)))
        database.put(key, seal_row(key, encode(unsigned)))

    found = invoke("fsck", node.root)

    assert found.status == Exit.LOCAL
    assert "block 70" in found.out
    assert "its certificate" in found.out


def test_only_a_deep_check_reads_what_is_old(node: NodeLayout) -> None:
    flip_row(node, receipt_key(5, 0))

    quick, deep = invoke("fsck", node.root), invoke("fsck", node.root, "--deep")

    assert quick.status == Exit.OK
    assert deep.status == Exit.LOCAL
    assert "the receipts of block 5" in deep.out


def test_a_damaged_journal_is_found(node: NodeLayout) -> None:
    segment = max(node.journal.iterdir())
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)

    found = invoke("fsck", node.root)

    assert found.status == Exit.LOCAL
    assert str(segment) in found.out
    assert "[journal.corrupt]" in found.out


def test_a_run_says_what_the_directory_takes_before_and_after(node: NodeLayout) -> None:
    before_bytes = directory_bytes(node.root)

    told = invoke("--json", "prune", "run", node.root, "--keep-days", 1, "--keep-blocks", 64).json

    assert told["before_bytes"] == before_bytes
    assert told["after_bytes"] == directory_bytes(node.root)


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    check_refused(invoke("fsck", tmp_path), Exit.LOCAL, "config.invalid")


def test_what_snapshot_and_pruning_cost_is_measured_with_a_copy(
    node: NodeLayout, tmp_path: Path
) -> None:
    before = heights_in(node)

    measured = invoke("--json", "bench", "growth", "upkeep", node.root, "--out", tmp_path / "found")

    assert measured.status == Exit.OK, measured.err
    snapshot, pruned = measured.json
    with open_database(node.ledger) as database:
        keys = sum(1 for _ in database.scan(STATE))
    assert (snapshot["what"], snapshot["height"]) == ("snapshot", BLOCKS - 1)
    assert snapshot["leaves_taken"] >= keys, "all of the state has come"
    assert snapshot["sent_bytes"] > 40 * keys
    assert pruned["blocks"] == pruned["transactions"] == pruned["whole_from"] - 1 > 0
    assert heights_in(node) == before, "the node's own ledger stays as it is"
    assert [one.name for one in (tmp_path / "found").iterdir()] == ["growth.json"]
