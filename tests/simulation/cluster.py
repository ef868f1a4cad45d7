"""A cluster of whole replicas on virtual time and a virtual network, drawn from one seed.

    cluster = start_cluster(replicas=4, seed=4821, faults=Faults(loss=0.1))
    cluster.run(until_ms=20_000)
    cluster.heal()
    cluster.run_until_level()

Everything that happens is an entry of one queue, ordered by time and then by number; the same seed
gives the same events. `Monitor` judges after each. What happened is kept in `trace`, and written
to a file by `report` when a test fails.
"""

import hashlib
import heapq
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

from consensus.effects import Decide, Effect
from consensus.events import LoopLagged, Timer, TimerKind
from consensus.messages import Message, decode_message, encode_message
from consensus.state import Config
from crypto.quorum import QuorumSystem
from crypto.validators import ReplicaId, ValidatorSet
from tests.simulation.application import LogApplication
from tests.simulation.byzantine import Behaviour
from tests.simulation.disk import Disk
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
from tests.simulation.ideal import CHAIN, make_signer, make_validators
from tests.simulation.monitor import Monitor, Violation, observe, observe_event

BASE_TIMEOUT_MS = 1_000
TIMEOUT_CAP_MS = 8_000
GATHER_MS = 5
IDLE_BLOCK_MS = 1_500
STATUS_MS = 250
FETCH_MS = 300
ROTATE_EVERY = 20
WORK_MS = {"propose": 2, "check": 3, "execute": 4}
WIRED_EVERY = 50
"""Every so many parcels one goes through the codec: the others are spared it, for speed."""
TRACES = Path("artifacts/simulation")

