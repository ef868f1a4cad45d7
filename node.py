"""The running node: opens the rooms, joins them, runs until it is told to stop.

Nothing is decided here. What happens to a message, a transaction or a block is in the rooms and,
where two of them have to meet, in `shell/`.
"""

import asyncio
import contextlib
import logging
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

from api.app import RunningApi, start_api
from api.context import ApiConfig
from config import EVERYBODY, NodeConfig, api_origins
from consensus.state import Config
from crypto.validators import ReplicaId
from genesis.document import GenesisDocument
from genesis.files import load_genesis
from genesis.invite import load_invite
from ledger.pool import Entry, Pool
from p2p.network import Network
from shell import blobs as blob_exchange
from shell import fetching, receiving
from shell import gossip as passing_on
from shell import replica as replica_shell
from shell.blobs import Blobs
from shell.blocks import on_upload
from shell.bodies import Bodies, answer_transactions
from shell.chain import Chain
from shell.chores import Chore, keep_doing
from shell.clock import Clock
from shell.clocks import keep_comparing
from shell.divergence import leave_report
from shell.garbage import calm_collector, keep_freed_memory
from shell.gossip import Gossip
from shell.greeting import greet
from shell.intake import Intake, submit, wait_taken
from shell.kinds import Kind
from shell.lag import keep_probing
from shell.limits import pool_limits, world_limits
from shell.membership import (
    check_own_keys,
    follow_set,
    is_mute,
    make_following,
    make_invited,
)
from shell.mending import Mending, check_storage, keep_mending
from shell.networking import make_network
from shell.opening import open_founded_chain, open_ledger
from shell.own_keys import OwnKeys, open_own_keys, sign_at
from shell.ports import make_ports
from shell.proposals import Proposals, recall
from shell.readiness import Readiness, keep_ready
from shell.replica import Replica, update_backlog
from shell.reporting import keep_reporting
from shell.restart import restart
from shell.sidecars import Sidecars, answer_sidecars
from shell.stores import make_stores
from shell.sweeping import keep_sweeping
from shell.turns import Turns, in_turn, stream_in_turn
from shell.upkeep import Upkeep, make_upkeep, upkeep_chores
from shell.verifier import Verifier
from shell.visits import Visits, keep_visiting, make_visits
from shell.watching import Watching, keep_watching, make_watching, note_block
from storage.database import Database
from storage.journal import close_journal
from storage.layout import NodeLayout, check_layout
from storage.lease import release_lease, take_lease
from storage.place import keep_place
from storage.sidecars import close_sidecars, get_sidecar_or_none, open_sidecars

log = logging.getLogger("medledger.node")

MENDING_PAUSE_S: Final = 10.0
LISTEN_HEARTBEATS: Final = 4
"""How long a start keeps silent after it was heard: a twin needs two to notice and to tell."""
VISIT_PAUSE_S: Final = 1.0


@dataclass(slots=True, kw_only=True)
class Node:
    """Everything that runs; `stopping` is set when the node has to end, `failure` says why.

    With `has_snapshot` it ends to start again with the ledger that has arrived.
    """

    config: NodeConfig
    layout: NodeLayout
    chain: Chain
    verifier: Verifier
    network: Network
    replica: Replica
    gossip: Gossip
    intake: Intake
    blobs: Blobs
    sidecars: Sidecars
    visits: Visits
    readiness: Readiness
    watching: Watching
    api: RunningApi | None = None
    upkeep: Upkeep
    chores: tuple[asyncio.Task[None], ...] = ()
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    failure: Exception | None = None
    has_snapshot: bool = False


Watch: TypeAlias = Callable[[Node], Awaitable[None]]


async def look_away(_node: Node) -> None:
    """Take no notice of what a node does."""


async def run_node(config: NodeConfig, passphrase: str, *, watch: Watch = look_away) -> None:
    """Run a node until SIGTERM or SIGINT; raise what made it impossible to go on.

    `watch` looks at it meanwhile, and has to end when `stopping` is set.
    """
    assert sys.flags.optimize == 0, "invariants are asserts: do not run with -O"
    keep_freed_memory()
    while await _run_until_stopped(config, passphrase, watch):
        log.warning("the node starts again with the ledger that has arrived")


async def _run_until_stopped(config: NodeConfig, passphrase: str, watch: Watch) -> bool:
    """Return whether the node stopped in order to start again."""
    async with running_node(config, passphrase) as node:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, node.stopping.set)
        calm_collector()
        await watch(node)
        await node.stopping.wait()
        if node.failure is not None:
            raise node.failure
        return node.has_snapshot


