"""Histories: what goes wrong when, drawn from a seed, as plain data that can be cut shorter.

Byzantine and hurt replicas and those with a wrong clock together stay within f; crashes, pauses
and partitions do not, because a replica with its journal is never a danger, only absent. A fault
that would pass f at its time does not happen.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from crypto.quorum import QuorumSystem
from tests.simulation.byzantine import ACROSS_EPOCHS, BEHAVIOURS, CENSOR, DIRECTED, TURNS_SLOW
from tests.simulation.cluster import Cluster, Faults, make_node, start_cluster
from tests.simulation.founding import ROTATE_EVERY
from tests.simulation.host import Host, crash, start
from tests.simulation.ideal import ideal_world
from tests.simulation.ledger_application import ledger_of
from tests.simulation.members import ADD, Change, begin_changes, draw_changes, follow_ledger
from tests.simulation.monitor import COMPLAINTS
from tests.simulation.watching import watch_all

SIZES: Final = (1, 2, 3, *(4,) * 8, 5, 5, 6, 6, 7, 7, 8, 9, 10)
LENGTHS_MS: Final = (3_500, 4_000, 4_500, 5_000)
LONG_MS: Final = 12_000
LONG_SHARE: Final = 0.04
LOADS_MS: Final = (20, 40, 40, 60, 100)
OFTEN: Final = 4
"""Whoever lies gets to lead soon."""

NEVER: Final = 100_000
"""No rotation: a primary that makes progress stays, unless it is complained about."""

BAD_PRIMARY_SHARE: Final = 0.3
"""So many of the histories whose members change have a primary that only complaints replace."""

BESIDE_BAD_PRIMARY: Final = ("crash", "pause", "slow disk", "loss of power")
SLOW_UNTIL_MS: Final = 8_500

OUTAGES_MS: Final = (1, 50, 400, 1_500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong: which kind, when, to whom, and how much of it."""

    kind: str
    at_ms: int
    replicas: tuple[int, ...]
    others: tuple[int, ...] = ()
    for_ms: int = 0
    amount: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A whole run: the same history gives the same events."""

    seed: int
    replicas: int
    network: Faults
    load_ms: int
    until_ms: int
    rotate_every: int
    liars: tuple[tuple[int, str], ...]
    faults: tuple[Fault, ...]
    changes: tuple[Change, ...] = ()


def draw_history(seed: int, *, replicas: int | None = None) -> History:
    """Draw what will go wrong; who lies leaves room for wiped and torn disks, and wrong clocks."""
    draw = random.Random(f"history {seed}")
    count = draw.choice(SIZES) if replicas is None else replicas
    faulty_max = QuorumSystem(count).f
    liars = sorted(draw.sample(range(count), draw.randint(0, faulty_max)))
    until_ms = LONG_MS if draw.random() < LONG_SHARE else draw.choice(LENGTHS_MS)
    kinds = [draw.choice(FAULTS) for _ in range(draw.randint(1, 3 + until_ms // 2_000))]
    if len(liars) < faulty_max:  # There is room for disks that forget.
        kinds += [draw.choice(DISK_FAULTS) for _ in range(draw.randint(0, 3))]
    history = History(
        seed=seed,
        replicas=count,
        network=_network(draw),
        load_ms=draw.choice(LOADS_MS) * (1 + count // 7),
        until_ms=until_ms,
        rotate_every=draw.choice((OFTEN, ROTATE_EVERY, NEVER)),
        liars=tuple((one, draw.choice(sorted(BEHAVIOURS))) for one in liars),
        faults=tuple(
            sorted(
                (_fault(draw, kind, count, until_ms) for kind in kinds), key=lambda one: one.at_ms
            )
        ),
    )
    changes = draw_changes(seed, count, until_ms)
    return _among_changes(replace(history, changes=changes)) if changes else history


def _among_changes(history: History) -> History:
    """Let some faults meet those who join, and some liars lie as only changes let them."""
    draw = random.Random(f"among changes {history.seed}")
    joiners = [one.index for one in history.changes if one.kind == ADD]
    faults = list(history.faults)
    for at, fault in enumerate(faults):
        if joiners and len(fault.replicas) == 1 and draw.random() < 0.3:
            faults[at] = replace(fault, replicas=(draw.choice(joiners),))
    liars = [
        (replica, ACROSS_EPOCHS if draw.random() < 0.2 else name) for replica, name in history.liars
    ]
    history = replace(history, liars=tuple(liars), faults=tuple(faults))
    is_bad = draw.random() < BAD_PRIMARY_SHARE and QuorumSystem(history.replicas).f > 0
    return _under_bad_primary(history, draw) if is_bad else history


def _under_bad_primary(history: History, draw: random.Random) -> History:
    """Let the first primary, whose turn never ends, be one that makes progress and serves badly.

    Timers leave it alone, so what goes wrong beside it must not depose it: complaints have to.
    """
    name = draw.choice((CENSOR, TURNS_SLOW))
    calm = [one for one in history.faults if one.kind in BESIDE_BAD_PRIMARY]
    faults = [one for one in calm if len(one.replicas) == 1 and 0 not in one.replicas]
    changes = [one for one in history.changes if one.index != 0]
    return replace(
        history,
        network=Faults(),
        load_ms=60,
        until_ms=history.until_ms if name == CENSOR else SLOW_UNTIL_MS,
        rotate_every=NEVER,
        liars=((0, name),),
        faults=tuple(faults[:2]),
        changes=tuple(changes[:1]),
    )


def make_cluster(history: History) -> Cluster:
    """Start the replicas, and schedule everything that will go wrong."""
    draw = random.Random(f"liars {history.seed}")
    ways = BEHAVIOURS | DIRECTED
    behaviours = {replica: ways[name](draw) for replica, name in history.liars}
    cluster = start_cluster(
        replicas=history.replicas,
        seed=history.seed,
        faults=history.network,
        behaviours=behaviours,
        rotate_every=history.rotate_every,
    )
    if history.changes:
        begin_changes(cluster, history.changes)
    watch_all(cluster)
    for replica, name in history.liars:
        cluster.counts[name] += 1
        if name == "twin":
            begin_twin(cluster, replica)
    for name in ("loss", "duplication", "stragglers"):
        if getattr(history.network, name):
            cluster.counts["delay and reordering" if name == "stragglers" else name] += 1
    cluster.load(every_ms=history.load_ms, until_ms=history.until_ms)
    for fault in history.faults:
        cluster.at(fault.at_ms, fault.kind, partial(happen, cluster, fault))
    return cluster


def run_history(history: History) -> Cluster:
    """Run one history to its end: faults, healing, L1, and nothing acknowledged lost."""
    with ideal_world():
        cluster = make_cluster(history)
        finish(cluster, history.until_ms)
    return cluster


def finish(cluster: Cluster, until_ms: int) -> None:
    cluster.run(until_ms=until_ms)
    cluster.heal()
    cluster.run_until_level()
    cluster.check_nothing_lost()
    cluster.counts["liar named by evidence"] += len(cluster.monitor.named)
    cluster.counts["left for complaints"] += sum(_complaints(host) for host in cluster.correct())
    cluster.counts["second vote that nobody could show"] += cluster.monitor.excused


def _complaints(host: Host) -> int:
    if host.state is None:
        return 0
    return sum(host.state.view_changes.get(reason, 0) for reason in COMPLAINTS)


def begin_twin(cluster: Cluster, replica: int) -> None:
    """A second process with a replica's key, from a copy of its directory."""
    twin = make_node(cluster, replica, len(cluster.hosts) + len(cluster.twins))
    cluster.twins.append(twin)
    if cluster.links:
        follow_ledger(cluster, twin)
    cluster.at(20, "start twin", partial(start, twin), moves=twin.seat)


