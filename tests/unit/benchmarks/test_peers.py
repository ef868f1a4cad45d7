"""Other systems beside ours: what their drivers print becomes rows; what is missing is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.errors import PeerFailed, PeerMissing
from benchmarks.peers import installing
from benchmarks.peers.running import GANACHE, PEERS, Places, begin_peers, peer_row, run_peers
from benchmarks.peers.running import our_rows as rows_of_ours
from benchmarks.report.peers import peers_table

PRINTED = {
    "clients": 16,
    "patients": 2,
    "seconds": 2.0,
    "tps": 6.0,
    "committed": {"register": 4, "grant": 8},
    "refused": 1,
    "p50_ms": 1.0,
    "p95_ms": 2.0,
    "p99_ms": 3.0,
    "max_ms": 4.0,
}


def test_what_a_driver_prints_becomes_a_row_that_says_how_unlike_it_is() -> None:
    row = peer_row(GANACHE, 2, json.dumps(PRINTED))

    assert (row["system"], row["repetition"], row["tps"]) == ("Ganache", 2, 6.0)
    assert (row["committed"], row["failed"]) == (12, 1)
    assert "not like for like" in row["note"]


@pytest.mark.parametrize("printed", ["", "[]", "{}", json.dumps({**PRINTED, "committed": 3})])
def test_a_driver_that_prints_no_figures_has_failed(printed: str) -> None:
    with pytest.raises(PeerFailed, match="no figures"):
        peer_row(GANACHE, 0, printed)


def test_of_our_own_runs_those_that_were_saturated_stand_beside() -> None:
    saturated: dict[str, Any] = {
        "offered_tps": None,
        "repetition": 0,
        "committed": 900,
        "refused": {"a": 1},
        "not_taken": {"b": 2},
        "lost": 3,
        "tps": 100.0,
        "seconds": 9.0,
    }
    results = {
        "network": {"validators": 4},
        "workload": {"window": 2_000},
        "runs": [saturated, {**saturated, "offered_tps": 50.0}],
    }

    (row,) = rows_of_ours(results)

    assert (row["system"], row["clients"], row["failed"]) == ("medledger, 4 nodes", 2_000, 6)


def test_a_machine_without_node_and_etcd_has_every_peer_named_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    results = begin_peers()

    run_peers(results, Places(packages=tmp_path / "packages"), 1, lambda _: None)

    assert [one["system"] for one in results["missing"]] == [one.name for one in PEERS]
    assert "apt install nodejs npm" in results["missing"][0]["why"]
    assert "apt install etcd-server" in results["missing"][2]["why"]
    assert results["runs"] == []


def test_the_table_has_a_row_for_each_system_and_for_each_that_is_missing() -> None:
    results = {
        "runs": [peer_row(GANACHE, number, json.dumps(PRINTED)) for number in range(2)],
        "missing": [{"system": "etcd", "why": "etcd is needed"}],
    }

    table = peers_table([results])

    assert [(row[0], row[3], row[-1]) for row in table.rows] == [
        ("Ganache", "2", GANACHE.note),
        ("etcd", "-", "etcd is needed"),
    ]
    assert {len(row) for row in table.rows} == {len(table.columns)}


def test_packages_have_exact_versions_and_a_directory_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    told = json.loads((installing.HERE / "package.json").read_text())

    directory = installing.default_directory()

    assert directory.parent == tmp_path / "medledger"
    assert all(version[0].isdigit() for version in told["dependencies"].values())
    assert not (installing.HERE / "package-lock.json").exists()


def test_what_npm_says_last_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("node", "npm"):
        (programs / name).write_text("#!/bin/sh\necho 'no registry' >&2\nexit 1\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/bin:/usr/bin")

    with pytest.raises(PeerMissing, match="no registry"):
        installing.install(tmp_path / "packages")

    assert not (tmp_path / "packages" / installing.DONE).exists()
