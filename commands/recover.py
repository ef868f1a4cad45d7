"""`medledger recover`: restart a chain of which more than f nodes have forgotten what they signed.

each operator      medledger recover statement DIR     -> statement-<node>.json, sent to the others
one of them        medledger recover combine DIR FILES -> restart.json, sent to the others
each operator      medledger recover apply DIR FILE    -> then the node is started
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from commands.node_directory import OFFLINE_ERRORS, OpenDirectory, offline
from commands.output import Exit, fail, failures, show
from commands.passphrase import passphrase_file_option, read_passphrase
from commands.recovering import (
    Lost,
    append_records,
    check_document,
    check_order,
    find_doubt,
    find_lost,
    make_statement,
    set_aside,
)
from consensus.errors import ConsensusError, InvalidRestart
from consensus.records import FenceRaised, Restarted
from consensus.restarting import STATED, RestartDocument, TipStatement, combine
from genesis.files import dump_wire, load_wire
from ledger.pool import Pool, PoolLimits
from shell.chain import Chain, open_live_chain

RECOVER_ERRORS: dict[type[Exception], Exit] = {
    InvalidRestart: Exit.REFUSED,
    ConsensusError: Exit.LOCAL,
    **OFFLINE_ERRORS,
    ValueError: Exit.USAGE,
}

node_directory = click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
old_file = click.Path(path_type=Path, exists=True, dir_okay=False)
new_file = click.Path(path_type=Path, dir_okay=False)


@click.group()
def recover() -> None:
    """Restart a chain whose nodes are all behind their fences: statement, combine, apply."""


@recover.command()
@node_directory
@click.option("--out", type=new_file, help="Default: statement-<node>.json.")
@passphrase_file_option
def statement(directory: Path, out: Path | None, passphrase_file: Path | None) -> None:
    """State, signed by the stopped node of DIRECTORY, the highest block that it can prove.

    From then on this node signs nothing before the chain was restarted, or has moved on without it.

    \b
    Example:
      medledger recover statement /var/lib/medledger --passphrase-file /run/secrets/node
    """
    with failures(RECOVER_ERRORS), _opened(directory) as (opened, chain):
        passphrase = read_passphrase(passphrase_file, what=f"the node in {directory}")
        stated = make_statement(opened, chain, passphrase)
        out = out or Path(f"statement-{stated.signer}.json")
        out.write_bytes(dump_wire(stated))
    show(
        {"file": out, "node": int(stated.signer), "height": int(stated.height)},
        f"{out}: node {stated.signer} can prove block {stated.height}; send it to the others",
    )


@recover.command(name="combine")
@node_directory
@click.argument("files", nargs=-1, type=old_file, required=True)
@click.option("--out", type=new_file, default=Path("restart.json"), show_default=True)
def combine_statements(directory: Path, files: tuple[Path, ...], out: Path) -> None:
    """Put the statements of a quorum together, checked against the chain in DIRECTORY.

    \b
    Example:
      medledger recover combine /var/lib/medledger statement-*.json
    """
    with failures(RECOVER_ERRORS), _opened(directory) as (_, chain):
        document = combine(load_wire(TipStatement, one) for one in files)
        check_document(document, chain)
        out.write_bytes(dump_wire(document))
    tip = document.tip
    show(
        {
            "file": out,
            "height": int(tip.height),
            "block": tip.digest,
            "epoch": int(document.epoch),
            "nodes": {int(one.signer): int(one.height) for one in document.statements},
        },
        f"{out}: the chain goes on above block {tip.height}, which node {tip.signer} proves, in"
        f" epoch {document.epoch}; every node applies it: `medledger recover apply`",
    )


@recover.command()
@node_directory
@click.argument("file", type=old_file)
@click.option("--discard", is_flag=True, help="Give up the blocks above the restart, if any.")
def apply(directory: Path, file: Path, *, discard: bool) -> None:
    """Let the stopped node of DIRECTORY go on as the restart document FILE says.

    Transactions that this node has decided above the restart count no longer: they are listed, and
    with --discard the ledger is moved aside and fetched again from the other nodes. Listed too are
    those that it has voted for in blocks whose decision it has not seen. What no node knows any
    more, nobody can list.

    \b
    Example:
      medledger recover apply /var/lib/medledger restart.json
    """
    with failures(RECOVER_ERRORS), _opened(directory) as (opened, chain):
        document = load_wire(RestartDocument, file)
        order = check_document(document, chain)
        lost = find_lost(opened, chain, order)
        check_order(opened, chain, document, order)
        if chain.tip.height > order.height and not discard:
            fail(
                Exit.REFUSED,
                "recover.above",
                f"this node has decided {chain.tip.height - order.height} blocks above block"
                f" {order.height}, with {len(lost.decided)} transactions that are lost with them:"
                " add the statement of this node and combine again, or give them up with --discard",
                found={"lost": _rows(lost.decided)},
            )
        doubt = find_doubt(opened, chain)
        append_records(
            opened,
            chain,
            [
                FenceRaised(reason=STATED),
                order,
                *(() if doubt is None else (FenceRaised(reason=doubt),)),
            ],
        )
        aside = set_aside(opened, chain) if chain.tip.height > order.height else None
    show(
        {
            "height": int(order.height),
            "epoch": int(order.epoch),
            "lost": _rows(lost.decided),
            "perhaps_lost": _rows(lost.proposed),
            "unknown_above": int(order.height),
            "voted_height": lost.voted_height,
            "ledger_moved_to": aside,
            "fenced": doubt,
        },
        f"{directory} goes on above block {order.height} in epoch {order.epoch}; "
        f"{_told(lost, order)}{_told_doubt(doubt)}start the node",
    )


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[tuple[OpenDirectory, Chain]]:
    with offline(directory) as opened:
        pool = Pool(PoolLimits(transactions_max=1, bytes_max=1, account_transactions_max=1))
        yield opened, open_live_chain(opened.chain, b"", pool)


def _told_doubt(doubt: str | None) -> str:
    if doubt is None:
        return ""
    return (
        f"it stays silent until the others have decided three more blocks, because {doubt} (a node"
        " that is needed to decide them states its tip first); "
    )


def _told(lost: Lost, order: Restarted) -> str:
    """Say what is lost, what may be, and that more may be lost than anybody here knows of."""
    told = f"lost: {_listed(lost.decided)}; " if lost.decided else ""
    if lost.proposed:
        told += (
            "voted for here, and lost unless they are handed in again (nobody has proven their"
            f" decision): {_listed(lost.proposed)}; "
        )
    elif lost.voted_height > order.height and not lost.decided:
        told += f"this node has voted at block {lost.voted_height}, which nobody has proven; "
    return told + (
        f"any other block above {order.height} is lost without a list: whoever holds a receipt of"
        " one hands its transaction in again; "
    )


def _listed(transactions: tuple[tuple[int, bytes], ...]) -> str:
    return ", ".join(f"{tx_id.hex()} of block {height}" for height, tx_id in transactions)


def _rows(transactions: tuple[tuple[int, bytes], ...]) -> list[dict[str, object]]:
    return [{"height": height, "tx": tx_id.hex()} for height, tx_id in transactions]
