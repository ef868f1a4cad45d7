"""Hosts in network namespaces of their own, on one bridge: what really crosses a network can fail.

Needs root and iproute2. A direction is cut by a route that leads nowhere, so packets vanish and the
nodes find out by their own clocks; a host is slowed by `netem` where the kernel has it, and by a
narrow link (`tbf`) where it has not.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest


@dataclass(slots=True, kw_only=True)
class Hosts:
    """`count` hosts; host i has `addresses[i]` in the namespace `names[i]`."""

    bridge: str
    names: list[str]
    addresses: list[str]
    cut: list[tuple[int, int]] = field(default_factory=list)

    def inside(self, host: int) -> list[str]:
        return ["ip", "netns", "exec", self.names[host]]


@contextmanager
def open_hosts(count: int) -> Iterator[Hosts]:
    """Make the hosts, and take them away again; skip where that is not possible."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("ip") is None:
        pytest.skip("network namespaces need `ip` (package iproute2)")
    tag = f"{os.getpid() % 10_000}"
    bridge = f"mlb{tag}"
    names = [f"ml{tag}-{host}" for host in range(count)]
    subnet = f"10.{os.getpid() % 200 + 20}.77"
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
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", bridge], capture_output=True, check=False)


def cut_links(hosts: Hosts, pairs: set[tuple[int, int]]) -> None:
    """Let nothing through from the first to the second of each pair."""
    for one, other in sorted(pairs):
        _in(hosts, one, "ip", "route", "add", "blackhole", f"{hosts.addresses[other]}/32")
        hosts.cut.append((one, other))


def mend_links(hosts: Hosts) -> None:
    for one, other in hosts.cut:
        _in(hosts, one, "ip", "route", "del", "blackhole", f"{hosts.addresses[other]}/32")
    hosts.cut.clear()


def slow_host(hosts: Hosts, host: int, *, delay_ms: int, kilobits: int) -> str:
    """Delay what a host sends, or narrow its link; return which of the two the kernel can do."""
    device = ["tc", "qdisc", "add", "dev", "eth0", "root"]
    delayed = subprocess.run(
        [*hosts.inside(host), *device, "netem", "delay", f"{delay_ms}ms"],
        capture_output=True,
        check=False,
    )
    if delayed.returncode == 0:
        return "netem"
    _in(hosts, host, *device, "tbf", "rate", f"{kilobits}kbit", "burst", "16kb", "latency", "1s")
    return "tbf"


def hurry_host(hosts: Hosts, host: int) -> None:
    _in(hosts, host, "tc", "qdisc", "del", "dev", "eth0", "root")


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
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip()}")
