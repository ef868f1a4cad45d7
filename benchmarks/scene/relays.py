"""Links between nodes on loopback that can be cut, one direction at a time, and delayed: a relay.

Every node's peers know it by the address of its relay here. Who dials is read from /proc (which
process owns the other end of the connection), so a link is known by both its ends although all of
them live on loopback; no privileges are needed. A delay is a link's, not a throttle: bytes are on
their way side by side. Bytes of a link that is cut wait, as packets that are never acknowledged do:
the nodes find out by their own heartbeats.
"""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, cast

from typing_extensions import override

from benchmarks.scene.local import LOOPBACK, Member, free_ports
from config import dump_config, load_config

ON_THE_WAY_BYTES_MAX: Final = 32 << 20
"""In one direction of a connection; above it the sender is slowed, as by a full window of TCP."""

UNKNOWN: Final = -1
"""In the place of a node: the process has ended since, or is none of ours."""

Pairs = set[tuple[int, int]]
Pids = Callable[[], Mapping[int, int]]
"""Process id of each node that runs, by node index."""


@dataclass(slots=True, kw_only=True)
class Links:
    """What is done to each direction: pairs (from, to) in `cut` pass nothing.

    `delay_s` is what every byte takes one way, except on the pairs in `delays_s`.
    """

    pids: Pids
    delay_s: float = 0.0
    cut: Pairs = field(default_factory=set)
    delays_s: dict[tuple[int, int], float] = field(default_factory=dict)
    servers: list[asyncio.Server] = field(default_factory=list)
    carried_bytes: int = 0
    unknown: int = 0
    ends: set["End"] = field(default_factory=set)
    connecting: set[asyncio.Task[None]] = field(default_factory=set)


def move_behind_relays(members: Sequence[Member]) -> None:
    """Let nodes that have never run listen elsewhere than where their peers look for them."""
    for member, port in zip(members, free_ports(len(members)), strict=True):
        path = member.directory / "node.toml"
        config = load_config(path)
        _claimed(member).write_text(str(config.p2p.port), encoding="ascii")
        moved = replace(config, p2p=replace(config.p2p, port=port))
        path.write_text(dump_config(moved), encoding="utf-8")


async def open_relays(links: Links, members: Sequence[Member]) -> None:
    """Listen where the peers of nodes behind relays look for them."""
    for index, member in enumerate(members):
        own = load_config(member.directory / "node.toml").p2p.port
        claimed = int(_claimed(member).read_text(encoding="ascii"))
        await open_relay(links, index, port=claimed, target=own)


async def open_relay(links: Links, node: int, *, port: int, target: int) -> None:
    """Listen on `port` for peers of `node`, which itself listens on `target`."""

    def on_connection() -> End:
        near = End(links)
        task = asyncio.get_running_loop().create_task(_connect(links, near, node, target))
        links.connecting.add(task)
        task.add_done_callback(links.connecting.discard)
        return near

    loop = asyncio.get_running_loop()
    links.servers.append(await loop.create_server(on_connection, LOOPBACK, port))


async def close_relays(links: Links) -> None:
    for server in links.servers:
        server.close()
    for task in tuple(links.connecting):
        task.cancel()
    await asyncio.gather(*links.connecting, return_exceptions=True)
    ends = tuple(links.ends)
    for end in ends:
        end.close()
    await asyncio.gather(*[end.lost for end in ends])
    links.servers.clear()


def cut(links: Links, pairs: Pairs) -> None:
    """Let nothing through from the first to the second of each pair."""
    links.cut |= pairs


def slow(links: Links, pairs: Pairs, delay_s: float) -> None:
    """Let every byte from the first to the second of each pair take so long."""
    links.delays_s |= dict.fromkeys(pairs, delay_s)


def mend(links: Links) -> None:
    """Make all links what they were at the start; what waited in cut ones goes on now."""
    links.cut.clear()
    links.delays_s.clear()
    for end in tuple(links.ends):
        end.pass_on()


def both_ways(one: list[int], other: list[int]) -> Pairs:
    return {pair for a in one for b in other for pair in ((a, b), (b, a))}


def _claimed(member: Member) -> Path:
    return member.directory / "claimed-port"


