"""Who acts, with which keys, through which node: the options that user commands share.

A home is a directory with a wallet (`wallet.keystore`, `contacts.json`), the pinned founding
document (`genesis.json`) and the addresses of the user's nodes (`nodes`, one a line).
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from client.connection import GENESIS_NAME, Client, open_client
from client.errors import (
    ClientError,
    LocalError,
    NotReachable,
    OutcomeUnknown,
    Refused,
    Untrusted,
)
from client.wallet import KEYSTORE_NAME, Wallet, create_wallet, find_account, open_wallet
from commands.output import Exit, fail, failures
from commands.passphrase import passphrase_file_option, read_passphrase
from crypto.errors import CryptoError
from crypto.record_ids import AccountId, RecordId
from genesis.errors import GenesisError
from genesis.files import load_genesis
from ledger.errors import LedgerError

T = TypeVar("T")

NODES_NAME = "nodes"
_ADDRESS = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?")

CLIENT_ERRORS: dict[type[Exception], Exit] = {
    Refused: Exit.REFUSED,
    NotReachable: Exit.UNKNOWN,
    OutcomeUnknown: Exit.UNKNOWN,
    Untrusted: Exit.LOCAL,
    LocalError: Exit.LOCAL,
    ClientError: Exit.REFUSED,
    LedgerError: Exit.USAGE,
    CryptoError: Exit.LOCAL,
    GenesisError: Exit.LOCAL,
    OSError: Exit.LOCAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where the user's keys are, and which nodes to ask, best first."""

    directory: Path
    urls: tuple[str, ...]
    passphrase_file: Path | None
    actor: str | None


def home_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--home`, `--node`, `--as` and `--passphrase-file`; the command gets a `Home`."""
    options = (
        click.option(
            "--home",
            "directory",
            type=click.Path(path_type=Path, file_okay=False),
            envvar="MEDLEDGER_HOME",
            default=Path.home() / ".medledger",
            help="Wallet and pinned consortium (MEDLEDGER_HOME; default ~/.medledger).",
        ),
        click.option(
            "--node", "urls", multiple=True, envvar="MEDLEDGER_NODE", help="Address of a node."
        ),
        click.option("--as", "actor", metavar="LABEL", help="Whose keys sign."),
        passphrase_file_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def make_home(
    directory: Path, urls: tuple[str, ...], passphrase_file: Path | None, actor: str | None
) -> Home:
    """Return the home that the options name; addresses kept in it serve when none is given."""
    kept = directory / NODES_NAME
    if not urls and kept.is_file():
        try:
            urls = tuple(kept.read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError):
            fail(Exit.LOCAL, "home.nodes", f"cannot read {kept}: it lists addresses, one a line")
    for url in urls:
        if not _ADDRESS.fullmatch(url):
            text = f"{url!r} is no address of a node: give http(s)://host or http(s)://host:port"
            fail(Exit.USAGE, "node.address", text)
    if passphrase_file is None and (directory / "passphrase").is_file():
        passphrase_file = directory / "passphrase"  # A test consortium's: it guards nothing.
    return Home(directory=directory, urls=urls, passphrase_file=passphrase_file, actor=actor)


def load_wallet(home: Home, *, may_create: bool = False) -> Wallet:
    """Open the wallet, asking for its passphrase; make it if allowed."""
    exists = (home.directory / KEYSTORE_NAME).exists()
    is_new = may_create and not exists
    if not exists and not is_new:
        raise LocalError(
            f"there is no wallet in {home.directory}: name another --home, or make keys with"
            " `medledger person enrol` or `medledger keys new`",
            code="wallet.missing",
        )
    passphrase = read_passphrase(
        home.passphrase_file, what=f"the wallet in {home.directory}", is_new=is_new
    )
    if is_new:
        return create_wallet(home.directory, passphrase)
    return open_wallet(home.directory, passphrase)


@asynccontextmanager
async def connected(home: Home, *, may_create: bool = False) -> AsyncIterator[Client]:
    """Connect to a node as the actor; make the wallet if that is allowed and there is none."""
    if not home.urls:
        raise LocalError(
            "no node is named: give --node URL, or write addresses into the home's `nodes` file",
            code="node.not_named",
        )
    genesis = load_genesis(home.directory / GENESIS_NAME)
    wallet = load_wallet(home, may_create=may_create)
    async with open_client(home.urls, genesis, wallet, actor=home.actor) as client:
        yield client


def run_client(
    home: Home, work: Callable[[Client], Awaitable[T]], *, may_create: bool = False
) -> T:
    """Connect, do the work, and turn what goes wrong into one line and an exit status."""

    async def connect_and_work() -> T:
        async with connected(home, may_create=may_create) as client:
            return await work(client)

    with failures(CLIENT_ERRORS):
        return asyncio.run(connect_and_work())


def account_named(client: Client, name: str) -> AccountId:
    """Return the account that a label, contact or hex id names."""
    return find_account(client.wallet, name)


def record_named(text: str) -> RecordId:
    """Return the record id of 32 hex digits, or end the command."""
    try:
        record_id = bytes.fromhex(text)
    except ValueError:
        record_id = b""
    if len(record_id) != 16:
        fail(Exit.USAGE, "record.id", f"{text!r} is no record id: give 32 hex digits")
    return RecordId(record_id)


def digest_named(text: str, what: str) -> bytes:
    """Return 32 bytes from 64 hex digits, or end the command."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        fail(Exit.USAGE, "digest.form", f"{text!r} is no {what}: give 64 hex digits")
    return found
