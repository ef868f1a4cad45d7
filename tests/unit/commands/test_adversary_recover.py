"""What an operator in a hurry may do with `medledger recover`, and a node must survive."""

import shutil
from pathlib import Path

import pytest

from commands.devnet import free_ports
from commands.founding import found, make_founder, write_node_directory
from commands.output import Exit
from config import Endpoint, Limits
from consensus.records import Booted, FenceRaised, Record, Restarted
from crypto.keystore import KDF_CHEAPEST
from genesis.document import Invitation
from ledger.parameters import Parameters
from ledger.pool import Pool, PoolLimits
from shell.clock import Clock
from shell.journal import append_votes, open_votes
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


def write(directory: Path, *records: Record) -> None:
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