def happen(cluster: Cluster, fault: Fault) -> None:
    """Let a fault happen, if it leaves no more than f faulty; count it."""
    if any(one in cluster.unborn or one >= len(cluster.hosts) for one in fault.replicas):
        return  # It has not joined yet, or never will.
    if not cluster.is_healed and HAPPENINGS[fault.kind](cluster, fault):
        cluster.counts[fault.kind] += 1


def _crash(cluster: Cluster, fault: Fault) -> bool:
    for victim in fault.replicas:
        cluster.take_down(victim, for_ms=fault.for_ms)
    return True


def _lose_power(cluster: Cluster, fault: Fault) -> bool:
    for victim in fault.replicas:
        cluster.take_down(victim, for_ms=fault.for_ms, loses_power=True)
    return True


def _die_inside(cluster: Cluster, fault: Fault) -> bool:
    for victim in fault.replicas:
        at = cluster.boundaries.get(victim, 0) + fault.amount
        cluster.kill_at.setdefault(victim, {})[at] = None
    return True


def _pause(cluster: Cluster, fault: Fault) -> bool:
    for victim in fault.replicas:
        cluster.pause(victim, for_ms=fault.for_ms)
    return True


def _cut(cluster: Cluster, fault: Fault) -> bool:
    links = [(a, b) for a in fault.replicas for b in fault.others]
    if fault.kind != "asymmetric partition":
        links += [(b, a) for a, b in links]
    cluster.cut(links)
    cluster.at(fault.for_ms, "mend", partial(cluster.mend, links))
    return True


