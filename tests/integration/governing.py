"""Changes of members in a test consortium: proposed by one hospital, accepted by the others."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.scene.local import Member, free_ports, passphrase_path
from client.connection import Client, act, ask_view
from client.errors import Refused
from client.transactions import Outcome
from config import load_config
from crypto.hashing import Digest
from crypto.keystore import KDF_CHEAPEST
from crypto.signatures import public_key
from crypto.validators import Epoch, ReplicaId
from genesis.document import chain_id_of
from genesis.files import load_genesis, load_wire
from ledger.accounts import OrgId
from ledger.contracts.governance import LATEST_EPOCH_KEY, get_latest_epoch
from ledger.governance_payloads import AddValidator, Change, Propose, RekeyValidator, Vote
from ledger.nodes import NodeClaim, NodeStatement, sign_node_claim
from shell.keys import identity_of
from shell.own_keys import make_next_keys
from tests.integration.commands import run
from tests.integration.consortium import (
    HOSPITALS,
    Consortium,
    acting,
    ask,
    start_one,
    wait_until_async,
)

OPEN_BLOCKS = 50_000
TURN_S = 60.0
JOIN_S = 120.0


async def decide_change(
    consortium: Consortium,
    change: Change,
    org: str,
    *,
    through: str = HOSPITALS[0],
    voters: Sequence[str] = HOSPITALS,
) -> None:
    """Have `org` propose a change and the hospitals accept it, all through one node."""
    async with acting(consortium, f"admin-{org}", through) as client:
        client.height = consortium.registered_height
        epoch = await _epoch(client)
        proposal = await _propose(client, epoch, change)
        consortium.registered_height = client.height
    for voter in voters:
        async with acting(consortium, f"admin-{voter}", through) as client:
            client.height = consortium.registered_height
            ballot = Vote(proposal=proposal, epoch=epoch, org=OrgId(voter), accepts=True)
            try:
                await _in_turn(client, "governance.vote", ballot)
            except Refused as refusal:
                if refusal.code != "governance.closed":  # The ballots before were enough.
                    raise
            consortium.registered_height = max(consortium.registered_height, client.height)


def write_invite(consortium: Consortium, *, through: str = HOSPITALS[0]) -> Path:
    """Have a member's node prove what a new one needs."""
    out = consortium.directory / "invite.json"
    home, url = consortium.directory / "home", consortium.member(through).url
    ended = run("invite", "--home", home, "--node", url, "--out", out)
    assert ended.returncode == 0, ended.stderr
    return out


def join(
    consortium: Consortium, invite: Path, name: str, org: str, *, index: int | None = None
) -> Member:
    """Run the one command of a new node in `nodes/<name>`; it does not run yet."""
    directory = consortium.directory / "nodes" / name
    p2p, api = free_ports(2)
    ended = run(
        "join",
        invite,
        *("--dir", directory, "--org", org, "--no-start"),
        *("--listen", f"127.0.0.1:{p2p}", "--api", f"127.0.0.1:{api}"),
        *(() if index is None else ("--index", str(index))),
        *("--passphrase-file", passphrase_path(consortium.directory)),
    )
    assert ended.returncode == 0, ended.stderr
    return Member(org=name, directory=directory.resolve(), url=f"http://127.0.0.1:{api}")


def claim_of(member: Member) -> NodeStatement:
    (path,) = member.directory.glob("node-*.claim")
    return load_wire(NodeStatement, path)


def start_joining(consortium: Consortium, name: str, org: str, index: int) -> Member:
    """Bring a new node in with one command; nobody has heard of it yet, and it follows."""
    member = join(consortium, write_invite(consortium), name, org, index=index)
    start_one(consortium, member)
    consortium.members.append(member)
    return member


async def admit(consortium: Consortium, member: Member, org: str) -> None:
    """Have the hospitals take a node as a learner, and wait until it votes."""
    count = members_count(consortium.members[0])
    await decide_change(consortium, AddValidator(node=claim_of(member)), org)
    await wait_members([*consortium.members[:4], member], count + 1)


async def wait_members(members: list[Member], count: int) -> None:
    """Wait until every one of these nodes has executed into an epoch of `count` members."""
    for member in members:
        await wait_member(member, count)


async def wait_member(member: Member, count: int) -> None:
    await wait_until_async(
        lambda: members_count(member) == count,
        lambda: (
            f"{member.org} has {members_count(member)} members, not {count}:"
            f" {member.log_file.read_text(encoding='utf-8')[-1500:]}"
        ),
        timeout_s=JOIN_S,
    )


def members_count(member: Member) -> int:
    try:
        return int(ask(member, "/v1/consensus")["members"])
    except (OSError, ValueError, KeyError):
        return 0


def make_rekeying(
    consortium: Consortium, member: Member, *, p2p_port: int | None = None
) -> RekeyValidator:
    """Make a node's next keys on its machine, as its operator does; it may move to another port."""
    config = load_config(member.directory / "node.toml")
    passphrase = passphrase_path(consortium.directory).read_text(encoding="utf-8").strip()
    keys = make_next_keys(
        member.directory / "keys", passphrase, created_ms=1, kdf=KDF_CHEAPEST, keeps_tls=False
    )
    claim = NodeClaim(
        index=ReplicaId(config.node_index),
        org=OrgId(member.org),
        vote_key=public_key(keys.vote).data,
        tls_pin=identity_of(keys).pin,
        p2p_address=f"{config.p2p.host}:{p2p_port or config.p2p.port}",
    )
    chain_id = chain_id_of(load_genesis(consortium.genesis))
    return RekeyValidator(node=sign_node_claim(claim, keys.vote, chain_id))


async def _epoch(client: Client) -> Epoch:
    latest, _ = await ask_view(client, get_latest_epoch, (LATEST_EPOCH_KEY,))
    return latest.epoch


async def _propose(client: Client, epoch: Epoch, change: Change) -> Digest:
    payload = Propose(epoch=epoch, expires_height=client.height + OPEN_BLOCKS, change=change)
    outcome = await _in_turn(client, "governance.propose", payload)
    return outcome.tx_id


async def _in_turn(client: Client, kind: str, payload: Any) -> Outcome:
    """Send, and again while another change of the set is on its way."""
    deadline = time.monotonic() + TURN_S
    while True:
        try:
            return await act(client, kind, payload)
        except Refused as refusal:
            if refusal.code != "governance.in_flight" or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)
