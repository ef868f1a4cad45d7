"""User commands against a running API: the life of a record, and what a user may get wrong."""

import shutil
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typing_extensions import override

from commands.output import Exit
from genesis.ceremony import assemble
from genesis.files import dump_genesis
from ledger.parameters import Parameters
from tests.unit.commands.command_line import (
    Ended,
    check_refused,
    check_refused_in_json,
    invoke,
)
from tests.unit.commands.node_at_hand import ADMIN, SOUTH_ADMIN, NodeAtHand, relock
from tests.unit.ledger.small_consortium import NORTH, SOUTH, invitation, statement

SOME_ID = "ab" * 16
SOME_DIGEST = "ab" * 32


@pytest.fixture(scope="module")
def people(node: NodeAtHand, tmp_path_factory: pytest.TempPathFactory) -> NodeAtHand:
    """The node with a doctor of each hospital and a patient of the north."""
    folder = tmp_path_factory.mktemp("enrolments")
    for label, role, org, admin, more in (
        ("dr-ada", "doctor", "north", ADMIN, ()),
        ("dr-bob", "doctor", "south", SOUTH_ADMIN, ()),
        ("anna", "patient", "north", ADMIN, ("--writer", "dr-ada")),
    ):
        file = folder / f"{label}.enrolment"
        words = ("person", "enrol", label, "--org", org, "--role", role, "--out", file)
        done(node.invoke(*words, *more, by=admin))
        done(node.invoke("person", "register", file, by=admin))
    relock(node.home)
    return node


def done(ended: Ended) -> Ended:
    assert (ended.status, ended.err) == (Exit.OK, ""), ended
    return ended


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    file = tmp_path / "scan.dcm"
    file.write_bytes(b"DICM" * 1_000)
    return file


def test_the_life_of_a_record(people: NodeAtHand, scan: Path, tmp_path: Path) -> None:
    put = done(
        people.invoke(
            "--json",
            "record",
            "put",
            scan,
            "--patient",
            "anna",
            "--category",
            "imaging",
            by="dr-ada",
        )
    ).json
    grant = done(people.invoke("--json", "access", "grant", "--to", "dr-bob", by="anna")).json
    rights = done(people.invoke("--json", "access", "list", by="anna")).json
    seen = done(people.invoke("record", "list", "--patient", "anna", by="dr-bob"))
    done(people.invoke("record", "get", put["record"], "-o", tmp_path / "got", by="dr-bob"))
    why = done(
        people.invoke("access", "explain", put["record"], "--requester", "dr-bob", by="anna")
    )
    ended = done(people.invoke("--json", "access", "revoke", grant["grant"], by="anna")).json
    again = people.invoke("record", "get", put["record"], "-o", tmp_path / "again", by="dr-bob")
    log = done(people.invoke("access", "log", by="anna"))

    assert put["safe"] is True
    assert [one["id"] for one in rights] == [grant["grant"]]
    assert put["record"] in seen.out, "an id can be copied"
    assert (tmp_path / "got").read_bytes() == scan.read_bytes()
    assert why.out.startswith("permitted\n")
    assert [one["record"] for one in ended["opened_before"]] == [put["record"]]
    check_refused(again, Exit.REFUSED, "access.denied")
    assert not (tmp_path / "again").exists()
    assert "wrote record" in log.out


def test_a_request_is_asked_for_narrowed_and_denied(people: NodeAtHand) -> None:
    words = ("--json", "access", "request", "--patient", "anna", "--until", "7d")
    first = done(people.invoke(*words, by="dr-bob")).json
    second = done(people.invoke(*words, by="dr-bob")).json
    granted = done(
        people.invoke("--json", "access", "approve", first["request"], "--until", "1d", by="anna")
    ).json
    done(people.invoke("access", "deny", second["request"], by="anna"))
    rows = done(people.invoke("--json", "access", "list", by="anna")).json

    assert [one["kind"] for one in rows if one["id"] == granted["grant"]] == ["grant"]
    assert second["request"] not in {one["id"] for one in rows}
    done(people.invoke("access", "revoke", granted["grant"], by="anna"))


