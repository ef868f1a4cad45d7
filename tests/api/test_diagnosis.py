"""Each rule of the diagnosis: it holds for its fault alone, and its sentence names the culprit."""

from dataclasses import replace
from typing import Any

import pytest

from api.diagnosis import RULES, diagnose
from api.facts import (
    DiskFacts,
    Facts,
    FenceFacts,
    ListeningFacts,
    MemberFacts,
    MissingFacts,
    PoolFacts,
    RefusalFacts,
    Stopped,
)
from tests.api.written_facts import make_facts, make_member, with_members


def silent(name: str, heard_ms: int | None = 41_000) -> MemberFacts:
    return make_member(name, link="connecting", link_reason="refused", heard_ms=heard_ms)


def late(**changes: Any) -> Facts:
    return make_facts(**{"since_block_ms": 9_000, "due_ms": 5, **changes})


def refused(text: str, code: str) -> RefusalFacts:
    return RefusalFacts(
        height=41, view=0, proposer="hospital-b", code=code, text=text, ago_ms=4_000
    )


def test_who_never_heard_anybody_is_told_of_invites_and_nobody_else_is() -> None:
    """Members that moved while the node slept answer at no address that it knows."""
    names = ("hospital-b", "hospital-c", "hospital-d")
    nobody = with_members(make_facts(), *(silent(name, None) for name in names))
    somebody = with_members(make_facts(), *(silent(name) for name in names))

    told = [diagnose(one) for one in (nobody, somebody)]

    assert [one.code for one in told] == ["no_quorum", "no_quorum"]
    assert ["medledger join INVITE" in one.sentence for one in told] == [True, False]


FAULTS: dict[str, tuple[Facts, tuple[str, ...]]] = {
    "stopped": (
        make_facts(stopped=Stopped(code="journal.failed", text="the journal cannot be flushed")),
        ("hospital-a", "cannot be flushed", "journal.failed"),
    ),
    "state_diverged": (
        make_facts(stopped=Stopped(code="state.diverged", text="block 41 states another root")),
        ("hospital-a", "another root"),
    ),
    "disk_full": (
        make_facts(
            disks=(DiskFacts(part="ledger", path="there", free_bytes=10, reserve_bytes=1 << 20),)
        ),
        ("there", "ledger", "1.0 MiB"),
    ),
    "not_a_member": (make_facts(is_member=False), ("hospital-a", "epoch 0")),
    "mute": (make_facts(is_mute=True), ("hospital-a", "keys/")),
    "listening": (
        make_facts(listening=ListeningFacts(for_ms=3_200, needed=2, answered=("hospital-c",))),
        ("hospital-a started 3.2 s ago", "2 others", "hospital-c did", "hospital-d did not"),
    ),
    "recover_needed": (
        with_members(
            make_facts(since_block_ms=9_000, due_ms=5, fence=FenceFacts(reason="copied", needed=2)),
            make_member("hospital-c", is_fenced=True),
        ),
        ("hospital-a and hospital-c are fenced", "3 of 4", "medledger recover statement"),
    ),
    "fenced": (
        make_facts(fence=FenceFacts(reason="the journal is missing", for_ms=700, needed=2)),
        ("hospital-a", "since 0.7 s", "the journal is missing", "2 others", "hospital-c"),
    ),
    "loop_lag": (make_facts(lag_ms=3_200), ("hospital-a", "3.2 s")),
    "clock_off": (
        make_facts(
            others=tuple(
                make_member(name, clock_offset_ms=90_000) for name in ("hospital-b", "hospital-c")
            )
        ),
        ("hospital-a", "90 s behind", "2 of the 2"),
    ),
    "no_quorum": (
        with_members(make_facts(), silent("hospital-b"), silent("hospital-d", None)),
        (
            "3 of 4",
            "hospital-a and hospital-c",
            "hospital-b has been silent for 41 s",
            "hospital-d was never heard",
        ),
    ),
    "wrong_key": (
        with_members(
            make_facts(), make_member("hospital-c", link="refused", link_reason="wrong_pin")
        ),
        ("hospital-c", "wrong_pin"),
    ),
    "other_protocol": (
        with_members(
            make_facts(),
            make_member("hospital-c", link="refused", link_reason="peer.other_protocol"),
        ),
        ("hospital-c", "version"),
    ),
    "catching_up": (
        make_facts(
            height=12,
            fetching_from="hospital-d",
            others=tuple(make_member(name, height=130) for name in ("hospital-b", "hospital-d")),
        ),
        ("hospital-a", "12", "130", "hospital-d"),
    ),
    "bodies_missing": (
        make_facts(refusal=refused("1 transactions, first abcd", "bodies.missing")),
        ("hospital-b", "block 41", "first abcd"),
    ),
    "proposal_refused": (
        make_facts(refusal=refused("time 5 is 60000 ms behind", "block.time_past")),
        ("hospital-a", "hospital-b", "60000 ms behind", "block.time_past"),
    ),
    "primary_silent": (
        with_members(
            make_facts(since_block_ms=6_000, faults=1), make_member("hospital-b", heard_ms=6_100)
        ),
        ("block 41".capitalize(), "hospital-b", "6.1 s"),
    ),
    "view_changing": (
        with_members(
            make_facts(view=1, primary="hospital-c"),
            make_member("hospital-d", votes=("view-change",)),
            make_member("hospital-b", heard_ms=7_000),
        ),
        ("view 1", "hospital-c", "hospital-d left", "hospital-b"),
    ),
    "votes_missing": (
        with_members(
            late(phase="prepared"),
            make_member("hospital-b", votes=("prepare", "commit")),
            make_member("hospital-c", votes=("prepare",)),
        ),
        ("Block 41", "hospital-c and hospital-d", "commit"),
    ),
    "no_proposal": (
        late(pool=PoolFacts(transactions=7, transactions_max=100, bytes_max=1)),
        ("hospital-b", "7 transactions", "9.0 s"),
    ),
    "pool_full": (
        make_facts(
            pool=PoolFacts(transactions=70, transactions_max=100, bytes_max=1 << 20, full_ms=300)
        ),
        ("hospital-a", "70 of 100"),
    ),
    "disk_slow": (make_facts(sync_ms=900), ("hospital-a", "0.9 s")),
}

