"""What an operator in a hurry may do with `medledger recover`, and a node must survive."""

import shutil
from pathlib import Path

import pytest

from benchmarks.scene.local import free_ports
from commands.node_directory import offline
from commands.output import Exit
from commands.recovering import set_aside
from config import Endpoint, Limits
from consensus.records import Booted, FenceLifted, FenceRaised, Record, Restarted, VoteRecord
from consensus.restarting import TipStatement
from crypto.keystore import KDF_CHEAPEST
from crypto.signatures import Scheme, account_id, make_signing_key, public_key
from crypto.validators import RESTART_EPOCHS, Epoch
from crypto.votes import GENESIS_HEIGHT, NO_DIGEST, Height, View, VoteType
from genesis.document import Invitation, chain_id_of
from genesis.files import load_genesis, load_wire
from ledger.identity_payloads import Suspend
from ledger.parameters import Parameters
from ledger.pool import Pool, PoolLimits
from ledger.transactions import decode_transaction, make_transaction, sign_transaction
from shell.chain import open_live_chain
from shell.clock import Clock
from shell.founding import found, make_founder, write_node_directory
from shell.journal import BodiesRecord, append_votes, make_bodies_record, open_votes
from shell.limits import world_limits
from shell.opening import open_founded_chain, open_ledger
from shell.restart import trace_copy
from storage.journal import close_journal, open_journal
from storage.layout import NodeLayout
from storage.place import keep_place
from tests.unit.commands.command_line import check_refused, invoke

PASSPHRASE = "nine words that nobody guesses"
MEMBERS = 4
STUCK = FenceRaised(reason="this directory was copied or restored: its inodes are others")


@pytest.fixture
def directories(tmp_path: Path) -> list[Path]:
    """Four nodes that have started once, and then all stood behind a fence."""
    ports = free_ports(2 * MEMBERS)
    founders = [
        make_founder(f"hospital-{at}", f"Hospital {at}", at, Endpoint(port=ports[at]))
        for at in range(MEMBERS)
    ]
    now_ms = Clock().now_ms()
    invitation = Invitation(chain_name="restarted", created_ms=now_ms, parameters=Parameters())
    document = found(founders, invitation)
    (tmp_path / "words").write_text(PASSPHRASE)
    (tmp_path / "words").chmod(0o600)
    made = []
    for at, founder in enumerate(founders):
        directory = tmp_path / f"node-{at}"
        write_node_directory(
            directory,
            founder,
            document,
            PASSPHRASE,
            api=Endpoint(port=ports[MEMBERS + at]),
            created_ms=now_ms,
            kdf=KDF_CHEAPEST,
        )
        database = open_ledger(NodeLayout(directory))
        pool = Pool(PoolLimits(transactions_max=1, bytes_max=1, account_transactions_max=1))
        open_founded_chain(database, document, pool, world_limits(Limits()))
        database.close()
        write(directory, booted(1), STUCK)
        keep_place(NodeLayout(directory), booted(1).boot_id)
        made.append(directory)
    return made


def booted(number: int) -> Booted:
    return Booted(number=number, boot_id=b"start %010d" % number, earlier=())


def write(directory: Path, *records: Record | BodiesRecord) -> None:
    journal, encoded = open_journal(NodeLayout(directory).journal)
    votes, _, _ = open_votes(journal, encoded, 0)
    append_votes(votes, records)
    close_journal(journal)


def read(directory: Path) -> list[Record]:
    journal, encoded = open_journal(NodeLayout(directory).journal)
    close_journal(journal)
    return list(open_votes(journal, encoded, 0)[1])


def state_tip(directory: Path) -> Path:
    file = directory.parent / f"stated-{directory.name}.json"
    words = ("--passphrase-file", directory.parent / "words", "--out", file)
    ended = invoke("recover", "statement", directory, *words)
    assert ended.status == 0, ended.err
    return file


def order_restart(directories: list[Path]) -> Path:
    files = [state_tip(one) for one in directories[:3]]
    order = directories[0].parent / "restart.json"
    ended = invoke("recover", "combine", directories[0], *files, "--out", order)
    assert ended.status == 0, ended.err
    return order


def test_who_stated_its_tip_applies_the_document_and_leaves_its_fence(
    directories: list[Path],
) -> None:
    order = order_restart(directories)

    ended = invoke("recover", "apply", directories[0], order)

    assert ended.status == 0, ended.err
    assert "stays silent" not in ended.out
    assert isinstance(read(directories[0])[-1], Restarted)


def test_a_document_is_not_applied_again_once_the_node_has_started_under_it(
    directories: list[Path],
) -> None:
    """It may have voted in the new epoch, and be behind its fence for having forgotten that."""
    order = order_restart(directories)
    twice = [invoke("recover", "apply", directories[0], order) for _ in range(2)]
    write(directories[0], booted(2), STUCK)

    ended = invoke("recover", "apply", directories[0], order)

    assert [one.status for one in twice] == [0, 0], "nothing was started between the two"
    check_refused(ended, Exit.REFUSED, "recover.document")


def test_a_copy_from_before_the_document_was_applied_stays_behind_its_fence(
    directories: list[Path], tmp_path: Path
) -> None:
    """The original may have started under the document, and voted."""
    order = order_restart(directories)
    copy = tmp_path / "copy"
    shutil.copytree(directories[0], copy)
    settings = copy / "node.toml"
    settings.write_text(settings.read_text().replace(str(directories[0]), str(copy)))

    ended = invoke("recover", "apply", copy, order)

    assert ended.status == 0, ended.err
    assert "stays silent" in ended.out
    (restarted, raised) = read(copy)[-2:]
    assert isinstance(restarted, Restarted)
    assert isinstance(raised, FenceRaised)