@contextlib.asynccontextmanager
async def running_node(
    config: NodeConfig, passphrase: str, *, clock: Clock | None = None
) -> AsyncIterator[Node]:
    """Open the directory, restore the replica, listen, agree; close everything on the way out.

    Raises the named errors of storage, keystore, genesis and p2p.
    """
    layout = check_layout(config.directory)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(release_lease, take_lease(layout.lease))
        keys = open_own_keys(layout.keys, passphrase, ReplicaId(config.node_index))
        document = load_genesis(layout.genesis)
        database = open_ledger(layout)
        stack.callback(database.close)
        node = assemble(config, layout, database, document, keys, clock or Clock())
        check_storage(node.replica.mending, layout.journal)
        stack.callback(close_journal, node.replica.votes.journal)
        stack.callback(close_sidecars, node.sidecars.store)
        await start(node, document)
        try:
            yield node
        finally:
            await stop(node)


def assemble(
    config: NodeConfig,
    layout: NodeLayout,
    database: Database,
    document: GenesisDocument,
    keys: OwnKeys,
    clock: Clock,
) -> Node:
    """Join the rooms; nothing runs yet."""
    pool = Pool(pool_limits(config.limits))
    chain = open_founded_chain(database, document, pool, world_limits(config.limits))
    invite = load_invite(layout.invite) if layout.invite.exists() else None
    invited = None if invite is None else make_invited(invite)
    check_own_keys(chain, keys, is_new=invite is None and not layout.place.exists())
    verifier = Verifier(config.limits.verify_workers)
    routes: dict[int, Callable[[int, bytes], None]] = {}
    network = make_network(
        config.p2p.host,
        config.p2p.port,
        chain,
        keys,
        invited,
        on_frame=lambda peer_id, kind, body: routes[kind](peer_id, body),
        on_link=lambda peer_id, is_up: greet(replica, peer_id, is_up=is_up),
        is_open=config.guests == EVERYBODY,
    )
    replica = _make_replica(config, layout, chain, verifier, network, keys, clock)
    replica.anchor = None if invite is None else invite.anchor()
    intake = Intake(chain=chain, pool=pool, verifier=verifier, clock=clock)
    following = make_following(chain, network, keys, invited)
    gossip = Gossip(network=network, take=lambda items: submit(intake, items, is_gossip=True))
    blobs, sidecars = make_stores(config, layout, replica)
    node = Node(
        config=config,
        layout=layout,
        chain=chain,
        verifier=verifier,
        network=network,
        replica=replica,
        visits=make_visits(replica, following, invite),
        readiness=Readiness(replica=replica, following=following, intake=intake),
        gossip=gossip,
        watching=make_watching(replica, config.timeouts, partial(passing_on.announce, gossip)),
        intake=intake,
        blobs=blobs,
        sidecars=sidecars,
        upkeep=make_upkeep(
            config,
            layout,
            invite,
            chain=chain,
            network=network,
            mending=replica.mending,
            blobs=blobs,
            sidecars=sidecars,
        ),
    )
    connect(node, routes)
    return node


def _make_replica(
    config: NodeConfig,
    layout: NodeLayout,
    chain: Chain,
    verifier: Verifier,
    network: Network,
    keys: OwnKeys,
    clock: Clock,
) -> Replica:
    """Restore the replica from tip and journal, with what performs its effects."""
    replica_id = ReplicaId(config.node_index)
    sidecars = open_sidecars(layout.sidecars)
    proposals = Proposals(chain=chain, pool=chain.pool, clock=clock, replica=replica_id)
    bodies = Bodies(
        chain=chain,
        pool=chain.pool,
        verifier=verifier,
        network=network,
        recall=partial(recall, proposals),
        get_sidecar=partial(get_sidecar_or_none, sidecars),
    )
    settings = _consensus_config(config, chain, keys)
    restarted = restart(
        chain,
        settings,
        layout,
        proposals,
        bodies.get_sidecar,
        is_mute=partial(is_mute, chain, keys),
    )
    return Replica(
        state=restarted.state,
        first_effects=restarted.effects,
        votes=restarted.votes,
        chain=chain,
        proposals=proposals,
        bodies=bodies,
        sidecars=sidecars,
        mending=Mending(chain=chain, network=network),
        network=network,
        keys=keys,
        clock=clock,
    )


