"""Attacks 17, 18 and 20 on real nodes: one member floods with everything a member can send.

Its keys are in this process; its own node does not run. The other three go on with real load.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scene.local import Member, passphrase_path
from consensus.messages import Commit, encode_message
from consensus.votes import VOTE_TYPES
from crypto.hashing import ChainId, Digest
from crypto.schema import encode
from crypto.signatures import sign_preimage
from crypto.validators import Epoch, ReplicaId
from crypto.votes import Height, View, vote_preimage
from genesis.document import chain_id_of
from genesis.files import load_genesis
from genesis.state import apply_genesis
from ledger.exchange import SubmitBatch, SubmitItem
from ledger.nodes import get_nodes
from ledger.state import MemoryState
from p2p.config import NetworkConfig, PeerAddress
from p2p.network import Network
from shell.allowance import FRAMES_MAX, FRAMES_PER_S, WORK_US_MAX, WORK_US_PER_S
from shell.keys import NodeKeys, identity_of, load_node_keys
from shell.kinds import KIND_RULES, Kind
from tests.integration.conftest import MakeConsortium
from tests.integration.consortium import (
    HOSPITALS,
    Consortium,
    ask,
    check_one_history,
    height_of,
    pid_of,
    start_one,
    stop_one,
    wait_height,
    wait_until_async,
)
from tests.integration.load import check_nothing_lost, register_lanes, running_load

pytestmark = pytest.mark.timeout(240)

GROWTH_MIB_MAX = 64
"""How much the resident memory of a node may grow under the flood (docs/threat-model.md)."""

MEASURED_S = 10.0
FLOODER = 3
BURST = 100


async def test_a_flooding_member_costs_bounded_memory_and_less_than_half_the_throughput(
    make_consortium: MakeConsortium,
) -> None:
    four = make_consortium(4)
    await register_lanes(four, HOSPITALS[0])
    *correct, flooder = four.members
    stop_one(flooder)
    await asyncio.to_thread(wait_height, correct, 3)

    async with running_load(four, HOSPITALS[:3]) as load, _networked(four, flooder) as network:
        await wait_until_async(lambda: len(network.connected()) == 3, "the flooder is connected")
        await asyncio.sleep(0)
        normal = await _throughput(load.acknowledged)
        before = {member.org: _resident_mib(member) for member in correct}
        rows_before = [_row(member) for member in correct]
        flood = asyncio.create_task(_flood(network, _arsenal(four, flooder)))
        started = time.monotonic()
        flooded = await _throughput(load.acknowledged)
        elapsed_s = time.monotonic() - started
        rows = [_row(member) for member in correct]
        after = {member.org: _resident_mib(member) for member in correct}
        flood.cancel()
        await asyncio.gather(flood, return_exceptions=True)

    sent = network.statistics().peers
    print(f"normal {normal:.1f}/s, flooded {flooded:.1f}/s, MiB {before} -> {after}")
    for member, was, now in zip(correct, rows_before, rows, strict=True):
        taken = now["messages_taken"] - was["messages_taken"]
        work_ms = now["work_ms"] - was["work_ms"]
        print(f"{member.org}: {taken} taken, {work_ms} ms of work, {now}")
        assert taken <= FRAMES_MAX + FRAMES_PER_S * (elapsed_s + 1)
        assert work_ms <= (WORK_US_MAX + WORK_US_PER_S * (elapsed_s + 1)) / 1_000
        assert now["pauses"] > 0, "the flood exceeds the allowance"
        assert after[member.org] - before[member.org] <= GROWTH_MIB_MAX
    assert sum(sum(peer.bytes_out.values()) for peer in sent) > 1_000_000, "it did flood"
    assert flooded > normal / 2
    start_one(four, flooder)  # Its own node comes back, and finds what it missed.
    await asyncio.to_thread(wait_height, four.members, height_of(correct[0]))
    check_one_history(four.members)
    check_nothing_lost(four, load)


@asynccontextmanager
async def _networked(consortium: Consortium, flooder: Member) -> AsyncIterator[Network]:
    keys = _keys_of(consortium, flooder)
    network = Network(
        NetworkConfig(
            host="127.0.0.1", port=_addresses(consortium)[FLOODER].port, kinds=KIND_RULES
        ),
        identity_of(keys),
        self_id=FLOODER,
        peers=_addresses(consortium),
        on_frame=lambda _peer, _kind, _body: None,
    )
    await network.start()
    try:
        yield network
    finally:
        await network.close()


def _keys_of(consortium: Consortium, flooder: Member) -> NodeKeys:
    passphrase = passphrase_path(consortium.directory).read_text(encoding="utf-8").strip()
    return load_node_keys(flooder.directory / "keys", passphrase)


def _addresses(consortium: Consortium) -> tuple[PeerAddress, ...]:
    writes = apply_genesis(load_genesis(consortium.genesis))
    state = MemoryState({key: value for key, value in writes.items() if value is not None})
    found = []
    for node in get_nodes(state):
        host, _, port = node.p2p_address.rpartition(":")
        found.append(PeerAddress(peer_id=node.index, host=host, port=int(port), pin=node.tls_pin))
    return tuple(found)


def _arsenal(consortium: Consortium, flooder: Member) -> list[tuple[int, bytes]]:
    """Frames to send over and over: far, repeated, forged, oversized, meaningless."""
    draw = random.Random(7)
    chain_id = chain_id_of(load_genesis(consortium.genesis))
    keys = _keys_of(consortium, flooder)
    frames: list[tuple[int, bytes]] = []
    for number in range(200):
        far = _vote(chain_id, keys, draw.randrange(1, 1 << 60), draw.randrange(1 << 30))
        near = _vote(chain_id, keys, number % 5, number % 7)
        forged = encode_message(
            Commit(
                epoch=Epoch(0),
                height=Height(number),
                view=View(0),
                digest=Digest(draw.randbytes(32)),
                signer=ReplicaId(FLOODER),
                signature=draw.randbytes(64),
            )
        )
        frames += [(Kind.CONSENSUS, one) for one in (far, far, near, forged)]
        frames.append((Kind.CONSENSUS, draw.randbytes(draw.randrange(1, 2_000))))
        junk = SubmitBatch(
            items=tuple(SubmitItem(signed=draw.randbytes(300), sidecars=()) for _ in range(50))
        )
        frames.append((Kind.TRANSACTIONS, encode(junk)))
        frames.append((Kind.TRANSACTIONS, draw.randbytes(500)))
    oversized = (b"\x97\x02" + bytes(3 << 20), b"\x99\x06" + bytes(1 << 20))
    frames += [(Kind.CONSENSUS, one) for one in oversized * 4]
    draw.shuffle(frames)
    return frames


def _vote(chain_id: ChainId, keys: NodeKeys, height: int, view: int) -> bytes:
    digest = Digest(height.to_bytes(32, "big"))
    preimage = vote_preimage(
        chain_id, Epoch(0), VOTE_TYPES[Commit], Height(height), View(view), digest
    )
    return encode_message(
        Commit(
            epoch=Epoch(0),
            height=Height(height),
            view=View(view),
            digest=digest,
            signer=ReplicaId(FLOODER),
            signature=sign_preimage(keys.vote, preimage),
        )
    )


async def _flood(network: Network, frames: list[tuple[int, bytes]]) -> None:
    """Keep every queue to every peer full."""
    at = 0
    while True:
        for _ in range(BURST):
            kind, body = frames[at % len(frames)]
            network.broadcast(kind, body)
            at += 1
        await asyncio.sleep(0.01)


async def _throughput(acknowledged: dict[Digest, Any]) -> float:
    """Return how many transactions a second are acknowledged from now on."""
    started, count = time.monotonic(), len(acknowledged)
    await asyncio.sleep(MEASURED_S)
    return (len(acknowledged) - count) / (time.monotonic() - started)


def _row(member: Member) -> dict[str, Any]:
    """What a node says about the flooder."""
    rows = ask(member, "/v1/peers")["peers"]
    (row,) = [one for one in rows if one["node"] == FLOODER]
    assert isinstance(row, dict)
    return row


def _resident_mib(member: Member) -> int:
    status = Path(f"/proc/{pid_of(member)}/status").read_text(encoding="ascii")
    (line,) = [one for one in status.splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1]) // 1024
