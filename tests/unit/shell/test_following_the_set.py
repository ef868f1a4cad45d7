"""Links follow the ledger: worked out again where something changes, and only there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from crypto.keystore import KDF_CHEAPEST
from crypto.validators import ReplicaId, ValidatorSet
from p2p.config import PeerAddress
from shell.keys import make_node_keys, save_node_keys
from shell.membership import Following, Invited, follow_set, make_following
from shell.networking import make_network
from shell.own_keys import open_own_keys
from tests.unit.shell.live_chain import LiveChain, make_live_chain

PASSPHRASE = "nine words that nobody guesses"
INVITED = PeerAddress(peer_id=7, host="127.0.0.1", port=7407, pin=b"7" * 32)


@asynccontextmanager
async def followed(
    folder: Path, *, invited_for: int | None = None
) -> AsyncIterator[tuple[LiveChain, Following]]:
    """A chain of four and what follows it; an invite is good for so many blocks more."""
    live = make_live_chain(folder)
    chain = live.chain
    (folder / "keys").mkdir(mode=0o700)
    save_node_keys(folder / "keys", make_node_keys(), PASSPHRASE, created_ms=1, kdf=KDF_CHEAPEST)
    keys = open_own_keys(folder / "keys", PASSPHRASE, ReplicaId(0))
    invited = None
    if invited_for is not None:
        invited = Invited(height=chain.tip.height + invited_for, peers=(INVITED,))
    network = make_network(
        "127.0.0.1", 0, chain, keys, invited, on_frame=ignore, on_link=ignore, is_open=False
    )
    await network.start()
    try:
        yield live, make_following(chain, network, keys, invited)
    finally:
        await network.close()


def ignore(*_: object) -> None:
    """Take no notice of frames and links."""


def peer_ids(following: Following) -> list[int]:
    return [one.peer_id for one in following.peers]


async def test_links_follow_the_set_of_the_height_after_the_next(tmp_path: Path) -> None:
    async with followed(tmp_path) as (live, following):
        await live.decide()
        follow_set(following)
        before = peer_ids(following)
        chain = live.chain
        members = tuple(one for one in chain.later_set.members if one.index != 1)
        three = ValidatorSet(members=members)
        chain.tip_set = chain.next_set = chain.later_set = three

        follow_set(following)

        assert (before, peer_ids(following)) == ([0, 1, 2, 3], [0, 2, 3])


async def test_the_nodes_of_an_invite_are_left_at_its_height_though_no_block_changes_a_node(
    tmp_path: Path,
) -> None:
    async with followed(tmp_path, invited_for=2) as (live, following):
        seen = []
        for _ in range(3):
            await live.decide()
            follow_set(following)
            seen.append(peer_ids(following))

        assert seen == [[0, 1, 2, 3, 7], [0, 1, 2, 3], [0, 1, 2, 3]]


async def test_what_follows_from_nodes_and_sets_is_not_worked_out_for_every_block(
    tmp_path: Path,
) -> None:
    async with followed(tmp_path) as (live, following):
        await live.decide()
        follow_set(following)
        peers = following.peers
        await live.decide()
        follow_set(following)
        is_kept = following.basis is not None
        live.chain.nodes_height = live.chain.tip.height  # A block changed the entry of a node.

        follow_set(following)

        assert is_kept
        assert following.basis is not None
        assert following.basis[0] == live.chain.tip.height
        assert following.peers == peers
