"""Members that change while everything else goes wrong: a learner that becomes a validator, one
that is removed, one whose vote key is replaced.

Nothing is handed in. Admins of the founding hospitals send `governance.propose` and
`governance.vote` to nodes of their choice until the ledger has them; the learner visits, catches up
and says `validator.ready`; keys and links follow the ledger by the shell's own code. A change is
begun only if the faulty stay within the f of the set that it leads to, and from then on they stay
within the f of every set so far.
"""

import random
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

from crypto.hashing import Digest, Domain
from crypto.quorum import QuorumSystem
from crypto.schema import encode
from crypto.signatures import PublicKey, Scheme, account_id, public_key, signature_preimage
from crypto.validators import Epoch, ReplicaId
from ledger.accounts import OrgId
from ledger.contracts.governance import get_latest_epoch
from ledger.governance_payloads import (
    AddValidator,
    Propose,
    Ready,
    RekeyValidator,
    RemoveValidator,
    Vote,
)
from ledger.governance_payloads import Change as Payload
from ledger.nodes import NodeStanding, get_node
from ledger.proposals import Outcome, get_proposal
from ledger.replay import Status as TransactionState
from ledger.state import StateView
from ledger.transactions import SignedTransaction, make_transaction, transaction_id
from p2p.network import Network
from shell.freshness import is_fresh_at
from shell.membership import Invited, peers_of
from tests.simulation.cluster import Cluster, make_node
from tests.simulation.founding import PARAMETERS
from tests.simulation.host import Host, submit
from tests.simulation.ideal import signature
from tests.simulation.keystores import make_keys, make_keystore, make_statement, pin_of, vote_key_of
from tests.simulation.ledger_application import ledger_of
from tests.simulation.links import Links, keep_visiting
from tests.unit.ledger.small_consortium import NORTH, SOUTH, signing_key

SHARE: Final = 1 / 3
"""So many of all histories change their members."""

ADD: Final = "learner became a validator"
REMOVE: Final = "validator removed"
REKEY: Final = "validator re-keyed"
KINDS: Final = (ADD, ADD, REMOVE, REKEY)
"""Learners take their time, so there are more of them."""