def _step_clock(cluster: Cluster, fault: Fault) -> bool:
    """A small step anybody's clock may make; a large one makes a replica faulty for a while."""
    (victim,) = fault.replicas
    if abs(fault.amount) > 100:
        if not cluster.may_hurt(victim) or victim in cluster.behaviours:
            return False
        cluster.astray[victim] = None
    cluster.skew_ms[victim] += fault.amount

    def back() -> None:
        if victim in cluster.astray:
            cluster.skew_ms[victim] -= fault.amount
            del cluster.astray[victim]

    if victim in cluster.astray:
        cluster.at(fault.for_ms, "clock put right", back)
    return True


def _wipe(cluster: Cluster, fault: Fault) -> bool:
    (victim,) = fault.replicas
    if not cluster.may_hurt(victim):
        return False
    host = cluster.hosts[victim]
    crash(host)
    cluster.hurt_it(victim)
    ledger_of(host).files.wipe()
    ledger_of(host).database.wipe()
    cluster.changed.pop(victim, None)
    cluster.at(fault.for_ms, "restart", partial(cluster.bring_up, victim), moves=victim)
    return True


def _restore(cluster: Cluster, fault: Fault) -> bool:
    """Copy the directory now; later put the copy in the place of what there is by then."""
    (victim,) = fault.replicas
    application = ledger_of(cluster.hosts[victim])
    rows, files = application.database.copy(), application.files.copy()
    if not rows or not files:
        return False

    def put_back() -> None:
        if cluster.is_healed or not cluster.may_hurt(victim):
            return
        crash(cluster.hosts[victim])
        cluster.hurt_it(victim, forgets=True)
        application.database.restore(rows)
        application.files.restore(files)
        cluster.changed.pop(victim, None)
        cluster.at(50, "restart", partial(cluster.bring_up, victim), moves=victim)

    cluster.at(fault.for_ms, "restore a backup", put_back)
    return True


def _lie(cluster: Cluster, fault: Fault) -> bool:
    """The disk answers flushes with a lie, until power is lost."""
    (victim,) = fault.replicas
    disk = ledger_of(cluster.hosts[victim]).disk
    if not cluster.may_hurt(victim):
        return False
    cluster.hurt_it(victim, forgets=True)
    disk.is_lying = disk.is_suspect = True

    def lose() -> None:
        if cluster.is_healed:
            return
        cluster.hurt_it(victim, forgets=True)
        cluster.take_down(victim, for_ms=500, loses_power=True)
        disk.is_lying = False

    cluster.at(fault.for_ms, "lose power", lose)
    return True


