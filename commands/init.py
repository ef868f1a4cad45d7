"""`medledger init`: found a consortium together - invite, state, assemble, make the node.

convener           medledger init invite      -> invitation.json, sent to every hospital
each hospital      medledger init statement   -> its keys stay, its statement goes back
convener           medledger init assemble    -> genesis.json, sent to every hospital
each hospital      medledger init node        -> a node directory, ready to start
"""

from pathlib import Path
from typing import Any

import click

from client.connection import GENESIS_NAME
from client.wallet import KEYSTORE_NAME
from commands.clock import now_ms
from commands.output import Exit, failures, show
from commands.passphrase import passphrase_file_option, read_passphrase
from config import Endpoint, InvalidConfig
from crypto.errors import CryptoError, EncodeError
from crypto.keystore import KDF_DEFAULT, KeystoreContent, save_keystore
from crypto.signatures import public_key
from genesis.ceremony import assemble
from genesis.document import FoundingStatement, GenesisDocument, Invitation, chain_id_of
from genesis.errors import GenesisConflict, GenesisError
from genesis.files import dump_genesis, dump_wire, load_genesis, load_wire
from ledger.accounts import check_slug
from ledger.nodes import NodeClaim
from ledger.parameters import Parameters
from shell.founding import (
    Founder,
    make_founder,
    make_statement,
    wallet_entry,
    write_node_settings,
)
from shell.keys import KEYSTORE_NAME as NODE_KEYSTORE_NAME
from shell.keys import load_node_keys, save_node_keys
from storage.errors import StorageError
from storage.layout import make_layout

INIT_ERRORS: dict[type[Exception], Exit] = {
    GenesisError: Exit.LOCAL,
    EncodeError: Exit.USAGE,
    CryptoError: Exit.LOCAL,
    StorageError: Exit.LOCAL,
    InvalidConfig: Exit.USAGE,
    ValueError: Exit.USAGE,
    OSError: Exit.LOCAL,
}

new_file = click.Path(path_type=Path, dir_okay=False)
old_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def init() -> None:
    """Found a consortium: invite, statement, assemble, node."""


@init.command()
@click.option("--name", required=True, help="Name of the consortium.")
@click.option("--out", type=new_file, default=Path("invitation.json"), show_default=True)
def invite(name: str, out: Path) -> None:
    """Write the invitation that every founding hospital answers: name, time, parameters.

    \b
    Example:
      medledger init invite --name "Northern hospitals"
    """
    with failures(INIT_ERRORS):
        if not name.strip():
            raise ValueError("a consortium needs a name")
        invitation = Invitation(chain_name=name, created_ms=now_ms(), parameters=Parameters())
        out.write_bytes(dump_wire(invitation))
    show({"file": out}, f"{out}: send it to every founding hospital")


@init.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--invitation", "invitation_file", type=old_file, required=True)
@click.option("--org", required=True, help="The hospital's slug: a-z, 0-9 and hyphens.")
@click.option("--name", required=True, help="The hospital's name.")
@click.option("--index", type=click.IntRange(0, 65_535), required=True, help="Agreed node number.")
@click.option("--p2p", required=True, help="host:port where the other nodes reach this one.")
@passphrase_file_option
def statement(
    directory: Path,
    invitation_file: Path,
    org: str,
    name: str,
    index: int,
    p2p: str,
    passphrase_file: Path | None,
) -> None:
    """Make this hospital's keys in DIRECTORY and the statement that the convener needs.

    DIRECTORY/keys holds the node's keys, DIRECTORY/home the wallet of the first admin and the key
    agent: move that one to where those people work.

    \b
    Example:
      medledger init statement /var/lib/medledger --invitation invitation.json \\
        --org st-mary --name "St Mary" --index 0 --p2p ledger.st-mary.example:7400
    """
    with failures(INIT_ERRORS):
        invitation = load_wire(Invitation, invitation_file)
        check_slug(org)
        founder = make_founder(org, name, index, _endpoint(p2p))
        stated = dump_wire(make_statement(founder, invitation))  # First: what is wrong with it
        passphrase = read_passphrase(passphrase_file, what=f"the keys in {directory}", is_new=True)
        _keep_keys(directory, founder, passphrase)  # must not leave keys behind.
        out = directory / f"{org}.statement.json"
        out.write_bytes(stated)
    show({"file": out}, f"{out}: send it to the convener; the keys stay in {directory}")


