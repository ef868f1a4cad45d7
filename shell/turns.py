"""Turns of peers that ask for what is stored: nobody gets more than a share of this node's time.

A member has a quarter of it, as with its messages (`shell.allowance`); all strangers together have
another one.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

from api.turns import Turn, taking

Answer: TypeAlias = Callable[[int, bytes], Awaitable[bytes]]

SHARE: Final = 0.25
STRANGERS: Final = -1
"""The place that all guests share: their ids, below zero, are new with every link."""


@dataclass(slots=True, kw_only=True)
class Turns:
    """The turns of all askers: members by index, and one of strangers."""

    of: dict[int, Turn] = field(default_factory=dict)


def in_turn(turns: Turns, answer: Answer) -> Answer:
    """Return the handler that answers when it is the asker's turn."""
    return partial(_answer_in_turn, turns, answer)


async def _answer_in_turn(turns: Turns, answer: Answer, peer_id: int, body: bytes) -> bytes:
    turn = turns.of.setdefault(max(STRANGERS, peer_id), Turn(share=SHARE))
    async with taking(turn):
        return await answer(peer_id, body)
