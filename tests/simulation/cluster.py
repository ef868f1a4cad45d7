"""A cluster of whole replicas on virtual time and a virtual network, drawn from one seed.

    cluster = start_cluster(replicas=4, seed=4821, faults=Faults(loss=0.1))
    cluster.run(until_ms=20_000)
    cluster.heal()
    cluster.run_until_level()

Everything that happens is an entry of one queue, ordered by time and then by number; the same seed
gives the same events. `Monitor` judges after each. What happened is kept in `trace`.

A replica is `hurt` when it may have forgotten what it signed or decided (its disk was wiped, torn,
changed, or lied), until its fence is down and it has decided past whatever it may have signed.
Hurt replicas, liars and those with a wrong clock together stay within f.
"""

import hashlib
import heapq
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

from consensus.effects import Decide, Effect, Persist, ReportEvidence
from consensus.events import LoopLagged, Timer, TimerKind
from consensus.messages import Echo, Message, Status, Vote, decode_message, encode_message
from consensus.state import Config
from crypto.hashing import ChainId
from crypto.quorum import QuorumSystem
from crypto.validators import Epoch, ReplicaId
from shell.divergence import StateDiverged
from storage.errors import DatabaseCorrupt, DiskFull, JournalCorrupt, JournalFailed, StorageError
from tests.simulation.byzantine import Behaviour
from tests.simulation.clients import Clients
from tests.simulation.founding import (
    IDLE_BLOCK_MS,
    ROTATE_EVERY,
    Founding,
    found,
    vote_public_key,
)
from tests.simulation.host import (
    Host,
    Parcel,
    crash,
    expire,
    make_host,
    receive,
    start,
    submit,
    tell,
)
from tests.simulation.ideal import CHAIN, at_every_epoch, make_signer, signer_of
from tests.simulation.ledger_application import LedgerApplication, ledger_of
from tests.simulation.links import Links, Visit, Visited, are_linked, take_visit
from tests.simulation.memory_database import PowerLost
from tests.simulation.monitor import (
    NOWHERE,
    Monitor,
    Place,
    Violation,
    begin_sets,
    forget_heard,
    note_heard,
    note_shown,
    observe,
    observe_event,
)

BASE_TIMEOUT_MS = 1_000
TIMEOUT_CAP_MS = 8_000
GATHER_MS = 5
STATUS_MS = 250
FETCH_MS = 300
WORK_MS = {"propose": 2, "check": 3, "execute": 4}
WIRED_EVERY = 50
"""Every so many parcels one goes through the codec: the others are spared it, for speed."""
FENCE_HEIGHTS = 3
RETRY_MS = 500

Carried: TypeAlias = Parcel | Visit | Visited
"""Whatever travels, over a link or between a visitor and whom it visits."""

Entry: TypeAlias = tuple[int, int, str, int | None, Callable[[], None]]
"""When, in which order, what, whose seat it moves, and how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How bad the network is: probabilities for each parcel, delays in milliseconds."""

    loss: float = 0.0
    duplication: float = 0.0
    delay_min_ms: int = 1
    delay_max_ms: int = 15
    stragglers: float = 0.0  # Parcels that take up to twenty times as long.


