"""Attacks on who follows or learns: an address that dribbles, a key that changes too early."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from crypto.keystore import KDF_CHEAPEST
from crypto.signatures import public_key
from crypto.validators import ReplicaId
from shell import visits
from shell.keys import KEYSTORE_NAME, NEXT_KEYSTORE_NAME, load_node_keys
from shell.own_keys import learn_under, make_next_keys, open_own_keys
from tests.unit.p2p.loopback import until
from tests.unit.shell.test_own_keys import ME, PASSPHRASE, make_keys
from tests.unit.shell.test_visits_of_strangers import founded, invite_of, joined


async def test_an_address_that_never_ends_gives_way_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One block before each timeout would keep a node with a liar, and behind, for ever."""
    monkeypatch.setattr(visits, "VISIT_S", 0.0)
    caplog.set_level("INFO", logger="medledger.visits")
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(founded(tmp_path))
        await until(lambda: here.member.chain.tip.height >= 3 * visits.BLOCKS_PER_ASK)

        invite = invite_of(here, here.founder.p2p.port)
        stranger = await stack.enter_async_context(joined(here, invite))
        goal = 2 * visits.BLOCKS_PER_ASK
        await until(lambda: stranger.chain.tip.height >= goal)

    told = [one.__dict__["height"] for one in caplog.records if "by a visit" in one.message]
    assert told[0] == visits.BLOCKS_PER_ASK


def test_a_learner_that_is_re_keyed_goes_on_under_its_next_keys(tmp_path: Path) -> None:
    """Its index is in no set: nothing else would ever put them in force, and it could not vote."""
    keys = make_keys(tmp_path / "keys")
    former = keys.present
    new = make_next_keys(
        keys.directory, PASSPHRASE, created_ms=2, kdf=KDF_CHEAPEST, keeps_tls=False
    )
    wanted = public_key(new.vote).data

    is_early = learn_under(keys, public_key(former.vote).data)
    is_changed = learn_under(keys, wanted)
    is_again = learn_under(keys, wanted)

    assert (is_early, is_changed, is_again) == (False, True, False)
    assert keys.present == load_node_keys(keys.directory, PASSPHRASE) == new
    assert not (keys.directory / NEXT_KEYSTORE_NAME).exists()
    assert (keys.directory / KEYSTORE_NAME).exists()


def test_a_learner_keeps_its_keys_while_those_the_ledger_names_are_not_here(
    tmp_path: Path,
) -> None:
    keys = make_keys(tmp_path / "keys")
    before = keys.present

    is_changed = learn_under(keys, b"k" * 32)

    assert not is_changed
    assert open_own_keys(keys.directory, PASSPHRASE, ReplicaId(ME)).present == before
