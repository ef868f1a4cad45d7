"""The one file with which a new node joins: the founding document, and where the chain is now.

A member's node or its admin makes it. It names the addresses at which the members' nodes listen
and the keys they show, and one certified header with the replica set that decided it: a chain that
does not hold that block is another chain, whoever serves it with keys of long ago. It is no secret
and gives no right; it has to come from somebody the reader believes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from crypto.errors import DecodeError, InvalidCertificate
from crypto.hashing import ChainId, Digest
from crypto.schema import Bytes32, Count, Name, Size, decode
from crypto.validators import ReplicaId, ValidatorSet
from crypto.votes import check_commit_certificate
from genesis.document import GenesisDocument, chain_id_of, check_document
from genesis.errors import GenesisDamaged, GenesisError
from genesis.files import dump_wire, parse_wire, read_file
from ledger.blocks import header_digest
from ledger.exchange import SealedHeader
from ledger.nodes import check_address

NODES_MAX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNode:
    """A node as the ledger named it when the invite was made; `p2p_address` is `host:port`."""

    index: ReplicaId
    org: Name
    tls_pin: Bytes32
    p2p_address: Annotated[str, Size(3, 261)]

    def __post_init__(self) -> None:
        check_address(self.p2p_address)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite:
    """What a new node needs to begin.

    `free_index` is an index that no node has had; `sealed_header` is a `SealedHeader`, canonically
    encoded, of a block that `validators` decided.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 5 << 20

    genesis: GenesisDocument
    free_index: ReplicaId
    nodes: Annotated[tuple[KnownNode, ...], Count(1, NODES_MAX)]
    validators: ValidatorSet
    sealed_header: Annotated[bytes, Size(1, 64 << 10)]

    @property
    def chain_id(self) -> ChainId:
        return chain_id_of(self.genesis)

    def header(self) -> SealedHeader:
        return decode(SealedHeader, self.sealed_header)

    def anchor(self) -> tuple[int, Digest]:
        """Return height and digest of the block that the chain must hold."""
        header = self.header().header
        return header.height, header_digest(header)


def dump_invite(invite: Invite) -> bytes:
    """Return the text of an invite's file."""
    return dump_wire(invite)


def load_invite(path: Path) -> Invite:
    """Return the checked invite in `path`; raise a `GenesisError` that names the file."""
    invite = parse_wire(Invite, read_file(path), title=path)
    try:
        check_document(invite.genesis)
        check_invite(invite)
    except GenesisError as problem:
        raise type(problem)(f"{path}: {problem}") from problem
    return invite


def check_invite(invite: Invite) -> None:
    """Raise `GenesisDamaged` unless its validators decided its header, on its chain."""
    try:
        sealed = invite.header()
        header, certificate = sealed.header, sealed.certificate
        if header.chain_id != invite.chain_id:
            raise GenesisDamaged("the header is of another chain than the founding document")
        if header.validators != invite.validators.digest():
            raise GenesisDamaged("the header names other validators")
        if (certificate.height, certificate.digest) != (header.height, header_digest(header)):
            raise GenesisDamaged("the certificate is not that of the header")
        check_commit_certificate(
            certificate, invite.validators, invite.chain_id, epoch=header.epoch
        )
    except (DecodeError, InvalidCertificate) as problem:
        raise GenesisDamaged(f"the header is not certified: {problem}") from problem
