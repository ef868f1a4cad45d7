"""A receipt file holds without any node, and not with a single byte changed."""

from pathlib import Path

import pytest

from client.connection import GENESIS_NAME
from client.errors import Untrusted
from client.receipts import verify_receipt
from commands.output import Exit
from genesis.files import load_genesis
from tests.unit.commands.command_line import check_refused, invoke
from tests.unit.commands.node_at_hand import ADMIN, SOUTH_ADMIN, NodeAtHand


@pytest.fixture(scope="module")
def file(node: NodeAtHand, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The receipt of a registration that the north's admin has sent."""
    folder = tmp_path_factory.mktemp("receipts")
    enrolment, out = folder / "dr-eve.enrolment", folder / "registered.receipt"
    words = ("person", "enrol", "dr-eve", "--org", "north", "--role", "doctor", "--out", enrolment)
    assert node.invoke(*words, by=ADMIN).status == Exit.OK
    registered = node.invoke("--json", "person", "register", enrolment, by=ADMIN)
    assert registered.status == Exit.OK, registered.err
    tx_id = registered.json["tx_id"]
    written = node.invoke("tx", "receipt", tx_id, "--out", out, by=ADMIN)
    assert written.status == Exit.OK, written.err
    refused = node.invoke("tx", "receipt", tx_id, "--out", folder / "other", by=SOUTH_ADMIN)
    check_refused(refused, Exit.REFUSED, "state.not_entitled")
    return out


def test_what_a_file_proves_is_said_without_node_and_wallet(node: NodeAtHand, file: Path) -> None:
    genesis = node.home / GENESIS_NAME

    verified = invoke("--json", "verify", file, "--genesis", genesis)

    assert verified.status == Exit.OK, verified.err
    assert (verified.json["kind"], verified.json["accepted"]) == ("identity.register", True)
    assert verified.json["code"] == "ok"


def test_no_byte_of_a_file_may_be_another(node: NodeAtHand, file: Path) -> None:
    document = load_genesis(node.home / GENESIS_NAME)
    whole = file.read_bytes()
    verify_receipt(document, whole)

    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        with pytest.raises(Untrusted):
            verify_receipt(document, bytes(changed))


def test_a_file_that_is_none_is_refused_in_one_line(node: NodeAtHand, tmp_path: Path) -> None:
    other = tmp_path / "letter"
    other.write_bytes(b"Dear colleague")

    refused = invoke("verify", other, "--genesis", node.home / GENESIS_NAME)

    check_refused(refused, Exit.LOCAL, "trust.proof")


def test_a_file_is_never_overwritten(node: NodeAtHand, file: Path) -> None:
    tx_id = invoke("--json", "verify", file, "--genesis", node.home / GENESIS_NAME).json["tx_id"]
    before = file.read_bytes()

    again = node.invoke("tx", "receipt", tx_id, "--out", file, by=ADMIN)

    check_refused(again, Exit.LOCAL, "os.eexist")
    assert file.read_bytes() == before
