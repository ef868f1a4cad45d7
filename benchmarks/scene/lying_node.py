"""A node built of the same rooms that lies: it equivocates, floods, and lies in catch-up.

    python -m benchmarks.scene.lying_node DIRECTORY --passphrase-file FILE [--when-told]

It holds its own keys and nobody else's. What it wants to say goes through `Lies`, which puts itself
between the replica and its network: from the start, or from the first SIGUSR1 on. Until then it is
a correct node, to the last byte.
"""

import argparse
import asyncio
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import uvloop

from config import load_config
from consensus.blocks import Block
from consensus.messages import (
    Commit,
    Message,
    Prepare,
    PrePrepare,
    Status,
    decode_message,
    encode_message,
)
from consensus.state import Config
from consensus.votes import VOTE_TYPES
from crypto.hashing import ChainId, Digest
from crypto.schema import decode, encode
from crypto.validators import Epoch
from crypto.votes import Height, View, vote_preimage
from ledger.blocks import Header, header_digest
from node import Node, running_node
from p2p.network import Network
from shell.kinds import Kind

FLOOD_EVERY: Final = 600
"""So many messages of its own, and then a burst of what nobody should send."""

BURST: Final = 60
HEARD_MAX: Final = 256


@dataclass(slots=True)
class Lies:
    """A network that says something else to every second peer than what the replica wants said."""

    network: Network
    config: Config
    random: random.Random
    said: list[bytes] = field(default_factory=list)
    twins: dict[Digest, Block] = field(default_factory=dict)
    count: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def send(self, peer_id: int, kind: int, body: bytes) -> None:
        if kind != Kind.CONSENSUS:
            self.network.send(peer_id, kind, body)
            return
        for one in self.rewrite(peer_id, decode_message(body)):
            self.network.send(peer_id, kind, encode_message(one))
        self.said = [*self.said[-HEARD_MAX:], body]
        self.count += 1
        if self.count % FLOOD_EVERY == 0:
            self.flood(peer_id)

    def broadcast(self, kind: int, body: bytes) -> None:
        for peer_id in self.network.connected():
            self.send(peer_id, kind, body)

    async def stream_push(
        self, peer_id: int, kind: int, header: bytes, chunks: AsyncIterator[bytes]
    ) -> bytes:
        """Blocks for who fell behind: half of the uploads have a byte that is not the chain's."""
        if kind == Kind.BLOCKS and self.random.random() < 0.5:
            chunks = self.spoilt(chunks)
        return await self.network.stream_push(peer_id, kind, header, chunks)

    async def spoilt(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            changed = bytearray(chunk)
            changed[self.random.randrange(len(changed))] ^= 1 << self.random.randrange(8)
            yield bytes(changed)

    def rewrite(self, to: int, message: Message) -> list[Message]:
        if to % 2 == 0:
            return [message]
        match message:
            case PrePrepare():
                return [self.twin(message)]
            case Prepare() | Commit():
                other = self.twins.get(message.digest)
                digest = Digest(self.random.randbytes(32)) if other is None else other.digest
                return [self.signed(message, digest), message]
            case Status():
                return [replace(message, height=Height(message.height + 1_000))]
            case _:
                return [message]

    def twin(self, proposal: PrePrepare) -> PrePrepare:
        """The same proposal, a millisecond later: as valid as the first, and another block."""
        block = self.twins.get(proposal.digest)
        if block is None:
            header = decode(Header, proposal.block.header)
            later = replace(header, time_ms=header.time_ms + 1)
            block = replace(proposal.block, header=encode(later), digest=header_digest(later))
            self.twins = {proposal.digest: block}
        signature = self.sign(PrePrepare, proposal.epoch, proposal.height, proposal.view, block)
        return replace(proposal, digest=block.digest, block=block, signature=signature)

    def signed(self, vote: Prepare | Commit, digest: Digest) -> Prepare | Commit:
        kind = VOTE_TYPES[type(vote)]
        preimage = vote_preimage(self.chain_id, vote.epoch, kind, vote.height, vote.view, digest)
        return replace(vote, digest=digest, signature=self.config.sign(vote.epoch, preimage))

    def sign(
        self, kind: type[PrePrepare], epoch: Epoch, height: Height, view: View, block: Block
    ) -> bytes:
        preimage = vote_preimage(self.chain_id, epoch, VOTE_TYPES[kind], height, view, block.digest)
        return self.config.sign(epoch, preimage)

    @property
    def chain_id(self) -> ChainId:
        return self.config.chain_id

    def flood(self, peer_id: int) -> None:
        """Noise, repetitions, and votes of heights that will not be for a long time."""
        for number in range(BURST):
            if number % 3 == 0:
                body = self.random.randbytes(self.random.randrange(1, 4_000))
            elif number % 3 == 1:
                body = self.random.choice(self.said)
            else:
                body = encode_message(self.far_vote())
            self.network.send(peer_id, Kind.CONSENSUS, body)

    def far_vote(self) -> Commit:
        vote = Commit(
            epoch=Epoch(0),
            height=Height(self.random.randrange(1, 1 << 40)),
            view=View(self.random.randrange(1 << 20)),
            digest=Digest(bytes(32)),
            signer=self.config.replica,
            signature=bytes(64),
        )
        signed = self.signed(vote, Digest(self.random.randbytes(32)))
        assert isinstance(signed, Commit)
        return signed


async def run(directory: Path, passphrase: str, seed: int, *, when_told: bool) -> None:
    async with running_node(load_config(directory / "node.toml"), passphrase) as node:
        loop = asyncio.get_running_loop()
        if when_told:
            loop.add_signal_handler(signal.SIGUSR1, begin_to_lie, node, seed)
        else:
            begin_to_lie(node, seed)
        loop.add_signal_handler(signal.SIGTERM, node.stopping.set)
        await node.stopping.wait()


def begin_to_lie(node: Node, seed: int) -> None:
    replica = node.replica
    if isinstance(replica.network, Network):  # Whoever lies already goes on.
        lies = Lies(replica.network, replica.state.config, random.Random(seed))
        replica.network = lies  # type: ignore[assignment]  # It passes on what it does not change.


def main() -> None:
    parser = argparse.ArgumentParser(description="A node that lies.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--passphrase-file", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--when-told", action="store_true", help="lie from the first SIGUSR1 on")
    wanted = parser.parse_args()
    passphrase = wanted.passphrase_file.read_text(encoding="utf-8").strip()
    uvloop.run(run(wanted.directory, passphrase, wanted.seed, when_told=wanted.when_told))


if __name__ == "__main__":
    main()
