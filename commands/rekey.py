"""`medledger node rekey`: a node's next keys, made on its own machine, and the claim to vote on."""

from pathlib import Path

import click

from client.plain_http import get_json
from commands.clock import now_ms
from commands.join import JOIN_ERRORS
from commands.node import node
from commands.output import failures, show
from commands.passphrase import passphrase_file_option, read_passphrase
from config import NodeConfig, load_config
from crypto.keystore import KDF_DEFAULT
from crypto.signatures import public_key
from crypto.validators import ReplicaId
from genesis.document import chain_id_of
from genesis.files import dump_wire, load_genesis
from ledger.accounts import OrgId
from ledger.nodes import NodeClaim, sign_node_claim
from shell.keys import identity_of
from shell.own_keys import make_next_keys
from storage.layout import check_layout


@node.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.option("--keep-tls", is_flag=True, help="Only the vote key is another.")
@click.option("--org", help="Its hospital; asked of the running node when left out.")
@click.option("--advertise", help="host:port of the node for its peers; as before when left out.")
@passphrase_file_option
def rekey(
    directory: Path,
    *,
    keep_tls: bool,
    org: str | None,
    advertise: str | None,
    passphrase_file: Path | None,
) -> None:
    """Make the next keys of the node in DIRECTORY, and the claim that the members vote on.

    The node may run, or be down. It uses them from the first block for which the ledger names them,
    and then destroys the present ones. The same command again writes the same claim.

    \b
    Example:
      medledger node rekey /var/lib/medledger --passphrase-file /run/secrets/node
    """
    with failures(JOIN_ERRORS):
        config = load_config(directory / "node.toml")
        layout = check_layout(directory)
        passphrase = read_passphrase(passphrase_file, what=f"the node in {directory}")
        if org is None or advertise is None:
            known = _known_as(config)
            org, advertise = org or known["org"], advertise or known["p2p_address"]
        keys = make_next_keys(
            layout.keys, passphrase, created_ms=now_ms(), kdf=KDF_DEFAULT, keeps_tls=keep_tls
        )
        claim = NodeClaim(
            index=ReplicaId(config.node_index),
            org=OrgId(org),
            vote_key=public_key(keys.vote).data,
            tls_pin=identity_of(keys).pin,
            p2p_address=advertise,
        )
        chain_id = chain_id_of(load_genesis(layout.genesis))
        path = directory / f"node-{claim.index}.claim"
        path.write_bytes(dump_wire(sign_node_claim(claim, keys.vote, chain_id)))
    show(
        {"file": path, "index": int(claim.index)},
        f"{path}: an admin of {org} proposes it with `medledger validators rekey {path}`; leave the"
        f" keystores in {layout.keys} alone, the node changes them when its time has come",
    )


def _known_as(config: NodeConfig) -> dict[str, str]:
    """Return what the running node's ledger says of it; raise `ValueError` if it is silent."""
    url = f"http://{config.api.host}:{config.api.port}"
    try:
        found = get_json(url, f"/v1/validators/{config.node_index}", timeout_s=5)
        return {"org": str(found["org"]), "p2p_address": str(found["p2p_address"])}
    except (OSError, KeyError, TypeError) as problem:
        raise ValueError(
            f"the node does not answer at {url}: start it, or give --org and --advertise"
        ) from problem
