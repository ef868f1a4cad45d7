"""Attack 2 beside consensus: whatever a member asks or uploads is answered or refused by name."""

import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

from crypto.schema import encode
from ledger.exchange import SubmitBatch, SubmitItem
from p2p.errors import PeerRefused
from p2p.network import Network
from shell.intake import submit
from shell.kinds import KIND_RULES, Kind
from tests.unit.consensus.mutated import mutate
from tests.unit.p2p.loopback import until
from tests.unit.shell.one_of_four import ME, PEER, OneOfFour, running_one
from tests.vectors.make_exchange_vectors import make_samples

PUSHES = (Kind.TRANSACTIONS_LARGE, Kind.BLOCKS, Kind.BLOB_STORE)
STREAMS = (Kind.BLOB_READ,)
REQUESTS = tuple(
    kind for kind in Kind if kind not in (*PUSHES, *STREAMS, Kind.CONSENSUS, Kind.TRANSACTIONS)
)
BODIES = 60
FAULT = "internal"
"""What a node answers when a handler of its own fell over."""


def bodies_for(kind: Kind, draw: random.Random) -> list[bytes]:
    """Wire types of every kind, right and bent, as far as they fit into a question."""
    samples = make_samples()
    bodies = [b"", b"\x00", draw.randbytes(40), *(encode(sample) for sample in samples)]
    bodies += [mutate(draw.choice(samples), samples, draw) for _ in range(BODIES)]
    return [body for body in bodies if len(body) <= KIND_RULES[kind].bytes_max]


async def some_chunks(draw: random.Random) -> AsyncIterator[bytes]:
    for _ in range(draw.randrange(3)):
        yield draw.randbytes(draw.randint(1, 300))


async def ask(network: Network, kind: Kind, body: bytes, draw: random.Random) -> str:
    """Return the refusal, empty if there was an answer."""
    try:
        if kind in PUSHES:
            await network.stream_push(ME, kind, body, some_chunks(draw))
        elif kind in STREAMS:
            async with aclosing(network.stream_request(ME, kind, body)) as chunks:
                async for _ in chunks:
                    pass
        else:
            await network.request(ME, kind, body, 10_000, reply_bytes_max=8 << 20)
    except PeerRefused as refused:
        return refused.refusal
    return ""


async def check_goes_on(one: OneOfFour) -> None:
    """The node is there, still linked, and says what it has to say."""
    assert not one.node.stopping.is_set()
    assert PEER in one.node.network.connected()
    heard = len(one.peer.heard)
    await submit(one.node.intake, [(one.signed(), ())])
    await until(lambda: len(one.peer.heard) > heard)


async def test_no_question_and_no_upload_finds_a_fault(tmp_path: Path) -> None:
    draw = random.Random(1)
    refusals: dict[Kind, set[str]] = {}
    async with running_one(tmp_path / "node") as one:
        for kind in (*REQUESTS, *STREAMS, *PUSHES):
            bodies = bodies_for(kind, draw)
            refusals[kind] = {await ask(one.peer.network, kind, body, draw) for body in bodies}

        assert [kind for kind, answers in refusals.items() if FAULT in answers] == []
        del refusals[Kind.OFFER_SNAPSHOT]  # It asks nothing: whatever it holds is not read.
        assert all(answers - {""} for answers in refusals.values()), "most of it nobody wants"
        await check_goes_on(one)


async def test_gossip_of_anything_is_survived(tmp_path: Path) -> None:
    draw = random.Random(3)
    valid = SubmitBatch(items=(SubmitItem(signed=b"not a transaction", sidecars=()),))
    async with running_one(tmp_path / "node") as one:
        samples = [valid, *make_samples()]
        for _ in range(200):
            body = mutate(draw.choice(samples), samples, draw)
            one.peer.network.send(ME, Kind.TRANSACTIONS, body)

        await check_goes_on(one)
        await until(lambda: one.node.gossip.malformed.get(PEER, 0) > 5)
