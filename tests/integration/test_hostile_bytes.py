"""Whatever bytes come, from strangers or from a member gone mad: a node stays up, small, and tells.

Strangers throw random bytes and handshakes with foreign keys at the port of the nodes; a member's
own key sends frames no node would send; the API gets what is no HTTP, no JSON and no msgpack.
"""

import asyncio
import json
import random
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from benchmarks.scene.local import Member, passphrase_path
from config import load_config
from crypto.schema import encode
from ledger.exchange import SubmitBatch, SubmitItem
from p2p.config import KindRule, NetworkConfig, PeerAddress
from p2p.lanes import Lane
from p2p.network import Network
from shell.keys import NodeKeys, identity_of, load_node_keys, make_node_keys
from shell.kinds import KIND_RULES, Kind
from tests.integration.conftest import MakeConsortium
from tests.integration.consortium import (
    Consortium,
    ask,
    check_one_history,
    height_of,
    log_of,
    pid_of,
    start_one,
    status_of,
    stop_one,
    wait_height,
    wait_until_async,
)

GROWTH_BYTES_MAX: Final = 96 << 20
UNKNOWN_KIND: Final = 77
CONNECTIONS: Final = 300
FRAMES: Final = 2_000
COUNTED: Final = FRAMES // 40
"""Nonsense that is at least read: most of it waits in front of a node that has stopped reading."""


CONSENSUS_SLACK: Final = 8 << 20
MAD_KINDS: Final = {
    **KIND_RULES,
    UNKNOWN_KIND: KindRule(bytes_max=1 << 10, lane=Lane.CONSENSUS),
    int(Kind.CONSENSUS): KindRule(bytes_max=CONSENSUS_SLACK, lane=Lane.CONSENSUS),
}
"""What a member may send that keeps to no rule: longer frames, and a kind nobody knows."""


