"""Nodes: what the ledger knows of every node that ever took part, and how one asks to.

A node's claim is signed by the vote key it names, so nobody enters another's key. Its account has
the role `node` and that key for its sign key: with it a node reports evidence and says that it is
ready. A key that votes no more has its account suspended for ever.

    governance/node/<index, u16 big-endian>   NodeEntry

Entries stay when a node is removed: no index is given away twice.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, ClassVar, Final

from crypto.hashing import ChainId, Domain
from crypto.record_ids import AccountId
from crypto.schema import U32, U64, Bytes32, Bytes64, Size, decode, encode
from crypto.signatures import (
    PublicKey,
    Scheme,
    SignatureJob,
    SigningKey,
    account_id,
    key_id,
    public_key,
    sign,
    signature_preimage,
)
from crypto.validators import ReplicaId, Validator
from ledger.accounts import Account, OrgId, Role, Status
from ledger.state import Overlay, StateView

NODE_PREFIX: Final = b"governance/node/"
NODES_MAX: Final = 65_536
"""So many indexes there are, those of removed nodes included."""

HOST_CHARACTERS_MAX: Final = 253
PORT_DIGITS_MAX: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeClaim:
    """What a node asks to be: a member's replica, reachable for its peers.

    `vote_key` is an Ed25519 public key; `tls_pin` the SHA-256 of the public key that the node's
    connections present; `p2p_address` is `host:port`.
    """

    WIRE_VERSION: ClassVar[int] = 1

    index: ReplicaId
    org: OrgId
    vote_key: Bytes32
    tls_pin: Bytes32
    p2p_address: Annotated[str, Size(3, 261)]

    def __post_init__(self) -> None:
        check_address(self.p2p_address)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatement:
    """A node's claim, signed by its vote key: for the chain, or for the invitation at founding."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 1 << 10

    claim: NodeClaim
    possession: Bytes64


class NodeStanding(Enum):
    """What a node may do: vote, learn until it is ready to, or nothing any more."""

    VOTING = "voting"
    LEARNER = "learner"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    """A node as the ledger has it after a block; what votes at a height, the epochs say.

    `former_tls_pin`, if any, is accepted of its connections until `former_until_height`.
    `changed_height` is the block of the last change; `evidence_count` counts its proven faults.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 1 << 10

    index: ReplicaId
    org: OrgId
    standing: NodeStanding
    vote_key: Bytes32
    tls_pin: Bytes32
    p2p_address: Annotated[str, Size(3, 261)]
    former_tls_pin: Bytes32 | None
    former_until_height: U64 | None
    changed_height: U64
    evidence_count: U32

    def __post_init__(self) -> None:
        check_address(self.p2p_address)
        if (self.former_tls_pin is None) != (self.former_until_height is None):
            raise ValueError("a former TLS pin and the height of its end come together")


def sign_node_claim(claim: NodeClaim, vote_key: SigningKey, chain_id: ChainId) -> NodeStatement:
    """Return the claim signed by the vote key it names."""
    assert vote_key.scheme is Scheme.ED25519, "nodes vote with Ed25519"
    assert public_key(vote_key).data == claim.vote_key, "the claim names this vote key"
    possession = sign(vote_key, Domain.KEY_POSSESSION, chain_id, encode(claim))
    return NodeStatement(claim=claim, possession=possession)


def node_statement_job(statement: NodeStatement, chain_id: ChainId) -> SignatureJob:
    """Return the check that the vote key itself made the claim."""
    claim = statement.claim
    preimage = signature_preimage(Domain.KEY_POSSESSION, chain_id, encode(claim))
    return SignatureJob(Scheme.ED25519, claim.vote_key, statement.possession, preimage)


def node_account_id(vote_key: bytes) -> AccountId:
    """Return the account that a vote key signs for; raise `ValueError` for bytes that are none."""
    return account_id(PublicKey(scheme=Scheme.ED25519, data=vote_key))


def make_node_account(org: OrgId, vote_key: bytes, height: int) -> Account:
    sign_key = PublicKey(scheme=Scheme.ED25519, data=vote_key)
    return Account(
        account_id=account_id(sign_key),
        org=org,
        role=Role.NODE,
        status=Status.ACTIVE,
        sign_key=sign_key,
        sign_key_id=key_id(sign_key),
        seal_key=None,
        seal_key_id=None,
        seal_binding=None,
        registered_height=height,
        specialty="",
        licence=None,
        categories=(),
        in_custody=False,
    )


def make_node_entry(claim: NodeClaim, standing: NodeStanding, height: int) -> NodeEntry:
    """Return the entry of a node that has just come."""
    return NodeEntry(
        index=claim.index,
        org=claim.org,
        standing=standing,
        vote_key=claim.vote_key,
        tls_pin=claim.tls_pin,
        p2p_address=claim.p2p_address,
        former_tls_pin=None,
        former_until_height=None,
        changed_height=height,
        evidence_count=0,
    )


def make_validator(node: NodeEntry | NodeClaim) -> Validator:
    """Return the node as a member of a replica set."""
    return Validator(index=node.index, org=node.org, vote_key=node.vote_key, tls_pin=node.tls_pin)


def node_key(index: int) -> bytes:
    return NODE_PREFIX + index.to_bytes(2, "big")


def get_node(view: StateView, index: int) -> NodeEntry | None:
    encoded = view.get(node_key(index))
    return None if encoded is None else decode(NodeEntry, encoded)


def get_nodes(view: StateView) -> Iterator[NodeEntry]:
    """Yield every node that there is or was, by index."""
    for _, encoded in view.scan(NODE_PREFIX, limit=NODES_MAX):
        yield decode(NodeEntry, encoded)


def has_node_entry(keys: Iterable[bytes]) -> bool:
    """Whether one of the keys is that of a node's entry."""
    return any(key.startswith(NODE_PREFIX) for key in keys)


def put_node(state: Overlay, entry: NodeEntry) -> None:
    state.put(node_key(entry.index), encode(entry))


def check_address(address: str) -> None:
    """Raise `ValueError` unless `address` is `host:port`, an IPv6 host in brackets.

    Whatever passes here every node dials (`p2p.config.PeerAddress`): names of other alphabets are
    written in their ASCII form.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"{address!r} is not host:port")
    if len(port) > PORT_DIGITS_MAX or not 0 < int(port) < 65_536:
        raise ValueError(f"port {port} is not in 1..65535")
    is_bracketed = host[0] == "[" and host[-1] == "]"
    name = host[1:-1] if is_bracketed else host
    if any(character in name for character in "[]") or (":" in name and not is_bracketed):
        raise ValueError(f"{host!r} is not a host; write an IPv6 address in brackets")
    is_plain = name.isascii() and name.isprintable() and " " not in name
    if not 1 <= len(name) <= HOST_CHARACTERS_MAX or not is_plain:
        raise ValueError(
            f"{host!r} is not a host: at most {HOST_CHARACTERS_MAX} ASCII characters without spaces"
        )