@dataclass(slots=True, kw_only=True)
class Cluster:
    """The world of the simulated hosts, and its clock; twins sit behind the replicas.

    `founders` is the number of replicas at the beginning; `sets` are the indexes of every set so
    far, with the one that a change under way leads to. `unborn` nodes have not joined yet; `links`
    are there where members change, one of each host.
    """

    seed: int
    random: random.Random
    faults: Faults
    founding: Founding
    clients: Clients
    founders: int
    hosts: list[Host] = field(default_factory=list)
    twins: list[Host] = field(default_factory=list)
    now: int = 0
    queue: list[Entry] = field(default_factory=list)
    number: int = 0
    events: int = 0
    blocked: dict[tuple[int, int], int] = field(default_factory=dict)
    is_lost: Callable[[int, int, Carried], bool] | None = None  # A network with a grudge.
    on_decision: Callable[[int, int], None] | None = None  # Told replica and height.
    timers: dict[tuple[int, TimerKind], int] = field(default_factory=dict)
    skew_ms: list[int] = field(default_factory=list)
    behaviours: dict[int, Behaviour] = field(default_factory=dict)
    paused: dict[int, int] = field(default_factory=dict)  # Until when.
    busy: dict[int, int] = field(default_factory=dict)  # Until when its disk keeps it.
    slow_ms: dict[int, int] = field(default_factory=dict)  # What a flush takes now.
    kill_at: dict[int, dict[int, None]] = field(default_factory=dict)
    boundaries: dict[int, int] = field(default_factory=dict)
    kills: int = 0
    sets: list[tuple[int, ...]] = field(default_factory=list)
    unborn: dict[int, None] = field(default_factory=dict)
    links: list[Links] = field(default_factory=list)
    hurt: dict[int, int] = field(default_factory=dict)  # Above which height it is whole again.
    astray: dict[int, None] = field(default_factory=dict)  # Whose clock is far off.
    repairs: dict[int, str] = field(default_factory=dict)  # What its operator has to do.
    changed: dict[int, None] = field(default_factory=dict)  # Whose journal a start must refuse.
    counts: Counter[str] = field(default_factory=Counter)
    submitted: int = 0
    is_healed: bool = False  # From then on nothing goes wrong any more.
    monitor: Monitor = field(default_factory=Monitor)
    trace: list[tuple[int, int, str, str]] = field(default_factory=list)

    # What the hosts see of the world.

    def now_ms(self, host: Host) -> int:
        return self.now + self.skew_ms[host.replica]

    def send(self, sender: ReplicaId, to: ReplicaId, parcel: Parcel) -> None:
        if self.links and not are_linked(self.links[sender], self.links[to]):
            return
        behaviour = self.behaviours.get(sender)
        if behaviour is None:
            self.carry(sender, to, parcel)
            return
        for one in behaviour.rewrite(self.hosts[sender], to, parcel):
            self.carry(sender, to, one, behaviour.delay_ms(self.hosts[sender], one))

    def start_timer(self, host: Host, timer: Timer, delay_ms: int) -> None:
        self.timers[host.seat, timer.kind] = timer.serial
        boot = host.boots
        self.at(
            delay_ms,
            f"timer {timer.kind.value}",
            lambda: self.fire(host, timer, boot),
            moves=host.seat,
        )

    def stop_timer(self, host: Host, timer: Timer) -> None:
        self.timers.pop((host.seat, timer.kind), None)

    def later(self, host: Host, what: str, action: Callable[[], None], delay_ms: int) -> None:
        boot = host.boots

        def run() -> None:
            if host.boots == boot and host.state is not None:
                action()

        self.at(delay_ms, what, run, moves=host.seat)

    def work_ms(self, what: str) -> int:
        return self.random.randint(1, WORK_MS[what])

    def reaches_boundary(self, host: Host, effect: Effect) -> bool:
        if not self._is_killed_here(host.seat):
            return True
        self.note(host.seat, f"killed before {type(effect).__name__}")
        self.counts["crash at an effect"] += 1
        self.take_down(host.seat, for_ms=self.random.randint(1, 3_000))
        return False

    def on_disk_call(self, seat: int, what: str) -> None:
        """Called inside every change of a disk: here, too, a node may lose power."""
        if self._is_killed_here(seat):
            self.note(seat, f"killed in {what}")
            self.counts["crash in a disk call"] += 1
            raise PowerLost

    def observe(self, host: Host, effect: Effect) -> None:
        if isinstance(effect, Persist) and host.seat in self.slow_ms:
            self.busy[host.seat] = max(self.busy.get(host.seat, 0), self.now)
            self.busy[host.seat] += self.slow_ms[host.seat]
        if host.replica not in self.behaviours:
            observe(self.monitor, host, effect)
            if isinstance(effect, ReportEvidence):
                self.note(host.seat, f"evidence against {effect.evidence.fault.signer}")
            if isinstance(effect, Decide):
                self.note(host.seat, f"decide {effect.block.height}")
                if self.on_decision is not None:
                    self.on_decision(host.replica, effect.block.height)

    # What drives it.

    def at(
        self, delay_ms: int, what: str, action: Callable[[], None], *, moves: int | None = None
    ) -> None:
        """Let something happen later; `moves` is the one seat that it concerns, if it is one."""
        self.number += 1
        heapq.heappush(self.queue, (self.now + delay_ms, self.number, what, moves, action))

    def carry(self, sender: int, to: int, parcel: Carried, extra_ms: int = 0) -> None:
        """Put something on the way, unless the network loses it."""
        if (sender, to) in self.blocked or self.random.random() < self.faults.loss:
            return
        if self.is_lost is not None and self.is_lost(sender, to, parcel):
            return
        if self.number % WIRED_EVERY == 0 and isinstance(parcel, Message):
            parcel = decode_message(encode_message(parcel))
        shown = self._shown_by(sender, to, parcel)
        copies = 2 if self.random.random() < self.faults.duplication else 1
        what = f"{type(parcel).__name__} from {sender}"
        extra_ms += max(0, self.busy.get(sender, 0) - self.now)
        for _ in range(copies):
            for seat in (to, *(one.seat for one in self.twins if one.replica == to)):
                self.at(
                    self.delay() + extra_ms,
                    what,
                    partial(self.deliver, seat, sender, parcel, shown),
                    moves=seat,
                )

    def deliver(self, seat: int, sender: int, parcel: Carried, shown: Place = NOWHERE) -> None:
        host = self.host_at(seat)
        if isinstance(parcel, Visit | Visited):
            take_visit(self, host, sender, parcel)
            return
        if self.links and isinstance(parcel, Status):
            now_ms = self.founding.created_ms + self.now_ms(host)
            self.links[host.replica].statuses[sender] = (parcel, now_ms)
        if host.state is not None and seat == host.replica and seat not in self.behaviours:
            if isinstance(parcel, Vote) and parcel.signer == sender:
                note_heard(self.monitor, seat, parcel)
            elif shown != NOWHERE:
                note_shown(self.monitor, seat, shown)
        receive(host, ReplicaId(sender), parcel)

    def _shown_by(self, sender: int, to: int, parcel: Carried) -> Place:
        """How far a correct replica that answers a start has heard it vote."""
        if not isinstance(parcel, Echo) or sender in self.behaviours:
            return NOWHERE
        return self.monitor.heard.get((sender, to), NOWHERE)

    def delay(self) -> int:
        faults = self.faults
        delay = self.random.randint(faults.delay_min_ms, faults.delay_max_ms)
        if faults.stragglers and self.random.random() < faults.stragglers:
            delay *= self.random.randint(2, 20)
        return delay

    def fire(self, host: Host, timer: Timer, boot: int) -> None:
        if host.boots == boot and self.timers.get((host.seat, timer.kind)) == timer.serial:
            del self.timers[host.seat, timer.kind]
            expire(host, timer)

    def step(self) -> None:
        """Let the next event happen, and judge whom it may have moved."""
        self.now, _, what, moved, action = heapq.heappop(self.queue)
        if moved is None:
            self.happen(None, what, action)
            for host in self.hosts:
                self._judge(host)
            return
        wakes = max(self.paused.get(moved, 0), self.busy.get(moved, 0))
        if wakes > self.now:
            self.at(wakes - self.now, what, action, moves=moved)
            return
        self.happen(moved, what, action)
        host = self.host_at(moved)
        self._judge(host)
        if moved in self.hurt:
            self._heal_if_whole(host)

    def happen(self, moved: int | None, what: str, action: Callable[[], None]) -> None:
        self.events += 1
        seat = -1 if moved is None else moved
        try:
            action()
        except PowerLost:
            assert moved is not None, "power is lost by one node"
            self._fall(moved, for_ms=self.random.randint(1, 3_000), loses_power=True)
        except (StorageError, StateDiverged) as problem:
            assert moved is not None, "a disk is one node's"
            self.stop(moved, problem)
        digest = "" if moved is None else self._short_digest(moved)
        self.trace.append((self.now, seat, what, digest))

    def note(self, seat: int, what: str) -> None:
        self.trace.append((self.now, seat, what, ""))

    def run(self, *, until_ms: int) -> None:
        while self.queue and self.queue[0][0] <= until_ms:
            self.step()
        self.now = max(self.now, until_ms)

    def host_at(self, seat: int) -> Host:
        return self.hosts[seat] if seat < len(self.hosts) else self.twins[seat - len(self.hosts)]

    # What is done to it.

    def take_down(self, seat: int, *, for_ms: int | None, loses_power: bool = False) -> None:
        """Crash a node; it restarts by itself after a while, unless told never to."""
        if self.host_at(seat).state is not None:
            self._fall(seat, for_ms=for_ms, loses_power=loses_power)

    def _fall(self, seat: int, *, for_ms: int | None, loses_power: bool) -> None:
        self.note(seat, "lose power" if loses_power else "crash")
        self.kills += 1
        self._crash(self.host_at(seat), loses_power=loses_power)
        if for_ms is not None:
            self.at(for_ms, "restart", lambda: self.bring_up(seat), moves=seat)

    def stop(self, seat: int, problem: Exception) -> None:
        """A node that cannot go on says so and ends; its operator starts it again."""
        host = self.host_at(seat)
        disk = ledger_of(host).disk
        is_excused = disk.is_full or disk.is_suspect
        code = getattr(problem, "code", "state.diverged")
        if not is_excused and host.replica not in self.behaviours:
            raise Violation(f"S5: replica {seat} stops without cause: {code}: {problem}")
        self.counts["stop demanded by the disk"] += 1
        self.note(seat, f"stop {code}")
        self._crash(host, loses_power=False)
        self.repairs[seat] = _repair(problem)
        if isinstance(problem, JournalCorrupt):
            self.changed.pop(seat, None)
        self.at(RETRY_MS, "restart", lambda: self.bring_up(seat), moves=seat)

    def bring_up(self, seat: int) -> None:
        """Start a node, after its operator has done what the last stop asked for."""
        host = self.host_at(seat)
        if host.state is not None or seat in self.unborn:
            return
        repair = self.repairs.pop(seat, "")
        if repair:
            self.note(seat, repair)
            self.hurt_it(seat)
        if repair == "move the journal aside":
            ledger_of(host).files.wipe()
            self.changed.pop(seat, None)  # Whatever was flipped meanwhile is gone with it.
        elif repair == "rebuild the database":
            ledger_of(host).database.wipe()
        start(host)
        if seat in self.changed:
            raise Violation(f"C1: replica {seat} starts with a journal that the disk has changed")

    def _crash(self, host: Host, *, loses_power: bool) -> None:
        crash(host)
        if not host.twin:
            forget_heard(self.monitor, host.seat)
        for kind in TimerKind:
            self.timers.pop((host.seat, kind), None)
        self.busy.pop(host.seat, None)
        if not loses_power:
            return
        application, draw = ledger_of(host), self.random
        may_tear = self.may_hurt(host.replica)
        is_torn = application.files.crash(draw, may_tear=may_tear)
        batches = len(application.database.unflushed)
        keep = draw.randint(0, batches) if may_tear else batches
        is_lost = application.database.crash(keep)
        if is_torn or is_lost:
            self.counts["torn journal tail" if is_torn else "lost fsync"] += 1
            self.hurt_it(host.seat, forgets=application.disk.is_lying)

    def may_hurt(self, replica: int) -> bool:
        """Whether one more replica may become faulty: no set so far may have more than f."""
        faulty = self.faulty()
        return replica in faulty or all(
            sum(one in faulty for one in members) < QuorumSystem(len(members)).f
            for members in self.sets
            if replica in members
        )

    def faulty(self) -> dict[int, None]:
        """Who lies, may have forgotten something, or has a wrong clock."""
        return dict.fromkeys((*self.behaviours, *self.hurt, *self.astray))

    def hurt_it(self, seat: int, *, forgets: bool = False) -> None:
        """From now on this replica counts among the faulty, until it is past what it signed.

        One that `forgets` cannot know by itself that it has lost something.
        """
        replica = self.host_at(seat).replica
        if forgets:
            self.monitor.forgetful[replica] = None
        self.hurt[replica] = max(self.monitor.decided, default=0) + FENCE_HEIGHTS

    def _heal_if_whole(self, host: Host) -> None:
        is_past = host.state is not None and host.application.height >= self.hurt[host.replica]
        is_past &= not ledger_of(host).disk.is_lying
        if is_past and host.state is not None and host.state.fence is None:
            del self.hurt[host.replica]
            self.monitor.forgetful.pop(host.replica, None)

    def pause(self, seat: int, *, for_ms: int) -> None:
        """The process sleeps: what comes waits, and time goes on without it."""
        self.paused[seat] = max(self.paused.get(seat, 0), self.now + for_ms)
        self.at(for_ms, "wake", lambda: self.wake(seat, for_ms), moves=seat)

    def wake(self, seat: int, lag_ms: int) -> None:
        if self.host_at(seat).state is not None:
            tell(self.host_at(seat), LoopLagged(lag_ms=lag_ms))

    def partition(self, *groups: list[int]) -> None:
        """Cut every link between two of the groups."""
        for one in groups:
            for other in groups:
                if one is not other:
                    self.cut([(a, b) for a in one for b in other])

    def cut(self, links: list[tuple[int, int]]) -> None:
        for link in links:
            self.blocked[link] = self.blocked.get(link, 0) + 1

    def mend(self, links: list[tuple[int, int]]) -> None:
        for link in links:
            if self.blocked.get(link, 0) > 1:
                self.blocked[link] -= 1
            else:
                self.blocked.pop(link, None)

    def submit(self, replica: int) -> None:
        """A client does something with one replica; a body in many variants goes to many."""
        for at, signed in enumerate(self.clients.draw(self.now)):
            self.submitted += 1
            host = self.hosts[(replica + at) % len(self.hosts)]
            try:
                submit(host, signed)
            except DatabaseCorrupt:  # The client is told of a failure, and the node goes on.
                if not ledger_of(host).disk.is_suspect:
                    raise
                self.counts["client told of a damaged row"] += 1

    def load(self, *, every_ms: int, until_ms: int) -> None:
        """Clients submit, each to a replica of its choice, now and then, until a time."""

        def arrive() -> None:
            self.submit(self.random.randrange(len(self.hosts)))
            if self.now < until_ms:
                self.at(self.random.randint(1, 2 * every_ms), "client", arrive)

        self.at(every_ms, "client", arrive)

    def heal(self) -> None:
        """End all faults but the Byzantine ones."""
        self.note(-1, "heal")
        self.is_healed = True
        self.blocked.clear()
        self.is_lost = self.on_decision = None
        self.faults = Faults()
        self.kill_at.clear()
        self.paused.clear()
        self.slow_ms.clear()
        self.busy.clear()
        for replica in self.astray:
            self.skew_ms[replica] = 0
        self.astray.clear()
        for host in (*self.hosts, *self.twins):
            disk = ledger_of(host).disk
            disk.is_full = disk.is_lying = False
            self.happen(host.seat, "healed", partial(self.bring_up, host.seat))

    # What is asked of it.

    def correct(self) -> list[Host]:
        return [host for host in self.hosts if host.replica not in self.behaviours]

    def obliged(self) -> list[Host]:
        """The correct members of the newest set: what L1 promises, it promises to them."""
        members = self.monitor.newest_set()
        return [host for host in self.correct() if members.member(host.replica) is not None]

    def pending(self, until_ms: int) -> dict[bytes, list[int]]:
        """Transactions that correct members hold and that stay valid until then, with who does."""
        running = [host for host in self.obliged() if host.state is not None]
        pooled: dict[bytes, list[int]] = {}
        for host in running:
            now = self.now + self.skew_ms[host.replica]
            for one in dict.fromkeys(host.application.waiting(now, until_ms)):
                pooled.setdefault(one, []).append(host.replica)
        return {
            one: holders
            for one, holders in pooled.items()
            if any(not _has(host, one) for host in running)
        }

    def run_until_level(self) -> int:
        """L1: run until what is pooled now is executed everywhere; return how long that took.

        Raises `Violation` after (f + 2) capped timeouts.
        """
        began = self.now
        deadline = began + (self.monitor.newest_set().quorum.f + 2) * TIMEOUT_CAP_MS
        wanted = self.pending(deadline)
        height = max((host.application.height for host in self.obliged()), default=0)
        while not self.is_level(wanted, height):
            if not self.queue or self.queue[0][0] > deadline:
                heights = [host.application.height for host in self.hosts]
                raise Violation(f"L1: no progress within {deadline - began} ms; heights {heights}")
            self.step()
        return self.now - began

    def is_level(self, wanted: dict[bytes, list[int]], height: int) -> bool:
        """Whether all members have what was waiting; what only leavers held may go with them."""
        obliged = self.obliged()
        if any(host.state is None or host.application.height < height for host in obliged):
            return False
        members = {host.replica for host in obliged}
        return all(
            _has(host, one)
            for one, holders in wanted.items()
            if not members.isdisjoint(holders)
            for host in obliged
        )

    def check_nothing_lost(self) -> None:
        """Whatever a correct replica acknowledged is in every correct chain that is long enough."""
        for host in self.correct():
            if host.state is None:
                continue
            for tx_id, height in self.monitor.acknowledged.items():
                if height <= host.application.height and self._is_lost(host, tx_id, height):
                    raise Violation(f"S4: an acknowledged transaction is lost at {host.replica}")

    def _is_lost(self, host: Host, tx_id: bytes, height: int) -> bool:
        """Whether a replica has it elsewhere or not at all; a damaged disk may only say so."""
        try:
            return host.application.height_of(tx_id) != height
        except DatabaseCorrupt:
            return not ledger_of(host).disk.is_suspect

    def fingerprint(self) -> str:
        """Digest of everything that happened, for comparing two runs of one seed."""
        state = hashlib.sha256()
        for entry in self.trace:
            state.update(repr(entry).encode())
        for host in self.hosts:
            if host.state is not None:
                state.update(host.application.state_digest())
        return state.hexdigest()

    def _judge(self, host: Host) -> None:
        if host.replica not in self.behaviours and host.state is not None:
            observe_event(self.monitor, host, self._fastest_clock_ms)

    def _fastest_clock_ms(self) -> int:
        """The latest time that the clock of a correct replica shows."""
        right = [host.replica for host in self.correct() if host.replica not in self.astray]
        return self.now + max((self.skew_ms[one] for one in right), default=0)

    def _is_killed_here(self, seat: int) -> bool:
        count = self.boundaries.get(seat, 0)
        self.boundaries[seat] = count + 1
        return count in self.kill_at.get(seat, {})

    def _short_digest(self, seat: int) -> str:
        host = self.host_at(seat)
        if host.state is None:
            return "down"
        return (
            f"{host.state.tip.height} {host.state.tip.digest.hex()[:8]} {host.state.instance.view}"
        )