def resident_bytes(member: Member) -> int:
    status = Path(f"/proc/{pid_of(member)}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) << 10


def p2p_port(member: Member) -> int:
    return load_config(member.directory / "node.toml").p2p.port


def check_unharmed(member: Member, pid: int, resident_before: int) -> None:
    assert pid_of(member) == pid, "the same process runs"
    growth = resident_bytes(member) - resident_before
    assert growth < GROWTH_BYTES_MAX, f"{growth >> 20} MiB more than before"
    assert "Traceback" not in log_of(member)


def throw(port: int, content: bytes, *, is_answered: bool = False) -> None:
    """Connect, send, and go away, or stay until the other side hangs up."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=8) as thrown:
        thrown.sendall(content)
        while is_answered and thrown.recv(65_536):
            pass


async def test_random_bytes_and_foreign_keys_at_the_port_of_the_nodes_are_turned_away_and_counted(
    make_consortium: MakeConsortium,
) -> None:
    four = make_consortium(4)
    member = four.members[0]
    pid, before = pid_of(member), resident_bytes(member)
    randomness = random.Random(1)
    hello = bytes.fromhex("160301020001000 1fc0303".replace(" ", ""))

    def flood() -> None:
        for number in range(CONNECTIONS):
            start = hello if number % 3 == 0 else b""
            throw(p2p_port(member), start + randomness.randbytes(randomness.randrange(4_000)))

    await asyncio.to_thread(flood)
    async with asyncio.timeout(30):
        await foreign_handshake(member, make_node_keys())

    refused = ask(member, "/v1/consensus")["connections_refused"]
    assert sum(refused.values()) >= CONNECTIONS // 4, refused
    check_unharmed(member, pid, before)
    await asyncio.to_thread(wait_height, four.members, height_of(member) + 3)
    assert ask(member, "/v1/consensus")["connected_members"] == 4


async def foreign_handshake(member: Member, keys: NodeKeys) -> None:
    """Dial a node with a key of our own making; it must not become a link."""
    network = attacker_of(member, keys)
    await network.start()
    try:
        for _ in range(20):
            await asyncio.sleep(0.1)
            assert network.connected() == ()
    finally:
        await network.close()


def attacker_of(
    member: Member, keys: NodeKeys, *, self_id: int | None = None, port: int = 0
) -> Network:
    """Return a network that knows one node: without an index of its own it dials."""
    index = load_config(member.directory / "node.toml").node_index
    pin = identity_of(load_node_keys(member.directory / "keys", passphrase_of(member))).pin
    return Network(
        NetworkConfig(host="127.0.0.1", port=port, kinds=MAD_KINDS),
        identity_of(keys),
        self_id=self_id,
        peers=(PeerAddress(peer_id=index, host="127.0.0.1", port=p2p_port(member), pin=pin),),
        on_frame=lambda _peer, _kind, _body: None,
    )


def passphrase_of(member: Member) -> str:
    path = passphrase_path(member.directory.parent.parent)
    return path.read_text(encoding="utf-8").strip()


async def test_a_member_that_sends_nonsense_is_counted_and_harms_nobody(four: Consortium) -> None:
    victim, mad = four.members[0], four.members[3]
    pid, before = pid_of(victim), resident_bytes(victim)
    keys = load_node_keys(mad.directory / "keys", passphrase_of(mad))
    await asyncio.to_thread(stop_one, mad)
    randomness = random.Random(2)
    network = attacker_of(victim, keys, self_id=3, port=p2p_port(mad))  # The lower index dials.
    await network.start()
    try:
        await wait_until_async(lambda: bool(network.connected()), "the mad member is connected")
        for number in range(FRAMES):
            network.send(0, Kind.CONSENSUS, randomness.randbytes(randomness.randrange(2_000)))
            network.send(0, Kind.TRANSACTIONS, nonsense_batch(randomness))
            if number % 100 == 0:
                await asyncio.sleep(0.01)
        await wait_until_async(lambda: invalid_of(victim, 3) >= COUNTED, "nonsense is counted")
        for kind, size in ((UNKNOWN_KIND, 100), (Kind.CONSENSUS, CONSENSUS_SLACK - 64)):
            await wait_until_async(lambda: bool(network.connected()), "it is connected again")
            counted = invalid_of(victim, 3)
            network.send(0, kind, bytes(size))
            is_counted = partial(_has_counted, victim, 3, counted)
            await wait_until_async(is_counted, f"kind {kind} is counted")
    finally:
        await network.close()

    check_unharmed(victim, pid, before)
    stood_at = height_of(victim)
    start_one(four, mad)
    await asyncio.to_thread(wait_height, four.members, stood_at + 3)
    check_one_history(four.members)


def nonsense_batch(randomness: random.Random) -> bytes:
    """A batch that decodes, of transactions that do not."""
    item = SubmitItem(signed=randomness.randbytes(200), sidecars=())
    return encode(SubmitBatch(items=(item,)))


def _has_counted(member: Member, peer_id: int, before: int) -> bool:
    return invalid_of(member, peer_id) > before


def invalid_of(member: Member, peer_id: int) -> int:
    rows = ask(member, "/v1/peers")["peers"]
    return int(next(row["invalid_messages"] for row in rows if row["node"] == peer_id))


POSTS: Final = (
    "/v1/transactions",
    "/v1/state/witness",
    "/v1/state/scan",
    "/v1/sessions/challenge",
    "/v1/sessions",
)
NOT_HTTP: Final = (
    b"\x00" * 4_096,
    b"GET /v1/node HTTP/9.9\r\n\r\n",
    b"GET " + b"/a" * 50_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /v1/node HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    b"POST /v1/transactions HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /v1/transactions HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PUT /v1/blobs/../../etc/passwd HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na",
    b"GET /v1/blocks/%ff%fe HTTP/1.1\r\nHost: a\r\n\r\n",
)


def test_the_api_refuses_what_is_no_request_and_goes_on(four: Consortium) -> None:
    member = four.members[0]
    pid, before = pid_of(member), resident_bytes(member)
    port = int(member.url.rpartition(":")[2])
    randomness = random.Random(3)

    for content in NOT_HTTP:
        throw(port, content)
    for _ in range(CONNECTIONS):
        throw(port, randomness.randbytes(randomness.randrange(1, 3_000)))
    statuses = [
        post(member, path, body(randomness), media_type)
        for path in POSTS
        for media_type in ("application/msgpack", "application/json")
        for body in BODIES
    ]
    answered = [status for status in statuses if status]

    assert len(answered) >= len(POSTS) * len(BODIES)
    assert {status for status in answered if not 400 <= status < 500} == set()
    check_unharmed(member, pid, before)
    assert status_of(member, "/v1/health/live") == 200
    stood_at = height_of(member)
    wait_height(four.members, stood_at + 2)
    with urllib.request.urlopen(member.url + "/metrics", timeout=5) as answer:  # noqa: S310
        assert b'medledger_refused_total{code="request.malformed"}' in answer.read()


def _deep(_randomness: random.Random) -> bytes:
    return b"[" * 100_000


def _deep_msgpack(_randomness: random.Random) -> bytes:
    return b"\x91" * 100_000


def _random(randomness: random.Random) -> bytes:
    return randomness.randbytes(randomness.randrange(1, 5_000))


def _lengths(randomness: random.Random) -> bytes:
    """An array that claims four billion items, and bytes that claim four gigabytes."""
    return b"\xdd\xff\xff\xff\xff\xc6\xff\xff\xff\xff" + randomness.randbytes(20)


def _json(randomness: random.Random) -> bytes:
    strange = {"transactions": [{"signed": "!", "sidecars": 7}], "account": "zz", "x": 1e999}
    return json.dumps(strange).encode() + randomness.randbytes(1)


def _large(_randomness: random.Random) -> bytes:
    return bytes(20 << 20)


BODIES: Final[tuple[Callable[[random.Random], bytes], ...]] = (
    _deep,
    _deep_msgpack,
    _random,
    _lengths,
    _json,
    _large,
)


def post(member: Member, path: str, body: bytes, media_type: str) -> int:
    """Return the status of a POST; 0 if the node hung up before the body was through."""
    request = urllib.request.Request(  # noqa: S310 - http to loopback
        member.url + path, data=body, headers={"Content-Type": media_type}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code
    except OSError:
        return 0


@pytest.mark.timeout(60)
def test_connections_that_say_nothing_are_ended_and_keep_nobody_out(four: Consortium) -> None:
    member = four.members[0]
    port = p2p_port(member)
    silent = [socket.create_connection(("127.0.0.1", port), timeout=15) for _ in range(40)]
    started = time.monotonic()

    stop_one(four.members[1])
    start_one(four, four.members[1])
    for one in silent:
        with one, suppress(ConnectionError):
            assert one.recv(1) == b"", "a silent connection gets no word"

    assert time.monotonic() - started < 15
    wait_height(four.members, height_of(member) + 2)
