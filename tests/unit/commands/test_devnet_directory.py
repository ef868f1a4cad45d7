"""A test consortium on disk: founded whole, known again from anywhere, told when it is damaged."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scene.local import (
    found_devnet,
    free_ports,
    is_running,
    load_members,
    passphrase_path,
    running_pid,
    start_member,
    stop_members,
    wait_ready,
)
from commands.output import Exit
from genesis.files import load_genesis
from ledger.parameters import Parameters
from storage.layout import check_layout
from tests.unit.commands.command_line import check_refused, check_refused_in_json, invoke

# A node outlives the command that starts it: nobody waits for its process, on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")


@pytest.fixture
def devnet(tmp_path: Path) -> Path:
    directory = tmp_path / "devnet"
    found_devnet(directory, 1, parameters=Parameters(idle_block_ms=100))
    return directory


def test_a_consortium_is_founded_whole(tmp_path: Path) -> None:
    found_devnet(tmp_path / "net", 3)

    members = load_members(tmp_path / "net")
    documents = {load_genesis(check_layout(one.directory).genesis) for one in members}
    assert [one.org for one in members] == ["hospital-a", "hospital-b", "hospital-c"]
    assert len(documents) == 1
    assert len({one.url for one in members}) == 3
    assert passphrase_path(tmp_path / "net").stat().st_mode & 0o077 == 0
    addresses = (tmp_path / "net" / "home" / "nodes").read_text(encoding="utf-8").split()
    assert addresses == [one.url for one in members]


def test_its_wallet_opens_without_asking(devnet: Path) -> None:
    kept = invoke("--json", "keys", "list", "--home", devnet / "home")

    assert [one["label"] for one in kept.json] == ["admin-hospital-a", "agent-hospital-a"]


def test_a_node_is_known_again_from_another_folder(
    devnet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(devnet.parent)
    members = load_members(Path("devnet"))
    start_member(Path("devnet"), members[0])
    try:
        wait_ready(members)
        monkeypatch.chdir("/")

        up = invoke("--json", "devnet", "status", "--dir", devnet)
        again = invoke("--json", "devnet", "up", "--dir", devnet)
        down = invoke("--json", "devnet", "down", "--dir", devnet)

        assert [one["state"] for one in up.json] == ["running"]
        assert again.json[0]["pid"] == up.json[0]["pid"], "it runs already"
        assert down.json == {"stopped": 1}
        assert not is_running(up.json[0]["pid"])
    finally:
        stop_members(load_members(devnet))


def test_a_process_id_that_belongs_to_another_program_is_left_alone(devnet: Path) -> None:
    (member,) = load_members(devnet)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        member.pid_file.write_text(f"{other.pid}\n", encoding="ascii")

        stopped = stop_members([member])

        assert stopped == 0
        assert is_running(other.pid)
    finally:
        other.kill()
        other.communicate()


@pytest.mark.parametrize("content", ["", "junk", "-", str(2**22 + 1)])
def test_a_pid_file_that_says_nothing_is_a_stopped_node(devnet: Path, content: str) -> None:
    (member,) = load_members(devnet)
    member.pid_file.write_text(content, encoding="ascii")

    assert running_pid(member) is None


def test_a_node_that_cannot_start_is_named_with_its_reason(devnet: Path) -> None:
    passphrase_path(devnet).write_text("another passphrase\n", encoding="utf-8")

    ended = invoke("devnet", "up", "--dir", devnet)

    check_refused(ended, Exit.LOCAL, "devnet.ended")
    assert "keystore.passphrase" in ended.err
    assert "node.log" in ended.err


def test_another_size_is_not_taken_for_the_one_there(devnet: Path) -> None:
    check_refused(invoke("devnet", "up", "-n", "2", "--dir", devnet), Exit.USAGE, "devnet.count")


@pytest.mark.parametrize("command", ["up", "down", "status"])
def test_a_damaged_node_toml_is_named(devnet: Path, command: str) -> None:
    (member,) = load_members(devnet)
    (member.directory / "node.toml").write_text("x = 1\n", encoding="utf-8")

    ended = invoke("--json", "devnet", command, "--dir", devnet)

    check_refused_in_json(ended, Exit.LOCAL, "config.invalid")


@pytest.mark.parametrize("command", ["down", "status"])
def test_where_no_consortium_is_that_is_said(tmp_path: Path, command: str) -> None:
    ended = invoke("devnet", command, "--dir", tmp_path)

    check_refused(ended, Exit.LOCAL, "devnet.missing")


def test_free_ports_are_different_ones() -> None:
    assert len(set(free_ports(20))) == 20


def test_this_process_runs() -> None:
    assert is_running(os.getpid())
