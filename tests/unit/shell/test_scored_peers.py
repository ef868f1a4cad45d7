"""Attacks 2 and 3 at a running node: whatever a peer sends is survived, and held against it."""

import asyncio
import random
import time
from pathlib import Path

from consensus.messages import Message, encode_message
from shell.allowance import Allowance
from shell.intake import submit
from shell.receiving import on_frame
from tests.unit.consensus.message_examples import MESSAGES
from tests.unit.consensus.mutated import mutate
from tests.unit.consensus.replicas import commit, make_block, prepare, view_change
from tests.unit.p2p.loopback import until
from tests.unit.shell.one_of_four import PEER, OneOfFour, running_one

ROUNDS = 20


def send(one: OneOfFour, message: bytes) -> int:
    """Let a frame of the peer arrive, within a full allowance; return what it is blamed for."""
    replica = one.node.replica
    before = replica.invalid[PEER]
    replica.allowances[PEER] = Allowance(at_s=time.monotonic())
    on_frame(replica, PEER, message)
    return replica.invalid[PEER] - before


async def test_a_node_survives_bent_messages_of_every_kind_and_blames_their_sender(
    tmp_path: Path,
) -> None:
    draw = random.Random(2)
    async with running_one(tmp_path / "node") as one:
        replica = one.node.replica
        blamed = 0
        for _ in range(ROUNDS):
            for message in MESSAGES:
                blamed += send(one, mutate(message, MESSAGES, draw))
            await asyncio.sleep(0)  # What they made the node say has to leave.

        assert blamed > ROUNDS * len(MESSAGES) / 2, "most of them no correct node sends"
        assert not replica.is_stopped
        assert not one.node.stopping.is_set()
        heard = len(one.peer.heard)
        await submit(one.node.intake, [(one.signed(), ())])
        await until(lambda: len(one.peer.messages(heard)) > 0)


async def test_votes_that_their_signers_did_not_sign_count_nowhere(tmp_path: Path) -> None:
    """Attack 3: being ahead or behind of what a vote is about excuses nobody from checking it."""
    async with running_one(tmp_path / "node") as one:
        replica = one.node.replica
        votes: list[Message] = [
            vote
            for height in (1, 2, 7, 2**40)
            for vote in (
                prepare(2, make_block("a", height=height)),
                commit(3, make_block("a", height=height), view=5),
                view_change(2, 1, height=height),
            )
        ]

        blamed = [send(one, encode_message(vote)) for vote in votes]

        assert blamed == [1] * len(votes)
        assert replica.state.tip.height == 0
        assert replica.state.instance.view == 0


async def test_a_peer_whose_messages_are_invalid_is_read_no_more_for_a_while(
    tmp_path: Path,
) -> None:
    async with running_one(tmp_path / "node") as one:
        replica = one.node.replica
        forged = encode_message(prepare(2, make_block("a")))
        replica.allowances[PEER] = Allowance(at_s=time.monotonic())

        for _ in range(60):
            on_frame(replica, PEER, forged)

        allowance = replica.allowances[PEER]
        assert 20 <= replica.invalid[PEER] < 60
        assert allowance.dropped > 0
        assert allowance.pauses > 0
