"""What a node keeps of others' faults: each slot once, a bounded number, counted by member."""

from crypto.evidence import Evidence, Fault, make_evidence
from crypto.validators import Epoch, ReplicaId
from crypto.votes import Height, View, VoteType
from shell.evidence import REPORTS_MAX, Reports, has_equivocated, keep_report, unsettled
from tests.unit.crypto.test_evidence import ONE, OTHER, SLOT, sign


def evidence_at(height: int, *, signer: int = 1) -> Evidence:
    slot = SLOT._replace(height=Height(height), signer=ReplicaId(signer))
    made = make_evidence(sign(slot, ONE), sign(slot, OTHER))
    assert made is not None
    return made


def test_a_slot_is_kept_once() -> None:
    reports = Reports()

    keep_report(reports, evidence_at(7), 100)
    keep_report(reports, evidence_at(7), 200)

    (report,) = reports.by_fault.values()
    assert report.found_ms == 100
    assert reports.counts == {1: 1}


def test_the_oldest_falls_away_beyond_the_limit_and_stays_counted() -> None:
    reports = Reports()
    for height in range(REPORTS_MAX + 10):
        keep_report(reports, evidence_at(height), height)

    assert len(reports.by_fault) == REPORTS_MAX
    assert min(fault.height for fault in reports.by_fault) == 10
    assert reports.counts == {1: REPORTS_MAX + 10}


def test_what_the_ledger_may_not_have_yet_is_listed_oldest_first() -> None:
    reports = Reports()
    for signer in (2, 1):
        keep_report(reports, evidence_at(7, signer=signer), 0)

    assert unsettled(reports) == [
        Fault(ReplicaId(signer), SLOT.epoch, Height(7), View(2), VoteType.PREPARE)
        for signer in (2, 1)
    ]


def test_a_proof_is_held_against_its_signer_in_its_epoch_alone() -> None:
    reports = Reports()
    keep_report(reports, evidence_at(7, signer=1), 0)

    assert has_equivocated(reports, ReplicaId(1), SLOT.epoch)
    assert not has_equivocated(reports, ReplicaId(2), SLOT.epoch)
    assert not has_equivocated(reports, ReplicaId(1), Epoch(SLOT.epoch + 1))
