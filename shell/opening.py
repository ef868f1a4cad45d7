"""Opening what a node has of the chain; an empty directory begins from the founding document."""

import logging

from genesis.document import GenesisDocument, chain_id_of
from genesis.files import dump_genesis
from genesis.state import apply_genesis
from ledger.pool import Pool
from shell.chain import Chain, open_live_chain
from storage.arrivals import adopt_arrival
from storage.chain import create_chain, has_chain, open_chain
from storage.database import Database, create_database, is_unfinished, open_database
from storage.layout import NodeLayout
from storage.world import WorldLimits

log = logging.getLogger("medledger.opening")


def open_ledger(layout: NodeLayout) -> Database:
    """Open the ledger database: one that has arrived, the one that is there, or an empty one."""
    if adopt_arrival(layout):
        log.warning("a snapshot has taken the ledger's place", extra={"path": str(layout.ledger)})
    if not is_unfinished(layout.ledger):
        return open_database(layout.ledger)
    log.warning("no ledger here yet: it begins from genesis", extra={"path": str(layout.ledger)})
    return create_database(layout.ledger)


def open_founded_chain(
    database: Database, document: GenesisDocument, pool: Pool, limits: WorldLimits
) -> Chain:
    """Open the chain that the document founded, or begin it in an empty database."""
    chain_id = chain_id_of(document)
    if has_chain(database):
        stored = open_chain(database, chain_id, limits=limits)
    else:
        created_ms = document.invitation.created_ms
        writes = apply_genesis(document)
        stored = create_chain(database, chain_id, writes, time_ms=created_ms, limits=limits)
    return open_live_chain(stored, dump_genesis(document), pool)
