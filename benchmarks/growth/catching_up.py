"""How fast a member whose ledger is gone comes up to the others.

Block by block it takes everything from peers, checks the certificates, and executes it again. By a
snapshot it takes the state, the newest blocks, and the headers that lead there: what a node does by
itself that is more than `snapshot_gap_blocks` behind.
"""

import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from benchmarks.errors import NodeEnded, NotReady
from benchmarks.growth.making import Size
from benchmarks.growth.restarting import wait_until_ready
from benchmarks.scene.local import (
    Member,
    last_line,
    load_members,
    member_height,
    running_pid,
    start_member,
    start_members,
    stop_members,
)
from config import dump_config, load_config
from storage.database import open_database
from storage.history import read_history
from storage.layout import NodeLayout, make_layout

CATCH_UP_MAX_S: Final = 1_800.0
POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class CatchUp:
    """What came in how long; `cpu_s` is the processor time of the node that caught up.

    Of `blocks`, those below `whole_from` came as part of a snapshot's state, not one by one.
    """

    blocks: int
    whole_from: int
    transactions: int
    seconds: float
    cpu_s: float

    @property
    def blocks_per_s(self) -> float:
        return self.blocks / self.seconds

    @property
    def transactions_per_s(self) -> float:
        return self.transactions / self.seconds


def measure_catch_up(directory: Path, size: Size, *, gap_blocks: int) -> CatchUp:
    """Take the last member's ledger away, and wait until it has all of `size` again.

    It takes a snapshot if it is more than `gap_blocks` behind. The transactions of blocks that are
    not fetched count as well: they are what the node need not execute.

    The time counts from when the node answers: how long a start takes is another measurement.
    Raises `NodeEnded` or `NotReady`.
    """
    members = load_members(directory)
    behind, others = members[-1], members[:-1]
    layout = make_layout(behind.directory)
    _set_gap(layout, gap_blocks)
    shutil.rmtree(layout.ledger)
    layout.ledger.mkdir(mode=0o700)
    try:
        start_members(directory, others)
        for member in others:
            wait_until_ready(member)
        pid = start_member(directory, behind)
        while (first := member_height(behind)) < 0:
            _check_running(behind)
            time.sleep(POLL_S)
        began, cpu_s = time.monotonic(), processor_seconds(pid)
        while (height := member_height(behind)) < size.height:
            _check_running(behind)
            if time.monotonic() > began + CATCH_UP_MAX_S:
                raise NotReady(f"{behind.org} is at block {height} after {CATCH_UP_MAX_S:g} s")
            time.sleep(POLL_S)
        seconds, cpu_s = time.monotonic() - began, processor_seconds(pid) - cpu_s
    finally:
        stop_members(members)
    share = (size.height - first) / size.height
    with open_database(layout.ledger) as database:
        whole_from = read_history(database).whole_from
    return CatchUp(
        blocks=size.height - first,
        whole_from=whole_from,
        transactions=round(size.transactions * share),
        seconds=seconds,
        cpu_s=cpu_s,
    )


def _set_gap(layout: NodeLayout, gap_blocks: int) -> None:
    config = load_config(layout.config)
    limits = replace(config.limits, snapshot_gap_blocks=gap_blocks)
    layout.config.write_text(dump_config(replace(config, limits=limits)), encoding="utf-8")


def _check_running(member: Member) -> None:
    if running_pid(member) is None:
        raise NodeEnded(f"{member.org} ended: {last_line(member)}; see {member.log_file}")


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process so far, without that of its children (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")