def _flip(cluster: Cluster, fault: Fault) -> bool:
    """A bit of the journal or a row of the database changes; a crash has it read again."""
    (victim,) = fault.replicas
    host = cluster.hosts[victim]
    if not cluster.may_hurt(victim):
        return False
    application, draw = ledger_of(host), random.Random(fault.amount)
    cluster.hurt_it(victim)
    application.disk.is_suspect = True
    if fault.amount % 2:
        if application.files.flip(draw):
            cluster.changed[victim] = None
    elif application.database.keys:
        application.database.damaged[draw.choice(application.database.keys)] = None
    cluster.take_down(victim, for_ms=max(50, fault.for_ms))
    return True


def _fill(cluster: Cluster, fault: Fault) -> bool:
    for victim in fault.replicas:
        disk = ledger_of(cluster.hosts[victim]).disk
        disk.is_full = True
        cluster.at(fault.for_ms, "room again", partial(setattr, disk, "is_full", False))
    return True


def _slow(cluster: Cluster, fault: Fault) -> bool:
    def quicken(victim: int) -> None:
        cluster.slow_ms.pop(victim, None)

    for victim in fault.replicas:
        cluster.slow_ms[victim] = fault.amount
        cluster.at(fault.for_ms, "fast again", partial(quicken, victim))
    return True


HAPPENINGS: Final[dict[str, Callable[[Cluster, Fault], bool]]] = {
    "crash": _crash,
    "loss of power": _lose_power,
    "crash inside an event": _die_inside,
    "pause": _pause,
    "full partition": _cut,
    "asymmetric partition": _cut,
    "bridge partition": _cut,
    "clock step or skew": _step_clock,
    "full disk": _fill,
    "slow disk": _slow,
    "wipe and rejoin": _wipe,
    "old backup restored": _restore,
    "lost fsync": _lie,
    "bit flip": _flip,
}
DISK_FAULTS: Final = ("wipe and rejoin", "old backup restored", "lost fsync", "bit flip")
FAULTS: Final = tuple(one for one in HAPPENINGS if one not in DISK_FAULTS)


def _fault(draw: random.Random, kind: str, count: int, until_ms: int) -> Fault:
    """Draw when, who, how long and how much; in long histories it takes longer."""
    scale = max(1, until_ms // 4_000)
    members = list(range(count))
    draw.shuffle(members)
    split = draw.randint(1, max(1, count - 1))
    one = Fault(
        kind=kind,
        at_ms=draw.randint(100, until_ms - 50),
        replicas=(members[0],),
        for_ms=draw.choice(OUTAGES_MS) * scale,
    )
    match kind:
        case "crash" | "loss of power" | "pause" | "full disk" if draw.random() < 0.15:
            return replace(one, replicas=tuple(members))  # All of them at once.
        case "crash inside an event":
            return replace(one, amount=draw.randrange(1, 200))
        case "full partition" | "asymmetric partition" | "bridge partition":
            others = members[split:]
            if kind == "bridge partition" and len(others) > 1:
                others = others[1:]
            length = draw.choice((200, 800, 2_000)) * scale
            return replace(
                one, replicas=tuple(members[:split]), others=tuple(others), for_ms=length
            )
        case "clock step or skew":
            amount = draw.choice((-90, 40, 90, -3_000, 3_000, -20_000, 20_000))
            return replace(one, amount=amount, for_ms=draw.choice((500, 1_000)) * scale)
        case "slow disk":
            return replace(one, amount=draw.choice((5, 30, 200)))
        case "old backup restored":
            return replace(one, for_ms=draw.choice((400, 1_000)) * scale)
        case "bit flip":
            return replace(one, amount=draw.randrange(1 << 16))
        case _:
            return one


def _network(draw: random.Random) -> Faults:
    """A network between quiet and awful."""
    if draw.random() < 0.3:
        return Faults()
    return Faults(
        loss=draw.choice((0.0, 0.0, 0.01, 0.05, 0.2)),
        duplication=draw.choice((0.0, 0.05, 0.3)),
        delay_min_ms=1,
        delay_max_ms=draw.choice((5, 10, 20, 20, 100, 400)),
        stragglers=draw.choice((0.0, 0.01, 0.1)),
    )
