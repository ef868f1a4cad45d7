"""What a running node tells of itself to its doctor and to monitoring."""

import logging
import os
from pathlib import Path

import pytest

from api.diagnosis import diagnose
from api.silences import find_listening
from consensus.fence import raise_fence
from consensus.restarting import LEFT_BEHIND
from consensus.state import Departure, Listening
from crypto.cid import Cid
from crypto.hashing import Digest
from crypto.validators import ReplicaId
from shell.facts import Sources, gather_facts, make_sources
from shell.measures import gather_measures
from shell.processes import usage_of
from shell.timeline import note_departures, note_effect
from tests.unit.shell.one_of_four import PEER, OneOfFour, running_one


def sources_of(one: OneOfFour) -> Sources:
    return make_sources(one.node.replica, one.node.intake, one.node.upkeep.scrubbing)


async def test_a_start_that_listens_tells_who_has_answered_and_for_how_long(
    tmp_path: Path,
) -> None:
    async with running_one(tmp_path / "node") as one:
        one.node.replica.state.listening = Listening(answered={ReplicaId(PEER): None})

        facts = gather_facts(sources_of(one))

        one.node.replica.state.listening = None
        assert facts.listening is not None
        assert (facts.listening.needed, facts.listening.answered) == (2, ("hospital-1",))
        assert 0 < facts.listening.for_ms < 60_000
        assert "hospital-2 and hospital-3 did not" in str(find_listening(facts))


async def test_a_fence_that_waits_for_a_document_is_told_with_its_age(tmp_path: Path) -> None:
    async with running_one(tmp_path / "node") as one:
        replica = one.node.replica
        for effect in raise_fence(replica.state, LEFT_BEHIND):
            note_effect(replica.timeline, effect)

        facts = gather_facts(sources_of(one))

        assert facts.fence is not None
        assert facts.fence.waits_for_document
        assert facts.fence.for_ms < 1_000
        assert diagnose(facts).code == "recover_needed"


async def test_what_is_lacking_stands_in_facts_and_numbers(tmp_path: Path) -> None:
    async with running_one(tmp_path / "node") as one:
        scrubbing = one.node.upkeep.scrubbing
        scrubbing.lacking_blobs[Cid(bytes(36))] = scrubbing.passes
        scrubbing.lacking_sidecars[Digest(bytes(32))] = scrubbing.passes
        scrubbing.found["blob.corrupt"] += 1

        facts, measures = gather_facts(sources_of(one)), gather_measures(sources_of(one))

        assert (facts.missing.blobs, facts.missing.sidecars) == (1, 1)
        assert list(measures["blobs_unavailable"]) == [((), 1)]
        assert (("blobs",), 1) in measures["scrub_unrepaired"]
        assert (("blob.corrupt",), 1) in measures["scrub_damaged_total"]
        assert "copies_missing" in [note.code for note in diagnose(facts).others]


async def test_every_view_that_was_left_is_logged_once_with_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_one(tmp_path / "node") as one:
        replica = one.node.replica
        note_departures(replica.timeline, replica.state)
        caplog.clear()
        replica.state.view_changes[Departure.COMPLAINT_CENSORING] += 1

        with caplog.at_level(logging.INFO, logger="medledger.timeline"):
            note_departures(replica.timeline, replica.state)
            note_departures(replica.timeline, replica.state)

        told = [one for one in caplog.records if one.message == "view change"]
        assert [vars(one)["reason"] for one in told] == ["complaint.censoring"]


async def test_processor_time_and_memory_are_those_of_the_workers_too(tmp_path: Path) -> None:
    async with running_one(tmp_path / "node") as one:
        own = usage_of([os.getpid()])

        measures = gather_measures(sources_of(one))

        assert own is not None
        ((_, cpu_s),) = measures["process_cpu_seconds_total"]
        ((_, resident),) = measures["process_resident_memory_bytes"]
        assert isinstance(cpu_s, float)
        assert isinstance(resident, int)
        assert cpu_s >= own.cpu_s > 0
        assert resident > own.resident_bytes / 2
        assert {labels for labels, _ in measures["sent_bytes_total"]} >= {
            ("consensus",),
            ("gossip",),
        }


def test_a_process_that_has_ended_uses_nothing() -> None:
    assert usage_of([2**22 + 1]) is None
