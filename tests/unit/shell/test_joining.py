"""A node from far behind takes the state from several peers, and nothing that does not hold."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from crypto.hashing import Digest
from crypto.schema import decode, encode
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from crypto.votes import CommitCertificate
from genesis.document import chain_id_of
from genesis.files import dump_genesis
from genesis.invite import Invite, KnownNode
from ledger.blocks import Header
from ledger.contracts.governance import VALIDATORS_KEY, get_epoch
from ledger.exchange import SealedHeader
from ledger.governance_payloads import Propose, Vote
from ledger.identity_payloads import Suspend
from ledger.pool import Pool, PoolLimits
from ledger.transactions import decode_transaction
from ledger.tree.chunks import StateChunk
from ledger.tree.proofs import StateProofs
from p2p.config import NetworkConfig, PeerAddress
from p2p.errors import RequestRefused
from p2p.network import Network
from shell.chain import Chain, open_live_chain
from shell.joining import Joining, ask_offers, choose_height, needs_snapshot, take_snapshot
from shell.kinds import KIND_RULES, Kind
from shell.mending import answer_copy
from shell.pins import release_pin
from shell.snapshots import (
    EpochEnd,
    FoundHeaders,
    FoundReceipts,
    SnapshotOffer,
    Snapshots,
    answer_chunk,
    answer_entries,
    answer_epoch,
    answer_headers,
    answer_offer,
    answer_receipts,
    make_snapshots,
    serve_snapshots,
)
from shell.sources import NoSource
from shell.targets import Target, choose_head
from shell.turns import Turns
from storage.arrivals import adopt_arrival, interrupted_arrival
from storage.blocks import get_block, get_stored_header, state_root_after
from storage.chain import open_chain
from storage.database import open_database
from storage.layout import NodeLayout, make_layout
from storage.pruning import Keep, prune, prune_floor, prune_horizon
from storage.sidecars import close_sidecars
from storage.slices import run_to_end
from storage.world import WorldLimits
from tests.unit.ledger.governance_samples import Council, admin
from tests.unit.ledger.record_samples import DOCTOR
from tests.unit.ledger.small_consortium import NORTH, SOUTH, account_of, genesis
from tests.unit.p2p.loopback import new_identity, until
from tests.unit.shell.live_chain import LiveChain, make_live_chain

BLOCKS = 90
BLOCK_MS = 100_000
"""Of time between blocks: nine of them fill the replay window."""

PROVABLE = 20
SERVERS = (1, 2, 3)
JOINER = 0

Answer = Callable[[Snapshots, int, bytes], Awaitable[bytes]]


@dataclass(slots=True, kw_only=True)
class Server:
    """A node that is at height 90 and serves."""

    chain: Chain
    network: Network
    snapshots: Snapshots
    asked: Counter[Kind] = field(default_factory=Counter)

    def serve(self, kind: Kind, answer: Answer) -> None:
        """Answer requests of a kind in some other way."""

        async def counted(peer_id: int, body: bytes) -> bytes:
            self.asked[kind] += 1
            return await answer(self.snapshots, peer_id, body)

        self.network.serve(kind, counted)


@dataclass(slots=True, kw_only=True)
class Party:
    """Three servers and a node that has only the founding state."""

    servers: dict[int, Server]
    joining: Joining

    @property
    def layout(self) -> NodeLayout:
        return self.joining.layout

    @property
    def origin(self) -> Chain:
        return self.servers[1].chain


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed ledger of ninety blocks, of which all but the first belong to a second epoch."""
    folder = tmp_path_factory.mktemp("grown")
    live = make_live_chain(folder)

    async def decide() -> None:
        await rekey_one(live)
        while live.chain.tip.height < BLOCKS:
            payload = Suspend(account_id=account_of(DOCTOR), reason="test")
            signed = live.hospitals.chain.signed(
                "identity.suspend", payload, "first admin of north", window_ms=6 * BLOCK_MS
            )
            transaction = decode_transaction(signed, live.chain.chain_id)
            await live.decide(transaction, after_ms=BLOCK_MS)

    asyncio.run(decide())
    close_sidecars(live.sidecars)
    live.chain.stored.database.close()
    return folder / "ledger"