NOTES: dict[str, tuple[Facts, tuple[str, ...]]] = {
    "member_clock_off": (
        with_members(make_facts(), make_member("hospital-c", clock_offset_ms=-90_000)),
        ("hospital-c (90 s behind)",),
    ),
    "member_silent": (
        with_members(make_facts(), silent("hospital-d")),
        ("hospital-d has been silent for 41 s", "no more may fail"),
    ),
    "equivocation": (
        with_members(make_facts(), make_member("hospital-c", evidence=2)),
        ("hospital-c (for 2)",),
    ),
    "complaint": (
        with_members(make_facts(), make_member("hospital-d", complaint="censoring")),
        ("hospital-d (censoring)",),
    ),
    "block_damaged": (make_facts(damaged_blocks=(7, 9)), ("7 and 9",)),
    "copies_missing": (
        make_facts(missing=MissingFacts(blobs=1, sidecars=7, keepers=("hospital-c",))),
        ("1 blob and 7 sidecars", "hospital-c promised"),
    ),
    "member_invalid": (
        with_members(make_facts(), make_member("hospital-b", invalid_messages=500)),
        ("hospital-b (500)",),
    ),
}


def test_every_rule_is_tried_here() -> None:
    assert {rule.code for rule in RULES if not rule.is_note} == FAULTS.keys()
    assert {rule.code for rule in RULES if rule.is_note} == NOTES.keys()


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_is_named_with_who_or_what_is_to_blame(code: str) -> None:
    facts, told = FAULTS[code]

    found = diagnose(facts)

    assert (found.code, found.is_well) == (code, False), found
    for words in told:
        assert words in found.sentence, found.sentence
    assert "\n" not in found.sentence


@pytest.mark.parametrize("code", NOTES)
def test_a_note_leaves_all_well_and_is_told(code: str) -> None:
    facts, told = NOTES[code]

    found = diagnose(facts)

    assert found.is_well
    assert found.code == "idle"
    assert [one.code for one in found.others] == [code]
    for words in told:
        assert words in found.sentence, found.sentence


