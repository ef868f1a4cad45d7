"""What must be true after a round: one history, and nothing acknowledged is lost or there twice."""

import asyncio
from typing import Any

from tests.integration.consortium import ask, block_at, height_of
from tests.integration.load import Load
from tests.integration.soak.arena import Arena, Violation

PAGE = 4_096


async def check_round(arena: Arena, load: Load) -> None:
    """Compare every block of every correct node, and every acknowledgement with the blocks."""
    height = min(height_of(arena.members[index]) for index in arena.correct)
    witness, *others = arena.correct
    arena.report.acknowledged += len(load.acknowledged)
    arena.report.blocks += height
    told = await asyncio.to_thread(_history, arena, witness, height)
    _check_acknowledged(arena, load, told)
    for index in others:
        await asyncio.to_thread(_check_same, arena, witness, index, height)
    accused = await asyncio.to_thread(_accused, arena)
    if set(accused) - {arena.liar}:
        raise Violation(f"evidence against correct nodes: {accused}")
    if arena.liar is not None and not accused:
        raise Violation("a member that equivocated all the time is not named on the ledger")
    arena.report.evidence += sum(accused.values())


def _history(arena: Arena, witness: int, height: int) -> dict[str, list[tuple[int, int]]]:
    """Return all places where each transaction stands."""
    found: dict[str, list[tuple[int, int]]] = {}
    for at in range(1, height + 1):
        for index, tx_id in enumerate(block_at(arena.members[witness], at)["transactions"]):
            found.setdefault(tx_id, []).append((at, index))
    return found


def _check_acknowledged(arena: Arena, load: Load, told: dict[str, list[tuple[int, int]]]) -> None:
    """Count what is there twice, and what was acknowledged and is not where that said."""
    report = arena.report
    doubled = [tx_id for tx_id, places in told.items() if len(places) > 1]
    lost = [
        (tx_id.hex(), place)
        for tx_id, place in load.acknowledged.items()
        if place not in told.get(tx_id.hex(), [])
    ]
    report.checked += len(load.acknowledged)
    report.doubled += len(doubled)
    report.lost += len(lost)
    if lost:
        raise Violation(f"{len(lost)} acknowledged transactions are not where told: {lost[:3]}")
    if doubled:
        raise Violation(f"{len(doubled)} transactions are in two blocks: {doubled[:3]}")


def _check_same(arena: Arena, one: int, other: int, height: int) -> None:
    """A header carries the receipts root and state root of its parent: equal digests are equal."""
    for at in range(1, height + 1):
        digests = {block_at(arena.members[index], at)["digest"] for index in (one, other)}
        if len(digests) > 1:
            raise Violation(f"nodes {one} and {other} have different blocks at height {at}")


def _accused(arena: Arena) -> dict[int, int]:
    """Return how many votes for two blocks the nodes have seen, by member."""
    found: dict[int, int] = {}
    for index in arena.correct:
        rows: list[dict[str, Any]] = ask(arena.members[index], "/v1/peers")["peers"]
        for row in rows:
            count = int(row.get("evidence") or 0)
            if count:
                found[int(row["node"])] = max(found.get(int(row["node"]), 0), count)
    return found
