"""A client walks from the founders' set to today's; each set has to vouch for the next."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api.ports import Submitted
from client.connection import open_client
from client.epochs import take_link
from client.errors import CertificateRejected
from client.people import list_organisations
from client.seen import EPOCHS_FOLDER, keep_seen, load_seen_epochs, load_seen_height
from client.trust import check_header, make_trust
from client.wallet import create_wallet
from crypto.hashing import Digest
from crypto.keystore import KDF_CHEAPEST
from crypto.validators import Epoch, ReplicaId
from crypto.votes import Height
from ledger.contracts.governance import FIRST_EPOCH, get_epoch
from ledger.exchange import EpochLink
from ledger.governance_payloads import Change, Propose, RemoveValidator, Vote
from ledger.replay import Status
from tests.unit.client.small_node import SmallNode, serve
from tests.unit.ledger.governance_samples import Council, admin
from tests.unit.ledger.small_consortium import NORTH, SOUTH, genesis


def accept(node: SmallNode, kind: str, payload: Any, by: str) -> Digest:
    answer = node.take(node.chain.signed(kind, payload, by), ())
    assert isinstance(answer, Submitted)
    assert answer.status.state is Status.COMMITTED, answer
    return answer.status.tx_id


def pass_change(node: SmallNode, change: Change, org: str) -> None:
    epoch, height = Council(chain=node.chain).epoch, node.tip().height
    payload = Propose(epoch=epoch, expires_height=height + 9, change=change)
    proposal = accept(node, "governance.propose", payload, admin(org))
    for voter in (NORTH, SOUTH):
        ballot = Vote(proposal=proposal, epoch=epoch, org=voter, accepts=True)
        accept(node, "governance.vote", ballot, admin(voter))
    node.seal_empty()
    node.seal_empty()


def change_twice(node: SmallNode) -> None:
    """Node 3 goes, then node 2 gets other keys."""
    council = Council(chain=node.chain)
    pass_change(node, RemoveValidator(index=ReplicaId(3)), SOUTH)
    pass_change(node, council.rekey(2, SOUTH, "node 2, second"), SOUTH)


def link(node: SmallNode, epoch: int) -> EpochLink:
    entry = get_epoch(node.view(), epoch)
    assert entry is not None
    sealed = node.sealed_header(Height(entry.first_height - 1))
    assert sealed is not None
    return EpochLink(sealed_header=sealed, validators=entry.validators)


async def test_state_is_believed_after_the_founders_set_has_changed(tmp_path: Path) -> None:
    async with serve(node := SmallNode()) as url:
        change_twice(node)
        wallet = create_wallet(tmp_path, "nine words that nobody guesses", kdf=KDF_CHEAPEST)
        async with open_client(url, genesis(), wallet) as client:
            found = await list_organisations(client)
            known = client.trust.epoch
            pass_change(node, RemoveValidator(index=ReplicaId(0)), NORTH)
            again = await list_organisations(client)

            assert [one.org for one in found] == [one.org for one in again] == [NORTH, SOUTH]
            assert (known, client.trust.epoch) == (2, 3)
            assert [one.index for one in client.trust.validators.members] == [1, 2]


def test_an_old_set_decides_nothing_after_its_time() -> None:
    """Whoever gets hold of old vote keys can sign with them, but for no height of a later epoch."""
    node, trust = SmallNode(), make_trust(genesis())
    change_twice(node)
    take_link(trust, link(node, 1))
    first = trust.ends[FIRST_EPOCH]
    last = node.sealed_header(Height(first - 1))
    assert last is not None
    header = replace(last.header, height=Height(first))
    late = node.certified.sealed(header, validators=trust.sets[FIRST_EPOCH])

    assert check_header(trust, last) == last.header
    with pytest.raises(CertificateRejected, match="epoch had ended"):
        check_header(trust, late)
    assert check_header(make_trust(genesis()), late) == header, "the signatures are good"


async def test_a_node_that_names_an_epoch_it_can_not_prove_is_not_believed(tmp_path: Path) -> None:
    async with serve(node := SmallNode()) as url:
        wallet = create_wallet(tmp_path, "nine words that nobody guesses", kdf=KDF_CHEAPEST)
        async with open_client(url, genesis(), wallet) as client:
            change_twice(node)
            entry = get_epoch(node.view(), 2)
            assert entry is not None
            del node.headers[entry.first_height - 1]

            with pytest.raises(CertificateRejected, match="cannot prove who votes in it"):
                await list_organisations(client)


async def test_a_home_that_has_seen_an_epoch_end_is_led_nowhere_by_its_keys(tmp_path: Path) -> None:
    wallet = create_wallet(tmp_path, "nine words that nobody guesses", kdf=KDF_CHEAPEST)
    async with serve(node := SmallNode()) as url:
        change_twice(node)
        async with open_client(url, genesis(), wallet) as client:
            await list_organisations(client)

    async with serve(thief := SmallNode()) as url:  # The founders' keys, and another chain.
        for _ in range(20):
            thief.seal_empty()
        async with open_client(url, genesis(), wallet) as client:
            with pytest.raises(CertificateRejected, match="epoch had ended"):
                await list_organisations(client)


def test_epochs_that_were_seen_are_known_again_up_to_the_first_that_is_damaged(
    tmp_path: Path,
) -> None:
    node, trust = SmallNode(), make_trust(genesis())
    change_twice(node)
    take_link(trust, link(node, 1))
    take_link(trust, link(node, 2))

    keep_seen(tmp_path, trust)
    load_seen_epochs(tmp_path, again := make_trust(genesis()))
    (tmp_path / EPOCHS_FOLDER / trust.chain_id.hex() / "1").write_bytes(b"\x00")
    load_seen_epochs(tmp_path, damaged := make_trust(genesis()))
    keep_seen(tmp_path, trust)
    load_seen_epochs(tmp_path, mended := make_trust(genesis()))

    assert (again.sets, again.ends, again.epoch) == (trust.sets, trust.ends, 2)
    assert (damaged.epoch, mended.epoch) == (1, 2)


def test_a_home_keeps_the_changes_it_saw_first_though_a_process_ends_later_that_saw_a_thief(
    tmp_path: Path,
) -> None:
    """Both began with the founders alone; the thief has their keys, and goes on for longer."""
    node, trust = SmallNode(), make_trust(genesis())
    change_twice(node)
    take_link(trust, link(node, 1))
    thief, fooled = SmallNode(), make_trust(genesis())
    pass_change(thief, RemoveValidator(index=ReplicaId(0)), NORTH)
    pass_change(thief, Council(chain=thief.chain).rekey(2, SOUTH, "node 2, second"), SOUTH)
    take_link(fooled, link(thief, 1))
    take_link(fooled, link(thief, 2))
    fooled.height = 2**40

    keep_seen(tmp_path, trust)
    keep_seen(tmp_path, fooled)
    load_seen_epochs(tmp_path, found := make_trust(genesis()))
    height = load_seen_height(tmp_path, trust.chain_id)
    take_link(trust, link(node, 2))
    keep_seen(tmp_path, trust)
    load_seen_epochs(tmp_path, later := make_trust(genesis()))

    assert trust.sets[Epoch(1)] != fooled.sets[Epoch(1)]
    assert (found.epoch, found.validators) == (1, trust.sets[Epoch(1)])
    assert height == found.height
    assert later.sets == trust.sets