def test_a_healthy_node_is_well_whether_something_waits_or_not() -> None:
    idle = diagnose(make_facts())
    busy = diagnose(make_facts(pool=PoolFacts(transactions=1, transactions_max=9, bytes_max=9)))

    assert (idle.code, busy.code) == ("idle", "ok")
    assert "4 of 4 members vote, 3 are needed, so 1 more may fail" in idle.sentence
    assert "1 transaction is waiting" in busy.sentence


def test_what_follows_from_a_lost_quorum_is_told_beside_it() -> None:
    facts = with_members(late(phase="proposed"), silent("hospital-b"), silent("hospital-c"))
    full = replace(facts, pool=replace(facts.pool, full_ms=1))

    found = diagnose(full)

    assert found.code == "no_quorum"
    assert found.sentence.startswith("No block for 9.0 s: 3 of 4 members")
    assert [one.code for one in found.others] == ["votes_missing", "pool_full"]


def test_a_fenced_member_is_not_counted_for_a_quorum() -> None:
    facts = with_members(
        make_facts(), silent("hospital-b"), make_member("hospital-d", is_fenced=True)
    )

    found = diagnose(facts)

    assert found.code == "no_quorum"
    assert "hospital-d is fenced" in found.sentence


def test_a_node_that_is_fenced_and_listens_says_for_whom_it_waits() -> None:
    listening = ListeningFacts(for_ms=4_000, needed=2, answered=("hospital-d",))
    fence = FenceFacts(reason="the directory was copied", for_ms=4_000, lift_height=43)

    found = diagnose(make_facts(fence=fence, listening=listening))

    assert found.code == "fenced"
    assert "since 4.0 s (the directory was copied)" in found.sentence
    assert "after block 43" in found.sentence
    assert "hospital-d did, hospital-b and hospital-c did not" in found.sentence


def test_a_start_says_which_proven_block_it_still_lacks() -> None:
    answered = ("hospital-b", "hospital-c")
    listening = ListeningFacts(for_ms=900, needed=2, answered=answered, proven_height=41)

    lacking = diagnose(make_facts(listening=listening))
    waiting = diagnose(make_facts(height=41, listening=listening))

    assert "until it has block 41" in lacking.sentence
    assert "for a few heartbeats more" in waiting.sentence


def test_a_member_that_listens_is_not_counted_for_a_quorum() -> None:
    facts = with_members(
        make_facts(), silent("hospital-b"), make_member("hospital-d", is_listening=True)
    )

    found = diagnose(facts)

    assert found.code == "no_quorum"
    assert "hospital-d has just started and listens" in found.sentence


def test_a_node_that_was_left_behind_by_a_restart_is_told_the_command() -> None:
    fence = FenceFacts(reason="the others restarted the chain", waits_for_document=True)

    found = diagnose(make_facts(fence=fence))

    assert found.code == "recover_needed"
    assert "`medledger recover apply`" in found.sentence


def test_fences_that_the_quorum_can_spare_or_that_are_new_need_no_recovery() -> None:
    fence = FenceFacts(reason="copied", needed=2)
    one = late(fence=fence)
    just_started = with_members(make_facts(fence=fence), make_member("hospital-c", is_fenced=True))
    silent_twin = with_members(
        one, make_member("hospital-c", is_fenced=True, link="connecting", heard_ms=90_000)
    )

    assert [diagnose(facts).code for facts in (one, just_started, silent_twin)] == ["fenced"] * 3


def test_a_member_one_block_behind_is_counted_and_one_further_behind_is_not() -> None:
    near = with_members(make_facts(), make_member("hospital-d", height=39))
    far = with_members(make_facts(), make_member("hospital-d", height=30))

    assert diagnose(near).others == ()
    assert "hospital-d is behind, at block 30" in diagnose(far).sentence


def test_one_strange_clock_among_three_is_not_taken_for_ours() -> None:
    facts = with_members(make_facts(), make_member("hospital-c", clock_offset_ms=50_000))

    assert diagnose(facts).is_well


def test_a_refusal_is_old_after_a_minute() -> None:
    recent = refused("why", "block.time_past")

    assert diagnose(make_facts(refusal=replace(recent, ago_ms=61_000))).is_well
