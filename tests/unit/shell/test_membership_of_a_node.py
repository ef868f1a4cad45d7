"""Who is connected under which keys, around a change of the set."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.keystore import KDF_CHEAPEST
from crypto.validators import ReplicaId, ValidatorSet
from ledger.nodes import check_address, get_node
from p2p.config import PeerAddress
from shell.chain import Chain
from shell.keys import make_node_keys, save_node_keys
from shell.membership import (
    ForeignKeys,
    Invited,
    MembershipError,
    NotAMember,
    check_own_keys,
    is_mute,
    own_id,
    peers_for,
    peers_of,
    pins_of,
    split_address,
)
from shell.own_keys import OwnKeys, open_own_keys
from tests.unit.shell.live_chain import make_live_chain

PASSPHRASE = "nine words that nobody guesses"
NEW_PIN = b"n" * 32
STRANGER = ReplicaId(9)


def chain_in(folder: Path) -> Chain:
    return make_live_chain(folder).chain


def without(validators: ValidatorSet, index: int) -> ValidatorSet:
    return ValidatorSet(members=tuple(one for one in validators.members if one.index != index))


def with_pin(validators: ValidatorSet, index: int, pin: bytes) -> ValidatorSet:
    return ValidatorSet(
        members=tuple(
            replace(one, tls_pin=pin) if one.index == index else one for one in validators.members
        )
    )


def foreign_keys(folder: Path, index: int) -> OwnKeys:
    folder.mkdir(mode=0o700)
    save_node_keys(folder, make_node_keys(), PASSPHRASE, created_ms=1, kdf=KDF_CHEAPEST)
    return open_own_keys(folder, PASSPHRASE, ReplicaId(index))


def test_a_removed_member_is_a_peer_until_the_first_block_without_it_is_decided(
    tmp_path: Path,
) -> None:
    chain = chain_in(tmp_path)
    four, three = chain.next_set, without(chain.next_set, 1)
    seen = []
    for sets in ((four, four, three), (four, three, three), (three, three, three)):
        chain.tip_set, chain.next_set, chain.later_set = sets
        seen.append([peer.peer_id for peer in peers_of(chain)])

    assert seen == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 2, 3]]


def test_a_new_member_is_a_peer_two_blocks_before_it_votes(tmp_path: Path) -> None:
    chain = chain_in(tmp_path)
    four, three = chain.next_set, without(chain.next_set, 1)
    chain.tip_set, chain.next_set, chain.later_set = three, three, four

    assert [peer.peer_id for peer in peers_of(chain)] == [0, 1, 2, 3]
    assert own_id(chain, ReplicaId(1)) == 1
    assert own_id(chain, ReplicaId(7)) is None


def test_a_member_with_a_new_key_is_expected_under_both_while_they_overlap(tmp_path: Path) -> None:
    chain = chain_in(tmp_path)
    entry = get_node(chain.view(), 1)
    assert entry is not None
    old_pin = entry.tls_pin
    renewed = replace(entry, tls_pin=NEW_PIN, former_tls_pin=old_pin, former_until_height=20)
    before, after = chain.next_set, with_pin(chain.next_set, 1, NEW_PIN)

    while_both_vote = pins_of(renewed, 9, (after, before, before))
    overlapping = pins_of(renewed, 19, (after, after, after))
    afterwards = pins_of(renewed, 20, (after, after, after))

    assert pins_of(entry, 8, (before, before, before)) == [old_pin]
    assert while_both_vote == overlapping == [NEW_PIN, old_pin]
    assert afterwards == [NEW_PIN]


@pytest.mark.parametrize(
    ("index", "error"), [(1, ForeignKeys), (9, NotAMember)], ids=["other keys", "nobody"]
)
def test_a_node_that_can_only_be_a_mistake_does_not_start(
    tmp_path: Path, index: int, error: type[MembershipError]
) -> None:
    keys = foreign_keys(tmp_path / "keys", index)

    with pytest.raises(error, match=str(index)):
        check_own_keys(chain_in(tmp_path), keys, is_new=True)


def test_a_node_that_ran_before_starts_at_a_height_that_does_not_know_its_present_keys(
    tmp_path: Path,
) -> None:
    """Its ledger was moved aside, or put back from a backup, after it was re-keyed."""
    keys, chain = foreign_keys(tmp_path / "keys", 1), chain_in(tmp_path)

    check_own_keys(chain, keys, is_new=False)

    assert is_mute(chain, keys, chain.next_set), "it signs nothing there"


def test_the_nodes_of_an_invite_are_peers_until_the_chain_here_has_its_block(
    tmp_path: Path,
) -> None:
    chain = chain_in(tmp_path)
    pins = {peer.peer_id: peer.pin for peer in peers_of(chain)}
    invited = Invited(height=chain.tip.height + 1, peers=(peer(1, NEW_PIN), peer(7, b"7" * 32)))
    reached = replace(invited, height=chain.tip.height)

    stranger, member = peers_for(chain, STRANGER, invited), peers_for(chain, ReplicaId(0), invited)

    assert [(one.peer_id, one.pins) for one in stranger] == [(1, (NEW_PIN,)), (7, (b"7" * 32,))]
    assert [(one.peer_id, one.pins) for one in member] == [
        (0, (pins[0],)),
        (1, (NEW_PIN, pins[1])),
        (2, (pins[2],)),
        (3, (pins[3],)),
        (7, (b"7" * 32,)),
    ]
    assert peers_for(chain, STRANGER, reached) == peers_of(chain)
    assert peers_for(chain, ReplicaId(0), reached) == peers_of(chain)
    assert peers_for(chain, STRANGER, None) == ()
    assert peers_for(chain, ReplicaId(7), invited) == (peer(1, NEW_PIN),)


def test_a_peer_that_changes_keys_while_a_node_joins_is_expected_under_both(tmp_path: Path) -> None:
    chain = chain_in(tmp_path)
    before = {one.peer_id: one.pin for one in peers_of(chain)}
    four = chain.next_set
    chain.later_set = with_pin(four, 1, NEW_PIN)
    invited = Invited(height=chain.tip.height + 1, peers=(peer(1, before[1]),))

    found = {one.peer_id: one.pins for one in peers_for(chain, ReplicaId(0), invited)}

    assert found[1] == (before[1], NEW_PIN)


def peer(index: int, pin: bytes) -> PeerAddress:
    return PeerAddress(peer_id=index, host="127.0.0.1", port=7400, pin=pin)


@pytest.mark.parametrize(
    "address",
    [
        "[]:7400",
        "[[[:7400",
        "[::1:7400",
        "\u00e9.example:7400",
        "a\x00b:7400",
        "a\x7f:7400",
        "\u200b:7400",
        f"{'x' * 254}:7400",
        "host:007400",
        "host:\u0661",
    ],
)
def test_no_address_comes_into_the_ledger_that_a_node_could_not_take(address: str) -> None:
    """One hospital's new address would stop every node at that block, and each time it starts."""
    with pytest.raises(ValueError, match=r"host|port"):
        check_address(address)


@pytest.mark.parametrize(
    "address", ["node.example:7400", "10.0.0.1:1", "[::1]:65535", f"[{'f' * 253}]:65535"]
)
def test_whatever_address_the_ledger_takes_is_one_of_a_peer(address: str) -> None:
    check_address(address)

    host, port = split_address(address)

    assert PeerAddress(peer_id=1, host=host, port=port, pin=NEW_PIN).port == port


@given(st.text(min_size=1, max_size=8), st.text(alphabet="0123456789", min_size=1, max_size=6))
def test_an_address_is_refused_by_the_ledger_or_taken_by_the_network(host: str, port: str) -> None:
    address = f"{host}:{port}"
    try:
        check_address(address)
    except ValueError:
        return
    name, number = split_address(address)

    peer = PeerAddress(peer_id=1, host=name, port=number, pin=NEW_PIN)

    assert (peer.host, peer.port) == (name, number)
