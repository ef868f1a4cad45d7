"""A node's own keys: the one it votes with and the one its connections show, in one keystore."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from crypto.errors import KeystoreCorrupt
from crypto.keystore import (
    Kdf,
    KeystoreContent,
    entry_sign_key,
    load_keystore,
    make_account_entry,
    save_keystore,
)
from crypto.record_ids import AccountId
from crypto.signatures import Scheme, SigningKey, account_id, make_signing_key, public_key
from p2p.identity import Identity, spki_pin

KEYSTORE_NAME: Final = "node.keystore"
NEXT_KEYSTORE_NAME: Final = "next.keystore"
"""Keys that were made to follow the present ones, until the ledger names them."""

VOTE_LABEL: Final = "vote"
TLS_LABEL: Final = "tls"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKeys:
    """`vote` is Ed25519, `tls` P-256; no key serves both."""

    vote: SigningKey
    tls: SigningKey


def make_node_keys() -> NodeKeys:
    return NodeKeys(vote=make_signing_key(Scheme.ED25519), tls=make_signing_key(Scheme.P256))


def save_node_keys(
    directory: Path,
    keys: NodeKeys,
    passphrase: str,
    *,
    created_ms: int,
    kdf: Kdf,
    name: str = KEYSTORE_NAME,
) -> None:
    """Write the keystore of a node; raises what `crypto.keystore.save_keystore` raises."""
    entries = tuple(
        make_account_entry(
            label=label,
            account_id=AccountId(account_id(public_key(key))),
            sign_key=key,
            seal_keys=(),
            created_ms=created_ms,
        )
        for label, key in ((VOTE_LABEL, keys.vote), (TLS_LABEL, keys.tls))
    )
    save_keystore(directory / name, KeystoreContent(accounts=entries), passphrase, kdf=kdf)


def load_node_keys(directory: Path, passphrase: str, *, name: str = KEYSTORE_NAME) -> NodeKeys:
    """Return the keys; raises what `crypto.keystore.load_keystore` raises."""
    path = directory / name
    entries = {entry.label: entry for entry in load_keystore(path, passphrase).accounts}
    if set(entries) != {VOTE_LABEL, TLS_LABEL}:
        raise KeystoreCorrupt(f"{path} is not the keystore of a node")
    return NodeKeys(
        vote=entry_sign_key(entries[VOTE_LABEL]), tls=entry_sign_key(entries[TLS_LABEL])
    )


def identity_of(keys: NodeKeys) -> Identity:
    """Return what the node shows on the wire; its pin stands in the founding document."""
    loaded = keys.tls.loaded
    assert isinstance(loaded, ec.EllipticCurvePrivateKey), "TLS keys are P-256"
    return Identity(private_key=loaded, pin=spki_pin(loaded.public_key()))
