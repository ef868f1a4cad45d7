"""`medledger prune`: what old blocks hold leaves the disk of a stopped node."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from commands.node_directory import OFFLINE_ERRORS, OpenDirectory, offline
from commands.output import failures, say, show
from commands.progress import counter
from shell.journal import rotate_votes
from shell.limits import blocks_kept
from storage.errors import JournalMissing
from storage.journal import close_journal, open_journal
from storage.pruning import (
    Keep,
    Pruned,
    plan_prune,
    prune_floor,
    prune_horizon,
)
from storage.pruning import prune as prune_chain

keep_blocks_option = click.option(
    "--keep-blocks",
    type=click.IntRange(0),
    help="Keep the last so many blocks whole. Without both options node.toml decides.",
)
keep_days_option = click.option(
    "--keep-days",
    type=click.IntRange(0),
    help="Keep the blocks of so many days whole. Without both options node.toml decides.",
)


@click.group()
def prune() -> None:
    """Let what old blocks hold leave the disk; headers, certificates and the state stay."""


@prune.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@keep_blocks_option
@keep_days_option
def plan(directory: Path, keep_blocks: int | None, keep_days: int | None) -> None:
    """Say what `prune run` would delete in DIRECTORY, and what would stay.

    \b
    Example:
      medledger prune plan /var/lib/medledger --keep-days 365
    """
    with failures(OFFLINE_ERRORS), offline(directory) as opened:
        keep = _keep(opened, keep_blocks, keep_days)
        horizon = prune_horizon(opened.chain, keep)
        with counter("blocks looked at") as count:
            pruned = _run(plan_prune(opened.chain, horizon), count)
        _tell(_facts(opened, pruned), keep)


@prune.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@keep_blocks_option
@keep_days_option
def run(directory: Path, keep_blocks: int | None, keep_days: int | None) -> None:
    """Delete what `prune plan` names in DIRECTORY, and give its room back to the disk.

    The node must be stopped; one with a [pruning] section in its node.toml prunes as it runs.
    Interrupted, it goes on where it was when it is run again.

    \b
    Example:
      medledger prune run /var/lib/medledger --keep-days 365
    """
    before_bytes = directory_bytes(directory)
    with failures(OFFLINE_ERRORS), offline(directory) as opened:
        keep = _keep(opened, keep_blocks, keep_days)
        with counter("blocks pruned") as count:
            pruned = _run(prune_chain(opened.chain, prune_horizon(opened.chain, keep)), count)
        say("giving the room back to the disk")
        opened.chain.database.reopen()  # Views of the state before would keep what they show.
        opened.chain.database.compact_range()
        opened.chain.database.reopen()  # Its log of what was deleted is short again.
        _shorten_journal(opened)
        facts = _facts(opened, pruned)
    sizes = {"before_bytes": before_bytes, "after_bytes": directory_bytes(directory)}
    _tell({**facts, **sizes}, keep)


def directory_bytes(directory: Path) -> int:
    """Return the sum of the sizes of all files of a node directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _keep(opened: OpenDirectory, keep_blocks: int | None, keep_days: int | None) -> Keep:
    if keep_blocks is None and keep_days is None:
        return blocks_kept(opened.config.pruning)
    return Keep(blocks=keep_blocks or 0, days=keep_days or 0)


def _run(steps: Any, count: Any) -> Pruned:
    while True:
        try:
            count(next(steps).blocks)
        except StopIteration as done:
            pruned: Pruned = done.value
            return pruned


def _shorten_journal(opened: OpenDirectory) -> None:
    """Let go of the records of decided heights: a start drops them anyway."""
    try:
        journal, encoded = open_journal(opened.layout.journal)
    except JournalMissing:
        return
    try:
        if journal.tail_cut is None:  # A cut tail is for the node's next start to see.
            rotate_votes(journal, encoded, opened.chain.tip.height)
    finally:
        close_journal(journal)


def _facts(opened: OpenDirectory, pruned: Pruned) -> dict[str, Any]:
    chain = opened.chain
    return {
        "tip": int(chain.tip.height),
        **asdict(pruned),
        "whole_blocks_from": int(pruned.horizon),
        "headers_from": int(chain.history.headers_from),
        "must_stay_from": int(prune_floor(chain)),
    }


def _tell(facts: dict[str, Any], keep: Keep) -> None:
    show(facts)
    if keep.is_everything:
        say("everything is kept: say --keep-blocks or --keep-days, or set [pruning] in node.toml")