async def rekey_one(live: LiveChain) -> None:
    """Let the hospitals agree on another key of node 3, which signs no block here."""
    live.hospitals.chain.height = live.chain.tip.height  # Heights matter to governance.
    change = Council(chain=live.hospitals.chain).rekey(3, SOUTH, "node 3, second")
    propose = Propose(epoch=Epoch(0), expires_height=9, change=change)
    proposed = await live.submit("governance.propose", propose, admin(SOUTH), sidecars=())
    assert proposed.accepted, proposed.code
    for voter in (NORTH, SOUTH):
        ballot = Vote(proposal=proposed.tx_id, epoch=Epoch(0), org=voter, accepts=True)
        voted = await live.submit("governance.vote", ballot, admin(voter), sidecars=())
        assert voted.accepted, voted.code


@pytest.fixture
async def party(grown: Path, tmp_path: Path) -> AsyncIterator[Party]:
    async with AsyncExitStack() as stack:
        networks = {number: new_network(number) for number in (JOINER, *SERVERS)}
        addresses = []
        for number, (network, pin) in networks.items():
            await network.start()
            stack.push_async_callback(network.close)
            addresses.append(
                PeerAddress(peer_id=number, host="127.0.0.1", port=network.port, pin=pin)
            )
        servers = {}
        for number in SERVERS:
            chain = opened(Path(shutil.copytree(grown, tmp_path / f"server-{number}")))
            stack.callback(chain.stored.database.close)
            servers[number] = make_server(chain, networks[number][0])
        joining = make_joining(tmp_path / "joiner", networks[JOINER][0])
        stack.callback(joining.chain.stored.database.close)
        for number, (network, _) in networks.items():
            network.set_peers(addresses, self_id=number)
        await until(lambda: len(joining.network.connected()) == len(SERVERS))
        yield Party(servers=servers, joining=joining)


def new_network(number: int) -> tuple[Network, bytes]:
    identity = new_identity()
    network = Network(
        NetworkConfig(host="127.0.0.1", port=0, kinds=KIND_RULES),
        identity,
        self_id=number,
        peers=(),
        on_frame=lambda _peer, _kind, _body: None,
    )
    return network, identity.pin


def opened(directory: Path) -> Chain:
    document = genesis()
    pool = Pool(PoolLimits(transactions_max=9, bytes_max=1 << 20, account_transactions_max=9))
    stored = open_chain(
        open_database(directory),
        chain_id_of(document),
        limits=WorldLimits(proof_heights=PROVABLE),
    )
    return open_live_chain(stored, dump_genesis(document), pool)


def make_server(chain: Chain, network: Network) -> Server:
    snapshots = make_snapshots(chain)
    serve_snapshots(network, snapshots, Turns())

    async def copy(peer_id: int, body: bytes) -> bytes:
        return await answer_copy(chain, peer_id, body)

    network.serve(Kind.FIND_BLOCK, copy)
    return Server(chain=chain, network=network, snapshots=snapshots)


def make_joining(root: Path, network: Network) -> Joining:
    root.mkdir(mode=0o700)
    live = make_live_chain(root)
    close_sidecars(live.sidecars)
    return Joining(
        chain=live.chain,
        network=network,
        layout=make_layout(root),
        snapshots=make_snapshots(live.chain),
        gap_blocks=1_000,
    )


def check_arrived(party: Party, height: int = BLOCKS - 1) -> None:
    """Assert that what waits to be adopted is the origin's chain up to a height, and go there."""
    party.joining.chain.stored.database.close()
    assert adopt_arrival(party.layout)
    origin, new = party.origin.stored, opened(party.layout.ledger)
    with new.stored.database:
        assert new.tip.height == height
        assert new.next_set == party.origin.next_set
        assert new.tip.state_root == state_root_after(origin, height)
        assert new.stored.world.view.get(VALIDATORS_KEY) == encode(party.origin.later_set)
        for one in range(new.stored.history.whole_from, height + 1):
            assert get_block(new.stored, one) == get_block(origin, one)
        assert (new.next_epoch, new.sets) == (party.origin.next_epoch, party.origin.sets)
        end = get_epoch(new.view(), 1)
        assert end is not None
        assert get_stored_header(new.stored, end.first_height - 1) is not None, "others may walk on"
        assert get_stored_header(new.stored, end.first_height) is None
        assert new.replay.is_complete()
        assert len(new.replay) == 6


async def test_the_state_comes_from_several_peers_and_is_the_one_it_should_be(
    party: Party,
) -> None:
    for server in party.servers.values():
        server.serve(Kind.STATE_CHUNK, answer_chunk)

    assert await take_snapshot(party.joining)

    assert sum(one.asked[Kind.STATE_CHUNK] for one in party.servers.values()) >= 16
    assert all(one.asked[Kind.STATE_CHUNK] for one in party.servers.values())
    check_arrived(party)


