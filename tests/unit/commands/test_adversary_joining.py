"""Joining with keys that were there before: they may have voted, whatever the invite says."""

from dataclasses import replace
from pathlib import Path

import pytest

from commands.joining import Wishes, prepare
from config import Endpoint
from crypto.keystore import KDF_CHEAPEST
from crypto.validators import ReplicaId
from genesis.files import parse_wire
from genesis.invite import Invite, KnownNode
from genesis.state import founding_validators
from shell.keys import make_node_keys, save_node_keys
from storage.layout import NodeLayout, make_layout
from tests.unit.ledger.small_consortium import SOUTH, genesis

PASSPHRASE = "nine words that nobody guesses"
REPLACED = ReplicaId(3)


def invite_of_old() -> Invite:
    """An invite from before node 3 was re-keyed: it does not know the key that votes today."""
    known = KnownNode(index=REPLACED, org="south", tls_pin=b"o" * 32, p2p_address="127.0.0.1:9703")
    return Invite(
        genesis=genesis(),
        free_index=ReplicaId(9),
        nodes=(known,),
        validators=founding_validators(genesis()),
        sealed_header=b"not looked at here",
    )


def wishes(index: ReplicaId | None) -> Wishes:
    return Wishes(
        org=SOUTH,
        listen=Endpoint(port=9703),
        advertise="127.0.0.1:9703",
        api=Endpoint(port=9803),
        api_origin="",
        index=index,
    )


def test_keys_from_elsewhere_get_no_new_journal(tmp_path: Path) -> None:
    """With a fresh journal it would vote a second time where it has voted, and raise no fence."""
    layout = make_layout(tmp_path / "node")
    save_node_keys(layout.keys, make_node_keys(), PASSPHRASE, created_ms=1, kdf=KDF_CHEAPEST)

    prepare(layout.root, invite_of_old(), PASSPHRASE, wishes(REPLACED))

    assert list(layout.journal.iterdir()) == []


def test_keys_that_are_made_here_have_signed_nothing(tmp_path: Path) -> None:
    prepare(tmp_path / "node", invite_of_old(), PASSPHRASE, wishes(None))

    assert list((tmp_path / "node" / "journal").iterdir())


def test_a_preparation_that_was_broken_off_can_be_done_again(tmp_path: Path) -> None:
    joined = prepare(tmp_path / "node", invite_of_old(), PASSPHRASE, wishes(None))
    (joined.directory / "node.toml").unlink()  # Killed before the last file was written.

    again = prepare(tmp_path / "node", invite_of_old(), PASSPHRASE, wishes(None))

    assert again == joined
    assert (joined.directory / "node.toml").exists()


def test_a_node_that_is_there_needs_no_wishes_and_a_new_one_does(tmp_path: Path) -> None:
    """A newer invite tells a node that slept where the members are: it is the whole command."""
    made = prepare(tmp_path / "node", invite_of_old(), PASSPHRASE, wishes(None))
    newer = replace(invite_of_old(), free_index=ReplicaId(10))

    again = prepare(tmp_path / "node", newer, PASSPHRASE, None)

    assert (again.index, again.claim) == (made.index, made.claim)
    kept = parse_wire(Invite, NodeLayout(tmp_path / "node").invite.read_bytes(), title="invite")
    assert kept == newer
    with pytest.raises(ValueError, match="--org and --listen"):
        prepare(tmp_path / "other", newer, PASSPHRASE, None)
