"""Reading back: what a quorum of nodes says became of every transaction of the blocks of a run.

Every node is asked for the ids and codes of every block, which it takes from receipts it has
checked against the root that the chain carries. What counts is what `quorum` nodes say byte for
byte; a block on which fewer agree counts for nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp

from crypto.errors import DecodeError
from crypto.schema import decode
from ledger.exchange import OUTCOMES_MAX, BlockOutcomes

AT_A_TIME: Final = 4
BUSY_PAUSE_S: Final = 0.1
PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a quorum says of a transaction; `code` is `ok` or the refusal's."""

    height: int
    digest: str
    code: str


async def read_outcomes(
    urls: Sequence[str], heights: Sequence[int], quorum: int
) -> dict[bytes, Outcome]:
    """Return by id what `quorum` of the nodes agree on."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        told = await asyncio.gather(*(_of_node(http, url, heights) for url in urls))
    return agreed(told, quorum)


def agreed(told: Sequence[Mapping[int, tuple[bytes, ...]]], quorum: int) -> dict[bytes, Outcome]:
    """Return by id what `quorum` of the tellers say in the same bytes, block by block.

    Each tells for some heights the pages that its node gave.
    """
    found: dict[bytes, Outcome] = {}
    for height in sorted({height for one in told for height in one}):
        votes = Counter(one[height] for one in told if height in one)
        pages, count = max(votes.items(), key=lambda one: one[1])
        for page in pages if count >= quorum else ():
            block = decode(BlockOutcomes, page)
            for one in block.outcomes:
                found[one.tx_id] = Outcome(height=height, digest=block.digest.hex(), code=one.code)
    return found


async def _of_node(
    http: aiohttp.ClientSession, url: str, heights: Sequence[int]
) -> dict[int, tuple[bytes, ...]]:
    slots, told = asyncio.Semaphore(AT_A_TIME), dict[int, tuple[bytes, ...]]()

    async def read(height: int) -> None:
        async with slots:
            pages = await _pages(http, f"{url}/v1/blocks/{height}/outcomes")
        if pages is not None:
            told[height] = pages

    await asyncio.gather(*(read(height) for height in heights))
    return told


async def _pages(http: aiohttp.ClientSession, url: str) -> tuple[bytes, ...] | None:
    """Return all pages of a block as they came, None if the node does not have it or is gone."""
    pages: list[bytes] = []
    while True:
        first = len(pages) * OUTCOMES_MAX
        try:
            async with http.get(url, params={"first": str(first)}) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError):
            return None
        if answer.status == 429:
            await asyncio.sleep(BUSY_PAUSE_S)
            continue
        if answer.status != 200:
            return None
        try:
            page = decode(BlockOutcomes, body)
        except DecodeError:
            return None
        pages.append(body)
        if first + len(page.outcomes) >= page.tx_count:
            return tuple(pages)
