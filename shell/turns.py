"""Turns of peers that ask for what is stored: nobody gets more than a share of this node's time.

A member has a quarter of it, as with its messages (`shell.allowance`); all strangers together have
another one. What a vote may wait for has turns of its own, so that it never stands behind bulk.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

from api.turns import Turn, taking

Answer: TypeAlias = Callable[[int, bytes], Awaitable[bytes]]
Stream: TypeAlias = Callable[[int, bytes], Awaitable[AsyncGenerator[bytes]]]

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


def stream_in_turn(turns: Turns, stream: Stream) -> Stream:
    """Return the handler that takes the asker's turn for its beginning, and for each portion."""
    return partial(_stream_in_turn, turns, stream)


async def _answer_in_turn(turns: Turns, answer: Answer, peer_id: int, body: bytes) -> bytes:
    async with taking(_turn_of(turns, peer_id)):
        return await answer(peer_id, body)


async def _stream_in_turn(
    turns: Turns, stream: Stream, peer_id: int, body: bytes
) -> AsyncGenerator[bytes]:
    turn = _turn_of(turns, peer_id)
    async with taking(turn):
        portions = await stream(peer_id, body)
    return _portions_in_turn(turn, portions)


async def _portions_in_turn(turn: Turn, portions: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    """Have the turn only while a portion is made, not while the asker takes it."""
    async with aclosing(portions):
        while True:
            async with taking(turn):
                portion = await anext(portions, None)
            if portion is None:
                return
            yield portion


def _turn_of(turns: Turns, peer_id: int) -> Turn:
    return turns.of.setdefault(max(STRANGERS, peer_id), Turn(share=SHARE))