def test_people_are_shown_remembered_suspended_and_restored(people: NodeAtHand) -> None:
    shown = done(people.invoke("--json", "person", "show", "dr-bob", by="anna")).json
    done(people.invoke("person", "remember", "bob", shown["account"]))
    done(people.invoke("person", "suspend", "bob", "--reason", "left", by=SOUTH_ADMIN))
    suspended = done(people.invoke("--json", "person", "show", "bob", by="anna")).json
    refused = people.invoke("record", "list", "--patient", "anna", by="dr-bob")
    done(people.invoke("person", "restore", "bob", by=SOUTH_ADMIN))

    assert (shown["role"], shown["organisation"]) == ("doctor", "south")
    assert (shown["status"], suspended["status"]) == ("active", "suspended")
    check_refused(refused, Exit.REFUSED, "session.account")


def test_a_new_device_gets_its_wallet_with_the_first_enrolment(
    node: NodeAtHand, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in ("genesis.json", "nodes", "passphrase"):
        shutil.copy(node.home / name, home)
    file = tmp_path / "carl.enrolment"

    words = ("person", "enrol", "carl", "--org", "north", "--role", "patient", "--out", file)
    made = done(invoke("--json", *words, "--home", home)).json
    kept = done(invoke("--json", "keys", "list", "--home", home)).json
    registered = done(node.invoke("--json", "person", "register", file, by=ADMIN)).json

    assert [one["label"] for one in kept] == ["carl"]
    assert made["account"] == kept[0]["account"] == registered["account"]
    assert Path(made["file"]) == file


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (("person", "show", "nobody"), Exit.LOCAL, "wallet.unknown_label"),
        (("person", "show", "5f0c"), Exit.LOCAL, "wallet.unknown_label"),
        (("person", "show", SOME_DIGEST), Exit.REFUSED, "account.unknown"),
        (("person", "remember", "anna", "dr-bob"), Exit.LOCAL, "wallet.label_taken"),
        (
            (
                "person",
                "enrol",
                "anna",
                "--org",
                "north",
                "--role",
                "patient",
                "--out",
                "/dev/null",
            ),
            Exit.LOCAL,
            "wallet.label_taken",
        ),
        (
            ("person", "enrol", "x", "--org", "BAD", "--role", "patient", "--out", "/dev/null"),
            Exit.REFUSED,
            "organisation.unknown",
        ),
        (
            ("person", "enrol", "../x", "--org", "north", "--role", "patient"),
            Exit.USAGE,
            "enrolment.path",
        ),
        (
            ("person", "enrol", "x", "--org", "north", "--role", "patient", "--out", "/no/where"),
            Exit.USAGE,
            "enrolment.path",
        ),
        (("keys", "rotate", "--no-sign", "--no-seal"), Exit.USAGE, "keys.nothing"),
        (("keys", "new", "anna"), Exit.LOCAL, "wallet.label_taken"),
        (("keys", "new", " "), Exit.LOCAL, "wallet.label"),
        (("record", "get", "zz"), Exit.USAGE, "record.id"),
        (("record", "get", SOME_DIGEST), Exit.USAGE, "record.id"),
        (("record", "get", SOME_ID), Exit.REFUSED, "record.unknown"),
        (("record", "get", SOME_ID, "-o", "/no/where/x"), Exit.USAGE, "record.out"),
        (("record", "get", SOME_ID, "--version", "zz"), Exit.USAGE, "record.id"),
        (("record", "versions", "zz"), Exit.USAGE, "record.id"),
        (("record", "list", "--patient", "nobody"), Exit.LOCAL, "wallet.unknown_label"),
        (("access", "grant", "--to", "nobody"), Exit.LOCAL, "wallet.unknown_label"),
        (("access", "grant", "--to", "org:"), Exit.USAGE, "grantee.form"),
        (("access", "grant", "--to", "org:St Mary"), Exit.USAGE, "grantee.form"),
        (("access", "grant", "--to", "role:king@north"), Exit.USAGE, "role.unknown"),
        (("access", "grant", "--to", "role:doctor@"), Exit.USAGE, "grantee.form"),
        (("access", "grant", "--to", "org:nowhere"), Exit.REFUSED, "access.unknown_grantee"),
        (("access", "grant", "--to", "dr-bob", "--scope", "some"), Exit.USAGE, "scope.form"),
        (("access", "grant", "--to", "dr-bob", "--scope", "record:zz"), Exit.USAGE, "record.id"),
        (
            ("access", "grant", "--to", "dr-bob", "--scope", "category:x"),
            Exit.LOCAL,
            "category.unknown",
        ),
        (("access", "grant", "--to", "dr-bob", "--until", "soon"), Exit.USAGE, "time.form"),
        (("access", "grant", "--to", "dr-bob", "--from", "soon"), Exit.USAGE, "time.form"),
        (
            ("access", "grant", "--to", "dr-bob", "--from", "2d", "--until", "1d"),
            Exit.REFUSED,
            "access.terms",
        ),
        (
            ("access", "grant", "--to", "dr-bob", "--until", "1969-01-01"),
            Exit.REFUSED,
            "access.terms",
        ),
        (("access", "grant", "--to", "dr-bob", "--purpose", "!"), Exit.REFUSED, "access.terms"),
        (("access", "approve", "zz"), Exit.USAGE, "digest.form"),
        (("access", "approve", SOME_DIGEST), Exit.REFUSED, "access.unknown_request"),
        (("access", "deny", SOME_ID), Exit.USAGE, "digest.form"),
        (("access", "revoke", SOME_DIGEST), Exit.REFUSED, "access.unknown_grant"),
        (("access", "explain", SOME_ID, "--requester", "dr-bob"), Exit.REFUSED, "record.unknown"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_what_a_patient_may_get_wrong(
    people: NodeAtHand, words: tuple[str, ...], status: Exit, code: str
) -> None:
    check_refused(people.invoke(*words, by="anna"), status, code)
    check_refused_in_json(people.invoke("--json", *words, by="anna"), status, code)


def test_commands_of_people_need_somebody_who_acts(people: NodeAtHand) -> None:
    check_refused(people.invoke("access", "log"), Exit.LOCAL, "client.no_actor")
    check_refused(people.invoke("access", "log", by="nobody"), Exit.LOCAL, "wallet.unknown_label")


def test_an_admin_registers_nobody_of_another_hospital(people: NodeAtHand, tmp_path: Path) -> None:
    file = tmp_path / "x.enrolment"
    words = ("person", "enrol", "eve", "--org", "south", "--role", "nurse", "--out", file)
    done(people.invoke(*words))

    refused = people.invoke("person", "register", file, by=ADMIN)
    file.write_bytes(file.read_bytes()[:-1])
    damaged = people.invoke("person", "register", file, by=SOUTH_ADMIN)
    file.write_bytes(bytes(1 << 24))
    huge = people.invoke("person", "register", file, by=SOUTH_ADMIN)

    check_refused(refused, Exit.LOCAL, "enrolment.invalid")
    check_refused(damaged, Exit.LOCAL, "enrolment.invalid")
    check_refused(huge, Exit.LOCAL, "enrolment.invalid")


@pytest.fixture
def home(node: NodeAtHand, tmp_path: Path) -> Path:
    """A copy of the home, to be damaged."""
    return Path(shutil.copytree(node.home, tmp_path / "home"))


@pytest.mark.parametrize(
    ("name", "content", "status", "code"),
    [
        ("genesis.json", None, Exit.LOCAL, "genesis.damaged"),
        ("genesis.json", b"junk", Exit.LOCAL, "genesis.damaged"),
        ("genesis.json", b"\xff", Exit.LOCAL, "genesis.damaged"),
        ("genesis.json", b"{}", Exit.LOCAL, "genesis.damaged"),
        ("wallet.keystore", None, Exit.LOCAL, "wallet.missing"),
        ("wallet.keystore", b"junk", Exit.LOCAL, "keystore.corrupt"),
        ("wallet.keystore", b"", Exit.LOCAL, "keystore.corrupt"),
        ("nodes", None, Exit.LOCAL, "node.not_named"),
        ("nodes", b"\xff", Exit.LOCAL, "home.nodes"),
        ("nodes", b"nonsense\n", Exit.USAGE, "node.address"),
        ("nodes", b"http://a:b\n", Exit.USAGE, "node.address"),
        ("nodes", b"http://127.0.0.1:1\n", Exit.UNKNOWN, "node.unreachable"),
        ("passphrase", b"another passphrase\n", Exit.LOCAL, "keystore.passphrase"),
        ("passphrase", b"", Exit.LOCAL, "passphrase.file"),
        ("passphrase", None, Exit.USAGE, "passphrase.missing"),
        ("contacts.json", b"junk", Exit.LOCAL, "wallet.contacts"),
    ],
)
def test_a_damaged_home_is_told_by_its_file(
    home: Path, name: str, content: bytes | None, status: Exit, code: str
) -> None:
    if content is None:
        (home / name).unlink()
    else:
        (home / name).write_bytes(content)

    ended = invoke("access", "log", "--as", ADMIN, "--home", home)

    check_refused(ended, status, code)


def test_a_node_of_another_consortium_is_not_believed(home: Path) -> None:
    other = Parameters(idle_block_ms=7_000)
    hospitals = [statement(NORTH, (0, 1), other), statement(SOUTH, (2, 3), other)]
    document = assemble(invitation(other), hospitals)
    (home / "genesis.json").write_bytes(dump_genesis(document))

    ended = invoke("access", "log", "--as", ADMIN, "--home", home)

    check_refused(ended, Exit.LOCAL, "trust.wrong_chain")


@contextmanager
def answering_with(answer: bytes) -> Iterator[str]:
    """Serve on loopback, and answer every connection with the same bytes."""

    class Handler(socketserver.BaseRequestHandler):
        @override
        def handle(self) -> None:
            self.request.recv(65_536)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


ASKING = [("node", "status"), ("peers",), ("tx", "show", SOME_DIGEST)]


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "nonsense", "ftp://x", "http://a b", "http://[::", "http://", ""]
)
def test_a_node_that_does_not_answer_leaves_the_outcome_unknown(
    words: tuple[str, ...], url: str
) -> None:
    check_refused(invoke(*words, "--node", url), Exit.UNKNOWN, "node.unreachable")
    check_refused_in_json(invoke("--json", *words, "--node", url), Exit.UNKNOWN, "node.unreachable")


