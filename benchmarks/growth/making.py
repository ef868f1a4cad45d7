"""Ledgers that have grown, made fast and really: signed transactions, contracts, certificates.

What the nodes would do together one process does alone, by the same code: it signs transactions,
executes them, stores blocks, and lets a quorum's keys certify each. Every member gets a copy, so a
peer that has nothing catches up from any of them. Only the rhythm differs: blocks are not synced
one by one, and their times are spread over the past.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.errors import NotGrown
from benchmarks.growth.deciding import VALID_MS, Making, begin_making, decide, grants, registrations
from benchmarks.load.people import Person
from benchmarks.scene.local import found_devnet, load_members
from config import load_config
from genesis.document import chain_id_of
from genesis.files import load_genesis
from genesis.state import apply_genesis
from shell.limits import world_limits
from storage.chain import create_chain
from storage.database import create_database
from storage.layout import NodeLayout, make_layout

MADE: Final = "grown"
"""A file that is written last: a directory without it was broken off."""

REGISTERED_AT_ONCE: Final = 200
REGISTERED_MAX: Final = 1_000
TOLD_EVERY: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How far a ledger shall have grown: in blocks, and in entries of the state.

    A block holds `grants` of access rights, and its time is `spacing_ms` after the one before it;
    patients are registered in between as they are needed. Rights are kept with their patient, so
    entries that are still missing behind the last block come from more patients.
    """

    blocks: int = 1
    state_keys: int = 1
    grants: int = 1
    spacing_ms: int = 1_000
    validators: int = 4
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How far a ledger has grown."""

    height: int
    state_keys: int
    transactions: int
    patients: int


def make_grown(directory: Path, growth: Growth, tell: Callable[[str], None]) -> tuple[Size, float]:
    """Found a consortium and let its ledger grow; return how far it came, and the seconds it took.

    A directory that was made before by the same wish is used again, in no time. Raises `NotGrown`
    for one that was made by another, and what founding and storage raise.
    """
    if (directory / MADE).exists():
        _check_wish(directory, growth)
        return read_size(directory), 0.0
    began = time.monotonic()
    blocks_max = 2 * growth.blocks + growth.state_keys // REGISTERED_MAX + 1
    span_ms = growth.spacing_ms * blocks_max + VALID_MS  # No block is of the future.
    found_devnet(directory, growth.validators, created_ms=time.time_ns() // 1_000_000 - span_ms)
    members = load_members(directory)
    layouts = [make_layout(member.directory) for member in members]
    size = _grow(directory, growth, layouts, tell)
    for layout in layouts[1:]:
        shutil.rmtree(layout.ledger)
        shutil.copytree(layouts[0].ledger, layout.ledger)
    (directory / MADE).write_text(
        f"{growth}\n{size.height} {size.state_keys} {size.transactions} {size.patients}\n"
    )
    return size, time.monotonic() - began


def read_size(directory: Path) -> Size:
    """Return how far the ledger in `directory` was made to grow; raise `NotGrown` if it was not."""
    _, numbers = _read_made(directory)
    height, state_keys, transactions, patients = map(int, numbers.split())
    return Size(height=height, state_keys=state_keys, transactions=transactions, patients=patients)


def _check_wish(directory: Path, growth: Growth) -> None:
    wish, _ = _read_made(directory)
    if wish != str(growth):
        raise NotGrown(f"the ledger in {directory} has grown in another way: {wish}")


def _read_made(directory: Path) -> tuple[str, str]:
    """Return what was wished for, and the numbers of what came of it."""
    try:
        wish, numbers = (directory / MADE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as problem:
        raise NotGrown(
            f"no ledger in {directory} was made to grow: `medledger bench growth` makes some"
        ) from problem
    return wish, numbers


def _grow(
    directory: Path, growth: Growth, layouts: list[NodeLayout], tell: Callable[[str], None]
) -> Size:
    """Make the ledger of the first node."""
    with create_database(layouts[0].ledger) as database:
        document = load_genesis(layouts[0].genesis)
        writes = apply_genesis(document)
        chain = create_chain(
            database,
            chain_id_of(document),
            writes,
            time_ms=document.invitation.created_ms,
            limits=world_limits(load_config(layouts[0].config).limits),
        )
        making = begin_making(directory, layouts, chain, seed=growth.seed)
        making.state_keys = len(writes)
        while chain.tip.height < growth.blocks or making.state_keys < growth.state_keys:
            _add_block(making, growth)
            if chain.tip.height % TOLD_EVERY == 0 or chain.tip.height >= growth.blocks:
                tell(f"block {chain.tip.height:,}, {making.state_keys:,} entries of state")
        database.write((), sync=True)
    return Size(
        height=chain.tip.height,
        state_keys=making.state_keys,
        transactions=making.transactions,
        patients=making.registered,
    )


def _add_block(making: Making, growth: Growth) -> None:
    """Decide one block: of grants while blocks are missing and patients can give them."""
    time_ms = making.chain.tip.time_ms + growth.spacing_ms
    if making.chain.tip.height >= growth.blocks:
        signed = list(registrations(making, time_ms, REGISTERED_MAX))
    elif making.rights_left < growth.grants:
        wanted = -(-growth.grants // making.parameters.grants_per_patient_max)
        signed = list(registrations(making, time_ms, max(wanted, REGISTERED_AT_ONCE)))
    else:
        making.rights_left -= growth.grants
        first = making.granted
        signed = list(grants(making, time_ms, _in_turn(making.givers, first, growth.grants)))
    decide(making, time_ms, signed)


def _in_turn(givers: Sequence[Person], first: int, count: int) -> list[Person]:
    return [givers[number % len(givers)] for number in range(first, first + count)]
