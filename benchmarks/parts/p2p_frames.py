"""What the p2p room carries: frames and bytes per second, and how long a vote waits behind bulk.

Run `python -m benchmarks.parts.p2p_frames --loop uvloop --runs 5`. Two processes, each one node
with one core at most, talk over TLS 1.3 on loopback; nothing but the room is in the way. Printed
are the median and the range of the runs.
"""

import asyncio
import multiprocessing
import platform
import statistics
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

import click
import uvloop

from p2p.config import KindRule, NetworkConfig, PeerAddress
from p2p.identity import load_identity, make_private_key_pem
from p2p.lanes import Lane
from p2p.network import Network

MESSAGE: Final = 40
PING: Final = 41
COUNT: Final = 50
FETCH: Final = 60
STORE: Final = 61
KINDS: Final = {
    MESSAGE: KindRule(bytes_max=2**20, lane=Lane.CONSENSUS),
    PING: KindRule(bytes_max=1000, lane=Lane.CONSENSUS),
    COUNT: KindRule(bytes_max=1000, lane=Lane.SYNC),
    FETCH: KindRule(bytes_max=1000, lane=Lane.BULK),
    STORE: KindRule(bytes_max=1000, lane=Lane.BULK),
}
MESSAGE_BYTES: Final = 200
QUEUED_BYTES_MAX: Final = 1024 * 1024
CHUNK: Final = bytes(64 * 1024)
LOOPS: Final = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass(slots=True)
class Tally:
    """What one side has received: messages counted, pings waited for."""

    messages: int = 0
    pong: asyncio.Event = field(default_factory=asyncio.Event)


def make_network(key_pem: bytes, self_id: int, tally: Tally) -> Network:
    def on_frame(peer_id: int, kind: int, body: bytes) -> None:
        if kind == MESSAGE:
            tally.messages += 1
        elif self_id == 1:
            network.send(peer_id, PING, body)
        else:
            tally.pong.set()

    config = NetworkConfig(host="127.0.0.1", port=0, kinds=KINDS)
    identity = load_identity(key_pem)
    network = Network(config, identity, self_id=self_id, peers=(), on_frame=on_frame)
    return network


def address(key_pem: bytes, peer_id: int, port: int) -> PeerAddress:
    pin = load_identity(key_pem).pin
    return PeerAddress(peer_id=peer_id, host="127.0.0.1", port=port, pin=pin)


async def megabytes(count: int) -> AsyncIterator[bytes]:
    for _ in range(count * 16):
        yield CHUNK


async def answer_until_told(pipe: Connection, own_pem: bytes, peer_pem: bytes) -> None:
    """The other process: answer everything until the pipe says it is over."""
    tally = Tally()
    network = make_network(own_pem, 1, tally)

    async def count(_peer_id: int, _body: bytes) -> bytes:
        return tally.messages.to_bytes(8)

    async def fetch(_peer_id: int, body: bytes) -> AsyncIterator[bytes]:
        return megabytes(int.from_bytes(body))

    async def store(_peer_id: int, _header: bytes, chunks: AsyncIterator[bytes]) -> bytes:
        return sum([len(chunk) async for chunk in chunks]).to_bytes(8)

    network.serve(COUNT, count)
    network.serve(FETCH, fetch)
    network.serve_push(STORE, store)
    await network.start()
    pipe.send(network.port)
    network.set_peers([address(peer_pem, 0, 1)], self_id=1)
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), over.set)
    await over.wait()
    asyncio.get_running_loop().remove_reader(pipe.fileno())
    await network.close()


def run_answering(loop: str, pipe: Connection, own_pem: bytes, peer_pem: bytes) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(answer_until_told(pipe, own_pem, peer_pem))


