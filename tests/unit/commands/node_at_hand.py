"""A small node in a thread of its own, and a home whose wallet holds everybody's keys.

Commands bring their own event loop, so the node they talk to has to run in another thread.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client.connection import GENESIS_NAME
from client.wallet import KEYSTORE_NAME
from commands.home import NODES_NAME
from crypto.keystore import (
    KDF_CHEAPEST,
    KeystoreContent,
    load_keystore,
    make_account_entry,
    save_keystore,
)
from genesis.files import dump_genesis
from tests.unit.client.small_node import SmallNode, serve
from tests.unit.commands.command_line import Ended, invoke
from tests.unit.ledger.small_consortium import (
    CREATED_MS,
    account_of,
    genesis,
    seal_private_key,
    signing_key,
)

PASSPHRASE = "nine words that nobody guesses"
ADMIN, SOUTH_ADMIN, AGENT = "admin-north", "admin-south", "agent-north"
FOUNDERS = {
    ADMIN: "first admin of north",
    SOUTH_ADMIN: "first admin of south",
    AGENT: "agent of north",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeAtHand:
    """`home` holds the wallet, the founding document and the node's address."""

    url: str
    home: Path

    def invoke(self, *words: object, by: str | None = None) -> Ended:
        """Run a command of a user of this home, as `by`."""
        actor = () if by is None else ("--as", by)
        return invoke(*words, "--home", self.home, *actor)


@contextmanager
def serve_in_thread(home: Path, node: SmallNode | None = None) -> Iterator[NodeAtHand]:
    ready: list[str] = []
    is_up, is_over = threading.Event(), threading.Event()

    async def work() -> None:
        async with serve(node or SmallNode()) as url:
            ready.append(url)
            is_up.set()
            await asyncio.to_thread(is_over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    try:
        assert is_up.wait(60), "the node starts"
        write_home(home, ready[0])
        yield NodeAtHand(url=ready[0], home=home)
    finally:
        is_over.set()
        thread.join()


def write_home(home: Path, url: str) -> None:
    """Write what a user of the consortium has: founders' keys, the pinned document, an address."""
    entries = [
        make_account_entry(
            label=label,
            account_id=account_of(key),
            sign_key=signing_key(key),
            seal_keys=(seal_private_key(key),),
            created_ms=CREATED_MS,
        )
        for label, key in sorted(FOUNDERS.items())
    ]
    content = KeystoreContent(accounts=tuple(entries))
    save_keystore(home / KEYSTORE_NAME, content, PASSPHRASE, kdf=KDF_CHEAPEST)
    (home / GENESIS_NAME).write_bytes(dump_genesis(genesis()))
    (home / NODES_NAME).write_text(url + "\n", encoding="utf-8")
    (home / "passphrase").write_text(PASSPHRASE + "\n", encoding="utf-8")


def relock(home: Path) -> None:
    """Lock the wallet cheaply again: a command has locked it as a real one, slow to open."""
    path = home / KEYSTORE_NAME
    save_keystore(path, load_keystore(path, PASSPHRASE), PASSPHRASE, kdf=KDF_CHEAPEST)
