"""`medledger node`: run a hospital's node, and ask one how it is."""

import sys
from pathlib import Path

import click
import uvloop

from commands.http_status import fetch_status, node_url_option
from commands.last_words import LastWords
from commands.logs import start_logging
from commands.output import Exit, fail, failures, show
from commands.passphrase import passphrase_file_option, read_passphrase
from config import LOG_LEVELS, InvalidConfig, NodeConfig, load_config
from consensus.errors import ConsensusError
from crypto.errors import CryptoError
from genesis.errors import GenesisError
from p2p.errors import P2pError
from shell.divergence import StateDiverged
from shell.membership import MembershipError
from storage.errors import StorageError

NODE_ERRORS: dict[type[Exception], Exit] = {
    InvalidConfig: Exit.LOCAL,
    StorageError: Exit.LOCAL,
    CryptoError: Exit.LOCAL,
    GenesisError: Exit.LOCAL,
    ConsensusError: Exit.LOCAL,
    P2pError: Exit.LOCAL,
    MembershipError: Exit.LOCAL,
    StateDiverged: Exit.LOCAL,
    OSError: Exit.LOCAL,
}


@click.group()
def node() -> None:
    """Run a hospital's node, and ask one how it is."""


@node.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@passphrase_file_option
@click.option("--log-level", type=click.Choice(LOG_LEVELS), help="Overrides node.toml.")
@click.option("--log-json", is_flag=True, help="One JSON object per line on standard error.")
def start(
    directory: Path, passphrase_file: Path | None, log_level: str | None, *, log_json: bool
) -> None:
    """Run the node of DIRECTORY until it is told to stop (Ctrl-C or SIGTERM).

    \b
    Example:
      medledger node start /var/lib/medledger --passphrase-file /run/secrets/node
    """
    if sys.flags.optimize:
        fail(Exit.USAGE, "node.optimized", "run Python without -O: the node's checks must stay on")
    with failures(NODE_ERRORS), LastWords(directory):
        config = load_config(directory / "node.toml")
        start_logging(log_level or config.log_level, as_json=log_json, replica=config.node_index)
        passphrase = read_passphrase(passphrase_file, what=f"the node in {directory}")
        _run(config, passphrase)


@node.command()
@node_url_option
def status(url: str) -> None:
    """Show where a node stands: height, view, primary, members, pool.

    \b
    Example:
      medledger node status --node http://127.0.0.1:8080
    """
    show(fetch_status(url))


def _run(config: NodeConfig, passphrase: str) -> None:
    from node import run_node  # Starts the rooms: only a running node pays for it.

    uvloop.run(run_node(config, passphrase))