def connect(node: Node, routes: dict[int, Callable[[int, bytes], None]]) -> None:
    """Say where frames, requests, new transactions and fatal errors go."""
    network, replica, gossip, blobs = node.network, node.replica, node.gossip, node.blobs
    routes[Kind.CONSENSUS] = partial(receiving.on_frame, replica)
    routes[Kind.TRANSACTIONS] = partial(passing_on.on_batch, gossip)
    network.serve_push(Kind.TRANSACTIONS_LARGE, partial(passing_on.on_large_batch, gossip))
    receive = partial(receiving.receive, replica)
    is_asked = partial(replica_shell.is_asked, replica)
    network.serve_push(Kind.BLOCKS, partial(on_upload, receive, is_asked, replica.uploads))
    for_votes, for_readers = Turns(), Turns()
    network.serve(
        Kind.FIND_TRANSACTIONS, in_turn(for_votes, partial(answer_transactions, replica.bodies))
    )
    network.serve(Kind.FIND_SIDECARS, in_turn(for_votes, partial(answer_sidecars, node.sidecars)))
    network.serve(Kind.BLOB_INDEX, in_turn(for_readers, partial(fetching.on_index, blobs)))
    network.serve(Kind.BLOB_READ, stream_in_turn(for_readers, partial(fetching.on_read, blobs)))
    network.serve_push(Kind.BLOB_STORE, partial(blob_exchange.on_store, blobs))

    def on_added(entries: Sequence[Entry], is_gossip: bool) -> None:
        if not is_gossip:
            passing_on.announce(gossip, entries)
        update_backlog(replica)

    def on_fatal(problem: Exception) -> None:
        log.critical("the node stops", exc_info=problem)
        leave_report(node.layout, problem)
        node.failure = node.failure or problem
        node.stopping.set()

    def on_arrived() -> None:
        node.has_snapshot = True
        node.stopping.set()

    node.intake.on_added = on_added
    node.intake.is_checked = lambda one: recall(replica.proposals, one) is not None
    replica.bodies.wait_taken = partial(wait_taken, node.intake)
    node.upkeep.joining.on_arrived = on_arrived
    replica.on_fatal = on_fatal
    replica.on_block = partial(note_block, node.watching)
    replica.on_tip = partial(follow_set, node.visits.following)


async def start(node: Node, document: GenesisDocument) -> None:
    """Start workers, network, replica and API, in the order in which each needs the one before."""
    await node.verifier.start()
    await node.network.start()
    replica_shell.start(node.replica)
    keep_place(node.layout, node.replica.state.config.boot_id)
    pool, clock = node.intake.pool, node.intake.clock
    chores: dict[str, Chore] = {
        "sweeping": lambda: keep_sweeping(node.blobs, node.sidecars),
        "mending": lambda: keep_mending(node.replica.mending, pause_s=MENDING_PAUSE_S),
        "gossip": lambda: passing_on.repeat(node.gossip, pool, clock),
        "visiting": lambda: keep_visiting(node.visits, pause_s=VISIT_PAUSE_S),
        "readiness": lambda: keep_ready(node.readiness),
        "watching": lambda: keep_watching(node.watching),
        "probing": lambda: keep_probing(node.replica.timeline.probe),
        "clocks": lambda: keep_comparing(node.replica),
        "evidence": lambda: keep_reporting(node.replica, node.intake),
        **upkeep_chores(node.upkeep),
    }
    node.chores = tuple(
        asyncio.create_task(keep_doing(name, begin), name=name) for name, begin in chores.items()
    )
    member = node.chain.next_set.member(ReplicaId(node.config.node_index))
    ports = make_ports(
        intake=node.intake,
        chain=node.chain,
        blobs=node.blobs,
        sidecars=node.sidecars,
        replica=node.replica,
        upkeep=node.upkeep,
        clock=clock,
        organisation="" if member is None else member.org,
    )
    endpoint = node.config.api
    api_config = ApiConfig(origins=api_origins(node.config))
    node.api = await start_api(ports, host=endpoint.host, port=endpoint.port, config=api_config)
    extra = {"node": node.config.node_index, "height": node.chain.tip.height, "api": node.api.port}
    log.info("node started", extra=extra)


async def stop(node: Node) -> None:
    """Stop what `start` started, in the opposite order."""
    if node.api is not None:
        await node.api.close()
    for chore in node.chores:
        chore.cancel()
    await asyncio.gather(*node.chores, return_exceptions=True)
    await passing_on.close(node.gossip)
    await replica_shell.close(node.replica)
    await node.network.close()
    await node.verifier.close()
    log.info("node stopped", extra={"node": node.config.node_index})


def _consensus_config(config: NodeConfig, chain: Chain, keys: OwnKeys) -> Config:
    return Config(
        chain_id=chain.chain_id,
        replica=keys.replica,
        boot_id=secrets.token_bytes(16),
        sign=lambda epoch, preimage: sign_at(keys, chain.sets, epoch, preimage),
        base_timeout_ms=config.timeouts.base_timeout_ms,
        timeout_cap_ms=config.timeouts.timeout_cap_ms,
        gather_ms=config.timeouts.gather_ms,
        idle_block_ms=chain.next_pace.idle_block_ms,
        status_ms=config.timeouts.status_ms,
        fetch_ms=config.timeouts.base_timeout_ms,
        rotate_every=chain.next_pace.rotate_every,
        listen_heartbeats=LISTEN_HEARTBEATS,
    )
