"""Damage in one place does not end the search for damage in all others."""

from crypto.cid import Cid
from ledger.records_state import seal_key
from shell.scrubbing import scrub_once
from storage.keys import state_key
from tests.unit.shell.test_scrubbing import Scrubbed, scrubbed

__all__ = ["scrubbed"]  # A fixture of the neighbour.


async def test_a_state_entry_that_does_not_decode_is_put_right_all_the_same(
    scrubbed: Scrubbed,
) -> None:
    """Who looks for missing blobs reads the seals before their entries have been looked at."""
    ((key, value),) = scrubbed.damaged.view().scan(seal_key(Cid(b"")), limit=1)
    scrubbed.overwrite(state_key(key), b"\xff" + value[1:])
    await scrubbed.live.decide()  # Views show the disk of their block.

    await scrub_once(scrubbed.scrubbing)

    assert scrubbed.scrubbing.passes == 1
    assert scrubbed.damaged.stored.database.get(state_key(key)) == value
    assert scrubbed.scrubbing.mended["state.corrupt"] == 1