Entry: TypeAlias = tuple[int, int, str, int | None, Callable[[], None]]
"""When, in which order, what, whom it moves, and how."""


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
    """The world of the simulated hosts, and its clock."""

    seed: int
    random: random.Random
    faults: Faults
    validators: ValidatorSet
    hosts: list[Host] = field(default_factory=list)
    now: int = 0
    queue: list[Entry] = field(default_factory=list)
    number: int = 0
    events: int = 0
    blocked: dict[tuple[int, int], int] = field(default_factory=dict)
    is_lost: Callable[[int, int, Parcel], bool] | None = None  # A network with a grudge.
    on_decision: Callable[[int, int], None] | None = None  # Told replica and height.
    timers: dict[tuple[int, TimerKind], int] = field(default_factory=dict)
    skew_ms: list[int] = field(default_factory=list)
    behaviours: dict[int, Behaviour] = field(default_factory=dict)
    paused: dict[int, int] = field(default_factory=dict)  # Until when.
    kill_at: dict[int, dict[int, None]] = field(default_factory=dict)
    boundaries: dict[int, int] = field(default_factory=dict)
    kills: int = 0
    submitted: int = 0
    monitor: Monitor = field(default_factory=Monitor)
    trace: list[tuple[int, str]] = field(default_factory=list)

    # What the hosts see of the world.

    def now_ms(self, host: Host) -> int:
        return self.now + self.skew_ms[host.replica]

    def send(self, sender: ReplicaId, to: ReplicaId, parcel: Parcel) -> None:
        behaviour = self.behaviours.get(sender)
        if behaviour is None:
            self.carry(sender, to, parcel)
            return
        for one in behaviour.rewrite(self.hosts[sender], to, parcel):
            self.carry(sender, to, one)

    def start_timer(self, host: Host, timer: Timer, delay_ms: int) -> None:
        self.timers[host.replica, timer.kind] = timer.serial
        boot = host.boots
        what = f"timer {host.replica} {timer.kind.value}"
        self.at(delay_ms, what, lambda: self.fire(host, timer, boot), moves=host.replica)

    def stop_timer(self, host: Host, timer: Timer) -> None:
        self.timers.pop((host.replica, timer.kind), None)

    def later(self, host: Host, what: str, action: Callable[[], None], delay_ms: int) -> None:
        boot = host.boots

        def run() -> None:
            if host.boots == boot and host.state is not None:
                action()

        self.at(delay_ms, f"{what} {host.replica}", run, moves=host.replica)

    def work_ms(self, what: str) -> int:
        return self.random.randint(1, WORK_MS[what])

    def reaches_boundary(self, host: Host, effect: Effect) -> bool:
        count = self.boundaries.get(host.replica, 0)
        self.boundaries[host.replica] = count + 1
        if count not in self.kill_at.get(host.replica, {}):
            return True
        self.kills += 1
        self.note(f"kill {host.replica} before {type(effect).__name__}")
        self.take_down(host.replica, for_ms=self.random.randint(1, 3_000))
        return False

    def observe(self, host: Host, effect: Effect) -> None:
        if host.replica not in self.behaviours:
            observe(self.monitor, host, effect)
            if isinstance(effect, Decide):
                self.note(f"decide {host.replica} {effect.block.height}")
                if self.on_decision is not None:
                    self.on_decision(host.replica, effect.block.height)

    # What drives it.

    def at(
        self, delay_ms: int, what: str, action: Callable[[], None], *, moves: int | None = None
    ) -> None:
        """Let something happen later; `moves` is the one replica that it concerns, if it is one."""
        self.number += 1
        heapq.heappush(self.queue, (self.now + delay_ms, self.number, what, moves, action))

    def carry(self, sender: int, to: int, parcel: Parcel) -> None:
        if (sender, to) in self.blocked or self.random.random() < self.faults.loss:
            return
        if self.is_lost is not None and self.is_lost(sender, to, parcel):
            return
        if self.number % WIRED_EVERY == 0 and isinstance(parcel, Message):
            parcel = decode_message(encode_message(parcel))
        copies = 2 if self.random.random() < self.faults.duplication else 1
        for _ in range(copies):
            what = f"{sender}->{to} {type(parcel).__name__}"
            self.at(
                self.delay(),
                what,
                lambda: receive(self.hosts[to], ReplicaId(sender), parcel),
                moves=to,
            )

    def delay(self) -> int:
        faults = self.faults
        delay = self.random.randint(faults.delay_min_ms, faults.delay_max_ms)
        if self.random.random() < faults.stragglers:
            delay *= self.random.randint(2, 20)
        return delay

    def fire(self, host: Host, timer: Timer, boot: int) -> None:
        if host.boots == boot and self.timers.get((host.replica, timer.kind)) == timer.serial:
            del self.timers[host.replica, timer.kind]
            expire(host, timer)

    def step(self) -> None:
        """Let the next event happen, and judge everybody whom it may have moved."""
        self.now, _, what, moved, action = heapq.heappop(self.queue)
        if moved is not None and self.paused.get(moved, 0) > self.now:
            self.at(self.paused[moved] - self.now, what, action, moves=moved)
            return
        self.events += 1
        self.trace.append((self.now, what))
        action()
        for host in self.hosts if moved is None else (self.hosts[moved],):
            if host.replica not in self.behaviours:
                observe_event(self.monitor, host)

    def note(self, what: str) -> None:
        self.trace.append((self.now, what))

    def run(self, *, until_ms: int) -> None:
        while self.queue and self.queue[0][0] <= until_ms:
            self.step()
        self.now = max(self.now, until_ms)

    # What is done to it.

    def take_down(self, replica: int, *, for_ms: int | None) -> None:
        """Crash a replica; it restarts by itself after a while, unless told never to."""
        host = self.hosts[replica]
        if host.state is None:
            return
        self.note(f"crash {replica}")
        crash(host)
        if for_ms is not None:
            self.at(for_ms, f"restart {replica}", lambda: self.bring_up(replica))

    def bring_up(self, replica: int) -> None:
        if self.hosts[replica].state is None:
            start(self.hosts[replica])

    def wipe(self, replica: int) -> None:
        """The disk is gone, journal and blocks; the replica starts again from genesis alone."""
        self.note(f"wipe {replica}")
        host = self.hosts[replica]
        if host.state is not None:
            crash(host)
        host.disk = Disk()
        host.application = LogApplication(validators=self.validators)
        start(host)

    def pause(self, replica: int, *, for_ms: int) -> None:
        """The process sleeps: what comes waits, and time goes on without it."""
        self.note(f"pause {replica}")
        self.paused[replica] = max(self.paused.get(replica, 0), self.now + for_ms)
        self.at(for_ms, f"wake {replica}", lambda: self.wake(replica, for_ms))

    def wake(self, replica: int, lag_ms: int) -> None:
        if self.hosts[replica].state is not None:
            tell(self.hosts[replica], LoopLagged(lag_ms=lag_ms))

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

    def reconnect(self) -> None:
        self.blocked.clear()

    def submit(self, replica: int) -> bytes:
        """A client hands a new transaction to one replica."""
        self.submitted += 1
        transaction = b"%d:%d" % (self.seed, self.submitted)
        submit(self.hosts[replica], transaction)
        return transaction

    def load(self, *, every_ms: int, until_ms: int) -> None:
        """Clients submit, each to a replica of its choice, now and then, until a time."""

        def arrive() -> None:
            self.submit(self.random.randrange(len(self.hosts)))
            if self.now < until_ms:
                self.at(self.random.randint(1, 2 * every_ms), "client", arrive)

        self.at(every_ms, "client", arrive)

    def heal(self) -> None:
        """End all faults but the Byzantine ones."""
        self.note("heal")
        self.reconnect()
        self.is_lost = self.on_decision = None
        self.faults = Faults()
        self.kill_at.clear()
        self.paused.clear()
        for host in self.hosts:
            self.bring_up(host.replica)

    # What is asked of it.

    def correct(self) -> list[Host]:
        return [host for host in self.hosts if host.replica not in self.behaviours]

    def pending(self) -> list[bytes]:
        """Transactions in the pool of a correct replica that some correct one has not executed."""
        correct = self.correct()
        pooled = {one: None for host in correct for one in host.application.pooled()}
        return [
            one for one in pooled if any(one not in host.application.executed() for host in correct)
        ]

    def run_until_level(self) -> int:
        """L1: run until what is pooled now is executed everywhere; return how long that took.

        Raises `Violation` after (f + 2) capped timeouts, and once more that for what is not the
        protocol's: delays of the network and of the shell's work.
        """
        began = self.now
        wanted = self.pending()
        height = max((host.application.height for host in self.correct()), default=0)
        f = QuorumSystem(len(self.hosts)).f
        deadline = began + (f + 2) * TIMEOUT_CAP_MS
        while not self.is_level(wanted, height):
            if not self.queue or self.queue[0][0] > deadline:
                heights = [host.application.height for host in self.hosts]
                raise Violation(f"L1: no progress within {deadline - began} ms; heights {heights}")
            self.step()
        return self.now - began

    def is_level(self, wanted: list[bytes], height: int) -> bool:
        return all(
            host.application.height >= height
            and all(one in host.application.executed() for one in wanted)
            for host in self.correct()
        )

    def check_nothing_lost(self) -> None:
        """Whatever a correct replica acknowledged is in every correct log that is long enough."""
        for host in self.correct():
            executed = host.application.executed()
            for transaction, height in self.monitor.acknowledged.items():
                if height <= host.application.height and executed.get(transaction) != height:
                    raise Violation(f"an acknowledged transaction is lost at {host.replica}")

    def fingerprint(self) -> str:
        """Digest of everything that happened, for comparing two runs of one seed."""
        state = hashlib.sha256()
        for time, what in self.trace:
            state.update(f"{time} {what}\n".encode())
        for host in self.hosts:
            state.update(host.application.state_digest())
        return state.hexdigest()


