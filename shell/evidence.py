"""What this node can prove about others: evidence of equivocation, kept until the ledger has it.

The core reports each slot once and says nothing about the time before its last decisions, so what
is kept here is what an operator sees, and what is brought to the ledger.
"""

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from crypto.evidence import Evidence, Fault
from crypto.validators import Epoch, ReplicaId

log = logging.getLogger("medledger.evidence")

REPORTS_MAX: Final = 256
"""Reports kept; the oldest falls away first. One slot of a member is enough to act upon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One proof, and the local time at which this node had both votes.

    It is submitted again from `retry_ms` on, unless it is settled: recorded, or too old.
    """

    evidence: Evidence
    found_ms: int
    retry_ms: int = 0
    is_settled: bool = False


@dataclass(slots=True, kw_only=True)
class Reports:
    """Proofs by slot, oldest first; `counts` says how many slots of each member since the start."""

    by_fault: dict[Fault, Report] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)


def keep_report(reports: Reports, evidence: Evidence, now_ms: int) -> None:
    """Keep a proof, say so to the operator, and forget the oldest beyond the limit."""
    fault = evidence.fault
    if fault in reports.by_fault:
        return
    reports.by_fault[fault] = Report(evidence=evidence, found_ms=now_ms)
    reports.counts[fault.signer] += 1
    if len(reports.by_fault) > REPORTS_MAX:
        del reports.by_fault[next(iter(reports.by_fault))]
    log.error(
        "equivocation",
        extra={
            "node": fault.signer,
            "epoch": fault.epoch,
            "height": fault.height,
            "view": fault.view,
            "type": fault.vote.name.lower(),
        },
    )


def has_equivocated(reports: Reports, signer: ReplicaId, epoch: Epoch) -> bool:
    """Whether there is proof here that a member signed two votes for one slot of this epoch."""
    return any((fault.signer, fault.epoch) == (signer, epoch) for fault in reports.by_fault)


def unsettled(reports: Reports) -> list[Fault]:
    """Return the faults that the ledger may not have yet, oldest first."""
    return [fault for fault, known in reports.by_fault.items() if not known.is_settled]
