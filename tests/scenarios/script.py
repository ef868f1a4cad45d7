"""Scenario files: what happens to a few real replicas, spelled out, and what they do about it.

Each line is a command; the lines below it that open with `| ` are what the replicas did, written by
the runner. Nothing happens by itself: what is sent waits until it is delivered or dropped, timers
run out when the script says so, and heartbeats are lost unless `heartbeats on`. Work of the shell
(making, checking, executing a block) is done at once.

    replicas 4                    how many; the first line
    submit 0 aspirin              a client hands a transaction to replica 0, and it gets around
    submit 0 rekey-1              the same; once it is executed, replica 1 has another vote key
    withhold 0 aspirin            replica 0 acts as if it had never heard of it
    suspect 2 censoring           the shell of 2 has seen that of the base (`slow`, `equivocating`)
    deliver 1->2 prepare          everything in flight from 1 to 2 of that kind; `*` for any
    drop *->3 *                   the same, but it is lost
    hold 1->* *                   what is sent there from now on is lost, until `release`
    settle                        deliver what is in flight, and what follows from it, to the end
    settle except 3               the same, but nothing from or to 3: that stays in flight
    twin 0->3 pre_prepare         what is in flight becomes another block, signed by 0 again
    forge 1->* new_view free      what is in flight becomes a lie of 1: see `forgery.py`
    flood 3->0 500                so many messages of far heights and views arrive; counted below
    keep 1->2 new_view as old     remember a message; `replay old` delivers it again
    fly old                       put a remembered message back into flight
    expire 3 view_change          a timer of replica 3 runs out
    crash 3 / restart 3 / wipe 3
    expect 2 view=1 tip=3         view, tip, epoch, base, fenced, prepared, last, ...

Blocks are called A, B, C in the order of their appearance.
"""

import fnmatch
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from consensus.blocks import Block
from consensus.effects import (
    Broadcast,
    CheckProposal,
    Decide,
    Effect,
    Ignore,
    Persist,
    ReportEvidence,
    Send,
    SendBlocks,
    SendProposal,
    SetTimer,
)
from consensus.events import PrimarySuspected, Timer, TimerKind
from consensus.hearing import answer_boot, make_echo
from consensus.invariants import retained, retained_max
from consensus.messages import (
    Blocks,
    Fetch,
    Message,
    NewView,
    PrePrepare,
    Status,
    Suspicion,
    ViewChange,
    Vote,
    decode_message,
)
from consensus.records import Booted, NewViewRecord, Record, ViewChangeRecord, VoteRecord
from consensus.state import ReplicaState, make_status, primary_at
from consensus.verification import make_verifiable
from crypto.errors import DecodeError
from crypto.hashing import Digest
from crypto.validators import ReplicaId, ValidatorSet
from crypto.votes import FIRST_VIEW
from tests.scenarios.forgery import FORGERIES, Forged, far_future
from tests.scenarios.members import ChangingLog, signing_by_epoch
from tests.simulation.application import transaction_hash
from tests.simulation.byzantine import propose
from tests.simulation.cluster import make_config
from tests.simulation.host import (
    Gossip,
    Host,
    Parcel,
    crash,
    expire,
    is_verified,
    make_host,
    receive,
    start,
    tell,
)
from tests.simulation.ideal import make_validators
from tests.simulation.monitor import Monitor, observe, observe_event

OUTPUT = "| "
Flying: TypeAlias = Parcel | Forged


