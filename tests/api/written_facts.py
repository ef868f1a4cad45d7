"""The facts of a healthy node of four, written down; a test changes what is wrong."""

from dataclasses import replace
from typing import Any

from api.facts import DiskFacts, Facts, MemberFacts, PoolFacts

OTHERS = ("hospital-b", "hospital-c", "hospital-d")
MEBIBYTE = 1 << 20


def make_facts(**changes: Any) -> Facts:
    """Hospital A's node at height 40, where hospital B leads and nothing is wrong."""
    facts = Facts(
        node="hospital-a",
        index=0,
        is_member=True,
        members=4,
        quorum=3,
        faults=1,
        epoch=0,
        height=40,
        view=0,
        primary="hospital-b",
        is_primary=False,
        phase="waiting",
        votes=(),
        since_block_ms=300,
        due_ms=5_000,
        base_timeout_ms=2_000,
        status_ms=500,
        time_ahead_ms=1_000,
        time_behind_ms=10_000,
        others=tuple(make_member(name) for name in OTHERS),
        pool=PoolFacts(transactions_max=100, bytes_max=MEBIBYTE),
        disks=(
            DiskFacts(
                part="ledger",
                path="ledger",
                free_bytes=900 * MEBIBYTE,
                reserve_bytes=32 * MEBIBYTE,
            ),
        ),
    )
    return replace(facts, **changes)


def make_member(name: str, **changes: Any) -> MemberFacts:
    member = MemberFacts(
        index=1 + OTHERS.index(name),
        name=name,
        heard_ms=120,
        height=40,
        view=0,
        clock_offset_ms=3,
        rtt_ms=1.0,
    )
    return replace(member, **changes)


def with_members(facts: Facts, *changed: MemberFacts) -> Facts:
    """The same facts but for some of the members."""
    by_name = {one.name: one for one in changed}
    return replace(facts, others=tuple(by_name.get(one.name, one) for one in facts.others))