def start_cluster(
    *,
    replicas: int,
    seed: int,
    faults: Faults | None = None,
    behaviours: Mapping[int, Behaviour] | None = None,
    rotate_every: int = ROTATE_EVERY,
) -> Cluster:
    """Make and start a cluster; `behaviours` names the Byzantine replicas."""
    founding, draw = found(replicas, rotate_every), random.Random(seed)
    cluster = Cluster(
        seed=seed,
        founders=replicas,
        sets=[tuple(range(replicas))],
        random=draw,
        faults=faults or Faults(),
        founding=founding,
        clients=Clients(founding=founding, random=draw),
        behaviours=dict(behaviours or {}),
    )
    cluster.monitor.liars.update(dict.fromkeys(cluster.behaviours))
    begin_sets(cluster.monitor, founding.validators)
    for index in range(replicas):
        cluster.skew_ms.append(cluster.random.randint(-50, 50))
        cluster.hosts.append(make_node(cluster, index))
    for host in cluster.hosts:
        cluster.at(cluster.random.randint(0, 20), "start", partial(start, host), moves=host.seat)
    for replica, behaviour in cluster.behaviours.items():
        behaviour.begin(cluster.hosts[replica])
    return cluster


def make_node(cluster: Cluster, index: int, seat: int = 0) -> Host:
    """A node as `init` leaves it; with a seat of its own, another process with the same key."""
    application = LedgerApplication(founding=cluster.founding, replica=ReplicaId(index))
    config = make_config(index, chain_id=cluster.founding.chain_id)
    first = at_every_epoch(signer_of(vote_public_key(index)))

    def sign(epoch: Epoch, preimage: bytes) -> bytes:
        return (first if application.keystore is None else application.sign)(epoch, preimage)

    config = replace(config, sign=sign, rotate_every=cluster.founding.rotate_every)
    host = make_host(cluster, config, cluster.founding.validators, application)
    host.twin = seat
    application.disk.on_call = partial(cluster.on_disk_call, host.seat)
    return host


def make_config(index: int, *, chain_id: ChainId = CHAIN) -> Config:
    return Config(
        chain_id=chain_id,
        replica=ReplicaId(index),
        boot_id=bytes(16),
        sign=at_every_epoch(make_signer(index)),
        base_timeout_ms=BASE_TIMEOUT_MS,
        timeout_cap_ms=TIMEOUT_CAP_MS,
        gather_ms=GATHER_MS,
        idle_block_ms=IDLE_BLOCK_MS,
        status_ms=STATUS_MS,
        fetch_ms=FETCH_MS,
        rotate_every=ROTATE_EVERY,
        listen_heartbeats=3,
    )


def _has(host: Host, tx_id: bytes) -> bool:
    return host.application.height_of(tx_id) is not None


def _repair(problem: Exception) -> str:
    """What an operator does about a stop: what its message says."""
    match problem:
        case JournalCorrupt():
            return "move the journal aside"
        case DiskFull() | JournalFailed():
            return ""
        case _:
            return "rebuild the database"