async def measure_messages(network: Network, together: int, count: int) -> float:
    """Messages per second from the first sent to the last received, `together` per loop turn."""
    before = int.from_bytes(await network.request(1, COUNT, b"", 10_000))
    body = bytes(MESSAGE_BYTES)
    began = time.perf_counter()
    for number in range(count // together):
        for _ in range(together):
            network.send(1, MESSAGE, body)
        await asyncio.sleep(0)
        while number % 16 == 0 and queued_bytes(network) > QUEUED_BYTES_MAX:  # noqa: ASYNC110
            await asyncio.sleep(0)
    arrived = 0
    while arrived < count // together * together:
        arrived = int.from_bytes(await network.request(1, COUNT, b"", 60_000)) - before
    return arrived / (time.perf_counter() - began)


def queued_bytes(network: Network) -> int:
    return network.statistics().peers[0].bytes_queued


async def measure_stream(network: Network, mebibytes: int) -> float:
    began = time.perf_counter()
    count = mebibytes.to_bytes(4)
    total = sum([len(chunk) async for chunk in network.stream_request(1, FETCH, count)])
    return total / (time.perf_counter() - began) / 1e6


async def measure_upload(network: Network, mebibytes: int) -> float:
    began = time.perf_counter()
    stored = await network.stream_push(1, STORE, b"", megabytes(mebibytes))
    return int.from_bytes(stored) / (time.perf_counter() - began) / 1e6


async def measure_requests(network: Network, count: int) -> float:
    """Microseconds of one request after another."""
    began = time.perf_counter()
    for _ in range(count):
        await network.request(1, COUNT, b"", 10_000)
    return (time.perf_counter() - began) / count * 1e6


async def measure_pings(network: Network, tally: Tally, is_over: Callable[[], bool]) -> list[float]:
    """Milliseconds there and back of a consensus message, one after another."""
    times = []
    while not is_over():
        tally.pong.clear()
        began = time.perf_counter()
        network.send(1, PING, b"x")
        await tally.pong.wait()
        times.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(0.001)
    return times


async def measure_pings_under_bulk(network: Network, tally: Tally) -> list[float]:
    streams = [asyncio.create_task(measure_stream(network, 64)) for _ in range(4)]
    times = await measure_pings(network, tally, lambda: all(one.done() for one in streams))
    await asyncio.gather(*streams)
    return times


async def measure_all(network: Network, tally: Tally) -> dict[str, float]:
    left = iter(range(300))
    idle = await measure_pings(network, tally, lambda: next(left, None) is None)
    loaded = await measure_pings_under_bulk(network, tally)
    return {
        "messages/s, 32 per turn": await measure_messages(network, 32, 200_000),
        "messages/s, 500 per turn": await measure_messages(network, 500, 300_000),
        "stream MB/s": await measure_stream(network, 256),
        "upload MB/s": await measure_upload(network, 256),
        "request us": await measure_requests(network, 2_000),
        "vote there and back, idle, p50 ms": statistics.median(idle),
        "vote there and back, 4 streams, p50 ms": statistics.median(loaded),
        "vote there and back, 4 streams, p99 ms": statistics.quantiles(loaded, n=100)[98],
    }


async def run_once(loop: str) -> dict[str, float]:
    own_pem, peer_pem = make_private_key_pem(), make_private_key_pem()
    spawn = multiprocessing.get_context("spawn")
    pipe, far_end = spawn.Pipe()
    process = spawn.Process(target=run_answering, args=(loop, far_end, peer_pem, own_pem))
    process.start()
    tally = Tally()
    network = make_network(own_pem, 0, tally)
    await network.start()
    try:
        port = await asyncio.to_thread(pipe.recv)
        network.set_peers([address(peer_pem, 1, port)], self_id=0)
        await wait_for(lambda: network.connected() == (1,))
        return await measure_all(network, tally)
    finally:
        pipe.send("over")
        await network.close()
        process.join()


async def wait_for(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 (for a fraction of a second, before the clock runs)
        await asyncio.sleep(0.01)


@click.command()
@click.option("--loop", type=click.Choice(sorted(LOOPS)), default="uvloop", show_default=True)
@click.option("--runs", type=click.IntRange(1, 100), default=5, show_default=True)
def main(loop: str, runs: int) -> None:
    """Measure the p2p room over loopback TLS and print medians."""
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        results = [runner.run(run_once(loop)) for _ in range(runs)]
    click.echo(f"{loop}, Python {platform.python_version()}, median of {runs} runs (range)")
    for name in results[0]:
        figures = [result[name] for result in results]
        spread = f"({min(figures):,.2f} .. {max(figures):,.2f})"
        click.echo(f"{name:40} {statistics.median(figures):>12,.2f}  {spread}")


if __name__ == "__main__":
    main()
