"""`medledger verify`: what a receipt file proves, without any node."""

from pathlib import Path

import click

from client.errors import ClientError
from client.receipts import verify_receipt
from commands.output import Exit, failures, show
from commands.times import time_text
from genesis.errors import GenesisError
from genesis.files import load_genesis

VERIFY_ERRORS: dict[type[Exception], Exit] = {
    ClientError: Exit.LOCAL,
    GenesisError: Exit.LOCAL,
    OSError: Exit.LOCAL,
}


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--genesis",
    "genesis_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="The consortium's founding document: all that has to be trusted.",
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A wallet's home: believe nothing against the validators that it has seen.",
)
def verify(file: Path, genesis_file: Path, home: Path | None) -> None:
    """Check a receipt FILE made by `tx receipt`, offline, and say what it proves.

    It needs no node and no wallet: the file leads from the founders' keys to the block. Whoever
    got hold of the keys of a former quorum could make such a file; with --home it has to agree
    with the changes of validators that this home has seen. Exit status 0 if it holds, 4 if not.

    \b
    Example:
      medledger verify grant.receipt --genesis genesis.json
    """
    with failures(VERIFY_ERRORS):
        proven = verify_receipt(load_genesis(genesis_file), file.read_bytes(), home=home)
    receipt, body = proven.receipt, proven.transaction.body
    show(
        {
            "tx_id": receipt.tx_id,
            "kind": body.kind,
            "sender": body.sender,
            "height": receipt.height,
            "index": receipt.index,
            "time": time_text(proven.time_ms),
            "accepted": receipt.accepted,
            "code": receipt.code,
            "events": [one.kind for one in receipt.events],
        }
    )