class End(asyncio.Protocol):
    """One end of a connection: what it hears is passed on to the other end when it is due.

    In `waiting` are pieces with the time they are due; None is the end of what is said.
    """

    def __init__(self, links: Links) -> None:
        self.links = links
        self.pair = (UNKNOWN, UNKNOWN)
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport | None = None
        self.other: End | None = None
        self.made = self.loop.create_future()
        self.lost = self.loop.create_future()
        self.waiting: deque[tuple[float, bytes | None]] = deque()
        self.waiting_bytes = 0
        self.is_full = False  # This end takes nothing more for the moment.
        self.timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.links.ends.add(self)
        self.transport.pause_reading()  # Until the other end is there too.
        self.made.set_result(None)

    @override
    def data_received(self, data: bytes) -> None:
        self.waiting.append((self._due_s(), data))
        self.waiting_bytes += len(data)
        self.check_room()
        if len(self.waiting) == 1 or self.timer is None:
            self.pass_on()

    @override
    def connection_lost(self, _problem: Exception | None) -> None:
        self.lost.set_result(None)
        self.waiting.append((self._due_s(), None))
        self.pass_on()

    @override
    def pause_writing(self) -> None:
        self.is_full = True
        if self.other is not None:
            self.other.check_room()

    @override
    def resume_writing(self) -> None:
        self.is_full = False
        if self.other is not None:
            self.other.check_room()

    def pass_on(self) -> None:
        """Hand over what is due, and come back when the next piece is."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.other is None or self.pair in self.links.cut:
            return
        now_s = self.loop.time()
        while self.waiting and self.waiting[0][0] <= now_s:
            self._hand_over(self.waiting.popleft()[1])
        if self.waiting:
            self.timer = self.loop.call_at(self.waiting[0][0], self.pass_on)
        self.check_room()

    def close(self) -> None:
        """End the connection; what is still on its way is lost."""
        if self.timer is not None:
            self.timer.cancel()
        self.other = None
        self.links.ends.discard(self)
        if self.transport is not None:
            self.transport.close()

    def join(self, other: "End", pair: tuple[int, int]) -> None:
        """Begin to pass on to `other` what `pair[0]` says to `pair[1]`."""
        self.other, self.pair = other, pair
        self.pass_on()
        self.check_room()

    def check_room(self) -> None:
        """Read on if there is room on the way and at the other end; else let the sender wait."""
        if self.transport is None or self.transport.is_closing():
            return
        is_crowded = self.waiting_bytes > ON_THE_WAY_BYTES_MAX
        if is_crowded or self.other is None or self.other.is_full:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _hand_over(self, piece: bytes | None) -> None:
        assert self.other is not None, "pass_on knows the other end"
        assert self.other.transport is not None, "ends are joined once both are connected"
        if piece is None:
            self.links.ends.discard(self)
            self.other.transport.close()
            return
        self.waiting_bytes -= len(piece)
        self.links.carried_bytes += len(piece)
        if not self.other.transport.is_closing():
            self.other.transport.write(piece)

    def _due_s(self) -> float:
        return self.loop.time() + self.links.delays_s.get(self.pair, self.links.delay_s)


async def _connect(links: Links, near: End, node: int, target: int) -> None:
    """Find out who dials, and connect to the node that is dialled."""
    await near.made
    assert near.transport is not None, "it is connected"
    port = near.transport.get_extra_info("peername")[1]
    dialer = await asyncio.to_thread(owner_of, port, links.pids())
    if dialer is None:
        links.unknown += 1
        dialer = UNKNOWN
    try:
        _, far = await asyncio.get_running_loop().create_connection(
            lambda: End(links), LOOPBACK, target
        )
    except OSError:
        near.close()  # Nobody listens: so does who dials find out.
        return
    near.join(far, (dialer, node))
    far.join(near, (node, dialer))


def owner_of(port: int, pids: Mapping[int, int]) -> int | None:
    """Return which node's process holds the loopback connection that comes from `port`."""
    inode = _inode_of(port)
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    for node, pid in pids.items():
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{name}") == wanted:
                        return node
    return None


def _inode_of(port: int) -> str | None:
    ours = f"0100007F:{port:04X}"
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        if words[1] == ours and words[9] != "0":
            return words[9]
    return None
