"""The place where a benchmark runs: a network made for it here, or one that runs already.

A local network has as many nodes as are wanted, on loopback with or without relays, or each on a
host of its own in a network namespace; it is gone afterwards. `benchmarks.scene.remote` reads what
a network on several machines is.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.errors import InvalidScene, NoNamespaces
from benchmarks.scene.hosts import has_netem, open_hosts
from benchmarks.scene.links import (
    LAN,
    HostedLinks,
    LinkControl,
    LinkProfile,
    start_relays,
    stop_relays,
)
from benchmarks.scene.local import (
    MAY_LIE,
    Member,
    found_devnet,
    load_members,
    passphrase_path,
    running_pid,
    start_members,
    stop_members,
    wait_ready,
)
from benchmarks.scene.relays import move_behind_relays
from config import Timeouts
from crypto.quorum import QuorumSystem
from genesis.document import chain_id_of
from genesis.files import load_genesis
from ledger.parameters import Parameters

VALIDATORS_MAX: Final = 16
LOOPBACK: Final = "loopback"
NAMESPACES: Final = "namespaces"
REMOTE: Final = "remote"
GENESIS_NAME: Final = "genesis.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a local network shall be.

    `dead` of its `validators`, the last ones, are never started. With `may_change_links` links can
    be cut and slowed even where the profile would not need it; with `may_lie` every node lies once
    it is told to. `where` is `loopback`, `namespaces`, or None for whichever serves the links.
    """

    validators: int = 4
    dead: int = 0
    links: LinkProfile = LAN
    may_change_links: bool = False
    may_lie: bool = False
    where: str | None = None
    parameters: Parameters = field(default_factory=lambda: Parameters(idle_block_ms=1_000))
    timeouts: Timeouts = field(default_factory=Timeouts)


@dataclass(slots=True, kw_only=True)
class Scene:
    """A network that runs: its hospitals by node index, where they answer, who may register people.

    `members` are the processes of a local network, in `directory`; `commands` are what does a fault
    to a node of a remote one. `dead` nodes were never started, those in `lying` were told to lie.
    `network` is what results say.
    """

    orgs: tuple[str, ...]
    urls: tuple[str, ...]
    home: Path
    passphrase_file: Path
    network: dict[str, Any]
    dead: frozenset[int] = frozenset()
    directory: Path | None = None
    members: tuple[Member, ...] = ()
    links: LinkControl | None = None
    commands: tuple[dict[str, str], ...] = ()
    lying: set[int] = field(default_factory=set)

    @property
    def chain_id(self) -> bytes:
        return chain_id_of(load_genesis(self.home / GENESIS_NAME))

    @property
    def live(self) -> list[int]:
        """The nodes that were started."""
        return [index for index in range(len(self.orgs)) if index not in self.dead]


def check_wanted(wanted: Wanted) -> None:
    """Raise `InvalidScene` for a network that cannot be, or that could decide nothing."""
    count = wanted.validators
    if not 1 <= count <= VALIDATORS_MAX:
        raise InvalidScene(f"{count} validators: a local network has 1 to {VALIDATORS_MAX}")
    faults = QuorumSystem(count).f
    if not 0 <= wanted.dead <= faults:
        raise InvalidScene(
            f"{wanted.dead} dead of {count} validators: at most {faults} may be, or nothing is"
            " decided"
        )
    if wanted.where not in (None, LOOPBACK, NAMESPACES):
        raise InvalidScene(f"where = {wanted.where!r}: use {LOOPBACK} or {NAMESPACES}")


@contextmanager
def open_scene(wanted: Wanted) -> Iterator[Scene]:
    """Make a local network and start it; stop it and remove it however the block ends.

    Raises `SceneError` when it cannot be what is wanted, and what founding and starting raise.
    """
    check_wanted(wanted)
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="medledger-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        directory = folder / "net"
        scene = _make_scene(stack, directory, wanted)
        alive = [scene.members[index] for index in scene.live]
        stack.callback(_end, scene)
        start_members(directory, alive)
        wait_ready(alive)
        yield scene


def _make_scene(stack: ExitStack, directory: Path, wanted: Wanted) -> Scene:
    """Found the network, with links as wanted; nothing runs yet but its relays."""
    where, count = wanted.where or _choose_place(wanted), wanted.validators
    hosted: HostedLinks | None = None
    if where == NAMESPACES:
        hosts = stack.enter_context(open_hosts(count))
        hosted = HostedLinks(hosts=hosts, profile=wanted.links)
        if wanted.links.delay_ms:
            hosted.shape_all()
    found_devnet(
        directory,
        count,
        parameters=wanted.parameters,
        timeouts=wanted.timeouts,
        hosts=None if hosted is None else hosted.hosts.addresses,
    )
    members = load_members(directory)
    if hosted is not None:
        members = [
            replace(member, inside=hosted.hosts.inside(index))
            for index, member in enumerate(members)
        ]
    if wanted.may_lie:
        members = [replace(member, program=MAY_LIE) for member in members]
    links: LinkControl | None = hosted
    by = "netem" if hosted is not None and wanted.links.delay_ms else "nothing"
    if hosted is None and needs_relays(wanted):
        move_behind_relays(members)
        relayed = start_relays(directory, wanted.links)
        stack.callback(stop_relays, relayed)
        links, by = relayed, "relays"
    return Scene(
        orgs=tuple(member.org for member in members),
        urls=tuple(member.url for member in members),
        home=directory / "home",
        passphrase_file=passphrase_path(directory),
        network={
            "validators": count,
            "dead": wanted.dead,
            "links": wanted.links.name,
            "delayed_by": by,
            "where": where,
        },
        dead=frozenset(range(count - wanted.dead, count)),
        directory=directory,
        members=tuple(members),
        links=links,
    )


def needs_relays(wanted: Wanted) -> bool:
    """Whether the links of a network on loopback are to be anything but loopback itself."""
    return wanted.links.delay_ms is not None or wanted.may_change_links


def _choose_place(wanted: Wanted) -> str:
    """Return namespaces where the kernel delays for us, loopback everywhere else."""
    if not needs_relays(wanted):
        return LOOPBACK
    try:
        with open_hosts(1) as hosts:
            return NAMESPACES if has_netem(hosts) else LOOPBACK
    except NoNamespaces:
        return LOOPBACK


def _end(scene: Scene) -> None:
    """Stop every node; one that a fault has stopped goes on first, or it would not hear of it."""
    for member in scene.members:
        pid = running_pid(member)
        if pid is not None:
            os.kill(pid, signal.SIGCONT)
    stop_members(list(scene.members))
