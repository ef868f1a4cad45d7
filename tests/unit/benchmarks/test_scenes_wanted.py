"""Which local networks can be asked for, and what a file may say about one that runs."""

from pathlib import Path

import pytest

from benchmarks.errors import InvalidScene
from benchmarks.scene.faults import parse_fault_words
from benchmarks.scene.local import found_devnet
from benchmarks.scene.places import Wanted, check_wanted
from benchmarks.scene.remote import check_commands, load_network

NODES = """
[[nodes]]
name = "hospital-a"
url = "http://10.0.0.1:8443/"
commands = { kill = "true", heal = "true" }

[[nodes]]
name = "hospital-b"
url = "https://ledger.st-mary.example"
commands = { kill = "true" }
"""
FILES = 'home = "net/home"\npassphrase_file = "net/passphrase"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found_devnet(tmp_path / "net", 2)
    return tmp_path


def network_file(folder: Path, text: str) -> Path:
    path = folder / "network.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (Wanted(validators=0), "1 to 16"),
        (Wanted(validators=17), "1 to 16"),
        (Wanted(validators=4, dead=2), "at most 1"),
        (Wanted(validators=3, dead=1), "at most 0"),
        (Wanted(where="the moon"), "use loopback or namespaces"),
    ],
)
def test_a_network_that_cannot_be_is_refused(wanted: Wanted, why: str) -> None:
    with pytest.raises(InvalidScene, match=why):
        check_wanted(wanted)


@pytest.mark.parametrize(("validators", "dead"), [(1, 0), (4, 1), (7, 2), (16, 5)])
def test_a_network_within_f_is_taken(validators: int, dead: int) -> None:
    check_wanted(Wanted(validators=validators, dead=dead))


def test_a_network_on_several_machines_is_what_its_file_says(folder: Path) -> None:
    path = network_file(folder, FILES + 'links = "12 ms apart"\n' + NODES)

    scene = load_network(path)

    assert scene.orgs == ("hospital-a", "hospital-b")
    assert scene.urls == ("http://10.0.0.1:8443", "https://ledger.st-mary.example")
    assert scene.home == folder / "net" / "home"
    assert scene.chain_id.hex() == (folder / "net" / "chain-id").read_text().strip()
    assert (scene.network["where"], scene.network["links"]) == ("remote", "12 ms apart")


def test_a_fault_on_other_machines_wants_a_command(folder: Path) -> None:
    scene = load_network(network_file(folder, FILES + NODES))

    check_commands(scene, (parse_fault_words("1 kill primary"),))
    with pytest.raises(InvalidScene, match=r"no command `heal` for hospital-b"):
        check_commands(scene, (parse_fault_words("1 heal"),))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("home = ", "not valid TOML"),
        (FILES, "1 to 64 nodes"),
        (NODES, "home is missing"),
        ('home = "net"\npassphrase_file = "net/passphrase"\n' + NODES, "no genesis.json"),
        ('home = "nowhere"\n' + NODES, "there is nothing at"),
        (FILES + NODES.replace("hospital-b", "hospital-a"), "two nodes have one name"),
        (FILES + NODES.replace("http://", ""), "address of the node's API"),
        (FILES + NODES.replace("kill", "explode"), "unknown key explode"),
        (FILES + NODES.replace('"true"', '" "'), "give the words to run"),
        ("colour = 1\n" + FILES + NODES, "unknown key colour"),
        (FILES + "links = 12\n" + NODES, "say in words"),
    ],
)
def test_a_file_that_says_something_else_is_refused(folder: Path, text: str, why: str) -> None:
    with pytest.raises(InvalidScene, match=why):
        load_network(network_file(folder, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidScene, match=r"cannot read .*network\.toml"):
        load_network(tmp_path / "network.toml")
