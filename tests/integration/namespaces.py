"""Hosts in network namespaces for a test, which skips where they cannot be made; never in CI."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.errors import NoNamespaces, NoShaping
from benchmarks.scene.hosts import Hosts, delay_host, has_netem, narrow_host, open_hosts


@contextmanager
def hosts_or_skip(count: int) -> Iterator[Hosts]:
    try:
        with open_hosts(count) as made:
            yield made
    except NoNamespaces as problem:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(problem))


def slow_or_skip(hosts: Hosts, host: int) -> None:
    """Delay what a host sends or narrow its link, whatever the kernel can do."""
    if has_netem(hosts):
        others = range(len(hosts.names))
        delay_host(hosts, host, delays_ms={one: 100 for one in others if one != host})
        return
    try:
        narrow_host(hosts, host, kilobits=300)
    except NoShaping as problem:
        pytest.skip(f"the kernel has neither netem nor tbf: {problem}")
