"""Uploads of blocks are a way to cost a node seconds, or its memory: neither is to be had."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from consensus.blocks import CertifiedBlock
from consensus.effects import SendBlocks
from consensus.messages import Blocks, Message, encode_message
from crypto.schema import decode, encode
from crypto.validators import ReplicaId
from crypto.votes import Height
from ledger.blocks import BlockBodies, Header, header_digest
from ledger.parameters import BLOCK_TRANSACTIONS_LIMIT
from p2p.errors import RequestRefused
from shell.blocks import Uploads, on_upload, push_blocks
from shell.mending import Mending
from shell.receiving import receive
from shell.replica import Replica
from tests.unit.consensus.replicas import certified, make_block, prepare
from tests.unit.shell.live_chain import LiveChain

PEER = 2


@dataclass(slots=True)
class SlowNetwork:
    """A peer that takes uploads, and no byte of them, until it is told to."""

    begun: int = 0
    is_released: asyncio.Event = field(default_factory=asyncio.Event)

    async def stream_push(
        self, _peer_id: int, _kind: int, _header: bytes, _chunks: AsyncIterator[bytes]
    ) -> bytes:
        self.begun += 1
        await self.is_released.wait()
        return b""


@dataclass(slots=True)
class Heard:
    """What came of uploads: each message that was handed over, and whether it was sound."""

    is_sound: bool = True
    messages: list[Message] = field(default_factory=list)

    def receive(self, _peer_id: int, message: Message) -> bool:
        self.messages.append(message)
        return self.is_sound


async def in_parts(encoded: bytes, pause: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    if pause is not None:
        await pause.wait()
    yield encoded


def everybody(_peer_id: int) -> bool:
    return True


def crowded(live: LiveChain, height: int) -> CertifiedBlock:
    """A block that nobody signed, with as many transactions beside it as any may have."""
    header = replace(decode(Header, live.decision().block.header), height=Height(height))
    block = replace(
        make_block(height=height, is_empty=True),
        proposer=header.proposer,
        parent=header.parent,
        digest=header_digest(header),
        header=encode(header),
    )
    bodies = encode(BlockBodies(transactions=(b"x",) * BLOCK_TRANSACTIONS_LIMIT))
    return certified(block, bodies=bodies)


async def test_a_peer_that_asks_for_blocks_and_takes_none_costs_two_uploads(
    live: LiveChain,
) -> None:
    network, uploads = SlowNetwork(), Uploads()
    mending = Mending(chain=live.chain, network=cast("Any", network))
    effect = SendBlocks(to=ReplicaId(PEER), from_height=Height(1), count=64)

    pushes = [
        asyncio.create_task(push_blocks(cast("Any", network), uploads, mending, effect))
        for _ in range(20)
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert network.begun == 2
    assert uploads.refused == 18
    network.is_released.set()
    await asyncio.gather(*pushes)
    await push_blocks(cast("Any", network), uploads, mending, effect)
    assert network.begun == 3


async def test_a_peer_uploads_one_thing_at_a_time() -> None:
    heard, uploads, pause = Heard(), Uploads(), asyncio.Event()
    encoded = encode_message(Blocks(blocks=()))
    first = asyncio.create_task(
        on_upload(heard.receive, everybody, uploads, PEER, b"", in_parts(encoded, pause))
    )
    await asyncio.sleep(0)

    with pytest.raises(RequestRefused, match="one_at_a_time"):
        await on_upload(heard.receive, everybody, uploads, PEER, b"", in_parts(encoded))

    pause.set()
    await first
    assert heard.messages == [Blocks(blocks=())]


@pytest.mark.parametrize(
    "encoded",
    [b"no message", encode_message(prepare(PEER, make_block())), encode_message(Blocks(blocks=()))],
    ids=["not to be decoded", "no blocks", "not sound"],
)
async def test_an_upload_of_no_use_counts_as_no_help(encoded: bytes) -> None:
    """The core then asks somebody else instead of waiting with an open door."""
    heard = Heard(is_sound=False)

    with pytest.raises(RequestRefused, match="malformed"):
        await on_upload(heard.receive, everybody, Uploads(), PEER, b"", in_parts(encoded))

    assert heard.messages[-1] == Blocks(blocks=())


def as_replica(live: LiveChain) -> Replica:
    """A replica as far as a message comes that is not delivered."""
    return Replica(
        chain=live.chain, proposals=live.proposals, **dict.fromkeys(UNUSED, cast("Any", None))
    )


UNUSED = (
    *("state", "votes", "bodies", "sidecars", "mending", "network", "keys", "clock"),
    "first_effects",
)


async def test_blocks_that_nobody_decided_are_refused_before_anything_is_hashed(
    live: LiveChain,
) -> None:
    upload = Blocks(blocks=tuple(crowded(live, height) for height in range(1, 21)))
    replica = as_replica(live)
    started_s = time.process_time()

    is_sound = receive(replica, PEER, upload)

    assert not is_sound
    assert time.process_time() - started_s < 0.5
