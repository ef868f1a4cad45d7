"""Chores: what a node does beside agreeing, again and again, for as long as it runs.

A chore that meets what it did not expect (a disk that fails once, a damaged row) must neither stop
the node nor end for good without a word: nobody would sweep, mend or report any more.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from p2p.errors import P2pError
from p2p.faults import reporting

log = logging.getLogger("medledger.chores")

AGAIN_S: Final = 30.0

Chore: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
"""Begins the work; it may end by itself when it is done."""


async def keep_doing(name: str, begin: Chore, *, again_s: float = AGAIN_S) -> None:
    """Do a chore until it is done; say what breaks it off, and begin again after a while."""

    def tell(fault: Exception) -> None:
        log.error("a chore was broken off", exc_info=fault, extra={"chore": name})

    while True:
        try:
            with reporting(tell):
                await begin()
                return
        except P2pError as problem:
            tell(problem)
        await asyncio.sleep(again_s)
