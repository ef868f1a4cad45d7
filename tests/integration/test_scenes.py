"""Scenes of benchmarks with real nodes: links that take their time, faults that happen, samples."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.errors import NoNamespaces, SceneError
from benchmarks.scene.faults import Event, Fault, parse_fault_words
from benchmarks.scene.happenings import do_fault, keep_to_schedule, primary_of
from benchmarks.scene.links import parse_links
from benchmarks.scene.local import running_pid
from benchmarks.scene.places import NAMESPACES, Scene, Wanted, open_scene
from benchmarks.scene.remote import load_network
from benchmarks.scene.sampling import node_rows, sampling
from client.plain_http import get_json
from config import Timeouts
from ledger.parameters import Parameters
from tests.integration.consortium import IDLE_BLOCK_MS, height_of, wait_height, wait_until
from tests.integration.namespaces import hosts_or_skip

pytestmark = pytest.mark.timeout(180)

QUICK = Wanted(
    parameters=Parameters(idle_block_ms=IDLE_BLOCK_MS),
    timeouts=Timeouts(base_timeout_ms=1_000, timeout_cap_ms=8_000, status_ms=200),
)


def do(scene: Scene, words: str, victim: int | None = None) -> Event:
    event = do_fault(scene, parse_fault_words(f"0 {words}"), victim)
    assert event.failed is None, event
    return event


def heights(scene: Scene) -> list[int]:
    return [height_of(member) for member in scene.members]


def rtts_ms(scene: Scene, node: int) -> dict[int, float]:
    """What a node says a heartbeat takes to each other node and back."""
    rows = get_json(scene.urls[node], "/v1/peers")["peers"]
    return {row["node"]: row["rtt_ms"] for row in rows if row["rtt_ms"] is not None}


def wait_rtts(scene: Scene, node: int, at_least_ms: float) -> None:
    """Heartbeats are smoothed and come once in a while."""
    wait_until(
        lambda: min(rtts_ms(scene, node).values(), default=0.0) >= at_least_ms,
        lambda: f"a round trip takes {at_least_ms} ms: {rtts_ms(scene, node)}",
    )


def test_a_message_over_links_of_30_ms_takes_30_ms_each_way() -> None:
    with open_scene(replace(QUICK, links=parse_links("30ms"))) as scene:
        wait_rtts(scene, 0, 55)

        assert max(rtts_ms(scene, 0).values()) < 90
        assert (scene.network["links"], scene.network["validators"]) == ("30ms", 4)
        assert scene.network["delayed_by"] in ("relays", "netem")


@pytest.mark.slow
def test_links_of_one_node_are_slow_until_they_are_healed() -> None:
    with open_scene(replace(QUICK, may_change_links=True)) as scene:
        wait_until(lambda: len(rtts_ms(scene, 3)) == 3, "heartbeats are answered")

        do(scene, "slow 3 100ms")
        wait_rtts(scene, 3, 100)
        do(scene, "heal")

        wait_until(lambda: max(rtts_ms(scene, 3).values()) < 90, "the links are quick again")


@pytest.mark.parametrize("where", [None, NAMESPACES])
def test_a_partition_stops_commits_and_healing_brings_them_back(where: str | None) -> None:
    if where == NAMESPACES:
        with hosts_or_skip(1):
            pass  # They can be made here.
    with open_scene(replace(QUICK, may_change_links=True, where=where)) as scene:
        do(scene, "partition 0,1")
        stood = heights(scene)
        wait_until(lambda: _stands(scene), "two of four decide nothing", timeout_s=20)
        assert min(heights(scene)) >= min(stood) > 0

        do(scene, "heal")

        wait_height(scene.members, max(heights(scene)) + 2)


def _stands(scene: Scene) -> bool:
    """Whether nothing was decided for two idle blocks and more."""
    before = heights(scene)
    time.sleep(4 * IDLE_BLOCK_MS / 1_000)
    return heights(scene) == before


async def test_faults_happen_in_order_and_commits_resume_after_the_death_of_the_primary() -> None:
    with open_scene(QUICK) as scene:
        schedule = tuple(
            parse_fault_words(one)
            for one in ("0.2 kill primary", "4 restart same", "4.2 stop 2", "4.4 continue same")
        )
        first, events, start_s = primary_of(scene), list[Event](), time.monotonic()

        async with sampling(scene.urls, every_s=0.2) as samples:
            await keep_to_schedule(scene, schedule, start_s, events)
            await asyncio.to_thread(wait_height, scene.members, max(heights(scene)) + 2)

        assert [event.do for event in events] == ["kill", "restart", "stop", "continue"]
        assert [event.nodes for event in events] == [(first,), (first,), (2,), (2,)]
        assert [event.failed for event in events] == [None] * 4
        assert events[0].what == f"kill {scene.orgs[first]} (primary)"
        assert all(event.at_s - start_s >= 0.2 for event in events)
        rows = node_rows(scene.orgs, samples, start_s, time.monotonic())
        assert all(row["cpu_s"] > 0 and row["bytes_sent"] > 0 for row in rows)
        assert all(row["rss_mb_max"] > 10 and row["lag_p99_ms"] > 0 for row in rows)
        assert max(row["view_changes"] for row in rows) >= 1, "a view was left for the dead primary"


def test_a_primary_that_equivocates_from_now_on_is_named_by_the_others() -> None:
    with open_scene(replace(QUICK, may_lie=True)) as scene:
        liar = do(scene, "equivocate primary").nodes[0]

        wait_until(lambda: _accused(scene) == {liar}, "the others name the liar and nobody else")
        wait_until(lambda: _complained(scene, liar), "it is left for that, without a timer")
        wait_height(scene.members, max(heights(scene)) + 2)


def _complained(scene: Scene, liar: int) -> bool:
    """Whether every other node has left a view because its primary was proven to lie."""
    told = [
        get_json(url, "/v1/consensus")["view_changes"]
        for index, url in enumerate(scene.urls)
        if index != liar
    ]
    reasons = ("complaint.equivocating", "joined", "followed")
    return all(any(one.get(reason) for reason in reasons) for one in told) and any(
        one.get("complaint.equivocating") for one in told
    )


def _accused(scene: Scene) -> set[int]:
    rows = [row for url in scene.urls for row in get_json(url, "/v1/peers")["peers"]]
    return {row["node"] for row in rows if row["evidence_here"]}


def test_a_network_of_four_with_one_dead_decides_and_is_gone_afterwards() -> None:
    with open_scene(replace(QUICK, dead=1)) as scene:
        wait_height([scene.members[index] for index in scene.live], 3)

        assert [running_pid(member) is not None for member in scene.members] == [True] * 3 + [False]
        assert scene.directory is not None

    assert not scene.directory.exists()
    assert [running_pid(member) for member in scene.members] == [None] * 4


def test_a_fault_that_cannot_be_done_says_why_and_breaks_nothing() -> None:
    with open_scene(replace(QUICK, validators=1)) as scene:
        do(scene, "kill 0")

        event = do_fault(scene, Fault(at_s=0.0, do="stop", node=0), None)

        assert event.failed == "hospital-a does not run"
        with pytest.raises(SceneError, match="who the primary is"):
            primary_of(scene)


def test_faults_of_a_network_on_several_machines_are_the_commands_of_its_file(
    tmp_path: Path,
) -> None:
    with open_scene(replace(QUICK, validators=1)) as scene:
        mark = tmp_path / "stopped"
        text = f"""
home = "{scene.home}"
passphrase_file = "{scene.passphrase_file}"
[[nodes]]
name = "hospital-a"
url = "{scene.urls[0]}"
commands = {{ stop = "touch {mark}", kill = "false" }}
"""
        (tmp_path / "network.toml").write_text(text, encoding="utf-8")
        remote = load_network(tmp_path / "network.toml")

        done = do_fault(remote, Fault(at_s=0.0, do="stop", node="primary"), None)
        failed = do_fault(remote, Fault(at_s=0.0, do="kill", node="primary"), None)

        assert done.failed is None
        assert mark.exists()
        assert failed.failed == "`false` says: 1"


def test_where_namespaces_cannot_be_a_wish_for_them_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(NoNamespaces), open_scene(replace(QUICK, where=NAMESPACES)):
        pass
