"""Hosts in network namespaces of their own, on one bridge: what really crosses a network can fail.

Needs root and iproute2. A direction is cut by a route that leads nowhere, so packets vanish and the
nodes find out by their own clocks; what a host sends to other hosts is delayed by `netem` where the
kernel has it. This machine itself is on the bridge too: it reaches every node's API, undelayed.
"""

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from benchmarks.errors import NoNamespaces, NoShaping

BANDS_MAX: Final = 16
BANDS_FREE: Final = 3
"""`prio` has up to 16 queues; into those above the third falls only what a filter sends there."""

OPENED: Final = itertools.count()


@dataclass(slots=True, kw_only=True)
class Hosts:
    """`count` hosts; host i has `addresses[i]` in the namespace `names[i]`."""

    bridge: str
    names: list[str]
    addresses: list[str]
    cut: list[tuple[int, int]] = field(default_factory=list)

    def inside(self, host: int) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.names[host])


@contextmanager
def open_hosts(count: int) -> Iterator[Hosts]:
    """Make the hosts, and take them away again; raise `NoNamespaces` where that cannot be."""
    if os.geteuid() != 0:
        raise NoNamespaces("network namespaces need root")
    if shutil.which("ip") is None:
        raise NoNamespaces("network namespaces need `ip`: install the package iproute2")
    number = next(OPENED) % 100  # The kernel takes away the last ones when it likes.
    tag = f"{os.getpid() % 10_000}.{number}"
    bridge = f"mlb{tag}"
    names = [f"ml{tag}-{host}" for host in range(count)]
    subnet = f"10.{os.getpid() % 200 + 20}.{number}"
    hosts = Hosts(
        bridge=bridge,
        names=names,
        addresses=[f"{subnet}.{host + 1}" for host in range(count)],
    )
    try:
        _run("ip", "link", "add", bridge, "type", "bridge")
        _run("ip", "addr", "add", f"{subnet}.254/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        for host in range(count):
            _add_host(hosts, host, f"mlv{tag}-{host}")
        yield hosts
    finally:
        for name in names:
            _try("ip", "netns", "del", name)
        _try("ip", "link", "del", bridge)


def cut_links(hosts: Hosts, pairs: set[tuple[int, int]]) -> None:
    """Let nothing through from the first to the second of each pair."""
    for one, other in sorted(pairs - set(hosts.cut)):
        _in(hosts, one, "ip", "route", "add", "blackhole", f"{hosts.addresses[other]}/32")
        hosts.cut.append((one, other))


def mend_links(hosts: Hosts) -> None:
    for one, other in hosts.cut:
        _in(hosts, one, "ip", "route", "del", "blackhole", f"{hosts.addresses[other]}/32")
    hosts.cut.clear()


def delay_host(hosts: Hosts, host: int, *, delays_ms: Mapping[int, int]) -> None:
    """Let what a host sends to each of these take so long; raise `NoShaping` without netem.

    What it answers to this machine is not delayed: users are at their hospital's node.
    """
    hurry_host(hosts, host)
    kinds = sorted(set(delays_ms.values()) - {0})
    assert len(kinds) <= BANDS_MAX - BANDS_FREE, "a fault slows links to one delay at a time"
    bands = ("bands", str(BANDS_FREE + len(kinds)), "priomap", *["0"] * 16)
    _shape(hosts, host, "qdisc", "root", "handle", "1:", "prio", *bands)
    for number, delay_ms in enumerate(kinds, BANDS_FREE + 1):
        delay = ("netem", "delay", f"{delay_ms}ms", "limit", "100000")
        _shape(hosts, host, "qdisc", "parent", f"1:{number:x}", *delay)
        for other in [one for one, wanted in delays_ms.items() if wanted == delay_ms]:
            address = f"{hosts.addresses[other]}/32"
            chosen = ("match", "ip", "dst", address, "flowid", f"1:{number:x}")
            where = ("parent", "1:", "protocol", "ip", "prio", "1", "u32")
            _shape(hosts, host, "filter", *where, *chosen)


def narrow_host(hosts: Hosts, host: int, *, kilobits: int) -> None:
    """Let a host send so many kilobits a second (token bucket); raise `NoShaping` without tbf."""
    hurry_host(hosts, host)
    rate = ("rate", f"{kilobits}kbit", "burst", "16kb", "latency", "1s")
    _shape(hosts, host, "qdisc", "root", "tbf", *rate)


def hurry_host(hosts: Hosts, host: int) -> None:
    """Take away what slows a host, if anything does."""
    _try(*hosts.inside(host), "tc", "qdisc", "del", "dev", "eth0", "root")


def has_netem(hosts: Hosts) -> bool:
    """Whether the kernel can delay what a host sends."""
    try:
        delay_host(hosts, 0, delays_ms={0: 1})
    except NoShaping:
        return False
    finally:
        hurry_host(hosts, 0)
    return True


def _shape(hosts: Hosts, host: int, what: str, *words: str) -> None:
    try:
        _in(hosts, host, "tc", what, "add", "dev", "eth0", *words)
    except NoNamespaces as problem:
        hurry_host(hosts, host)
        raise NoShaping(str(problem)) from problem


def _add_host(hosts: Hosts, host: int, outside: str) -> None:
    name, address = hosts.names[host], hosts.addresses[host]
    _run("ip", "netns", "add", name)
    _run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
    _run("ip", "link", "set", outside, "master", hosts.bridge, "up")
    _in(hosts, host, "ip", "addr", "add", f"{address}/24", "dev", "eth0")
    _in(hosts, host, "ip", "link", "set", "eth0", "up")
    _in(hosts, host, "ip", "link", "set", "lo", "up")


def _in(hosts: Hosts, host: int, *command: str) -> None:
    _run(*hosts.inside(host), *command)


def _run(*command: str) -> None:
    """Run a command of iproute2; raise `NoNamespaces` with its words if it fails."""
    done = _try(*command)
    if done.returncode != 0:
        raise NoNamespaces(f"`{' '.join(command)}` says: {done.stderr.strip()}")


def _try(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)
