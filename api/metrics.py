"""The numbers of a node for monitoring: one table of what there is, and their text form.

The text is Prometheus' exposition format 0.0.4. Labels are members, codes and words of our own;
nothing that a stranger chooses becomes a label, and nothing here speaks of people.
"""

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

CONTENT_TYPE: Final = "text/plain; version=0.0.4"
PREFIX: Final = "medledger_"
SHARED_PREFIX: Final = "process_"
"""Names that monitoring knows of any program."""

LATENCY_BOUNDS_S: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
DELAY_BOUNDS_S: Final = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.075, 0.1),
    *(0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""Fine where the event loop has its aims: a hundredth of all above 25 ms, none above 50 ms."""


@dataclass(slots=True, kw_only=True)
class Histogram:
    """Observations by size: `counts[i]` are at most `bounds[i]`, the last are above all bounds."""

    bounds: tuple[float, ...] = LATENCY_BOUNDS_S
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value


Value: TypeAlias = float | Histogram
Measures: TypeAlias = Mapping[str, Sequence[tuple[tuple[str, ...], Value]]]
"""Name without prefix -> (label values, value); what is not known now is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number, or one for each combination of its labels."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """The name in the text; those of processes in general are everybody's."""
        return self.name if self.name.startswith(SHARED_PREFIX) else PREFIX + self.name


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=name, kind="gauge", text=text, labels=labels)


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=name, kind="counter", text=text, labels=labels)


def _histogram(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=name, kind="histogram", text=text, labels=labels)


METRICS: Final = (
    _gauge("diagnosis", "1 for the code that the doctor gives now", "code"),
    _gauge("well", "1 if all is well, 0 if something is wrong"),
    _gauge("height", "the last executed block"),
    _gauge("sync_height", "the highest block that f + 1 other members say they have decided"),
    _gauge("view", "the view in which the next block is being agreed"),
    _gauge("epoch", "the generation of the replica set"),
    _gauge("fenced", "1 while this node is fenced and signs nothing"),
    _counter("blocks_total", "blocks executed since the start"),
    _counter("committed_transactions_total", "transactions in them, refused ones included"),
    _histogram("commit_latency_seconds", "from a transaction's way into our pool to its execution"),
    _histogram("phase_latency_seconds", "how long a block took in each phase", "phase"),
    _counter("view_changes_total", "views this replica left, by why", "reason"),
    _gauge("oldest_pending_seconds", "how long the oldest transaction waits that a block may take"),
    _counter("proposals_refused_total", "proposals that this replica refused, by code", "code"),
    _gauge("peers", "other members by the state of the link", "state"),
    _gauge("peer_rtt_seconds", "round trip to a member", "peer"),
    _gauge("peer_heard_seconds", "since a member's last heartbeat", "peer"),
    _gauge("clock_offset_seconds", "how far a member's clock is ahead of ours", "peer"),
    _gauge("own_clock_offset_seconds", "how far the others' clocks are ahead of ours (median)"),
    _counter("votes_missing_total", "blocks to which a member sent us no commit in time", "peer"),
    _counter("invalid_messages_total", "what no correct node sends, by member", "peer", "reason"),
    _counter("over_allowance_total", "consensus messages beyond a member's allowance", "peer"),
    _gauge("complaints", "standing complaints about the primary, by why", "reason"),
    _counter("evidence_total", "slots for which a member signed two votes", "member"),
    _gauge("pool_transactions", "transactions that wait"),
    _gauge("pool_bytes", "their bytes, sidecars included"),
    _counter("pool_refused_total", "transactions turned away, by what was full", "reason"),
    _counter("pool_expired_total", "transactions whose window ended before a block took them"),
    _histogram("journal_fsync_seconds", "how long making votes durable took"),
    _gauge("disk_bytes", "what a part of the node directory takes", "kind"),
    _gauge("disk_free_bytes", "what is free on the disk of a part", "kind"),
    _gauge("loop_lag_seconds", "longest absence of the event loop in the last half minute"),
    _histogram("loop_delay_seconds", "how late the event loop is for what comes due at any time"),
    _histogram("loop_held_seconds", "the same without the time in which the system ran others"),
    _gauge("verify_queue", "signatures that wait to be checked"),
    _gauge("blocks_damaged", "stored blocks that wait for a copy from a peer"),
    _gauge("blobs_unavailable", "blobs that this node has to keep and nobody has given it"),
    _counter("scrub_checked_total", "portions of storage read and hashed again, by kind", "kind"),
    _counter("scrub_damaged_total", "damage that was found, by code", "code"),
    _counter("scrub_repaired_total", "damage that was put right, by code", "code"),
    _gauge("scrub_unrepaired", "damage that waits for a copy from a peer, by kind", "kind"),
    _gauge("events_lag", "blocks that the slowest subscriber of events was not sent yet"),
    _counter("sent_bytes_total", "bytes of frames written to other members, TLS apart", "lane"),
    _counter("received_bytes_total", "bytes of frames read from other members, TLS apart", "lane"),
    _counter("process_cpu_seconds_total", "processor time of the node and its signature workers"),
    _gauge("process_resident_memory_bytes", "their memory that is resident now"),
    _counter("connections_refused_total", "connections between nodes turned away", "reason"),
    _counter("refused_total", "requests to the API that were refused, by code", "code"),
    _counter("served_total", "answers of the API, by status", "status"),
)


def render(measures: Measures) -> str:
    """Return the numbers as text, in the order of the table; raises `AssertionError` for others."""
    known = {metric.name for metric in METRICS}
    assert measures.keys() <= known, f"not in the table: {sorted(measures.keys() - known)}"
    return "".join(f"{line}\n" for line in _lines(measures))


def _lines(measures: Measures) -> Iterator[str]:
    for metric in METRICS:
        samples = measures.get(metric.name, ())
        if not samples:
            continue
        name = metric.full_name
        yield f"# HELP {name} {metric.text}"
        yield f"# TYPE {name} {metric.kind}"
        for values, value in samples:
            labels = dict(zip(metric.labels, values, strict=True))
            if isinstance(value, Histogram):
                yield from _histogram_lines(name, labels, value)
            else:
                yield f"{name}{_labels(labels)} {_number(value)}"


def _histogram_lines(name: str, labels: dict[str, str], value: Histogram) -> Iterator[str]:
    below = 0
    for bound, count in zip((*value.bounds, None), value.counts, strict=True):
        below += count
        edge = "+Inf" if bound is None else f"{bound:g}"
        yield f"{name}_bucket{_labels({**labels, 'le': edge})} {below}"
    yield f"{name}_sum{_labels(labels)} {value.total:.9g}"
    yield f"{name}_count{_labels(labels)} {below}"


def _number(value: float) -> str:
    """Return a count to its last digit: a difference of two is what monitoring asks for."""
    return str(int(value)) if isinstance(value, int) else f"{value:.9g}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    shown = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + shown + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