def test_a_journal_lost_before_the_document_is_applied_keeps_the_fence_up(
    directories: list[Path],
) -> None:
    order = order_restart(directories)
    for segment in NodeLayout(directories[1]).journal.iterdir():
        segment.unlink()

    ended = invoke("recover", "apply", directories[1], order)

    assert ended.status == 0, ended.err
    assert read(directories[1])[-1] == FenceRaised(reason="the vote journal is missing")


def test_a_node_that_had_lost_its_journal_states_its_tip_and_leaves_its_fence(
    directories: list[Path],
) -> None:
    for segment in NodeLayout(directories[2]).journal.iterdir():
        segment.unlink()
    order = order_restart(directories)

    ended = invoke("recover", "apply", directories[2], order)

    assert "stays silent" not in ended.out
    assert isinstance(read(directories[2])[-1], Restarted)
    assert trace_copy(NodeLayout(directories[2]), read(directories[2])) is None


def test_a_journal_put_back_as_it_was_made_does_not_fit_a_directory_that_ran(
    directories: list[Path],
) -> None:
    layout = NodeLayout(directories[0])

    found = trace_copy(layout, read(directories[0])[:1])

    assert found == "this directory was restored in part: journal and `place` differ"


@pytest.mark.parametrize("is_torn", [False, True], ids=["whole", "torn"])
def test_a_torn_tail_counts_as_a_fence_in_the_statement(
    directories: list[Path], is_torn: bool
) -> None:
    """The next start would raise it; until then the journal says nothing of one."""
    write(directories[0], FenceLifted(height=GENESIS_HEIGHT))
    write(directories[0], booted(2))
    keep_place(NodeLayout(directories[0]), booted(2).boot_id)
    (segment,) = NodeLayout(directories[0]).journal.glob("votes-*.log")
    if is_torn:
        write(directories[0], booted(3))
        segment.write_bytes(segment.read_bytes()[:-3])

    stated = load_wire(TipStatement, state_tip(directories[0]))

    assert stated.is_stuck == is_torn


def test_a_ledger_is_moved_aside_beside_one_that_was_moved_there_before(
    directories: list[Path],
) -> None:
    moved = []

    for _ in range(2):
        with offline(directories[0]) as opened:
            pool = Pool(PoolLimits(transactions_max=1, bytes_max=1, account_transactions_max=1))
            moved.append(set_aside(opened, open_live_chain(opened.chain, b"", pool)))
        shutil.rmtree(directories[0] / "ledger")
        shutil.copytree(moved[0], directories[0] / "ledger")

    assert [one.name for one in moved] == ["ledger.lost-0", "ledger.lost-0-2"]
    assert all(any(one.iterdir()) for one in moved)


def test_what_a_node_voted_for_and_nobody_has_proven_is_listed_as_perhaps_lost(
    directories: list[Path],
) -> None:
    order = order_restart(directories)
    signed = a_transaction(directories[0])
    vote = VoteRecord(
        vote=VoteType.COMMIT,
        epoch=Epoch(0),
        height=Height(1),
        view=View(0),
        digest=NO_DIGEST,
        signature=bytes(64),
    )
    write(directories[0], make_bodies_record(1, NO_DIGEST, [signed]), vote)

    ended = invoke("--json", "recover", "apply", directories[0], order)

    chain_id = chain_id_of(load_genesis(NodeLayout(directories[0]).genesis))
    tx_id = decode_transaction(signed, chain_id).tx_id.hex()
    assert ended.json["perhaps_lost"] == [{"height": 1, "tx": tx_id}]
    assert (ended.json["voted_height"], ended.json["lost"]) == (1, [])


def test_who_applies_a_document_is_told_that_more_may_be_lost_than_can_be_listed(
    directories: list[Path],
) -> None:
    order = order_restart(directories)

    ended = invoke("recover", "apply", directories[1], order)

    assert "any other block above 0 is lost without a list" in ended.out


@pytest.mark.parametrize("since", ["restarted", "lifted"])
def test_a_statement_of_a_former_recovery_is_refused_by_the_node_that_made_it(
    directories: list[Path], since: str
) -> None:
    """It promised silence then; it has voted since, so it may be no part of another document."""
    former = state_tip(directories[0])
    restarted = Restarted(epoch=Epoch(RESTART_EPOCHS), height=GENESIS_HEIGHT, digest=NO_DIGEST)
    gone_on: Record = restarted
    if since == "lifted":
        gone_on = FenceLifted(height=GENESIS_HEIGHT)
    write(directories[0], gone_on, booted(2), STUCK)
    keep_place(NodeLayout(directories[0]), booted(2).boot_id)
    for one in directories[1:3]:
        write(one, gone_on, STUCK)
    later = [state_tip(one) for one in directories[1:3]]
    order = directories[0].parent / "restart.json"
    combined = invoke("recover", "combine", directories[1], former, *later, "--out", order)

    ended = [invoke("recover", "apply", one, order) for one in directories[:2]]

    assert combined.status == 0, combined.err
    check_refused(ended[0], Exit.REFUSED, "recover.document")
    assert "Make a new one" in ended[0].err
    assert ended[1].status == 0, ended[1].err


def a_transaction(directory: Path) -> bytes:
    """Some transaction of this chain; who may send it is nobody's question here."""
    key = make_signing_key(Scheme.P256)
    sender = account_id(public_key(key))
    body = make_transaction(
        chain_id=chain_id_of(load_genesis(NodeLayout(directory).genesis)),
        sender=sender,
        kind="identity.suspend",
        payload=Suspend(account_id=sender, reason="test"),
        valid_from_ms=1,
        valid_until_ms=2,
        nonce=bytes(16),
        sidecars=(),
    )
    return sign_transaction(body, key)
