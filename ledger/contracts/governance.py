"""Governance: the members, their nodes, the replica set and the parameters.

Genesis writes the first of everything (`genesis.state`); the kinds that change them by ballot come
with the governance issue. Keys of its tables beside those of `ledger.accounts`:

    governance/parameters          Parameters
    governance/validators          ValidatorSet: of the height after the next
    governance/node/<index, u16 big-endian>   NodeEntry
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar, Final

from crypto.schema import Size, decode, encode
from crypto.validators import MEMBERS_MAX, ReplicaId, ValidatorSet
from ledger.accounts import Organisation, organisation_key
from ledger.contract import Kind
from ledger.parameters import PARAMETERS_KEY, Parameters
from ledger.state import Overlay, StateView

VALIDATORS_KEY: Final = b"governance/validators"
NODE_PREFIX: Final = b"governance/node/"

KINDS: Final[tuple[Kind, ...]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEntry:
    """Where the node of the replica `index` listens for its peers, as `host:port`."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 512

    index: ReplicaId
    p2p_address: Annotated[str, Size(3, 261)]

    def __post_init__(self) -> None:
        check_address(self.p2p_address)


def get_validators(view: StateView) -> ValidatorSet:
    """Return the replica set in this state: after block h, that of height h + 2."""
    encoded = view.get(VALIDATORS_KEY)
    assert encoded is not None, "genesis wrote the replica set"
    return _validators(encoded)


def get_nodes(view: StateView) -> Iterator[NodeEntry]:
    """Yield every node's entry, by index."""
    for _, encoded in view.scan(NODE_PREFIX, limit=MEMBERS_MAX):
        yield decode(NodeEntry, encoded)


def put_parameters(state: Overlay, parameters: Parameters) -> None:
    state.put(PARAMETERS_KEY, encode(parameters))


def put_validators(state: Overlay, validators: ValidatorSet) -> None:
    state.put(VALIDATORS_KEY, encode(validators))


def put_node(state: Overlay, entry: NodeEntry) -> None:
    state.put(NODE_PREFIX + entry.index.to_bytes(2, "big"), encode(entry))


def put_organisation(state: Overlay, organisation: Organisation) -> None:
    state.put(organisation_key(organisation.org), encode(organisation))


def check_address(address: str) -> None:
    """Raise `ValueError` unless `address` is `host:port`, an IPv6 host in brackets."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"{address!r} is not host:port")
    if not 0 < int(port) < 65_536:
        raise ValueError(f"port {port} is not in 1..65535")
    if any(character.isspace() for character in host) or (":" in host and host[0] != "["):
        raise ValueError(f"{host!r} is not a host; write an IPv6 address in brackets")


@lru_cache(maxsize=8)
def _validators(encoded: bytes) -> ValidatorSet:
    return decode(ValidatorSet, encoded)
