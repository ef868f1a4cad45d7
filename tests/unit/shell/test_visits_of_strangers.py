"""A node that nobody knows follows the chain over visits, with real links, and signs nothing."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.scene.local import free_ports
from config import EVERYBODY, KNOWN, Endpoint, Timeouts, dump_config, load_config
from consensus.blocks import CertifiedBlock
from consensus.messages import Blocks
from consensus.records import ViewChangeRecord, VoteRecord, decode_record
from crypto.hashing import Digest
from crypto.keystore import KDF_CHEAPEST
from crypto.schema import decode, encode
from crypto.validators import ReplicaId
from crypto.votes import Height
from genesis.document import GenesisDocument, Invitation
from genesis.errors import GenesisDamaged
from genesis.invite import Invite, KnownNode, check_invite, dump_invite, load_invite
from ledger.blocks import BlockBodies, Header, header_digest
from ledger.parameters import Parameters
from node import Node, running_node
from p2p.config import NetworkConfig
from p2p.errors import RequestRefused
from p2p.network import Network
from shell.clock import Clock
from shell.founding import (
    Founder,
    found,
    make_founder,
    write_node_directory,
)
from shell.kinds import KIND_RULES, Kind
from shell.mending import CERTIFIED_BYTES_MAX, BlockCopy, answer_copy
from shell.ports import ChainReads
from shell.receiving import receive
from shell.standing import Stage, stage_of
from shell.visits import BLOCKS_PER_ASK, addresses_of, is_cut_off
from shell.welcome import GUEST_KINDS
from tests.unit.p2p.loopback import new_identity, until
from tests.unit.shell.one_of_four import PEER, running_one

PASSPHRASE = "nine words that nobody guesses"
STRANGER = ReplicaId(7)


@dataclass(slots=True, kw_only=True)
class Founded:
    """One hospital that decides alone, and what a second one needs to come."""

    folder: Path
    founder: Founder
    stranger: Founder
    document: GenesisDocument
    member: Node


@asynccontextmanager
async def founded(folder: Path, *, guests: str = EVERYBODY) -> AsyncIterator[Founded]:
    ports = free_ports(4)
    founder = make_founder("hospital-0", "Hospital 0", 0, Endpoint(port=ports[0]))
    stranger = make_founder("hospital-0", "Hospital 0", STRANGER, Endpoint(port=ports[1]))
    now_ms = Clock().now_ms()
    invitation = Invitation(
        chain_name="alone", created_ms=now_ms, parameters=Parameters(idle_block_ms=100)
    )
    document = found([founder], invitation)
    for one, port in ((founder, ports[2]), (stranger, ports[3])):
        write_node_directory(
            folder / str(one.index),
            one,
            document,
            PASSPHRASE,
            api=Endpoint(port=port),
            created_ms=now_ms,
            timeouts=Timeouts(base_timeout_ms=200, timeout_cap_ms=1_000, status_ms=50),
            kdf=KDF_CHEAPEST,
        )
    settings = folder / "0" / "node.toml"
    opened = replace(load_config(settings), guests=guests)
    settings.write_text(dump_config(opened), encoding="utf-8")
    async with running_node(load_config(settings), PASSPHRASE) as member:
        await until(lambda: member.chain.tip.height >= 3)
        yield Founded(
            folder=folder,
            founder=founder,
            stranger=stranger,
            document=document,
            member=member,
        )


def invite_of(here: Founded, *ports: int, anchor: Digest | None = None) -> Invite:
    """An invite from the member's own chain, with these ports for addresses."""
    node = here.member
    height = Height(node.chain.tip.height - 1)
    sealed = ChainReads(chain=node.chain, mending=node.replica.mending).sealed_header(height)
    assert sealed is not None
    member = node.chain.next_set.members[0]
    return Invite(
        genesis=here.document,
        free_index=STRANGER,
        nodes=tuple(
            KnownNode(
                index=ReplicaId(number),
                org="hospital-0",
                tls_pin=member.tls_pin,
                p2p_address=f"127.0.0.1:{port}",
            )
            for number, port in enumerate(ports)
        ),
        validators=node.chain.next_set,
        sealed_header=encode(sealed),
    )


@asynccontextmanager
async def joined(here: Founded, invite: Invite) -> AsyncIterator[Node]:
    directory = here.folder / str(STRANGER)
    (directory / "invite.json").write_bytes(dump_invite(invite))
    async with running_node(load_config(directory / "node.toml"), PASSPHRASE) as node:
        yield node


