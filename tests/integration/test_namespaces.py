"""Four hosts in network namespaces, split, half deaf, slow: they heal without a restart."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scene.hosts import Hosts, cut_links, hurry_host, mend_links
from benchmarks.scene.local import start_members, wait_ready
from benchmarks.scene.relays import both_ways
from tests.integration.consortium import (
    TIMEOUT_CAP_MS,
    Consortium,
    check_one_history,
    found_consortium,
    height_of,
    stop_all,
    wait_height,
    wait_until_async,
)
from tests.integration.load import (
    check_nothing_lost,
    register_lanes,
    running_load,
    wait_acknowledged,
)
from tests.integration.namespaces import hosts_or_skip, slow_or_skip

pytestmark = pytest.mark.timeout(240)

RESUME_S_MAX = 3 * TIMEOUT_CAP_MS / 1000
"""(f + 2) capped timeouts, f = 1."""


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with hosts_or_skip(4) as made:
        yield made


@pytest.fixture
def apart(hosts: Hosts, tmp_path: Path) -> Iterator[Consortium]:
    """Four hospitals, each on a host of its own."""
    consortium = found_consortium(tmp_path / "apart", 4, hosts=hosts.addresses)
    try:
        consortium.members = [
            replace(member, inside=hosts.inside(host))
            for host, member in enumerate(consortium.members)
        ]
        start_members(consortium.directory, consortium.members)
        wait_ready(consortium.members)
        yield consortium
    finally:
        stop_all(consortium)


async def test_a_split_network_stops_and_goes_on_by_itself_once_it_is_whole(
    apart: Consortium, hosts: Hosts
) -> None:
    await register_lanes(apart, apart.members[0].org)
    orgs = [member.org for member in apart.members]

    async with running_load(apart, orgs) as load:
        await wait_acknowledged(load, 10)
        cut_links(hosts, both_ways([0, 1], [2, 3]))
        await asyncio.sleep(1)  # Votes under way may still decide one block.
        stood = [height_of(member) for member in apart.members]
        await asyncio.sleep(8)
        assert [height_of(member) for member in apart.members] == stood, (
            "two of four decide nothing"
        )
        mend_links(hosts)
        healed = time.monotonic()
        await wait_until_async(
            lambda: max(map(height_of, apart.members)) > max(stood),
            "commits resume",
            timeout_s=RESUME_S_MAX,
        )
        print(f"\ncommits resumed {time.monotonic() - healed:.1f} s after healing")
        await wait_acknowledged(load, 10)

    wait_height(apart.members, max(map(height_of, apart.members)))
    check_one_history(apart.members)
    check_nothing_lost(apart, load)


async def test_a_host_that_hears_nobody_and_one_that_is_slow_hold_nobody_up(
    apart: Consortium, hosts: Hosts
) -> None:
    await register_lanes(apart, apart.members[0].org)
    orgs = [member.org for member in apart.members[:3]]

    async with running_load(apart, orgs) as load:
        await wait_acknowledged(load, 5)
        cut_links(hosts, {(0, 3), (1, 3), (2, 3)})
        await wait_acknowledged(load, 10)
        mend_links(hosts)
        slow_or_skip(hosts, 3)
        await wait_acknowledged(load, 20)
        hurry_host(hosts, 3)

    wait_height(apart.members, max(map(height_of, apart.members)))
    check_one_history(apart.members)
    check_nothing_lost(apart, load)
