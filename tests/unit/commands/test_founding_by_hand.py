"""`init` from the invitation to the node directory, and what may go wrong on the way."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.scene.local import free_ports
from commands.output import Exit
from config import load_config
from genesis.document import chain_id_of
from genesis.files import load_genesis
from storage.layout import check_layout
from tests.unit.commands.command_line import Ended, check_refused, check_refused_in_json, invoke

PASSPHRASE = "nine words that nobody guesses"
HOSPITALS = ("north", "south")


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    file = tmp_path / "passphrase"
    file.write_text(PASSPHRASE + "\n", encoding="utf-8")
    return file


@pytest.fixture
def invitation(tmp_path: Path) -> Path:
    file = tmp_path / "invitation.json"
    done("init", "invite", "--name", "Two hospitals", "--out", file)
    return file


State = Callable[..., Ended]


@pytest.fixture
def state(tmp_path: Path, invitation: Path, passphrase: Path) -> State:
    """What makes a hospital's statement; any of its words may be others."""

    def run(org: str, /, **changes: object) -> Ended:
        words = {
            "invitation": invitation,
            "org": org,
            "name": f"Hospital {org}",
            "index": HOSPITALS.index(org) if org in HOSPITALS else 7,
            "p2p": "127.0.0.1:7400",
            "passphrase-file": passphrase,
            **changes,
        }
        options = [part for name, value in words.items() for part in (f"--{name}", value)]
        return invoke("--json", "init", "statement", tmp_path / org, *options)

    return run


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where two hospitals have stated and the convener has assembled."""
    folder = tmp_path_factory.mktemp("founding")
    (folder / "passphrase").write_text(PASSPHRASE + "\n", encoding="utf-8")
    invitation = folder / "invitation.json"
    done("init", "invite", "--name", "Two hospitals", "--out", invitation)
    statements = []
    for index, (org, port) in enumerate(zip(HOSPITALS, free_ports(2), strict=True)):
        words = ("--org", org, "--name", f"Hospital {org}", "--index", index)
        where = ("--p2p", f"127.0.0.1:{port}", "--passphrase-file", folder / "passphrase")
        told = done(
            "--json", "init", "statement", folder / org, "--invitation", invitation, *words, *where
        )
        statements.append(told.json["file"])
    out = ("--invitation", invitation, "--out", folder / "genesis.json")
    done("init", "assemble", *statements, *out)
    done("init", "assemble", *reversed(statements), *out[:3], folder / "again.json")
    return folder


def done(*words: object) -> Ended:
    ended = invoke(*words)
    assert (ended.status, ended.err) == (Exit.OK, ""), ended
    return ended


def test_the_order_of_the_statements_does_not_matter(founded: Path) -> None:
    assert (founded / "genesis.json").read_bytes() == (founded / "again.json").read_bytes()


@pytest.mark.parametrize("index", [0, 1])
def test_two_hospitals_found_a_consortium(founded: Path, tmp_path: Path, index: int) -> None:
    org = HOSPITALS[index]
    directory = Path(shutil.copytree(founded / org, tmp_path / org))
    words = ("--genesis", founded / "genesis.json", "--passphrase-file", founded / "passphrase")

    made = done("--json", "init", "node", directory, *words, "--api", "127.0.0.1:8443").json

    layout = check_layout(directory)
    config = load_config(layout.config)
    document = load_genesis(layout.genesis)
    assert made["node_index"] == config.node_index == index
    assert made["chain_id"] == chain_id_of(document).hex()
    assert (directory / "home" / "genesis.json").read_bytes() == layout.genesis.read_bytes()
    kept = done(
        "--json", "keys", "list", "--home", directory / "home",
        "--passphrase-file", founded / "passphrase",
    ).json  # fmt: skip
    assert [one["label"] for one in kept] == [f"admin-{org}", f"agent-{org}"]
    again = invoke("init", "node", directory, *words)
    check_refused(again, Exit.LOCAL, "journal.exists")


def test_a_node_directory_is_made_of_the_hospitals_own_keys(founded: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    words = ("--genesis", founded / "genesis.json", "--passphrase-file", founded / "passphrase")

    missing = invoke("init", "node", tmp_path / "empty", *words)

    check_refused(missing, Exit.LOCAL, "os.enoent")


def test_a_document_of_other_founders_is_refused(
    founded: Path, tmp_path: Path, state: State, passphrase: Path
) -> None:
    stranger = state("west")
    assert stranger.status == Exit.OK, stranger

    ended = invoke(
        "init", "node", tmp_path / "west", "--genesis", founded / "genesis.json",
        "--passphrase-file", passphrase,
    )  # fmt: skip

    check_refused(ended, Exit.LOCAL, "genesis.conflict")
    assert not (tmp_path / "west" / "node.toml").exists()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"org": "St Mary"}, "usage.value"),
        ({"org": ""}, "usage.value"),
        ({"p2p": "nowhere"}, "usage.value"),
        ({"p2p": ":1"}, "usage.value"),
        ({"p2p": "host:0"}, "usage.value"),
        ({"p2p": "host:65536"}, "usage.value"),
        ({"index": "-1"}, "usage.invalid"),
        ({"index": "65536"}, "usage.invalid"),
        ({"name": ""}, "encoding.unencodable"),
        ({"name": "x" * 10_000}, "encoding.unencodable"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_statement_leaves_no_keys_behind(
    tmp_path: Path, state: State, changes: dict[str, object], code: str
) -> None:
    ended = state("north", **changes)

    check_refused_in_json(ended, Exit.USAGE, code)
    assert not list(tmp_path.glob("*/keys/*")), "it can be stated again"


def test_a_second_statement_would_need_other_keys(state: State) -> None:
    assert state("north").status == Exit.OK

    check_refused_in_json(state("north"), Exit.LOCAL, "genesis.conflict")


@pytest.mark.parametrize("file", ["invitation.json", "genesis.json", "north/north.statement.json"])
@pytest.mark.parametrize("content", [b"", b"junk", b"{}", b"\xff\xfe"])
def test_files_that_are_not_what_they_say_are_named(
    founded: Path, tmp_path: Path, file: str, content: bytes
) -> None:
    work = Path(shutil.copytree(founded, tmp_path / "work"))
    (work / file).write_bytes(content)

    if file == "genesis.json":
        words: tuple[object, ...] = ("node", work / "north", "--genesis", work / file)
        words += ("--passphrase-file", work / "passphrase")
    else:
        statements = [work / org / f"{org}.statement.json" for org in HOSPITALS]
        words = ("assemble", *statements, "--invitation", work / "invitation.json")
        words += ("--out", work / "out.json")
    ended = invoke("init", *words)

    check_refused(ended, Exit.LOCAL, "genesis.damaged")
    assert Path(file).name in ended.err
    assert not (work / "out.json").exists()


def test_a_statement_for_another_invitation_is_refused(founded: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    done("init", "invite", "--name", "Others", "--out", other)
    statements = [founded / org / f"{org}.statement.json" for org in HOSPITALS]

    ended = invoke(
        "init", "assemble", *statements, "--invitation", other, "--out", tmp_path / "g.json"
    )

    check_refused(ended, Exit.LOCAL, "genesis.invitation")


def test_a_hospital_founds_once(founded: Path, tmp_path: Path, state: State) -> None:
    invitation = founded / "invitation.json"
    again = state("north", invitation=invitation)
    first = founded / "north" / "north.statement.json"
    words = ("--invitation", invitation, "--out", tmp_path / "g.json")

    ended = invoke("init", "assemble", first, again.json["file"], *words)

    check_refused(ended, Exit.LOCAL, "genesis.conflict")


def test_a_forged_statement_is_refused(founded: Path, tmp_path: Path) -> None:
    text = (founded / "north" / "north.statement.json").read_text(encoding="utf-8")
    forged = tmp_path / "forged.json"
    forged.write_text(re.sub("Hospital north", "Hospital norte", text), encoding="utf-8")
    other = founded / "south" / "south.statement.json"
    words = ("--invitation", founded / "invitation.json", "--out", tmp_path / "g.json")

    ended = invoke("init", "assemble", forged, other, *words)

    assert ended.status == Exit.LOCAL
    assert re.search(r"\[genesis\.(signature|damaged)\]$", ended.err.strip()), ended.err


@pytest.mark.parametrize("words", [("--api", "nowhere"), ("--listen", "x"), ("--api", "0.0.0.0:1")])
def test_addresses_that_cannot_be_leave_no_node(
    founded: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    directory = Path(shutil.copytree(founded / "north", tmp_path / "north"))

    ended = invoke(
        "init", "node", directory, "--genesis", founded / "genesis.json",
        "--passphrase-file", founded / "passphrase", *words,
    )  # fmt: skip

    assert ended.status == Exit.USAGE, ended
    assert len(ended.err.splitlines()) == 1
    assert not (directory / "node.toml").exists()


@pytest.mark.parametrize("name", ["", "   "])
def test_a_consortium_has_a_name(tmp_path: Path, name: str) -> None:
    ended = invoke("init", "invite", "--name", name, "--out", tmp_path / "i.json")

    check_refused(ended, Exit.USAGE, "usage.value")
    assert not (tmp_path / "i.json").exists()


def test_a_weak_passphrase_guards_no_keys(tmp_path: Path, state: State) -> None:
    weak = tmp_path / "weak"
    weak.write_text("1234\n", encoding="utf-8")

    ended = state("north", **{"passphrase-file": weak})

    check_refused_in_json(ended, Exit.LOCAL, "keystore.weak_passphrase")
    assert json.loads(ended.out)["detail"]
