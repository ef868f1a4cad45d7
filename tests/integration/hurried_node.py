"""A node of the same rooms for which fifteen minutes are eight seconds: a test sees it prune.

    python -m tests.integration.hurried_node DIRECTORY --passphrase-file FILE [--lying]
    python -m tests.integration.hurried_node join INVITE ...      (what `medledger join` takes)

Transactions are taken to expire early, old blocks are looked for every second, and chunks of the
state are few leaves that come slowly; a lying one changes a byte in each, and in copies of blocks.
"""

import argparse
import asyncio
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import cli
import ledger.replay
import node
import shell.mending
import shell.snapshots
from commands.logs import start_logging
from commands.running import run
from config import load_config
from crypto.schema import decode, encode
from ledger.tree.chunks import StateChunk
from shell import upkeep
from shell.chain import Chain
from shell.joining import keep_joining
from shell.pruning import keep_pruning
from shell.snapshots import Snapshots

WINDOW_MS: Final = 8_000
LEAVES_MAX: Final = 64
"""A snapshot can be caught on its way, and is whole before a fast machine has pruned its root."""

CHUNK_S: Final = 0.1

answer_whole = shell.snapshots.answer_chunk
answer_block = shell.mending.answer_copy


async def answer_slowly(snapshots: Snapshots, peer_id: int, body: bytes) -> bytes:
    await asyncio.sleep(CHUNK_S)
    return await answer_whole(snapshots, peer_id, body)


async def answer_wrongly(snapshots: Snapshots, peer_id: int, body: bytes) -> bytes:
    chunk = decode(StateChunk, await answer_slowly(snapshots, peer_id, body))
    if not chunk.leaves:
        return encode(replace(chunk, left=None))
    first = replace(chunk.leaves[0], value=chunk.leaves[0].value + b"?")
    return encode(replace(chunk, leaves=(first, *chunk.leaves[1:])))


async def copy_wrongly(chain: Chain, peer_id: int, body: bytes) -> bytes:
    copy = bytearray(await answer_block(chain, peer_id, body))
    copy[len(copy) // 2] ^= 1
    return bytes(copy)


def hurry(*, is_lying: bool) -> None:
    """Shorten what a test cannot wait for; nothing else is another node's."""
    shell.snapshots.answer_chunk = answer_wrongly if is_lying else answer_slowly
    for module, name, value in (
        (upkeep, "answer_copy", copy_wrongly if is_lying else answer_block),
        (ledger.replay, "TX_WINDOW_MS_LIMIT", WINDOW_MS),
        (shell.snapshots, "LEAVES_MAX", LEAVES_MAX),
        (upkeep, "keep_pruning", partial(keep_pruning, look_s=1.0)),
        (upkeep, "keep_joining", partial(keep_joining, check_s=1.0)),
    ):
        assert hasattr(module, name), f"{module.__name__} has lost {name}"
        setattr(module, name, value)


def main() -> None:
    if sys.argv[1] == "join":
        hurry(is_lying=False)
        sys.exit(run(cli.medledger, sys.argv[1:]))
    parser = argparse.ArgumentParser(description="A node in a hurry.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--passphrase-file", type=Path, required=True)
    parser.add_argument("--lying", action="store_true")
    wanted = parser.parse_args()
    hurry(is_lying=wanted.lying)
    config = load_config(wanted.directory / "node.toml")
    start_logging("info", as_json=True)
    passphrase = wanted.passphrase_file.read_text(encoding="utf-8").strip()
    asyncio.run(node.run_node(config, passphrase))


if __name__ == "__main__":
    main()
