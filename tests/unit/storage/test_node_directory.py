"""One process per node directory, and nobody else may look inside."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import DiskFailed, LayoutInvalid, LeaseTaken
from storage.layout import NodeLayout, check_layout, make_layout
from storage.lease import release_lease, take_lease

HOLD_LEASE = """
import sys
from pathlib import Path
from storage.lease import take_lease
lease = take_lease(Path(sys.argv[1]))
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def layout(tmp_path: Path) -> NodeLayout:
    """A whole node directory."""
    made = make_layout(tmp_path / "hospital" / "node")
    made.config.write_text("node_index = 0\n")
    made.genesis.write_text("{}")
    return made


def test_a_second_process_is_told_who_runs(layout: NodeLayout) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LEASE, str(layout.lease)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "taken\n"

        with pytest.raises(LeaseTaken) as caught:
            take_lease(layout.lease)
        holder.kill()

    assert f"process {holder.pid} " in str(caught.value)
    assert str(layout.root) in str(caught.value)


def test_a_killed_process_leaves_no_lease_behind(layout: NodeLayout) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LEASE, str(layout.lease)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()

    lease = take_lease(layout.lease)

    assert layout.lease.read_text() == f"{os.getpid()}\n"
    release_lease(lease)


def test_a_released_lease_may_be_taken_again(layout: NodeLayout) -> None:
    release_lease(take_lease(layout.lease))

    release_lease(take_lease(layout.lease))


def test_a_lease_in_no_directory_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(DiskFailed, match="nowhere"):
        take_lease(tmp_path / "nowhere" / "lease")


def test_a_made_directory_passes_the_check(layout: NodeLayout) -> None:
    assert check_layout(layout.root) == layout
    assert {path.stat().st_mode & 0o777 for path in (layout.root, *layout.directories)} == {0o700}


def test_making_a_directory_again_closes_what_was_opened(layout: NodeLayout) -> None:
    layout.keys.chmod(0o755)

    make_layout(layout.root)

    assert check_layout(layout.root) == layout


def test_an_open_directory_is_refused_with_its_cure(layout: NodeLayout) -> None:
    layout.keys.chmod(0o750)

    with pytest.raises(LayoutInvalid, match=f"chmod 700 {layout.keys}"):
        check_layout(layout.root)


def test_a_directory_of_another_user_is_refused(
    layout: NodeLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: layout.root.stat().st_uid + 1)

    with pytest.raises(LayoutInvalid, match="chown"):
        check_layout(layout.root)


@pytest.mark.parametrize("part", ["node.toml", "genesis.json"])
def test_a_missing_file_is_named(layout: NodeLayout, part: str) -> None:
    (layout.root / part).unlink()

    with pytest.raises(LayoutInvalid, match=part):
        check_layout(layout.root)


def test_a_missing_directory_is_named(layout: NodeLayout) -> None:
    layout.journal.rmdir()

    with pytest.raises(LayoutInvalid, match="journal"):
        check_layout(layout.root)


def test_a_ledger_that_was_moved_aside_is_made_anew_where_a_node_has_run(
    layout: NodeLayout,
) -> None:
    layout.ledger.rename(layout.root / "ledger.damaged")
    with pytest.raises(LayoutInvalid, match="ledger"):
        check_layout(layout.root)
    layout.place.touch()

    check_layout(layout.root)

    assert list(layout.ledger.iterdir()) == []
    assert layout.ledger.stat().st_mode & 0o777 == 0o700


def test_no_node_directory_is_said_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(LayoutInvalid, match="medledger init"):
        check_layout(tmp_path / "none")
