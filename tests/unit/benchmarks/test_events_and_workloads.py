"""What faults did to commits, and what a workload may say about its consortium."""

from typing import Any

import pytest

from benchmarks.aftermath import event_rows
from benchmarks.errors import WorkloadInvalid
from benchmarks.load.drivers import Handed
from benchmarks.measuring import Decided, Run
from benchmarks.scene.faults import Event, Fault
from benchmarks.workload import make_workload, wanted_of

GRANTS: dict[str, Any] = {"title": "Grants", "shares": {"grant": 1}}


def run_with(*decided_s: float, events: tuple[Event, ...] = ()) -> Run:
    handed = Handed(sent=0, not_taken={}, late_ms_max=0.0, cpu_s=0.0, taken=())
    decided = tuple(
        Decided(kind="access.grant", code="ok", due_s=at_s, decided_s=at_s, height=1)
        for at_s in decided_s
    )
    return Run(
        handed=handed,
        start_s=100.0,
        end_s=120.0,
        decided=decided,
        lost=0,
        samples=[],
        events=events,
    )


def test_an_event_tells_when_commits_went_on_and_how_long_they_stood() -> None:
    times_s = (104.9, 105.1, 108.0, 108.2, 112.0, 112.5, 119.0)
    kill = Event(at_s=105.0, do="kill", what="kill hospital-a", nodes=(0,))
    heal = Event(at_s=110.0, do="restart", what="restart hospital-a", nodes=(0,))

    first, second = event_rows(run_with(*times_s, events=(kill, heal)))

    assert (first["t_s"], first["first_commit_s"], first["stall_s"]) == (5.0, 0.1, 3.8)
    assert (second["t_s"], second["first_commit_s"], second["stall_s"]) == (10.0, 2.0, 6.5)


def test_an_event_after_which_nothing_was_decided_says_so() -> None:
    kill = Event(at_s=105.0, do="kill", what="kill hospital-a", nodes=(0,))

    (row,) = event_rows(run_with(104.0, 104.5, events=(kill,)))

    assert (row["first_commit_s"], row["stall_s"]) == (None, None)
    assert event_rows(run_with(104.0)) == []


def test_a_workload_chooses_the_parameters_of_its_consortium() -> None:
    told = {**GRANTS, "parameters": {"rotate_every": 7}, "timeouts": {"base_timeout_ms": 500}}

    workload = make_workload("grants", told, source="grants.toml")

    wanted = wanted_of(workload)
    assert (wanted.parameters.rotate_every, wanted.parameters.idle_block_ms) == (7, 1_000)
    assert wanted.timeouts.base_timeout_ms == 500


def test_a_workload_has_the_faults_of_its_file() -> None:
    told = {**GRANTS, "faults": [{"at_s": 8, "do": "kill", "node": "primary"}]}

    workload = make_workload("grants", told, source="grants.toml")

    assert workload.faults == (Fault(at_s=8.0, do="kill", node="primary"),)


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"parameters": {"colour": 1}}, "parameters have no 'colour'"),
        ({"parameters": {"rotate_every": "often"}}, "is a whole number"),
        ({"parameters": {"rotate_every": 0}}, "parameters: "),
        ({"parameters": 7}, "`parameters` is a table"),
        ({"timeouts": {"base_timeout_ms": 1}}, "from 100 to 600000"),
        ({"faults": [{"at_s": 1, "do": "explode"}]}, "use one of kill"),
        ({"faults": [{"at_s": 20, "do": "heal"}]}, "comes after the end"),
    ],
)
def test_a_consortium_that_cannot_be_is_refused(told: dict[str, Any], why: str) -> None:
    with pytest.raises(WorkloadInvalid, match=r"^grants\.toml: ") as refused:
        make_workload("grants", {**GRANTS, **told}, source="grants.toml")

    assert why in str(refused.value)
