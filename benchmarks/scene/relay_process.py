"""The relays of a local consortium as a process: what they cost is theirs, and nobody waits.

    python -m benchmarks.scene.relay_process DIRECTORY --delay-ms 30

Orders are lines of JSON on the input, each answered with `done`; the end of the input is the end.

    {"do": "cut", "pairs": [[0, 1]]}
    {"do": "slow", "pairs": [[0, 1]], "delay_ms": 300}
    {"do": "mend"}
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.scene.local import load_members, pids_of
from benchmarks.scene.relays import Links, close_relays, cut, mend, open_relays, slow


async def serve(directory: Path, delay_ms: int) -> None:
    members = load_members(directory)
    links = Links(pids=lambda: pids_of(members), delay_s=delay_ms / 1_000)
    await open_relays(links, members)
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        obey(links, json.loads(line))
        sys.stdout.write("done\n")
        sys.stdout.flush()
    await close_relays(links)


def obey(links: Links, order: dict[str, Any]) -> None:
    pairs = {(one, other) for one, other in order.get("pairs", ())}
    match order["do"]:
        case "cut":
            cut(links, pairs)
        case "slow":
            slow(links, pairs, order["delay_ms"] / 1_000)
        case "mend":
            mend(links)
        case other:
            raise ValueError(f"no such order: {other}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Relays between the nodes of a consortium.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--delay-ms", type=int, default=0, help="one way, on every link")
    wanted = parser.parse_args()
    uvloop.run(serve(wanted.directory, wanted.delay_ms))


if __name__ == "__main__":
    main()
