"""Links between the nodes of a scene: how long a message takes, and cutting and slowing them.

A profile says what every message between two nodes takes *one way*: `lan` is what this machine's
loopback or bridge takes, `30ms` and `100ms` are 30 and 100 ms one way, so 60 and 200 ms there and
back. A client is at its hospital: what it sends to a node and hears from one is not delayed.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from benchmarks.errors import InvalidScene, SceneError
from benchmarks.scene.hosts import Hosts, cut_links, delay_host, hurry_host, mend_links
from benchmarks.scene.relays import Pairs

DELAY_MS_MAX: Final = 5_000
STOP_S: Final = 10.0
_DELAY: Final = re.compile(r"([0-9]{1,4})ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkProfile:
    """What a message between two nodes takes one way, in ms; None is what it takes by itself."""

    name: str
    delay_ms: int | None = None


LAN: Final = LinkProfile(name="lan")


def parse_links(text: str) -> LinkProfile:
    """Return the profile of that name; raise `InvalidScene` for any other."""
    if text == LAN.name:
        return LAN
    found = _DELAY.fullmatch(text)
    if found is None or int(found[1]) > DELAY_MS_MAX:
        raise InvalidScene(
            f"links {text!r}: use lan, 30ms, 100ms or another one-way delay up to {DELAY_MS_MAX}ms"
        )
    return LinkProfile(name=text, delay_ms=int(found[1]))


class LinkControl(Protocol):
    """What faults may do to links: pairs are (from, to), indices of nodes."""

    def cut(self, pairs: Pairs) -> None:
        """Let nothing through from the first to the second of each pair."""

    def slow(self, pairs: Pairs, delay_ms: int) -> None:
        """Let every message from the first to the second of each pair take so long."""

    def mend(self) -> None:
        """Make all links what the profile says."""


@dataclass(slots=True, kw_only=True)
class RelayedLinks:
    """Relays on loopback, in a process of their own (`benchmarks.scene.relay_process`)."""

    process: subprocess.Popen[str]

    def cut(self, pairs: Pairs) -> None:
        self._tell({"do": "cut", "pairs": sorted(pairs)})

    def slow(self, pairs: Pairs, delay_ms: int) -> None:
        self._tell({"do": "slow", "pairs": sorted(pairs), "delay_ms": delay_ms})

    def mend(self) -> None:
        self._tell({"do": "mend"})

    def _tell(self, order: dict[str, object]) -> None:
        assert self.process.stdin is not None, "started with a pipe"
        assert self.process.stdout is not None, "started with a pipe"
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        except OSError as problem:
            raise SceneError(f"the relays have ended: {problem}") from problem
        if self.process.stdout.readline().strip() != "done":
            raise SceneError("the relays have ended: their words are above")


def start_relays(directory: Path, profile: LinkProfile) -> RelayedLinks:
    """Open the relays of the consortium in `directory`; its nodes have been moved behind them."""
    command = [sys.executable, "-m", "benchmarks.scene.relay_process", str(directory)]
    command += ["--delay-ms", str(profile.delay_ms or 0)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for who started it, and ends it in good order.
    )
    links = RelayedLinks(process=process)
    links.mend()  # They answer once they listen.
    return links


def stop_relays(links: RelayedLinks) -> None:
    """End the relays; nodes that still run lose all their links."""
    with links.process as process:
        assert process.stdin is not None, "started with a pipe"
        process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


@dataclass(slots=True, kw_only=True)
class HostedLinks:
    """Links between hosts in network namespaces; `slowed` are pairs that differ from the rest."""

    hosts: Hosts
    profile: LinkProfile
    slowed: dict[tuple[int, int], int] = field(default_factory=dict)

    def cut(self, pairs: Pairs) -> None:
        cut_links(self.hosts, pairs)

    def slow(self, pairs: Pairs, delay_ms: int) -> None:
        self.slowed |= dict.fromkeys(pairs, delay_ms)
        self._shape({one for one, _ in pairs})

    def mend(self) -> None:
        mend_links(self.hosts)
        changed = {one for one, _ in self.slowed}
        self.slowed.clear()
        self._shape(changed)

    def shape_all(self) -> None:
        """Make every host what the profile says; raise `NoShaping` without netem."""
        self._shape(range(len(self.hosts.names)))

    def _shape(self, senders: Iterable[int]) -> None:
        count = len(self.hosts.names)
        for one in sorted(senders):
            delays_ms = {
                other: self.slowed.get((one, other), self.profile.delay_ms or 0)
                for other in range(count)
                if other != one
            }
            if any(delays_ms.values()):
                delay_host(self.hosts, one, delays_ms=delays_ms)
            else:
                hurry_host(self.hosts, one)