@dataclass(slots=True, kw_only=True)
class Table:
    """The world of a script: hosts, what is in flight between them, and what was written down."""

    validators: ValidatorSet
    hosts: list[Host] = field(default_factory=list)
    flight: list[tuple[int, int, Flying]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    kept: dict[str, tuple[int, int, Flying]] = field(default_factory=dict)
    timers: dict[tuple[int, TimerKind], Timer] = field(default_factory=dict)
    names: dict[Digest, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    works: list[Callable[[], None]] = field(default_factory=list)
    has_heartbeats: bool = False
    now: int = 1_000
    monitor: Monitor = field(default_factory=Monitor)

    def now_ms(self, host: Host) -> int:
        return self.now

    def send(self, sender: ReplicaId, to: ReplicaId, parcel: Parcel) -> None:
        if isinstance(parcel, Status) and not self.has_heartbeats:
            return
        label = f"{sender}->{to} {kind_of(parcel)}"
        if not any(fnmatch.fnmatch(label, pattern) for pattern in self.held):
            self.flight.append((sender, to, parcel))

    def start_timer(self, host: Host, timer: Timer, delay_ms: int) -> None:
        self.timers[host.replica, timer.kind] = timer

    def stop_timer(self, host: Host, timer: Timer) -> None:
        self.timers.pop((host.replica, timer.kind), None)

    def later(self, host: Host, what: str, action: Callable[[], None], delay_ms: int) -> None:
        boot = host.boots
        if what in ("check again", "wait until due"):
            return
        self.works.append(lambda: action() if host.boots == boot and host.state else None)

    def work_ms(self, what: str) -> int:
        return 0

    def reaches_boundary(self, host: Host, effect: Effect) -> bool:
        return True

    def observe(self, host: Host, effect: Effect) -> None:
        observe(self.monitor, host, effect)
        line = self.describe(effect)
        if line is not None:
            self.lines.append(f"{host.replica} {line}")

    def describe(self, effect: Effect) -> str | None:
        """Return one line about an effect; None for what would only make the reading long."""
        match effect:
            case Persist(records=records):
                told = [self.record(one) for one in records if not isinstance(one, Booted)]
                return "persist " + ", ".join(told) if told else None
            case Send(to=to, message=message):
                shown = None if isinstance(message, Status) else self.parcel(message)
                return shown and f"send {to} {shown}"
            case Broadcast(message=message):
                shown = None if isinstance(message, Status) else self.parcel(message)
                return shown and f"broadcast {shown}"
            case Decide(block=block, certificate=certificate):
                signers = " ".join(str(signer) for signer, _ in certificate.signatures)
                return f"decide {self.name(block)} h{block.height} by {signers}"
            case SetTimer(timer=timer, delay_ms=delay_ms) if timer.kind is not TimerKind.STATUS:
                return f"timer {timer.kind.value} {delay_ms}"
            case CheckProposal(block=block, is_fresh=is_fresh):
                return f"check {self.name(block)}{'' if is_fresh else ' again'}"
            case Ignore(sender=sender, kind=kind, reason=reason):
                return f"ignore {kind} of {sender}: {reason}"
            case ReportEvidence(evidence=evidence):
                fault = evidence.fault
                slot = f"h{fault.height} v{fault.view} {fault.vote.name.lower()}"
                return f"evidence against {fault.signer}: {slot}"
            case SendBlocks(to=to, from_height=height):
                return f"serve {to} blocks from h{height}"
            case SendProposal(to=to):
                return f"serve {to} a proposal"
            case _:
                return None

    def parcel(self, parcel: Parcel) -> str:
        match parcel:
            case ViewChange(prepared=prepared):
                report = f" with {self.names[prepared.digest]}" if prepared else ""
                return f"view_change v{parcel.view}{report}"
            case NewView():
                block = self.name(parcel.pre_prepare.block)
                return f"new_view v{parcel.view} {block}"
            case PrePrepare():
                return f"pre_prepare v{parcel.view} {self.name(parcel.block)}"
            case Fetch(from_height=height):
                return f"fetch from h{height}"
            case Blocks(blocks=blocks):
                return f"blocks {' '.join(self.name(one.block) for one in blocks)}"
            case _ if isinstance(parcel, Vote):
                return f"{kind_of(parcel)} v{parcel.view} {self.names[parcel.digest]}"
            case _:
                return kind_of(parcel)

    def record(self, record: Record) -> str:
        match record:
            case VoteRecord():
                return record.vote.name.lower()
            case ViewChangeRecord() | NewViewRecord():
                return kind_of(record.message)
            case _:
                return snake(type(record).__name__).removesuffix("_record")

    def name(self, block: Block) -> str:
        return self.names.setdefault(block.digest, chr(ord("A") + len(self.names)))


def kind_of(parcel: object) -> str:
    kind = parcel.kind if isinstance(parcel, Forged) else type(parcel)
    return snake(kind.__name__)


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def run_script(text: str) -> str:
    """Return the script with what the replicas did below each command.

    Raises `AssertionError`, with what happened so far, where the script expects something else.
    """
    table: Table | None = None
    out: list[str] = []
    for line in text.splitlines():
        if line.startswith(OUTPUT):
            continue
        out.append(line)
        words = line.split("#")[0].split()
        if not words:
            continue
        if table is None:
            assert words[0] == "replicas", "the first command says how many replicas there are"
            table = make_table(int(words[1]))
        else:
            try:
                COMMANDS[words[0]](table, *words[1:])
            except AssertionError as problem:
                problem.add_note("\n".join(out))
                raise
        out += [f"{OUTPUT}{one}" for one in table.lines]
        table.lines.clear()
    return "\n".join(out) + "\n"


def make_table(replicas: int) -> Table:
    table = Table(validators=make_validators(replicas))
    for index in range(replicas):
        application = make_log(table, index)
        config = signing_by_epoch(make_config(index), application)
        table.hosts.append(make_host(table, config, table.validators, application))
    for host in table.hosts:
        start(host)
        work(table)
    for host in table.hosts:
        hear(table, host)
    return table


def hear(table: Table, host: Host) -> None:
    """Have a start answered by those who live; nothing else of a heartbeat gets around."""
    for other in table.hosts:
        if other.state is None or host.state is None or other is host:
            continue
        said = make_status(host.state, with_proof=False)
        answer_boot(other.state, host.replica, said)
        receive(host, other.replica, make_echo(other.state, host.replica))
    for _ in range(host.config.listen_heartbeats):
        timer = table.timers.pop((host.replica, TimerKind.STATUS))
        expire(host, timer)
        work(table)


def make_log(table: Table, index: int) -> ChangingLog:
    return ChangingLog(validators=table.validators, replica=ReplicaId(index))


def log_of(host: Host) -> ChangingLog:
    application = host.application
    assert isinstance(application, ChangingLog)
    return application


def work(table: Table) -> None:
    """Let the shells finish what they were asked for."""
    while table.works:
        table.works.pop(0)()
    for host in table.hosts:
        if host.state is not None:
            observe_event(table.monitor, host, lambda: table.now)


def submit(table: Table, replica: str, name: str) -> None:
    hosts = [table.hosts[int(replica)], *table.hosts]
    for host in hosts:
        if host.state is not None:
            receive(host, host.replica, Gossip((name.encode(),)))
            work(table)


def withhold(table: Table, replica: str, name: str) -> None:
    """The replica acts as if it had never heard of a transaction."""
    pool = log_of(table.hosts[int(replica)]).pool
    assert pool.pop(transaction_hash(name.encode()), None) is not None, f"{name} is not pooled"


def suspect(table: Table, replica: str, reason: str) -> None:
    """The shell of a replica has measured that the present base is slow, or censors."""
    host = table.hosts[int(replica)]
    assert host.state is not None, f"replica {replica} is down"
    primary = primary_at(host.state, FIRST_VIEW)
    tell(host, PrimarySuspected(primary=primary, reason=Suspicion[reason.upper()]))
    work(table)


def deliver(table: Table, link: str, kind: str) -> None:
    chosen = take(table, link, kind)
    assert chosen, f"nothing like {link} {kind} is in flight"
    for sender, to, parcel in chosen:
        hand_over(table, sender, to, parcel)


def hand_over(table: Table, sender: int, to: int, parcel: Flying) -> None:
    """Deliver through the decoder and the verifier, as a node does."""
    refused = f"{to} refuses {kind_of(parcel)} of {sender}"
    if isinstance(parcel, Forged):
        try:
            parcel = decode_message(parcel.encoded)
        except DecodeError:
            table.lines.append(f"{refused}: it does not decode")
            return
    host = table.hosts[to]
    if host.state is not None and isinstance(parcel, Message):
        checked = make_verifiable(parcel, host.application.validator_sets())
        if not is_verified(host, checked):
            table.lines.append(f"{refused}: it does not verify")
            return
    receive(host, ReplicaId(sender), parcel)
    work(table)


def drop(table: Table, link: str, kind: str) -> None:
    assert take(table, link, kind), f"nothing like {link} {kind} is in flight"


def hold(table: Table, link: str, kind: str) -> None:
    table.held.append(f"{link} {kind}")


def release(table: Table) -> None:
    table.held.clear()


def settle(table: Table, *exception: str) -> None:
    outside = {int(one) for one in exception[1:]}
    for _ in range(10_000):
        inside = [one for one in table.flight if one[0] not in outside and one[1] not in outside]
        if not inside:
            return
        table.flight.remove(inside[0])
        hand_over(table, *inside[0])
    raise AssertionError("it does not settle")


def twin(table: Table, link: str, kind: str) -> None:
    for sender, to, parcel in take(table, link, kind):
        assert isinstance(parcel, PrePrepare), "only a proposal has a twin"
        table.monitor.liars[ReplicaId(sender)] = None
        other = propose(
            table.hosts[sender], parcel, table.hosts[sender].application.vary(parcel.block)
        )
        table.name(other.block)
        table.flight.append((sender, to, other))


def forge(table: Table, link: str, kind: str, how: str) -> None:
    """Replace what is in flight by its sender's lie about it."""
    chosen = take(table, link, kind)
    assert chosen, f"nothing like {link} {kind} is in flight"
    for sender, to, parcel in chosen:
        table.monitor.liars[ReplicaId(sender)] = None
        table.flight.append((sender, to, FORGERIES[how](table.hosts[sender], parcel)))


def flood(table: Table, link: str, count: str) -> None:
    """Deliver many messages at once, and say in a line each how many ended in which way."""
    sender, to = (int(one) for one in link.split("->"))
    table.monitor.liars[ReplicaId(sender)] = None
    before, table.lines = table.lines, []
    for message in far_future(table.hosts[sender], int(count)):
        hand_over(table, sender, to, message)
    counted = Counter(re.sub(rf" of {sender}\b", "", line) for line in table.lines)
    table.lines = before + [f"{number} times: {line}" for line, number in sorted(counted.items())]


def keep(table: Table, link: str, kind: str, _as: str, name: str) -> None:
    (table.kept[name],) = [one for one in table.flight if matches(one, link, kind)]


def replay(table: Table, name: str) -> None:
    hand_over(table, *table.kept[name])


def fly(table: Table, name: str) -> None:
    table.flight.append(table.kept[name])


def heartbeats(table: Table, switch: str) -> None:
    table.has_heartbeats = switch == "on"


def run_out(table: Table, replica: str, kind: str) -> None:
    timer = table.timers.pop((int(replica), TimerKind(kind)), None)
    assert timer is not None, f"replica {replica} has no {kind} timer"
    table.now += 1_000
    expire(table.hosts[int(replica)], timer)
    work(table)


def take_down(table: Table, replica: str) -> None:
    crash(table.hosts[int(replica)])
    for key in [key for key in table.timers if key[0] == int(replica)]:
        del table.timers[key]


def bring_up(table: Table, replica: str) -> None:
    start(table.hosts[int(replica)])
    work(table)
    hear(table, table.hosts[int(replica)])


def wipe(table: Table, replica: str) -> None:
    host = table.hosts[int(replica)]
    if host.state is not None:
        take_down(table, replica)
    application = make_log(table, host.replica)
    host.application = application
    host.config = signing_by_epoch(host.config, application)
    bring_up(table, replica)


def expect(table: Table, replica: str, *claims: str) -> None:
    host = table.hosts[int(replica)]
    assert host.state is not None, f"replica {replica} is down"
    prepared = host.state.instance.prepared
    facts = {
        "tip": str(host.state.tip.height),
        "view": str(host.state.instance.view),
        "fenced": "yes" if host.state.fence else "no",
        "prepared": table.names[prepared.digest] if prepared else "none",
        "epoch": str(host.state.members.epoch),
        "base": str(primary_at(host.state, FIRST_VIEW)),
        "executed": ",".join(one.decode() for one in log_of(host).log) or "nothing",
        "bounded": "yes" if is_bounded(host.state) else "no",
        "last": table.names.get(host.state.tip.digest, "genesis"),
    }
    for claim in claims:
        fact, value = claim.split("=")
        assert facts[fact] == value, f"replica {replica}: {fact} is {facts[fact]}, not {value}"


def is_bounded(state: ReplicaState) -> bool:
    return retained(state) <= retained_max(state.members.quorum)


COMMANDS: dict[str, Callable[..., None]] = {
    "submit": submit,
    "withhold": withhold,
    "suspect": suspect,
    "deliver": deliver,
    "drop": drop,
    "hold": hold,
    "release": release,
    "settle": settle,
    "twin": twin,
    "forge": forge,
    "flood": flood,
    "keep": keep,
    "replay": replay,
    "fly": fly,
    "heartbeats": heartbeats,
    "expire": run_out,
    "crash": take_down,
    "restart": bring_up,
    "wipe": wipe,
    "expect": expect,
}


def take(table: Table, link: str, kind: str) -> list[tuple[int, int, Flying]]:
    """Take what matches out of the flight."""
    chosen = [one for one in table.flight if matches(one, link, kind)]
    table.flight = [one for one in table.flight if not matches(one, link, kind)]
    return chosen


def matches(one: tuple[int, int, Flying], link: str, kind: str) -> bool:
    sender, to, parcel = one
    return fnmatch.fnmatch(f"{sender}->{to} {kind_of(parcel)}", f"{link} {kind}")


def scripts() -> list[Path]:
    return sorted(Path(__file__).parent.glob("*.txt"))