LOOK_MS: Final = 50
AGAIN_MS: Final = 500
READY_MS: Final = 150
PROPOSAL_HEIGHTS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of the members that somebody wants from a time on; of the TLS key too, perhaps."""

    kind: str
    index: int
    at_ms: int
    keeps_tls: bool = True


@dataclass(slots=True, kw_only=True)
class Council:
    """The admins of the founding hospitals, and what they are about.

    `wanted` are the changes still to come; `proposal` is the id of the transaction that proposed
    the present one, `signed` and `sent_ms` are its transactions and when each was last sent.
    `generations` count how often each node's vote key and TLS key were replaced.
    """

    random: random.Random
    organisations: tuple[OrgId, ...]
    wanted: list[Change]
    present: Change | None = None
    proposal: bytes = b""
    signed: dict[str, bytes] = field(default_factory=dict)
    sent_ms: dict[str, int] = field(default_factory=dict)
    generations: dict[int, tuple[int, int]] = field(default_factory=dict)


def draw_changes(seed: int, replicas: int, until_ms: int) -> tuple[Change, ...]:
    """Draw whether members change, and how; from numbers of its own, so that nothing else moves."""
    draw = random.Random(f"members {seed}")
    if draw.random() >= SHARE:
        return ()
    later = [draw.randint(500, until_ms // 2) for _ in range(draw.randint(0, 3))]
    times = [draw.randint(50, 500), *sorted(later)]
    members = list(range(replicas))
    changes: list[Change] = []
    for at_ms in times:
        kind = draw.choice(KINDS)
        if kind == REMOVE and len(members) == 1:
            kind = ADD
        index = max(replicas, *(one.index + 1 for one in changes)) if changes else replicas
        if kind == ADD:
            members.append(index)
        else:
            index = draw.choice(members)
        if kind == REMOVE:
            members.remove(index)
        changes.append(Change(kind=kind, index=index, at_ms=at_ms, keeps_tls=draw.random() < 0.5))
    return tuple(changes)


def begin_changes(cluster: Cluster, changes: tuple[Change, ...]) -> None:
    """Give every node keys and links that follow the ledger, and let the admins begin."""
    draw = random.Random(f"council {cluster.seed}")
    for index in range(cluster.founders, 1 + max(one.index for one in changes)):
        cluster.skew_ms.append(draw.randint(-50, 50))
        cluster.hosts.append(make_node(cluster, index))
        cluster.unborn[index] = None
    for host in cluster.hosts:
        follow_ledger(cluster, host)
    council = Council(
        random=draw,
        organisations=(NORTH, SOUTH) if cluster.founders > 1 else (NORTH,),
        wanted=list(changes),
    )
    _look_later(cluster, council)


def follow_ledger(cluster: Cluster, host: Host) -> None:
    """Let a node, or another process with its key, use the keys that the ledger names for it."""
    application = ledger_of(host)
    application.keystore = make_keystore(application.disk, host.replica)
    links = Links(host=host, shown=pin_of(make_keys(host.replica)))
    application.network = cast("Network", links)
    if host.twin:
        return
    cluster.links.append(links)
    keep_visiting(cluster, links)
    _learn(cluster, links, b"")


def _look_later(cluster: Cluster, council: Council) -> None:
    cluster.at(LOOK_MS, "council", partial(_look, cluster, council))


def _look(cluster: Cluster, council: Council) -> None:
    """Go one step on with the present change, or begin the next."""
    if cluster.is_healed:
        return
    _look_later(cluster, council)
    informed = [host for host in cluster.obliged() if host.state is not None]
    if not informed:
        return
    host = council.random.choice(informed)
    if council.present is None:
        _begin(cluster, council, host)
    if council.present is not None:
        _go_on(cluster, council, council.present, host)


def _begin(cluster: Cluster, council: Council, informed: Host) -> None:
    """Take up the next change that is due and that leaves no more than f faulty."""
    if not council.wanted or council.wanted[0].at_ms > cluster.now:
        return
    change = council.wanted.pop(0)
    members = set(cluster.sets[-1])
    if (change.index in members) == (change.kind == ADD):
        return  # What it was about was left out.
    after = {ADD: members | {change.index}, REMOVE: members - {change.index}, REKEY: members}
    new = tuple(sorted(after[change.kind]))
    faulty = cluster.faulty()
    if not new or sum(one in faulty for one in new) > QuorumSystem(len(new)).f:
        cluster.counts["change left out, too many are faulty"] += 1
        return
    if change.kind == REKEY and _waits_for_keys(cluster, change.index):
        cluster.counts["re-keying left out, the one before is not done there"] += 1
        return  # `node rekey` would show the keys that wait already.
    cluster.sets.append(new)
    council.present, council.proposal = change, b""
    council.signed.clear()
    council.sent_ms.clear()
    if change.kind == REKEY:
        _make_next_keys(cluster, council, change)
    if change.kind == ADD:
        host = cluster.hosts[change.index]
        ledger_of(host).invited = _invite(informed)
        cluster.at(council.random.randint(0, 200), "join", partial(_join, cluster, host))


def _waits_for_keys(cluster: Cluster, replica: int) -> bool:
    store = ledger_of(cluster.hosts[replica]).keystore
    return store is not None and store.following is not None


def _invite(host: Host) -> Invited:
    """What an invite made by this node names."""
    chain = ledger_of(host).running.chain
    return Invited(height=chain.tip.height, peers=peers_of(chain))


def _join(cluster: Cluster, host: Host) -> None:
    cluster.unborn.pop(host.replica, None)
    if host.state is None:
        cluster.bring_up(host.seat)


def _make_next_keys(cluster: Cluster, council: Council, change: Change) -> None:
    """What `medledger validators rekey` leaves in `keys/`."""
    store = ledger_of(cluster.hosts[change.index]).keystore
    assert store is not None, "nodes of a chain whose members change have keystores"
    store.following = _next_keys(council, change)


def _next_keys(council: Council, change: Change) -> Any:
    vote, tls = _next_generations(council, change)
    return make_keys(change.index, vote, tls)


def _next_generations(council: Council, change: Change) -> tuple[int, int]:
    vote, tls = council.generations.get(change.index, (0, 0))
    return vote + 1, tls if change.keeps_tls else vote + 1


def _go_on(cluster: Cluster, council: Council, change: Change, host: Host) -> None:
    view = ledger_of(host).running.chain.view()
    proposal = get_proposal(view, council.proposal) if council.proposal else None
    if proposal is None:
        is_refused = council.proposal and host.application.height_of(council.proposal) is not None
        if not council.proposal or is_refused:
            epoch = get_latest_epoch(view).epoch
            expires = host.application.height + PROPOSAL_HEIGHTS
            payload = Propose(
                epoch=epoch,
                expires_height=expires,
                change=_payload(cluster, council, change, view),
            )
            org = _org_of(change.index, council)
            signed, council.proposal = _sign(cluster, council, org, "governance.propose", payload)
            council.signed, council.sent_ms = {"propose": signed}, {}
        _send(cluster, council, "propose")
        return
    if proposal.outcome is Outcome.OPEN:
        voted = {ballot.org for ballot in proposal.ballots}
        for org in council.organisations:
            if org not in voted:
                _vote(cluster, council, org, proposal.epoch)
        return
    if proposal.outcome is not Outcome.EXECUTED:
        cluster.counts[f"change closed as {proposal.outcome.value}"] += 1
        council.present = None
        return
    if _is_in_force(change, view, host.application.height):
        cluster.counts[change.kind] += 1
        council.present = None
        if change.kind == REKEY:
            council.generations[change.index] = _next_generations(council, change)


def _payload(cluster: Cluster, council: Council, change: Change, view: StateView) -> Payload:
    chain_id, index = cluster.founding.chain_id, change.index
    if change.kind == REMOVE:
        return RemoveValidator(index=ReplicaId(index))
    org = _org_of(index, council)
    if change.kind == ADD:
        return AddValidator(node=make_statement(index, org, make_keys(index), chain_id))
    keys = _next_keys(council, change)
    return RekeyValidator(node=make_statement(index, org, keys, chain_id))


def _org_of(index: int, council: Council) -> OrgId:
    """Hospitals take turns in running nodes."""
    return council.organisations[index % len(council.organisations)]


def _is_in_force(change: Change, view: StateView, height: int) -> bool:
    node = get_node(view, change.index)
    is_done = node is not None and (change.kind != ADD or node.standing is NodeStanding.VOTING)
    return is_done and height >= get_latest_epoch(view).first_height


def _vote(cluster: Cluster, council: Council, org: OrgId, epoch: Epoch) -> None:
    if org not in council.signed:
        ballot = Vote(proposal=Digest(council.proposal), epoch=epoch, org=org, accepts=True)
        council.signed[org], _ = _sign(cluster, council, org, "governance.vote", ballot)
    _send(cluster, council, org)


def _sign(
    cluster: Cluster, council: Council, org: OrgId, kind: str, payload: Any
) -> tuple[bytes, bytes]:
    """Return a transaction of the first admin of a hospital, and its id."""
    key = public_key(signing_key(f"first admin of {org}"))
    return _signed(cluster, council.random, key, kind, payload)


def _signed(
    cluster: Cluster, draw: random.Random, key: PublicKey, kind: str, payload: Any
) -> tuple[bytes, bytes]:
    now_ms = cluster.founding.created_ms + cluster.now
    body = make_transaction(
        chain_id=cluster.founding.chain_id,
        sender=account_id(key),
        kind=kind,
        payload=payload,
        valid_from_ms=now_ms - 2_000,
        valid_until_ms=now_ms + PARAMETERS.tx_window_ms_max - 5_000,
        nonce=draw.randbytes(16),
    )
    encoded = encode(body)
    tx_id = transaction_id(body.chain_id, encoded)
    preimage = signature_preimage(Domain.TRANSACTION_SIGNATURE, body.chain_id, tx_id)
    signed = SignedTransaction(body=encoded, key=key, signature=signature(key.data, preimage))
    return encode(signed), tx_id


def _send(cluster: Cluster, council: Council, what: str) -> None:
    """Hand a transaction to some node that runs, and again to another after a while."""
    if cluster.now - council.sent_ms.get(what, -AGAIN_MS) < AGAIN_MS:
        return
    council.sent_ms[what] = cluster.now
    running = [host for host in cluster.hosts if host.state is not None]
    submit(council.random.choice(running), council.signed[what])


def _learn(cluster: Cluster, links: Links, said: bytes) -> None:
    """Let a learner say that it is ready, and again until the ledger has heard it
    (`shell.readiness`)."""
    host = links.host

    def look() -> None:
        now_said = said
        if host.state is not None and _is_ready(links) and not _is_waiting(host, said):
            application = ledger_of(host)
            payload = Ready(index=host.replica, height=application.height)
            key = PublicKey(scheme=Scheme.ED25519, data=vote_key_of(application.keys.present))
            signed, now_said = _signed(cluster, cluster.random, key, "validator.ready", payload)
            submit(host, signed)
        _learn(cluster, links, now_said)

    if host.replica >= cluster.founders:
        cluster.at(READY_MS, "look whether ready", look, moves=host.seat)


def _is_ready(links: Links) -> bool:
    application = ledger_of(links.host)
    chain = application.running.chain
    entry = get_node(chain.view(), links.host.replica)
    if entry is None or entry.standing is not NodeStanding.LEARNER:
        return False
    return entry.vote_key == vote_key_of(application.keys.present) and is_fresh_at(
        application.watch.now_ms(),
        tip_height=chain.tip.height,
        tip_time_ms=chain.tip.time_ms,
        idle_block_ms=chain.parameters().idle_block_ms,
        quorum=chain.quorum(),
        heard=links.statuses.values(),
    )


def _is_waiting(host: Host, said: bytes) -> bool:
    if not said:
        return False
    state = ledger_of(host).running.chain.status(Digest(said)).state
    return state is TransactionState.PENDING
