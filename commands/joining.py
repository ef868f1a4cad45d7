"""Preparing the directory of a node that joins, and telling how far it has come."""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commands.clock import now_ms
from commands.output import say
from config import Endpoint, load_config
from crypto.keystore import KDF_DEFAULT
from crypto.signatures import public_key
from crypto.validators import ReplicaId
from genesis.files import dump_wire, load_genesis
from genesis.invite import Invite, dump_invite
from ledger.accounts import OrgId, check_slug
from ledger.nodes import NodeClaim, sign_node_claim
from shell.founding import write_node_settings
from shell.keys import KEYSTORE_NAME, identity_of, load_node_keys, make_node_keys, save_node_keys
from shell.standing import Stage, stage_of
from storage.layout import NodeLayout, make_layout

if TYPE_CHECKING:
    from node import Node

POLL_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a hospital wants of its new node; `index` is of a node that it replaces, or None."""

    org: OrgId
    listen: Endpoint
    advertise: str
    api: Endpoint
    api_origin: str
    index: ReplicaId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A prepared directory; `claim` is the file that the members need, None if they know it."""

    directory: Path
    index: int
    claim: Path | None


def make_wishes(
    org: str | None,
    listen: str | None,
    advertise: str | None,
    api: str,
    api_origin: str,
    index: int | None,
) -> Wishes | None:
    """Return what was wished, None for a node that is there already; raise `ValueError`."""
    if org is None or listen is None:
        return None
    return Wishes(
        org=OrgId(org),
        listen=endpoint(listen),
        advertise=advertise or listen,
        api=endpoint(api),
        api_origin=api_origin,
        index=None if index is None else ReplicaId(index),
    )


def has_keys(directory: Path) -> bool:
    return (directory / "keys" / KEYSTORE_NAME).exists()


def prepare(directory: Path, invited: Invite, passphrase: str, wishes: Wishes | None) -> Joined:
    """Make the directory, or go on with one that was made before; no key is ever replaced.

    Keys that were there may have voted, whatever the invite knows of them: with them the node gets
    no new journal, and so starts behind the fence. Of one that was made before nothing is wished.
    """
    if (directory / "node.toml").exists():
        return _resume(directory, invited)
    if wishes is None:
        raise ValueError(f"{directory} is no node yet: give --org and --listen")
    check_slug(wishes.org)
    layout = make_layout(directory)
    had_keys = (layout.keys / KEYSTORE_NAME).exists()
    if had_keys:
        keys = load_node_keys(layout.keys, passphrase)
        known = next((one for one in invited.nodes if one.tls_pin == identity_of(keys).pin), None)
        if known is not None:
            _write(layout, invited, known.index, wishes, is_new=False)
            return Joined(directory=directory, index=known.index, claim=None)
    else:
        keys = make_node_keys()
        save_node_keys(layout.keys, keys, passphrase, created_ms=now_ms(), kdf=KDF_DEFAULT)
    claim = NodeClaim(
        index=invited.free_index if wishes.index is None else wishes.index,
        org=wishes.org,
        vote_key=public_key(keys.vote).data,
        tls_pin=identity_of(keys).pin,
        p2p_address=wishes.advertise,
    )
    path = directory / f"node-{claim.index}.claim"
    path.write_bytes(dump_wire(sign_node_claim(claim, keys.vote, invited.chain_id)))
    _write(layout, invited, claim.index, wishes, is_new=not had_keys)
    return Joined(directory=directory, index=claim.index, claim=path)


def _write(
    layout: NodeLayout,
    invited: Invite,
    index: ReplicaId,
    wishes: Wishes,
    *,
    is_new: bool,
) -> None:
    layout.invite.write_bytes(dump_invite(invited))
    write_node_settings(
        layout.root,
        invited.genesis,
        index=index,
        p2p=wishes.listen,
        api=wishes.api,
        api_origin=wishes.api_origin,
        has_new_journal=is_new,
    )


def _resume(directory: Path, invited: Invite) -> Joined:
    """Go on with a directory that was prepared before; a newer invite brings newer addresses."""
    layout = NodeLayout(directory)
    config = load_config(layout.config)
    if load_genesis(layout.genesis) != invited.genesis:
        raise ValueError(f"{directory} is a node of another consortium: give another --dir")
    layout.invite.write_bytes(dump_invite(invited))
    claim = directory / f"node-{config.node_index}.claim"
    return Joined(
        directory=directory, index=config.node_index, claim=claim if claim.exists() else None
    )


async def tell_progress(joined: Joined, running: "Node") -> None:
    """Say where the node stands whenever that changes, and how far it has come meanwhile."""
    stage: Stage | None = None
    while stage is not Stage.VOTING:
        now = stage_of(running.visits)
        if now is not stage:
            stage = now
            say(f"block {running.chain.tip.height}: {_told(stage, joined)}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(running.stopping.wait(), POLL_S)
            return


def _told(stage: Stage, joined: Joined) -> str:
    match stage:
        case Stage.FOLLOWING:
            return "catching up"
        case Stage.UNREACHED:
            return (
                "nobody answers at the addresses of the members: check this machine's network; if"
                " they have moved, run this command with a new invite of theirs"
            )
        case Stage.UNKNOWN:
            return f"the members answer only nodes that the ledger names. {next_step(joined)}"
        case Stage.WAITING:
            return f"caught up. {next_step(joined)}"
        case Stage.LEARNING:
            return "the members have taken this node as a learner; it says when it is ready"
        case Stage.VOTING:
            return f"node {joined.index} votes"
        case Stage.FENCED:
            return (
                "a member again; it may have forgotten what it signed, so it votes after the"
                " others have decided a few blocks more"
            )
        case Stage.REMOVED:
            return "this node was removed; its index and keys are never used again: join anew"


def next_step(joined: Joined) -> str:
    if joined.claim is None:
        return "the members know this node by its keys"
    verb = "add (or rekey, if it replaces lost keys)"
    return (
        f"Next: an admin of your hospital proposes it with `medledger validators {verb}"
        f" {joined.claim}`, and the hospitals accept with `medledger gov vote`"
    )


def endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"{text!r} is not host:port")
    return Endpoint(host=host.strip("[]"), port=int(port))