async def test_a_stranger_follows_the_chain_and_signs_nothing(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(founded(tmp_path))
        invite = invite_of(here, here.founder.p2p.port)
        stranger = await stack.enter_async_context(joined(here, invite))
        goal = here.member.chain.tip.height + 3

        await until(lambda: stranger.chain.tip.height >= goal)

        assert header_at(stranger, goal) == header_at(here.member, goal)
        assert stranger.visits.following.self_id is None
        assert all(one.is_guest_there for one in stranger.network.statistics().peers)
        assert here.member.network.connected() == ()
        records = [decode_record(record) for _, record in stranger.replica.votes.live]
        assert not [one for one in records if isinstance(one, VoteRecord | ViewChangeRecord)]


async def test_a_stranger_gets_nothing_where_only_known_nodes_are_answered_and_is_told(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(founded(tmp_path, guests=KNOWN))
        invite = invite_of(here, here.founder.p2p.port)
        stranger = await stack.enter_async_context(joined(here, invite))

        await until(lambda: stage_of(stranger.visits) is Stage.UNKNOWN)

        assert stranger.chain.tip.height == 0


async def test_an_address_where_somebody_else_listens_costs_a_visit_and_is_asked_last(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(founded(tmp_path))
        (nobody,) = free_ports(1)
        invite = invite_of(here, nobody, here.founder.p2p.port)
        stranger = await stack.enter_async_context(joined(here, invite))
        goal = here.member.chain.tip.height

        await until(lambda: stranger.chain.tip.height >= goal)
        await until(lambda: stranger.visits.failures["127.0.0.1", nobody] > 0)

        assert addresses_of(stranger.visits)[-1] == ("127.0.0.1", nobody)


async def test_who_reaches_nobody_is_told_that_the_members_may_have_moved(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(founded(tmp_path))
        await here.member.network.close()
        invite = invite_of(here, *free_ports(1))

        stranger = await stack.enter_async_context(joined(here, invite))

        await until(lambda: stage_of(stranger.visits) is Stage.UNREACHED)


def with_a_wrong_signature(found: CertifiedBlock) -> CertifiedBlock:
    first, *rest = found.certificate.signatures
    forged = ((first[0], bytes(64)), *rest)
    return replace(found, certificate=replace(found.certificate, signatures=forged))


def with_other_bodies(found: CertifiedBlock) -> CertifiedBlock:
    return replace(found, bodies=encode(BlockBodies(transactions=(b"invented",))))


def with_another_header(found: CertifiedBlock) -> CertifiedBlock:
    header = decode(Header, found.block.header)
    later = replace(header, time_ms=header.time_ms + 1)
    block = replace(found.block, header=encode(later), digest=header_digest(later))
    return replace(found, block=block)


@asynccontextmanager
async def lying(
    here: Founded, port: int, forge: Callable[[CertifiedBlock], CertifiedBlock]
) -> AsyncIterator[Counter[str]]:
    """Somebody at an address who answers for the member, with blocks that it has changed."""
    answered: Counter[str] = Counter()

    async def answer(peer_id: int, body: bytes) -> bytes:
        chain = here.member.chain
        height = min(decode(BlockCopy, body).height, chain.tip.height)  # It never has nothing.
        true = await answer_copy(chain, peer_id, encode(BlockCopy(height=height)))
        answered["lies"] += 1
        return encode(forge(decode(CertifiedBlock, true, bytes_max=CERTIFIED_BYTES_MAX)))

    network = Network(
        NetworkConfig(host="127.0.0.1", port=port, kinds=KIND_RULES),
        new_identity(),
        self_id=None,
        peers=(),
        on_frame=lambda _peer_id, _kind, _body: None,
        guest_policy=lambda _pin: GUEST_KINDS,
    )
    network.serve(Kind.FIND_BLOCK, answer)
    await network.start()
    try:
        yield answered
    finally:
        await network.close()


@pytest.mark.parametrize("forge", [with_a_wrong_signature, with_other_bodies, with_another_header])
async def test_a_liar_at_a_known_address_is_believed_nothing(
    tmp_path: Path, forge: Callable[[CertifiedBlock], CertifiedBlock]
) -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(founded(tmp_path))
        (port,) = free_ports(1)
        answered = await stack.enter_async_context(lying(here, port, forge))
        invite = invite_of(here, port, here.founder.p2p.port)
        stranger = await stack.enter_async_context(joined(here, invite))
        stranger.visits.failures["127.0.0.1", here.founder.p2p.port] = 1  # The liar goes first.

        await until(lambda: answered["lies"] > 0)
        goal = here.member.chain.tip.height
        await until(lambda: stranger.chain.tip.height >= goal)

        assert header_at(stranger, goal) == header_at(here.member, goal)
        assert not stranger.replica.is_stopped


async def test_who_has_nothing_to_give_below_the_block_of_the_invite_is_no_sign_of_the_end(
    tmp_path: Path,
) -> None:
    """It has pruned what comes next, or lies; the operator is not told that all is there."""

    def have_nothing(_found: CertifiedBlock) -> CertifiedBlock:
        raise RequestRefused("not_here")

    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(founded(tmp_path))
        (port,) = free_ports(1)
        answered = await stack.enter_async_context(lying(here, port, have_nothing))
        invite = invite_of(here, port)
        here.member.network.serve(Kind.FIND_BLOCK, refuse)
        stranger = await stack.enter_async_context(joined(here, invite))

        await until(lambda: answered["lies"] > 2 * BLOCKS_PER_ASK)

        assert stranger.chain.tip.height == 0
        assert stage_of(stranger.visits) is Stage.FOLLOWING


async def test_one_address_that_turns_a_node_away_is_not_believed_while_another_helps(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(founded(tmp_path))
        (port,) = free_ports(1)
        rude = Network(
            NetworkConfig(host="127.0.0.1", port=port, kinds=KIND_RULES),
            new_identity(),
            self_id=None,
            peers=(),
            on_frame=lambda _peer_id, _kind, _body: None,
        )
        stack.push_async_callback(rude.close)
        await rude.start()
        invite = invite_of(here, port, here.founder.p2p.port)
        stranger = await stack.enter_async_context(joined(here, invite))

        await until(lambda: stranger.visits.is_turned_away and stranger.visits.has_all)
        stranger.visits.has_all = False  # As with every block that is new.

        assert stage_of(stranger.visits) is Stage.FOLLOWING


async def refuse(_peer_id: int, _body: bytes) -> bytes:
    raise RequestRefused("not_here")


async def test_links_with_others_than_the_members_of_the_chain_here_are_not_counted(
    tmp_path: Path,
) -> None:
    """Nodes of an invite and learners are peers too; the core asks none of them for a block."""
    async with running_one(tmp_path) as here:
        chain, visits = here.node.chain, here.node.visits
        four = chain.next_set.members
        found = {}
        for absent in (2, PEER):
            members = tuple(one for one in four if one.index != absent)
            chain.next_set = replace(chain.next_set, members=members)
            found[absent] = is_cut_off(visits)
        chain.next_set = replace(chain.next_set, members=four)

        assert found == {2: False, PEER: True}


async def test_a_chain_without_the_block_that_the_invite_names_is_not_followed(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(founded(tmp_path))
        invite = invite_of(here, here.founder.p2p.port)
        stranger = await stack.enter_async_context(joined(here, invite))
        height, digest = invite.anchor()
        stranger.replica.anchor = (height, Digest(bytes(32)))

        await until(lambda: stranger.visits.failures["127.0.0.1", here.founder.p2p.port] > 0)

        assert stranger.chain.tip.height < height
        assert digest != bytes(32)


async def test_a_peer_can_push_no_other_block_than_the_one_that_the_invite_names(
    tmp_path: Path,
) -> None:
    """The nodes of an invite are peers: one of them may hold stolen keys of former members."""
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(founded(tmp_path, guests=KNOWN))
        invite = invite_of(here, here.founder.p2p.port)
        replica = (await stack.enter_async_context(joined(here, invite))).replica
        height, digest = invite.anchor()
        found = [here.member.chain.certified_block(one) for one in range(1, height + 1)]
        message = Blocks(blocks=tuple(one for one in found if one is not None))
        replica.anchor, true_anchor = (height, Digest(bytes(32))), replica.anchor

        is_taken_otherwise = receive(replica, 0, message)
        tip_otherwise = replica.chain.tip.height
        replica.anchor = true_anchor
        is_taken = receive(replica, 0, message)
        await until(lambda: replica.chain.tip.height == height)

        assert true_anchor == (height, digest)
        assert (is_taken_otherwise, tip_otherwise, is_taken) == (False, 0, True)


def header_at(node: Node, height: int) -> Digest:
    sealed = ChainReads(chain=node.chain, mending=node.replica.mending).sealed_header(
        Height(height)
    )
    assert sealed is not None
    return header_digest(sealed.header)


async def test_an_invite_is_read_as_it_was_written_and_a_changed_one_is_refused(
    tmp_path: Path,
) -> None:
    async with founded(tmp_path) as here:
        invite = invite_of(here, here.founder.p2p.port)
    path = tmp_path / "invite.json"
    path.write_bytes(dump_invite(invite))

    read = load_invite(path)
    path.write_bytes(dump_invite(invite).replace(b'"free_index": 7', b'"free_index":  7'))

    assert read == invite
    with pytest.raises(GenesisDamaged, match=str(path)):
        load_invite(path)


async def test_an_invite_whose_validators_did_not_decide_its_header_is_refused(
    tmp_path: Path,
) -> None:
    async with founded(tmp_path) as here:
        invite = invite_of(here, here.founder.p2p.port)
    sealed = invite.header()
    cut = replace(sealed.certificate, signatures=())
    other = replace(sealed.header, height=Height(sealed.header.height + 1))

    for forged in (replace(sealed, certificate=cut), replace(sealed, header=other)):
        with pytest.raises(GenesisDamaged):
            check_invite(replace(invite, sealed_header=encode(forged)))
