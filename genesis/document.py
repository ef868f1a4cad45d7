"""The founding document: who founds the consortium, with which keys, nodes and parameters.

It is the tuple of what each founding organisation has signed about itself, under one invitation.
Its digest is the chain id, so every signature on the chain is bound to every word of it. The
founders sign before a chain id exists: the digest of the invitation stands in its place.

    invitation: chain name, time, parameters
    statement (one per organisation): name, agent, admins, nodes, signature of the first admin
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Final

from crypto.errors import InvalidKey, InvalidSignature
from crypto.hashing import ChainId, Digest, Domain, digest
from crypto.schema import U64, Bytes64, Count, Size, encode
from crypto.signatures import SignatureJob, check_job, signature_preimage
from crypto.validators import MEMBERS_MAX
from genesis.errors import GenesisConflict, GenesisInvitation, GenesisSignature
from ledger.accounts import OrgId, check_slug
from ledger.founders import ADMINS_AT_FOUNDING_MAX, FoundingAccount, check_founders, founder_jobs
from ledger.nodes import NodeStatement, node_statement_job
from ledger.parameters import Parameters

NODES_PER_ORGANISATION_MAX: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What founders are asked to found: the consortium's name, its first time, its parameters."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 1 << 10

    chain_name: Annotated[str, Size(1, 64)]
    created_ms: U64
    parameters: Parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementBody:
    """What an organisation says about itself; `invitation` is the digest of what it answers."""

    WIRE_VERSION: ClassVar[int] = 1

    invitation: Digest
    org: OrgId
    name: Annotated[str, Size(1, 128)]
    agent: FoundingAccount
    admins: Annotated[tuple[FoundingAccount, ...], Count(1, ADMINS_AT_FOUNDING_MAX)]
    nodes: Annotated[tuple[NodeStatement, ...], Count(0, NODES_PER_ORGANISATION_MAX)]

    def __post_init__(self) -> None:
        check_slug(self.org)
        check_founders(self.agent, self.admins)
        if any(node.claim.org != self.org for node in self.nodes):
            raise ValueError("a node names another organisation")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingStatement:
    """A statement signed by the organisation's first admin."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 64 << 10

    body: StatementBody
    signature: Bytes64


@dataclass(frozen=True, slots=True, kw_only=True)
class GenesisDocument:
    """The consortium on its first day; statements ascend by organisation."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 4 << 20

    invitation: Invitation
    statements: Annotated[tuple[FoundingStatement, ...], Count(1, 256)]

    def __post_init__(self) -> None:
        names = [statement.body.org for statement in self.statements]
        if any(one >= two for one, two in pairwise(names)):
            raise ValueError("statements are not strictly ascending by organisation")


def chain_id_of(document: GenesisDocument) -> ChainId:
    """Return the chain id that the document founds."""
    return ChainId(digest(Domain.GENESIS, encode(document)))


def invitation_digest(invitation: Invitation) -> Digest:
    """Return what stands in the place of the chain id while founders sign."""
    return digest(Domain.INVITATION, encode(invitation))


def check_document(document: GenesisDocument) -> None:
    """Raise a `GenesisError` unless every founder signed and no two of them collide."""
    for statement in document.statements:
        check_statement(statement, document.invitation)
    check_distinct(document)


def check_statement(statement: FoundingStatement, invitation: Invitation) -> None:
    """Raise a `GenesisError` unless the statement answers `invitation` and every key signed."""
    body = statement.body
    if body.invitation != invitation_digest(invitation):
        raise GenesisInvitation(f"{body.org} answers another invitation: name, time or parameters")
    for title, job in statement_jobs(statement):
        try:
            check_job(job)
        except (InvalidSignature, InvalidKey) as problem:
            raise GenesisSignature(f"{body.org}: {title}: {problem}") from problem


def statement_jobs(statement: FoundingStatement) -> Iterator[tuple[str, SignatureJob]]:
    """Yield every signature that a statement holds, with what it is."""
    body = statement.body
    chain_id = ChainId(body.invitation)
    for account in (body.agent, *body.admins):
        yield from founder_jobs(account, org=body.org, chain_id=chain_id)
    for node in body.nodes:
        yield f"vote key of node {node.claim.index}", node_statement_job(node, chain_id)
    signer = body.admins[0].sign_key
    preimage = signature_preimage(Domain.FOUNDING, chain_id, encode(body))
    yield "statement", SignatureJob(signer.scheme, signer.data, statement.signature, preimage)


def check_distinct(document: GenesisDocument) -> None:
    """Raise `GenesisConflict` where two founders claim one thing, or nobody runs a node."""
    nodes = [node.claim for one in document.statements for node in one.body.nodes]
    if not 1 <= len(nodes) <= MEMBERS_MAX:
        raise GenesisConflict(f"{len(nodes)} nodes found; 1 to {MEMBERS_MAX} may")
    accounts = [
        account.sign_key.data
        for one in document.statements
        for account in (one.body.agent, *one.body.admins)
    ]
    votes = [node.vote_key for node in nodes]
    claims: tuple[tuple[str, list[bytes] | list[str] | list[int]], ...] = (
        ("vote key", votes),
        ("account key", [*accounts, *votes]),
        ("node index", [int(node.index) for node in nodes]),
        ("TLS pin", [node.tls_pin for node in nodes]),
        ("address", [node.p2p_address for node in nodes]),
    )
    for title, values in claims:
        ordered = sorted(values)
        for one, two in pairwise(ordered):
            if one == two:
                shown = one.hex()[:16] if isinstance(one, bytes) else one
                raise GenesisConflict(f"two founders claim the {title} {shown}")