@pytest.mark.parametrize("words", ASKING, ids=" ".join)
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\xfd\xfc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{}",
        b"HTTP/1.1 503 Away\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_what_answers_and_is_no_node_is_told(words: tuple[str, ...], answer: bytes) -> None:
    with answering_with(answer) as url:
        ended = invoke("--json", *words, "--node", url)

    assert ended.status == Exit.UNKNOWN, ended
    assert ended.json["exit_status"] == Exit.UNKNOWN
    assert len(ended.err.splitlines()) == 1, ended.err


def test_a_transaction_is_asked_for_by_its_id(people: NodeAtHand) -> None:
    registered = done(people.invoke("--json", "person", "suspend", "dr-ada", by=ADMIN)).json
    done(people.invoke("person", "restore", "dr-ada", by=ADMIN))

    found = done(invoke("--json", "tx", "show", registered["tx_id"], "--node", people.url)).json
    unknown = invoke("tx", "show", SOME_DIGEST, "--node", people.url, "--json")

    assert (found["state"], found["tx_id"]) == ("COMMITTED", registered["tx_id"])
    check_refused_in_json(unknown, Exit.UNKNOWN, "transaction.unknown")
    assert unknown.json["tx_id"] == SOME_DIGEST, "the answer and the error are one document"


@pytest.mark.parametrize("words", [("tx", "show", "zz"), ("tx", "show", SOME_ID)], ids=" ".join)
def test_a_malformed_transaction_id_is_wrong_usage(
    node: NodeAtHand, words: tuple[str, ...]
) -> None:
    check_refused(invoke(*words, "--node", node.url), Exit.USAGE, "digest.form")


@pytest.mark.parametrize("content", [b"", b"junk", bytes(1_000)])
def test_a_file_that_is_no_transaction_is_refused(
    node: NodeAtHand, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "grant.tx"
    file.write_bytes(content)

    ended = invoke("tx", "submit", file, "--node", node.url)

    check_refused(ended, Exit.REFUSED, "transaction.malformed")


def test_a_node_shows_where_it_stands(node: NodeAtHand) -> None:
    as_json = done(invoke("--json", "node", "status", "--node", node.url)).json
    as_text = done(invoke("node", "status", "--node", node.url)).out
    peers = done(invoke("--json", "peers", "--node", node.url)).json

    assert as_json["organisation"] == "north"
    assert as_json["chain_id"] in as_text
    assert peers == []