async def test_a_peer_that_sends_a_bad_chunk_is_known_at_once_and_asked_no_more(
    party: Party,
) -> None:
    async def lie(snapshots: Snapshots, peer_id: int, body: bytes) -> bytes:
        chunk = decode(StateChunk, await answer_chunk(snapshots, peer_id, body))
        if not chunk.leaves:
            return encode(replace(chunk, left=None))
        last = replace(chunk.leaves[-1], value=chunk.leaves[-1].value + b"?")
        return encode(replace(chunk, leaves=(*chunk.leaves[:-1], last)))

    party.servers[2].serve(Kind.STATE_CHUNK, lie)

    assert await take_snapshot(party.joining)

    assert party.joining.sources is not None
    assert party.joining.sources.bad == {2: 1}
    assert party.servers[2].asked[Kind.STATE_CHUNK] == 1
    check_arrived(party)


@pytest.mark.parametrize("kind", [Kind.FIND_RECEIPTS, Kind.FIND_HEADERS, Kind.FIND_ENTRIES])
async def test_no_other_part_of_a_snapshot_is_believed_either(party: Party, kind: Kind) -> None:
    async def lie_about_receipts(snapshots: Snapshots, peer_id: int, body: bytes) -> bytes:
        found = decode(FoundReceipts, await answer_receipts(snapshots, peer_id, body))
        changed = bytearray(found.receipts[0])
        changed[-1] ^= 1
        return encode(FoundReceipts(receipts=(bytes(changed), *found.receipts[1:])))

    async def lie_about_headers(snapshots: Snapshots, peer_id: int, body: bytes) -> bytes:
        found = decode(FoundHeaders, await answer_headers(snapshots, peer_id, body))
        first = found.headers[0]
        certificate = bytearray(first.certificate)
        certificate[-1] ^= 1
        forged = replace(first, certificate=bytes(certificate))
        return encode(FoundHeaders(headers=(forged, *found.headers[1:])))

    async def lie_about_entries(snapshots: Snapshots, peer_id: int, body: bytes) -> bytes:
        found = decode(StateProofs, await answer_entries(snapshots, peer_id, body))
        first = found.proofs[0]
        return encode(replace(found, proofs=(replace(first, siblings=()), *found.proofs[1:])))

    answers: dict[Kind, Answer] = {
        Kind.FIND_RECEIPTS: lie_about_receipts,
        Kind.FIND_HEADERS: lie_about_headers,
        Kind.FIND_ENTRIES: lie_about_entries,
    }
    party.servers[1].serve(kind, answers[kind])

    assert await take_snapshot(party.joining)

    assert party.joining.sources is not None
    assert party.joining.sources.bad[1] == 1
    check_arrived(party)


async def test_a_snapshot_that_is_broken_off_goes_on_where_it_was(party: Party) -> None:
    answered = asyncio.Event()

    async def stall(snapshots: Snapshots, peer_id: int, body: bytes) -> bytes:
        if sum(one.asked[Kind.STATE_CHUNK] for one in party.servers.values()) > 6:
            answered.set()
            await asyncio.Event().wait()
        return await answer_chunk(snapshots, peer_id, body)

    for server in party.servers.values():
        server.serve(Kind.STATE_CHUNK, stall)
    attempt = asyncio.create_task(take_snapshot(party.joining))
    await answered.wait()
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    before = interrupted_arrival(party.layout)
    for server in party.servers.values():
        server.asked.clear()
        server.serve(Kind.STATE_CHUNK, answer_chunk)

    assert await take_snapshot(party.joining)

    assert before is not None
    done = sum(1 for one in before.nexts if not one)
    assert done >= 3
    assert sum(one.asked[Kind.STATE_CHUNK] for one in party.servers.values()) <= 16 - done
    check_arrived(party)


async def test_one_of_three_cannot_say_how_high_the_chain_is(party: Party) -> None:
    async def boast(_snapshots: Snapshots, _peer_id: int, _body: bytes) -> bytes:
        return encode(SnapshotOffer(oldest_block=1, oldest_state=3, newest_state=10**9))

    party.servers[3].serve(Kind.OFFER_SNAPSHOT, boast)

    offers = await ask_offers(party.joining.network)

    assert choose_height(party.joining, offers) == BLOCKS - 1
    assert not await needs_snapshot(party.joining)