@init.command(name="assemble")
@click.argument("statements", nargs=-1, type=old_file, required=True)
@click.option("--invitation", "invitation_file", type=old_file, required=True)
@click.option("--out", type=new_file, default=Path("genesis.json"), show_default=True)
def assemble_statements(statements: tuple[Path, ...], invitation_file: Path, out: Path) -> None:
    """Put the statements together into the founding document; their order does not matter.

    \b
    Example:
      medledger init assemble *.statement.json --invitation invitation.json
    """
    with failures(INIT_ERRORS):
        invitation = load_wire(Invitation, invitation_file)
        document = assemble(invitation, [load_wire(FoundingStatement, one) for one in statements])
        out.write_bytes(dump_genesis(document))
    _show_genesis(document, out)


@init.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--genesis", "genesis_file", type=old_file, required=True)
@click.option("--listen", help="host:port to listen on for peers; as stated when left out.")
@click.option("--api", default="127.0.0.1:8443", show_default=True, help="host:port of the API.")
@click.option("--api-origin", default="", help="Clients' address of the API; --api when left out.")
@passphrase_file_option
def node(
    directory: Path,
    genesis_file: Path,
    listen: str | None,
    api: str,
    api_origin: str,
    passphrase_file: Path | None,
) -> None:
    """Make DIRECTORY, which holds this hospital's keys, a node directory of the consortium.

    \b
    Example:
      medledger init node /var/lib/medledger --genesis genesis.json --api 0.0.0.0:8443 \\
        --api-origin https://ledger.st-mary.example
    """
    with failures(INIT_ERRORS):
        document = load_genesis(genesis_file)
        passphrase = read_passphrase(passphrase_file, what=f"the keys in {directory}")
        keys = load_node_keys(directory / "keys", passphrase)
        claim = _own_claim(document, public_key(keys.vote).data)
        write_node_settings(
            directory,
            document,
            index=claim.index,
            p2p=_endpoint(listen or claim.p2p_address),
            api=_endpoint(api),
            api_origin=api_origin,
        )
        home = directory / "home"
        if home.is_dir():
            (home / GENESIS_NAME).write_bytes(dump_genesis(document))
    show(
        {"directory": directory, "node_index": int(claim.index), "chain_id": chain_id_of(document)},
        f"{directory} is node {claim.index} of {document.invitation.chain_name}; start it with"
        f" `medledger node start {directory}`",
    )


def _keep_keys(directory: Path, founder: Founder, passphrase: str) -> None:
    layout = make_layout(directory)
    if (layout.keys / NODE_KEYSTORE_NAME).exists():
        raise GenesisConflict(
            f"{layout.keys} holds a node's keys already: a second statement would need others;"
            " use another directory"
        )
    created_ms = now_ms()
    save_node_keys(
        layout.keys, founder.node_keys, passphrase, created_ms=created_ms, kdf=KDF_DEFAULT
    )
    home = directory / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    people = (founder.admin, founder.agent)
    wallet = KeystoreContent(
        accounts=tuple(wallet_entry(person, created_ms=created_ms) for person in people)
    )
    save_keystore(home / KEYSTORE_NAME, wallet, passphrase)


def _own_claim(document: GenesisDocument, vote_key: bytes) -> NodeClaim:
    for one in document.statements:
        for founding in one.body.nodes:
            if founding.claim.vote_key == vote_key:
                return founding.claim
    raise GenesisConflict(
        "the founding document names no node with these keys: is it the document that the convener"
        " sent, and the directory in which the statement was made?"
    )


def _endpoint(text: str) -> Endpoint:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"{text!r} is not host:port")
    return Endpoint(host=host.strip("[]"), port=int(port))


def _show_genesis(document: GenesisDocument, out: Path) -> None:
    rows: dict[str, Any] = {
        "file": out,
        "chain_id": chain_id_of(document),
        "hospitals": [statement_.body.org for statement_ in document.statements],
        "nodes": sum(len(statement_.body.nodes) for statement_ in document.statements),
    }
    show(
        rows,
        f"{out}: {rows['nodes']} nodes of {len(rows['hospitals'])} hospitals; chain id"
        f" {chain_id_of(document).hex()}. Send it to every hospital, and compare the chain id by"
        " telephone",
    )
