"""One real node of a consortium of four, and a peer in this process that hears what it says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.scene.local import free_ports
from config import Endpoint, Timeouts, load_config
from consensus.events import MessageReceived
from consensus.messages import Echo, Message, decode_message
from crypto.keystore import KDF_CHEAPEST
from crypto.record_ids import AccountId
from crypto.signatures import account_id, public_key
from crypto.validators import ReplicaId
from crypto.votes import Height
from genesis.document import GenesisDocument, Invitation
from ledger.identity_payloads import Suspend
from ledger.parameters import Parameters
from ledger.transactions import make_transaction, sign_transaction
from node import Node, running_node
from p2p.config import NetworkConfig
from p2p.network import Network
from shell.clock import Clock
from shell.founding import Founder, found, make_founder, write_node_directory
from shell.keys import identity_of
from shell.kinds import KIND_RULES, Kind
from shell.membership import peers_of
from shell.replica import deliver
from tests.unit.p2p.loopback import until

PASSPHRASE = "nine words that nobody guesses"
MEMBERS = 4
ME, PEER = 0, 1


@dataclass(slots=True, kw_only=True)
class Hearing:
    """A peer's network with what has arrived there: (kind, body), in order."""

    network: Network
    heard: list[tuple[int, bytes]] = field(default_factory=list)

    def messages(self, start: int = 0) -> list[Message]:
        return [decode_message(body) for kind, body in self.heard[start:] if kind == Kind.CONSENSUS]


@dataclass(slots=True, kw_only=True)
class OneOfFour:
    """A founded consortium, of which `node` runs; it leads the first view."""

    founders: list[Founder]
    document: GenesisDocument
    node: Node
    peer: Hearing

    def signed(self, nonce: int = 1) -> bytes:
        """A transaction that the node takes in."""
        admin = self.founders[ME].admin.sign_key
        now_ms = Clock().now_ms()
        body = make_transaction(
            chain_id=self.node.chain.chain_id,
            sender=account_id(public_key(admin)),
            kind="identity.suspend",
            payload=Suspend(account_id=AccountId(bytes(32)), reason="test"),
            valid_from_ms=now_ms,
            valid_until_ms=now_ms + 60_000,
            nonce=nonce.to_bytes(16, "big"),
        )
        return sign_transaction(body, admin)


@asynccontextmanager
async def running_one(folder: Path) -> AsyncIterator[OneOfFour]:
    """Found four hospitals, run the node of the first, and let the second one listen."""
    ports = free_ports(MEMBERS + 1)
    founders = [
        make_founder(f"hospital-{number}", f"Hospital {number}", number, Endpoint(port=port))
        for number, port in enumerate(ports[:MEMBERS])
    ]
    now_ms = Clock().now_ms()
    document = found(
        founders,
        Invitation(chain_name="one of four", created_ms=now_ms, parameters=Parameters()),
    )
    write_node_directory(
        folder,
        founders[ME],
        document,
        PASSPHRASE,
        api=Endpoint(port=ports[MEMBERS]),
        created_ms=now_ms,
        timeouts=Timeouts(base_timeout_ms=200, timeout_cap_ms=1_000, status_ms=50),
        kdf=KDF_CHEAPEST,
    )
    config = load_config(folder / "node.toml")
    async with (
        running_node(config, PASSPHRASE) as node,
        _listening(node, founders[PEER]) as peer,
    ):
        await until(lambda: PEER in node.network.connected() and bool(peer.network.connected()))
        _answer_start(node)
        await until(lambda: node.replica.state.listening is None)
        yield OneOfFour(founders=founders, document=document, node=node, peer=peer)


def _answer_start(node: Node) -> None:
    """Two others have heard this start, and remember nothing of it."""
    for other in (PEER, 2):
        answer = Echo(
            boot_id=node.replica.state.config.boot_id,
            boots=(),
            vote=None,
            height=Height(1),
            certificate=None,
        )
        deliver(node.replica, MessageReceived(sender=ReplicaId(other), message=answer))


@asynccontextmanager
async def _listening(node: Node, founder: Founder) -> AsyncIterator[Hearing]:
    heard: list[tuple[int, bytes]] = []
    network = Network(
        NetworkConfig(host="127.0.0.1", port=founder.p2p.port, kinds=KIND_RULES),
        identity_of(founder.node_keys),
        self_id=PEER,
        peers=peers_of(node.chain),
        on_frame=lambda _peer, kind, body: heard.append((kind, body)),
    )
    await network.start()
    try:
        yield Hearing(network=network, heard=heard)
    finally:
        await network.close()