async def test_who_can_still_catch_up_takes_no_snapshot(party: Party) -> None:
    assert not await needs_snapshot(party.joining)

    party.joining.gap_blocks = BLOCKS // 2

    assert await needs_snapshot(party.joining)


async def test_who_needs_a_pruned_block_takes_a_snapshot(party: Party) -> None:
    for number in (1, 2):
        stored = party.servers[number].chain.stored
        run_to_end(prune(stored, prune_horizon(stored, Keep(blocks=1, days=0))))

    needed = await needs_snapshot(party.joining)

    assert needed
    assert prune_floor(party.origin.stored) == BLOCKS - 63
    assert await take_snapshot(party.joining)
    check_arrived(party)


async def test_a_height_that_is_not_provable_any_more_is_said_to_be_gone(party: Party) -> None:
    async def gone(_snapshots: Snapshots, _peer_id: int, _body: bytes) -> bytes:
        raise RequestRefused("state.gone")

    for server in party.servers.values():
        server.serve(Kind.STATE_CHUNK, gone)

    assert not await take_snapshot(party.joining)

    assert all(one.asked[Kind.STATE_CHUNK] == 1 for one in party.servers.values())
    assert party.joining.sources is not None
    assert party.joining.sources.peers == []


async def test_a_root_that_is_asked_for_is_pinned_for_a_while(party: Party) -> None:
    assert await take_snapshot(party.joining)

    snapshots = party.servers[1].snapshots
    assert snapshots.chain.stored.world.pinned == BLOCKS - 3
    release_pin(snapshots.pins)
    assert snapshots.chain.stored.world.pinned == BLOCKS - 3

    snapshots.pins.until_s = 0.0
    release_pin(snapshots.pins)
    assert snapshots.chain.stored.world.pinned is None


async def test_an_offer_names_what_is_there(party: Party) -> None:
    offer = decode(SnapshotOffer, await answer_offer(party.servers[1].snapshots, 0, b""))

    assert (offer.oldest_block, offer.newest_state) == (1, BLOCKS - 1)
    assert offer.oldest_state == 3


async def test_a_source_that_hides_the_later_sets_proves_nothing(party: Party) -> None:
    async def hide(_snapshots: Snapshots, _peer_id: int, _body: bytes) -> bytes:
        raise RequestRefused("not_here")

    party.servers[1].serve(Kind.FIND_EPOCH, hide)

    assert await take_snapshot(party.joining)

    assert party.joining.sources is not None
    assert party.joining.sources.bad[1] == 1
    check_arrived(party)


async def test_a_source_that_makes_up_the_next_set_proves_nothing(party: Party) -> None:
    async def make_up(snapshots: Snapshots, peer_id: int, body: bytes) -> bytes:
        end = decode(EpochEnd, await answer_epoch(snapshots, peer_id, body))
        fewer = ValidatorSet(members=end.next_validators.members[:1])
        return encode(replace(end, next_validators=fewer))

    party.servers[2].serve(Kind.FIND_EPOCH, make_up)

    assert await take_snapshot(party.joining)

    assert party.joining.sources is not None
    assert party.joining.sources.bad[2] == 1
    check_arrived(party)


def open_again(chain: Chain, origin: Chain) -> tuple[int, list[Digest]]:
    """How many transactions of `origin` are still valid at a chain's tip, and which of them a
    block after it could hold once more."""
    time_ms = chain.tip.time_ms + 1
    blocks = [get_block(origin.stored, height) for height in range(1, chain.tip.height + 1)]
    signed = [one for block in blocks if block is not None for one in block.transactions]
    decided = [decode_transaction(one, chain.chain_id) for one in signed]
    valid = [one for one in decided if one.body.valid_until_ms > time_ms]
    assert chain.replay.is_complete(), "or nothing may be proposed upon it"
    return len(valid), [
        one.tx_id for one in valid if not chain.replay.contains(one.tx_id, one.body.valid_until_ms)
    ]


async def test_nothing_decided_can_be_decided_again_after_a_snapshot(party: Party) -> None:
    """Attack 36: who never executed the blocks of the window knows what they decided."""
    assert await take_snapshot(party.joining)
    party.joining.chain.stored.database.close()
    assert adopt_arrival(party.layout)

    new = opened(party.layout.ledger)

    with new.stored.database:
        assert new.stored.history.whole_from > 1
        assert open_again(new, party.origin) == (5, [])


