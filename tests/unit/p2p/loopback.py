"""Real nodes on loopback: real sockets, real TLS, port 0, and peers that speak raw frames."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from cryptography import x509

from p2p import network as network_module
from p2p.config import KindRule, NetworkConfig, PeerAddress
from p2p.frames import Frame, Parser, encode_frame, feed, make_limits
from p2p.identity import (
    PROTOCOL,
    Identity,
    install_certificate,
    load_identity,
    make_certificate,
    make_contexts,
    make_private_key_pem,
)
from p2p.lanes import Lane
from p2p.network import Network
from p2p.registry import GuestPolicy
from p2p.statistics import PeerStatistics

VOTE = 40
NEWS = 41
ASK = 50
FETCH = 60
STORE = 61
KINDS = {
    VOTE: KindRule(bytes_max=2**20, lane=Lane.CONSENSUS),
    NEWS: KindRule(bytes_max=2**16, lane=Lane.GOSSIP),
    ASK: KindRule(bytes_max=2**16, lane=Lane.SYNC),
    FETCH: KindRule(bytes_max=2**16, lane=Lane.BULK),
    STORE: KindRule(bytes_max=2**16, lane=Lane.BULK),
}
PATIENCE_S = 20
RUNNING: list[Network] = []
ROOM = Path(network_module.__file__).parent


@dataclass(slots=True, kw_only=True)
class Node:
    """A network and everything it has told: messages, links, faults; `mishap` is raised once."""

    identity: Identity
    self_id: int | None
    network: Network
    received: list[tuple[int, int, bytes]] = field(default_factory=list)
    links: list[tuple[int, bool]] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    mishap: Exception | None = None

    @property
    def address(self) -> PeerAddress:
        return PeerAddress(
            peer_id=self.self_id if self.self_id is not None else 999,
            host="127.0.0.1",
            port=self.network.port,
            pin=self.identity.pin,
        )

    def peer(self, peer_id: int) -> PeerStatistics:
        (found,) = [one for one in self.network.statistics().peers if one.peer_id == peer_id]
        return found

    @property
    def refused(self) -> Counter[str]:
        return Counter(self.network.statistics().refused)


def new_identity() -> Identity:
    return load_identity(make_private_key_pem())


@asynccontextmanager
async def running(
    self_id: int | None,
    *,
    guest_policy: GuestPolicy = lambda _pin: None,
    identity: Identity | None = None,
    **changes: Any,
) -> AsyncIterator[Node]:
    """A started node without peers; when the last one has ended, no task of the room is left."""
    identity = identity or new_identity()
    config = NetworkConfig(host="127.0.0.1", port=0, kinds=KINDS, **changes)

    def on_frame(peer_id: int, kind: int, body: bytes) -> None:
        mishap, node.mishap = node.mishap, None
        if mishap is not None:
            raise mishap
        node.received.append((peer_id, kind, body))

    network = Network(
        config,
        identity,
        self_id=self_id,
        peers=(),
        on_frame=on_frame,
        on_link=lambda peer_id, is_up: node.links.append((peer_id, is_up)),
        on_fault=lambda fault: node.faults.append(fault),
        guest_policy=guest_policy,
    )
    node = Node(identity=identity, self_id=self_id, network=network)
    RUNNING.append(network)
    await network.start()
    try:
        yield node
    finally:
        await network.close()
        RUNNING.remove(network)
    if not RUNNING:
        assert not [task for task in asyncio.all_tasks() if _is_of_the_room(task)]


def _is_of_the_room(task: asyncio.Task[Any]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    return code is not None and Path(code.co_filename).parent == ROOM


@asynccontextmanager
async def consortium(size: int, **changes: Any) -> AsyncIterator[list[Node]]:
    """Nodes that are all connected with each other."""
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(running(n, **changes)) for n in range(size)]
        introduce(*nodes)
        await until(lambda: all(len(node.network.connected()) == size - 1 for node in nodes))
        yield nodes


def introduce(*nodes: Node) -> None:
    addresses = [node.address for node in nodes]
    for node in nodes:
        node.network.set_peers(addresses, self_id=node.self_id)


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 (nobody signals what tests look at)
            await asyncio.sleep(0)


@dataclass(slots=True, kw_only=True)
class RawPeer:
    """A peer that sends what it likes: frames by hand over a proper TLS connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    parser: Parser
    frames: list[Frame] = field(default_factory=list)

    def send(self, kind: int, request_id: int = 0, body: bytes = b"") -> None:
        self.writer.write(encode_frame(kind, request_id, body))

    def stop_reading(self) -> None:
        # A stream's transport reads too, whatever the type of a writer says.
        cast("asyncio.Transport", self.writer.transport).pause_reading()

    async def next_frame(self, *kinds: int) -> Frame:
        """The next frame of these kinds; others (heartbeats, mostly) are skipped."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                while self.frames:
                    frame = self.frames.pop(0)
                    if frame[0] in kinds:
                        return frame
                chunk = await self.reader.read(2**16)
                assert chunk, "the node has hung up"
                self.frames += feed(self.parser, chunk)

    async def wait_hung_up(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while chunk := await read_or_end(self.reader):
                self.frames += feed(self.parser, chunk)


async def read_or_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(2**16)
    except OSError:
        return b""


@asynccontextmanager
async def raw_peer(
    node: Node,
    identity: Identity,
    *,
    protocol: str = PROTOCOL,
    certificate: x509.Certificate | None = None,
) -> AsyncIterator[RawPeer]:
    """Dial a node with an identity, and nothing else of a node behind it."""
    contexts = make_contexts()
    contexts.dialing.set_alpn_protocols([protocol])
    if certificate is None:
        certificate = make_certificate(identity, now_s=1_800_000_000, lifetime_s=3600)
    install_certificate(contexts, identity, certificate)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", node.network.port, ssl=contexts.dialing, server_hostname=""
    )
    limits = make_limits({kind: rule.bytes_max for kind, rule in KINDS.items()})
    try:
        yield RawPeer(reader=reader, writer=writer, parser=Parser(limits=limits))
    finally:
        writer.transport.abort()
        await until(writer.transport.is_closing)
