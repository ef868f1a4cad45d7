"""A node directory opened offline: nobody else runs on it while a command looks or works there."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from commands.output import Exit
from config import InvalidConfig, NodeConfig, load_config
from crypto.errors import CryptoError
from genesis.document import GenesisDocument, chain_id_of
from genesis.errors import GenesisError
from genesis.files import load_genesis
from shell.limits import world_limits
from storage.chain import Chain, open_chain
from storage.database import open_database
from storage.errors import StorageError
from storage.layout import NodeLayout, check_layout
from storage.lease import release_lease, take_lease

OFFLINE_ERRORS: dict[type[Exception], Exit] = {
    InvalidConfig: Exit.LOCAL,
    StorageError: Exit.LOCAL,
    CryptoError: Exit.LOCAL,
    GenesisError: Exit.LOCAL,
    OSError: Exit.LOCAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDirectory:
    """What lies in a node directory, with its chain open."""

    config: NodeConfig
    layout: NodeLayout
    document: GenesisDocument
    chain: Chain


@contextmanager
def offline(directory: Path) -> Iterator[OpenDirectory]:
    """Open a stopped node's directory; raise the named errors of config, storage and genesis."""
    config = load_config(directory / "node.toml")
    layout = check_layout(config.directory)
    with ExitStack() as stack:
        stack.callback(release_lease, take_lease(layout.lease))
        document = load_genesis(layout.genesis)
        database = open_database(layout.ledger)
        stack.callback(database.close)
        limits = world_limits(config.limits)
        chain = open_chain(database, chain_id_of(document), limits=limits)
        yield OpenDirectory(config=config, layout=layout, document=document, chain=chain)
