"""What this home has seen of a chain, so that no node can show it the chain from before that.

The newest certified height: a certificate may be ten minutes old, and without this, whoever ended a
right could be shown, by a node that lies, the state in which it was still in force, and would seal
to the one who had it. And the changes of validators: whoever steals the keys of a former quorum
can lead those who know the founders alone into a chain of his own, but nobody who has seen the end
of that quorum's epoch.
"""

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Final

from client.epochs import EPOCHS_MAX, take_link
from client.errors import Untrusted
from client.trust import FOUNDING_EPOCH, Trust
from crypto.errors import DecodeError
from crypto.hashing import ChainId
from crypto.schema import decode, encode
from ledger.exchange import EpochLinks

SEEN_NAME: Final = "seen.json"
SEEN_BYTES_MAX: Final = 64 << 10
HEIGHT_END: Final = 2**63
EPOCHS_FOLDER: Final = "epochs"


def load_seen_height(home: Path, chain_id: ChainId) -> int:
    """Return the height kept for a chain, 0 if none is; a damaged file counts as none."""
    height = _load(home).get(chain_id.hex(), 0)
    return height if type(height) is int and 0 <= height < HEIGHT_END else 0


def load_seen_epochs(home: Path, trust: Trust) -> None:
    """Take every change of validators that is kept, each proven anew; stop at a damaged one."""
    for number in range(trust.epoch, EPOCHS_MAX):
        try:
            kept = decode(EpochLinks, _link_path(home, trust.chain_id, number).read_bytes())
            for link in kept.links:
                take_link(trust, link)
        except (OSError, DecodeError, Untrusted):
            return


def keep_seen(home: Path, trust: Trust) -> None:
    """Keep what was proven since: a higher height, and changes of validators.

    What another process has kept meanwhile stays. Two may prove different changes, if one talks to
    whoever has stolen the keys of former validators; the home goes on with those it saw first.
    """
    links = {
        _link_path(home, trust.chain_id, number): encode(EpochLinks(links=(link,)))
        for number, link in enumerate(trust.links)
    }
    if any(_content_of(path) != content for path, content in links.items()):
        kept = Trust(chain_id=trust.chain_id, sets={FOUNDING_EPOCH: trust.sets[FOUNDING_EPOCH]})
        load_seen_epochs(home, kept)
        common = min(kept.epoch, trust.epoch)
        if kept.sets[common] != trust.sets[common]:
            return
        for path, content in tuple(links.items())[kept.epoch :]:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, content)
    _keep_height(home, trust.chain_id, trust.height)


def _keep_height(home: Path, chain_id: ChainId, height: int) -> None:
    if height > load_seen_height(home, chain_id):
        text = json.dumps({**_load(home), chain_id.hex(): height})
        _write(home / SEEN_NAME, text.encode("ascii"))


def _link_path(home: Path, chain_id: ChainId, number: int) -> Path:
    return home / EPOCHS_FOLDER / chain_id.hex() / str(number)


def _content_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _write(path: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _load(home: Path) -> dict[str, object]:
    with contextlib.suppress(OSError, ValueError), (home / SEEN_NAME).open("rb") as stream:
        found = json.loads(stream.read(SEEN_BYTES_MAX))
        if isinstance(found, dict):
            return found
    return {}