def test_nothing_decided_can_be_decided_again_after_pruning_and_a_restart(
    grown: Path, tmp_path: Path
) -> None:
    origin = opened(Path(shutil.copytree(grown, tmp_path / "origin")))
    pruned = opened(Path(shutil.copytree(grown, tmp_path / "pruned")))
    run_to_end(prune(pruned.stored, prune_horizon(pruned.stored, Keep(blocks=1, days=0))))
    before = open_again(pruned, origin)
    pruned.stored.database.close()

    again = opened(tmp_path / "pruned")

    with origin.stored.database, again.stored.database:
        assert again.stored.history.whole_from > 1
        assert before == open_again(again, origin) == (5, [])


def invite_to(party: Party, height: int, *, validators: ValidatorSet | None = None) -> Invite:
    """An invite of the origin's that vouches for one of its blocks, maybe as decided by others."""
    stored = get_stored_header(party.origin.stored, height)
    assert stored is not None
    sealed = SealedHeader(
        header=decode(Header, stored.header),
        certificate=decode(CommitCertificate, stored.certificate),
    )
    node = KnownNode(index=ReplicaId(1), org=NORTH, tls_pin=bytes(32), p2p_address="127.0.0.1:7400")
    return Invite(
        genesis=genesis(),
        free_index=ReplicaId(4),
        nodes=(node,),
        validators=validators or party.origin.next_set,
        sealed_header=encode(sealed),
    )


@pytest.mark.parametrize("height", [30, BLOCKS - 2, BLOCKS])
async def test_a_snapshot_comes_from_the_block_of_the_invite(party: Party, height: int) -> None:
    party.joining.invite = invite_to(party, height)

    assert await take_snapshot(party.joining)

    check_arrived(party)


async def test_no_snapshot_is_taken_of_a_chain_that_the_nodes_of_the_invite_do_not_know(
    party: Party,
) -> None:
    """Others have decided the invite's block: who serves this chain has keys of long ago."""
    party.joining.invite = invite_to(party, 30, validators=party.joining.chain.next_set)

    assert not await take_snapshot(party.joining)

    assert party.joining.sources is not None
    assert party.joining.sources.bad == {1: 1, 2: 1, 3: 1}


async def test_a_snapshot_from_before_the_block_of_the_invite_is_not_taken(party: Party) -> None:
    party.joining.invite = invite_to(party, BLOCKS)
    for server in party.servers.values():
        server.serve(Kind.OFFER_SNAPSHOT, offer_older)

    assert not await take_snapshot(party.joining)


async def test_learners_have_no_say_in_whether_and_from_which_height_a_snapshot_comes(
    party: Party,
) -> None:
    """One liar is among the voters; whoever learns is no voter yet, however many they are."""
    true = await ask_offers(party.joining.network)
    lie = SnapshotOffer(oldest_block=2**40, oldest_state=2**40, newest_state=2**41)
    learner = ReplicaId(7)

    assert choose_height(party.joining, {**true, 1: lie, learner: lie}) == BLOCKS - 1
    assert choose_height(party.joining, {learner: lie}) is None


async def offer_older(snapshots: Snapshots, peer_id: int, body: bytes) -> bytes:
    offer = decode(SnapshotOffer, await answer_offer(snapshots, peer_id, body))
    return encode(replace(offer, newest_state=offer.newest_state - 1))


def head_at(party: Party, epoch: int) -> Target:
    """What a source tells of the header above height 20, in an epoch of its choice."""
    stored = get_stored_header(party.origin.stored, 21)
    assert stored is not None
    header = replace(decode(Header, stored.header), epoch=Epoch(epoch))
    return Target(height=20, sets={}, headers={21: replace(stored, header=encode(header))})


async def test_of_two_heads_that_hold_the_one_that_enough_voters_share_is_the_chains(
    party: Party,
) -> None:
    """Who has keys of former sets can certify many epochs; one correct source has no such head."""
    voters = party.origin.next_set
    honest, forked = head_at(party, 1), head_at(party, 9)

    assert choose_head({1: honest, 2: honest, 3: forked}, voters) == [1, 2]
    assert choose_head({1: honest, 2: honest, 7: forked, 8: forked, 9: forked}, voters) == [1, 2]
    assert choose_head({0: honest, 1: honest, 2: forked, 3: forked}, voters) == [2, 3]
    assert choose_head({1: honest}, voters) == [1]
    for undecided in ({1: honest, 2: forked}, {}):
        with pytest.raises(NoSource):
            choose_head(undecided, voters)
