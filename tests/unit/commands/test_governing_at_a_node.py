"""Governing from the command line: proposals, ballots, validators, and what a plan refuses."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands.output import Exit
from crypto.signatures import Scheme
from genesis.document import chain_id_of
from genesis.files import dump_wire
from ledger.nodes import NodeClaim, sign_node_claim
from tests.unit.client.small_node import SmallNode
from tests.unit.commands.command_line import Ended, check_refused, invoke
from tests.unit.commands.node_at_hand import ADMIN, AGENT, SOUTH_ADMIN, NodeAtHand, serve_in_thread
from tests.unit.ledger.governance_samples import node_claim
from tests.unit.ledger.small_consortium import NORTH, SOUTH, genesis, signing_key

SOME_ID = "ab" * 32


@pytest.fixture(scope="module")
def small() -> SmallNode:
    """Node 1, whose peers are all connected."""
    return SmallNode(peer_rows=[peer(index) for index in (0, 2, 3)])


@pytest.fixture(scope="module")
def council(small: SmallNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeAtHand]:
    with serve_in_thread(tmp_path_factory.mktemp("home"), small) as found:
        yield found


def peer(index: int, *, state: str = "connected", height: int = 1_000_000) -> dict[str, object]:
    return {"node": index, "state": state, "height": height}


def done(ended: Ended) -> Ended:
    assert (ended.status, ended.err) == (Exit.OK, ""), ended
    return ended


def accept(council: NodeAtHand, proposal: str, *more: str) -> dict[str, Any]:
    """Both hospitals accept; return what the second ballot made of it."""
    for by in (ADMIN, SOUTH_ADMIN):
        ended = done(council.invoke("--json", "gov", "vote", proposal, "--accept", *more, by=by))
    found: dict[str, Any] = ended.json
    return found


def claim_file(folder: Path, claim: NodeClaim, keys: str | None = None) -> Path:
    key = signing_key(keys or f"node {claim.index}", Scheme.ED25519)
    statement = sign_node_claim(claim, key, chain_id_of(genesis()))
    file = folder / f"node-{claim.index}.claim"
    file.write_bytes(dump_wire(statement))
    return file


def test_parameters_are_proposed_shown_voted_on_and_changed(council: NodeAtHand) -> None:
    words = ("gov", "propose", "parameters", "rotate_every=7", "idle_block_ms=6000")
    proposal = done(council.invoke("--json", *words, by=ADMIN)).json["proposal"]
    listed = done(council.invoke("--json", "gov", "list", by=ADMIN)).json
    shown = done(council.invoke("--json", "gov", "show", proposal, by=ADMIN)).json
    first = done(council.invoke("gov", "vote", proposal, "--accept", by=ADMIN))
    second = done(council.invoke("gov", "vote", proposal, "--accept", by=SOUTH_ADMIN))
    twice = council.invoke("gov", "vote", proposal, "--accept", by=SOUTH_ADMIN)
    after = done(council.invoke("--json", "gov", "show", proposal, by=ADMIN)).json

    assert [(one["proposal"], one["needed"]) for one in listed] == [(proposal, 2)]
    assert shown["parameters"] == {"idle_block_ms": "5000 -> 6000", "rotate_every": "100 -> 7"}
    assert "open: 1 of 2 hospitals accept" in first.out
    assert "the proposal is executed" in second.out
    check_refused(twice, Exit.REFUSED, "governance.closed")
    assert (after["outcome"], after["ballots"]) == (
        "executed", {"north": "accepts", "south": "accepts"},
    )  # fmt: skip
    assert done(council.invoke("--json", "gov", "list", by=ADMIN)).json == []


def test_a_proposal_is_rejected_or_withdrawn(council: NodeAtHand) -> None:
    words = ("--json", "gov", "propose", "suspend-organisation", "south")
    first = done(council.invoke(*words, by=ADMIN)).json["proposal"]
    second = done(council.invoke(*words, by=ADMIN)).json["proposal"]

    rejected = done(council.invoke("gov", "vote", first, "--reject", by=SOUTH_ADMIN))
    not_theirs = council.invoke("gov", "withdraw", second, by=SOUTH_ADMIN)
    done(council.invoke("gov", "withdraw", second, by=ADMIN))

    assert "the proposal is rejected" in rejected.out
    check_refused(not_theirs, Exit.REFUSED, "governance.not_proposer")
    shown = done(council.invoke("--json", "gov", "show", second, by=ADMIN)).json
    assert shown["outcome"] == "withdrawn"


def test_a_hospital_enrols_is_proposed_and_governs_too(council: NodeAtHand, tmp_path: Path) -> None:
    file = tmp_path / "isle.member"
    done(council.invoke("gov", "enrol", "isle", "--name", "Hospital Isle", "--out", file))

    words = ("--json", "gov", "propose", "add-organisation", file)
    proposal = done(council.invoke(*words, by=ADMIN)).json["proposal"]
    decided = accept(council, proposal)
    later = done(council.invoke(*_suspend("isle"), by="admin-isle")).json["proposal"]

    assert decided["outcome"] == "executed"
    assert len(done(council.invoke("--json", "gov", "list", by=ADMIN)).json) == 1
    done(council.invoke("gov", "vote", later, "--accept", by="admin-isle"))
    assert accept(council, later)["outcome"] == "executed", "three of three accept"
    restore = ("--json", "gov", "propose", "restore-organisation", "isle")
    assert done(council.invoke(*restore, by=ADMIN)).json["proposal"]


def test_a_validator_is_added_by_its_claim_and_removed(
    council: NodeAtHand, small: SmallNode, tmp_path: Path
) -> None:
    file = claim_file(tmp_path, node_claim(4, NORTH))
    add = ("--json", "validators", "add", file)

    proposal = done(council.invoke(*add, by=ADMIN)).json["proposal"]
    decided = accept(council, proposal)
    listed = {row["index"]: row for row in _listed(council)}
    gone = done(council.invoke("--json", "validators", "remove", "4", by=ADMIN)).json["proposal"]
    removed = accept(council, gone)

    assert decided["outcome"] == removed["outcome"] == "executed"
    assert listed[4]["state"] == "learner"
    assert (listed[4]["live"], listed[4]["height"]) == (False, None)
    assert [listed[index]["live"] for index in (0, 1, 2, 3)] == [True] * 4
    assert 0 < listed[1]["height"] < small.tip().height
    assert sorted(row["index"] for row in _listed(council)) == [0, 1, 2, 3]


def test_a_validator_changes_its_keys_by_a_claim(council: NodeAtHand, tmp_path: Path) -> None:
    keys = "node 2, second"
    file = claim_file(tmp_path, node_claim(2, SOUTH, keys=keys), keys)

    not_own = council.invoke("validators", "rekey", file, by=ADMIN)
    proposal = done(council.invoke("--json", "validators", "rekey", file, by=SOUTH_ADMIN)).json
    decided = accept(council, proposal["proposal"])

    check_refused(not_own, Exit.REFUSED, "governance.not_own_node")
    assert decided["outcome"] == "executed"
    done(council.invoke("gov", "list", by=ADMIN))


def test_what_would_stall_is_refused_unless_forced(
    council: NodeAtHand, small: SmallNode, tmp_path: Path
) -> None:
    """Attack 10: three of four are live, and a fifth would raise the quorum to four."""
    file = claim_file(tmp_path, node_claim(5, NORTH))
    before = small.peer_rows
    small.peer_rows = [peer(0), peer(2), peer(3, state="connecting")]
    try:
        planned = plan(council, "--add", "5")
        refused = council.invoke("validators", "add", file, by=ADMIN)
        forced = done(council.invoke("--json", "validators", "add", file, "--force", by=ADMIN))
        proposal = forced.json["proposal"]
        ballot = council.invoke("gov", "vote", proposal, "--accept", by=SOUTH_ADMIN)
        against = done(council.invoke("gov", "vote", proposal, "--reject", by=SOUTH_ADMIN))
        allowed = done(plan(council, "--add", "5", "--force")).json
    finally:
        small.peer_rows = before

    for ended in (refused, ballot):
        check_refused(ended, Exit.REFUSED, "validators.would_stall")
    assert (planned.status, planned.json["error"]) == (Exit.REFUSED, "validators.would_stall")
    assert planned.json["live"] == [0, 1, 2]
    assert "of 5 validators 4 must be live, and 2 of them would be down" in refused.err
    assert "rejected" in against.out
    assert allowed["stalls"] is True
    assert (allowed["before"]["quorum"], allowed["after"]["quorum"]) == (3, 4)


def test_a_plan_says_what_is_left_to_spare(council: NodeAtHand) -> None:
    found = done(plan(council, "--remove", "3")).json

    assert found["seen_by_node"] == 1
    assert found["before"] == {
        "validators": 4, "live": 4, "quorum": 3, "tolerated_faults": 1,
        "more_failures_survivable": 1,
    }  # fmt: skip
    assert found["after"] == {
        "validators": 3, "live": 3, "quorum": 2, "tolerated_faults": 0,
        "more_failures_survivable": 1,
    }  # fmt: skip
    assert (found["stalls"], found["reason"]) == (False, None)


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        (("gov", "show", SOME_ID), Exit.REFUSED, "proposal.unknown"),
        (("gov", "show", "ab"), Exit.USAGE, "digest.form"),
        (("gov", "vote", SOME_ID, "--accept"), Exit.REFUSED, "proposal.unknown"),
        (("gov", "vote", "x", "--reject"), Exit.USAGE, "digest.form"),
        (("gov", "withdraw", SOME_ID), Exit.REFUSED, "governance.unknown_proposal"),
        (("gov", "propose", "parameters", "pace=3"), Exit.USAGE, "parameters.unknown"),
        (("gov", "propose", "parameters", "rotate_every"), Exit.USAGE, "parameters.value"),
        (("gov", "propose", "parameters", "rotate_every=0"), Exit.USAGE, "parameters.value"),
        (("gov", "propose", "parameters", "rotate_every=-1"), Exit.USAGE, "parameters.value"),
        (
            ("gov", "propose", "suspend-organisation", "nowhere"),
            Exit.REFUSED,
            "governance.unknown_org",
        ),
        (("gov", "enrol", "Nord", "--name", "x"), Exit.USAGE, "usage.value"),
        (("validators", "remove", "77"), Exit.REFUSED, "governance.unknown_node"),
    ],
)
def test_a_mistake_is_one_line_with_its_status(
    council: NodeAtHand, words: tuple[str, ...], status: Exit, code: str
) -> None:
    check_refused(council.invoke(*words, by=ADMIN), status, code)


def test_who_is_no_admin_does_not_govern(council: NodeAtHand) -> None:
    words = ("gov", "propose", "suspend-organisation", "south")

    check_refused(council.invoke(*words, by=AGENT), Exit.REFUSED, "role.not_allowed")


def test_a_claim_that_was_changed_is_no_claim(council: NodeAtHand, tmp_path: Path) -> None:
    file = claim_file(tmp_path, node_claim(6, NORTH))
    file.write_bytes(file.read_bytes().replace(b'"index": 6', b'"index": 7'))
    spaced = tmp_path / "spaced.claim"
    spaced.write_bytes(file.read_bytes() + b" ")

    other_index = council.invoke("validators", "add", file, "--force", by=ADMIN)
    other_form = council.invoke("validators", "add", spaced, "--force", by=ADMIN)

    check_refused(other_index, Exit.REFUSED, "governance.possession")
    check_refused(other_form, Exit.LOCAL, "genesis.damaged")


@pytest.mark.parametrize("words", [("list",), ("plan", "--add", "9")])
def test_a_node_that_does_not_answer_is_status_3(words: tuple[str, ...]) -> None:
    ended = invoke("validators", *words, "--node", "http://127.0.0.1:1")

    check_refused(ended, Exit.UNKNOWN, "node.unreachable")


@pytest.mark.parametrize(
    "words",
    [
        ("--add", "0"),
        ("--remove", "9"),
        ("--remove", "0", "--remove", "1", "--remove", "2", "--remove", "3"),
    ],
)
def test_a_plan_of_nothing_is_wrong_usage(council: NodeAtHand, words: tuple[str, ...]) -> None:
    ended = invoke("validators", "plan", *words, "--node", council.url)

    check_refused(ended, Exit.USAGE, "validators.plan")


def plan(council: NodeAtHand, *words: str) -> Ended:
    return invoke("--json", "validators", "plan", *words, "--node", council.url)


def _suspend(org: str) -> tuple[str, ...]:
    return ("--json", "gov", "propose", "suspend-organisation", org)


def _listed(council: NodeAtHand) -> list[dict[str, Any]]:
    ended = done(invoke("--json", "validators", "list", "--node", council.url))
    rows: list[dict[str, Any]] = ended.json
    return rows
