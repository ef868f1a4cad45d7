"""Making the file with which a new node joins, from what a node can prove about the chain now."""

from typing import Final

from client.epochs import follow_epochs
from client.errors import AnswerRejected
from client.http import Node, get_bytes
from client.proving import now_ms, scan_entries
from client.trust import check_fresh, check_header, make_trust
from crypto.errors import DecodeError
from crypto.schema import decode, encode
from crypto.validators import ReplicaId, set_number
from genesis.document import GenesisDocument
from genesis.invite import Invite, KnownNode
from ledger.exchange import SealedHeader
from ledger.nodes import NODE_PREFIX, NodeStanding, get_nodes

_LATEST: Final = "/v1/headers/latest"


async def make_invite(node: Node, document: GenesisDocument) -> Invite:
    """Return an invite to the chain of `document`, as of the node's newest certified block.

    Raises `Untrusted` for what the node cannot prove, `AnswerRejected` and `NotReachable`.
    """
    trust = make_trust(document)
    view = await scan_entries(node, trust, NODE_PREFIX)
    nodes = list(get_nodes(view))
    body = await get_bytes(node, _LATEST, bytes_max=SealedHeader.WIRE_BYTES_MAX)
    try:
        sealed = decode(SealedHeader, body)
    except DecodeError as problem:
        raise AnswerRejected(f"{_LATEST}: not a sealed header: {problem}") from problem
    await follow_epochs(node, trust, sealed.header.epoch)
    header = check_header(trust, sealed)
    check_fresh(trust, header, now_ms=now_ms(), at_least_height=0)
    return Invite(
        genesis=document,
        free_index=ReplicaId(max(entry.index for entry in nodes) + 1),
        nodes=tuple(
            KnownNode(
                index=entry.index,
                org=entry.org,
                tls_pin=entry.tls_pin,
                p2p_address=entry.p2p_address,
            )
            for entry in nodes
            if entry.standing is not NodeStanding.REMOVED
        ),
        validators=trust.sets[set_number(header.epoch)],
        sealed_header=encode(sealed),
    )
