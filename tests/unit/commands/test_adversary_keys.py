"""A rotation that was cut off, or lied about, must not lock a person out of the account."""

from pathlib import Path

import pytest

from client.errors import OutcomeRejected
from commands.output import Exit
from tests.unit.commands.node_at_hand import ADMIN, NodeAtHand


def test_who_was_cut_off_while_rotating_keys_gets_in_again(
    node: NodeAtHand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "dr-cut.enrolment"
    enrol = ("person", "enrol", "dr-cut", "--org", "north", "--role", "doctor", "--out", file)
    assert node.invoke(*enrol, by=ADMIN).status == Exit.OK
    assert node.invoke("person", "register", file, by=ADMIN).status == Exit.OK

    def cut_off(*_: object, **__: object) -> None:
        raise OutcomeRejected("the connection broke behind the ledger's answer")

    with monkeypatch.context() as patched:
        patched.setattr("client.people.check_done", cut_off)
        cut = node.invoke("keys", "rotate", by="dr-cut")
    locked_out = node.invoke("person", "show", "dr-cut", by="dr-cut")
    finished = node.invoke("keys", "finish", by="dr-cut")
    again = node.invoke("person", "show", "dr-cut", by="dr-cut")
    nothing_left = node.invoke("--json", "keys", "finish", by="dr-cut")

    assert cut.status != Exit.OK
    assert locked_out.status != Exit.OK
    assert finished.status == Exit.OK, finished
    assert again.status == Exit.OK, again
    assert nothing_left.json["finished"] is False
