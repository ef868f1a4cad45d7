"""The directory `keys/` of a simulated node: two keystores in memory, used by `shell.own_keys`.

What a node decides about its keys is the shell's own code. Only the files are not there: reading
the next keys, and overwriting and renaming when the former are destroyed. A TLS key is its own pin.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from crypto.hashing import ChainId
from crypto.signatures import Scheme, SigningKey, public_key
from crypto.validators import ReplicaId
from ledger.accounts import OrgId
from ledger.nodes import NodeClaim, NodeStatement, sign_node_claim
from p2p.identity import Identity
from shell import membership, own_keys
from shell.keys import NodeKeys
from shell.own_keys import OwnKeys
from tests.simulation.memory_database import DiskState
from tests.unit.ledger.small_consortium import seed, signing_key


@dataclass(slots=True, kw_only=True)
class Keystore:
    """What is on the disk of the keys: `present` is None while it is overwritten with zeros."""

    disk: DiskState
    present: NodeKeys | None
    following: NodeKeys | None = None


def make_keystore(disk: DiskState, replica: int) -> Keystore:
    """The keystore of a node as `init` leaves it."""
    return Keystore(disk=disk, present=make_keys(replica))


@cache
def make_keys(replica: int, vote: int = 0, tls: int = 0) -> NodeKeys:
    """The keys of a node: the first, or those after so many replacements of each."""
    return NodeKeys(
        vote=signing_key(f"node {_label(replica, vote)}", Scheme.ED25519),
        tls=SigningKey(scheme=Scheme.P256, secret=seed(f"tls {_label(replica, tls)}")),
    )


def _label(replica: int, generation: int) -> str:
    return f"{replica}, changed {generation}" if generation else f"{replica}"


def vote_key_of(keys: NodeKeys) -> bytes:
    return known_public_key(keys.vote).data


def pin_of(keys: NodeKeys) -> bytes:
    return keys.tls.secret


def shown_by(keys: NodeKeys) -> Identity:
    """What a node shows on the wire, as far as anybody looks here: its pin."""
    return cast("Identity", SimpleNamespace(pin=pin_of(keys)))


@cache
def make_statement(replica: int, org: OrgId, keys: NodeKeys, chain_id: ChainId) -> NodeStatement:
    """What a node asks to be, under keys that it has."""
    claim = NodeClaim(
        index=ReplicaId(replica),
        org=org,
        vote_key=vote_key_of(keys),
        tls_pin=pin_of(keys),
        p2p_address=f"127.0.0.1:{7_000 + replica}",
    )
    return sign_node_claim(claim, keys.vote, chain_id)


def open_keys(store: Keystore, replica: ReplicaId) -> OwnKeys:
    """Do what `shell.own_keys.open_own_keys` does, a change that was interrupted included."""
    if store.present is None:
        _promote(store)
    assert store.present is not None, "the zeros lie beside the keys that follow"
    return OwnKeys(
        directory=cast("Path", store),
        replica=replica,
        passphrase="",
        present=store.present,
        following=store.following,
    )


def keep_keys_in_memory(patch: pytest.MonkeyPatch) -> None:
    """Let the shell find keys in `Keystore`s; the pin of a TLS key is the key itself."""
    patch.setattr(own_keys, "_find_following", _find_following)
    patch.setattr(own_keys, "_destroy_former", _destroy_former)
    patch.setattr(own_keys, "public_key", known_public_key)
    patch.setattr(membership, "identity_of", shown_by)


known_public_key = cache(public_key)


def _store_of(keys: OwnKeys) -> Keystore:
    return cast("Keystore", keys.directory)


def _find_following(keys: OwnKeys) -> None:
    keys.following = _store_of(keys).following or keys.following


def _destroy_former(keys: OwnKeys) -> None:
    store = _store_of(keys)
    store.disk.on_call("overwriting a key")
    store.present = None
    store.disk.on_call("renaming a keystore")
    _promote(store)
    keys.former = None


def _promote(store: Keystore) -> None:
    store.present, store.following = store.following, None