def start_cluster(
    *,
    replicas: int,
    seed: int,
    faults: Faults | None = None,
    behaviours: Mapping[int, Behaviour] | None = None,
) -> Cluster:
    """Make and start a cluster; `behaviours` names the Byzantine replicas."""
    cluster = Cluster(
        seed=seed,
        random=random.Random(seed),
        faults=faults or Faults(),
        validators=make_validators(replicas),
        behaviours=dict(behaviours or {}),
    )
    for index in range(replicas):
        cluster.skew_ms.append(cluster.random.randint(-50, 50))
        application = LogApplication(validators=cluster.validators)
        cluster.hosts.append(
            make_host(cluster, make_config(index), cluster.validators, application)
        )
    for host in cluster.hosts:
        cluster.at(cluster.random.randint(0, 20), f"start {host.replica}", partial(start, host))
    return cluster


def make_config(index: int) -> Config:
    return Config(
        chain_id=CHAIN,
        replica=ReplicaId(index),
        boot_id=bytes(16),
        sign=make_signer(index),
        base_timeout_ms=BASE_TIMEOUT_MS,
        timeout_cap_ms=TIMEOUT_CAP_MS,
        gather_ms=GATHER_MS,
        idle_block_ms=IDLE_BLOCK_MS,
        status_ms=STATUS_MS,
        fetch_ms=FETCH_MS,
        rotate_every=ROTATE_EVERY,
        listen_heartbeats=3,
    )


@contextmanager
def reported(cluster: Cluster) -> Iterator[Cluster]:
    """On failure, say which seed it was and write down what happened."""
    try:
        yield cluster
    except AssertionError as problem:
        TRACES.mkdir(parents=True, exist_ok=True)
        path = TRACES / f"seed-{cluster.seed}-replicas-{len(cluster.hosts)}.log"
        path.write_text("".join(f"{time:>8} {what}\n" for time, what in cluster.trace))
        problem.add_note(f"seed {cluster.seed}, {cluster.events} events, trace in {path}")
        raise
