"""A node that may have missed the end of a right serves nothing, whatever its peers say."""

from pathlib import Path

import pytest

from consensus.messages import Status
from crypto.quorum import QuorumSystem
from crypto.votes import FIRST_VIEW, Height
from shell.freshness import HEARD_MS, is_fresh_at, max_staleness_ms, words_of_members
from tests.unit.shell.live_chain import make_live_chain

IDLE_MS = 5_000
TIP_HEIGHT, TIP_MS = 40, 1_000_000


def status_of(height: int) -> Status:
    return Status(
        height=Height(height),
        view=FIRST_VIEW,
        has_proposal=False,
        has_committed=False,
        is_fenced=False,
        is_listening=False,
        certificate=None,
        boot=None,
        clock_ms=0,
    )


def serves(*, after_ms: int, heard: list[tuple[int, int]], members: int = 4) -> bool:
    """Ask `after_ms` after the tip; `heard` lists (height being agreed, arrival after the tip)."""
    return is_fresh_at(
        TIP_MS + after_ms,
        tip_height=TIP_HEIGHT,
        tip_time_ms=TIP_MS,
        idle_block_ms=IDLE_MS,
        quorum=QuorumSystem(members),
        heard=[(status_of(height), TIP_MS + at_ms) for height, at_ms in heard],
    )


def test_a_node_serves_while_f_plus_1_peers_are_no_further() -> None:
    level = TIP_HEIGHT + 1

    assert serves(after_ms=500, heard=[(level, 400), (level, 450)])
    assert not serves(after_ms=500, heard=[(level, 400), (level + 1, 450)])
    assert not serves(after_ms=500, heard=[(level, 400)])


def test_old_words_of_peers_do_not_count() -> None:
    level = TIP_HEIGHT + 1

    assert not serves(after_ms=HEARD_MS + 2, heard=[(level, 1), (level, 1)])


def test_only_members_have_a_say(tmp_path: Path) -> None:
    """Learners catch up, so they are behind; and nodes of an invite may be anybody."""
    four = make_live_chain(tmp_path).chain.next_set
    told = {number: (status_of(number), TIP_MS) for number in (1, 3, 4, 9)}

    found = words_of_members(told, four)

    assert found == [told[1], told[3]]


@pytest.mark.parametrize("members", [1, 4, 7])
def test_nobody_serves_under_an_old_tip_even_if_all_peers_agree_now(members: int) -> None:
    limit_ms = max_staleness_ms(IDLE_MS)
    for after_ms, expected in ((limit_ms, True), (limit_ms + 1, False)):
        heard = [(TIP_HEIGHT + 1, after_ms)] * (members - 1)

        assert serves(after_ms=after_ms, heard=heard, members=members) is expected
