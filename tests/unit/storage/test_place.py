"""A node directory and its copies: which of them is the one that last ran."""

import shutil
import subprocess
from pathlib import Path

import pytest

from storage.layout import NodeLayout, make_layout
from storage.place import find_move, keep_place

BEFORE, LAST = b"the one before..", b"the last start.."
KNOWN = (BEFORE, LAST)


def is_copy(found: str | None) -> bool:
    return found is not None and found.startswith("this directory was copied or restored: its inod")


@pytest.fixture
def layout(tmp_path: Path) -> NodeLayout:
    """A directory that was started twice."""
    layout = make_layout(tmp_path / "node")
    (layout.journal / "votes-0000000000000000.log").write_bytes(b"votes")
    keep_place(layout, BEFORE)
    keep_place(layout, LAST)
    return layout


def test_a_directory_that_stayed_where_it_was_is_no_copy(layout: NodeLayout) -> None:
    assert find_move(layout, KNOWN) is None


def test_a_rename_within_the_file_system_is_no_copy(layout: NodeLayout) -> None:
    elsewhere = layout.root.rename(layout.root.with_name("renamed"))

    assert find_move(NodeLayout(elsewhere), KNOWN) is None


def test_changes_of_owner_mode_and_time_are_no_copy(layout: NodeLayout) -> None:
    """Containers do so at each start."""
    for path in (layout.root, layout.journal, layout.place):
        path.chmod(0o700)
        shutil.chown(path, user=path.owner())
        path.touch()

    assert find_move(layout, KNOWN) is None


def copy_by_cp(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", source, target], check=True)


def copy_by_tar(source: Path, target: Path) -> None:
    archive = shutil.make_archive(str(source), "tar", source)
    shutil.unpack_archive(archive, target)


def copy_by_python(source: Path, target: Path) -> None:
    shutil.copytree(source, target, symlinks=True)


def put_back(source: Path, target: Path) -> None:
    """The directory is deleted and comes back from a backup under its own name."""
    copy_by_cp(source, target)
    shutil.rmtree(source)
    copy_by_cp(target, source)
    shutil.rmtree(target)
    target.symlink_to(source)


@pytest.mark.parametrize("copy", [copy_by_cp, copy_by_tar, copy_by_python, put_back])
def test_a_copy_is_found_out_however_it_was_made(layout: NodeLayout, copy: object) -> None:
    target = layout.root.with_name("copy")
    assert callable(copy)
    copy(layout.root, target)

    assert is_copy(find_move(NodeLayout(target), KNOWN))


def test_files_put_back_over_the_directory_in_place_are_found_out(layout: NodeLayout) -> None:
    backup = layout.root.with_name("backup")
    shutil.copytree(layout.root, backup)
    keep_place(layout, b"a later start...")
    layout.place.unlink()

    shutil.copytree(backup, layout.root, dirs_exist_ok=True)

    assert is_copy(find_move(layout, KNOWN))


def test_a_journal_put_back_alone_does_not_know_the_place(layout: NodeLayout) -> None:
    keep_place(layout, b"a later start...")

    found = find_move(layout, KNOWN)

    assert found == "this directory was restored in part: journal and `place` differ"


def test_a_start_that_ended_before_it_kept_its_place_leaves_no_trace(layout: NodeLayout) -> None:
    assert find_move(layout, (*KNOWN, b"an ended start..")) is None


def test_a_missing_and_a_damaged_place_are_told(layout: NodeLayout) -> None:
    encoded = layout.place.read_bytes()
    layout.place.write_bytes(encoded[:-1])
    damaged = find_move(layout, KNOWN)
    layout.place.unlink()

    missing = find_move(layout, KNOWN)

    assert damaged == "this directory was copied or restored: its file `place` is damaged"
    assert missing == "this directory was copied or restored: its file `place` is missing"


def test_another_machine_is_told_and_one_without_an_id_is_not(
    layout: NodeLayout, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.write_text("0123456789abcdef0123456789abcdef\n")
    there.write_text("fedcba9876543210fedcba9876543210\n")
    keep_place(layout, LAST, machine_id=here)

    at_home = find_move(layout, KNOWN, machine_id=here)
    abroad = find_move(layout, KNOWN, machine_id=there)
    unknown = find_move(layout, KNOWN, machine_id=tmp_path / "absent")

    assert at_home is None
    assert abroad == "this directory was moved: it last ran on another machine"
    assert unknown is None


def test_a_file_written_over_in_place_with_an_older_one_is_found_by_its_boot_id(
    layout: NodeLayout,
) -> None:
    older = layout.place.read_bytes()
    keep_place(layout, b"a later start...")

    layout.place.write_bytes(older)

    assert is_copy(find_move(layout, KNOWN))
