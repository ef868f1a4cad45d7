"""Founding on disk: what `init` does for one hospital and `devnet up` for many at once.

A hospital makes its keys where they will be used, states about itself what the invitation asks,
and later turns the founding document into a node directory. The functions take everything that a
command would ask the operator for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from config import Endpoint, Limits, NodeConfig, Timeouts, api_origins, dump_config
from crypto.envelopes import SealPrivateKey, SealScheme, make_seal_private_key, seal_public_key
from crypto.keystore import KDF_DEFAULT, AccountEntry, Kdf, make_account_entry
from crypto.record_ids import AccountId
from crypto.signatures import Scheme, SigningKey, account_id, make_signing_key, public_key
from crypto.validators import ReplicaId
from genesis.ceremony import (
    assemble,
    make_founding_account,
    make_founding_node,
    make_founding_statement,
)
from genesis.document import (
    FoundingStatement,
    GenesisDocument,
    Invitation,
    chain_id_of,
)
from genesis.files import dump_genesis
from ledger.accounts import OrgId, Role
from ledger.nodes import NodeClaim
from shell.keys import NodeKeys, identity_of, make_node_keys, save_node_keys
from shell.restart import begin_journal
from storage.layout import NodeLayout, make_layout

ADMIN: Final = "admin"
AGENT: Final = "agent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The keys of a founding account, before it is one."""

    label: str
    role: Role
    sign_key: SigningKey
    seal_key: SealPrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Founder:
    """One hospital before the founding: its people, its node's keys and where that listens."""

    org: OrgId
    name: str
    index: ReplicaId
    admin: Person
    agent: Person
    node_keys: NodeKeys
    p2p: Endpoint


def make_person(label: str, role: Role) -> Person:
    return Person(
        label=label,
        role=role,
        sign_key=make_signing_key(Scheme.P256),
        seal_key=make_seal_private_key(SealScheme.P256),
    )


def make_founder(org: str, name: str, index: int, p2p: Endpoint) -> Founder:
    """Make every key that a hospital needs on its first day."""
    return Founder(
        org=OrgId(org),
        name=name,
        index=ReplicaId(index),
        admin=make_person(f"{ADMIN}-{org}", Role.HOSPITAL_ADMIN),
        agent=make_person(f"{AGENT}-{org}", Role.KEY_AGENT),
        node_keys=make_node_keys(),
        p2p=p2p,
    )


def make_statement(founder: Founder, invitation: Invitation) -> FoundingStatement:
    """Return what the hospital signs about itself."""
    agent, admin = (
        make_founding_account(
            invitation,
            org=founder.org,
            role=person.role,
            key=person.sign_key,
            seal_key=seal_public_key(person.seal_key),
        )
        for person in (founder.agent, founder.admin)
    )
    claim = NodeClaim(
        index=founder.index,
        org=founder.org,
        vote_key=public_key(founder.node_keys.vote).data,
        tls_pin=identity_of(founder.node_keys).pin,
        p2p_address=f"{founder.p2p.host}:{founder.p2p.port}",
    )
    return make_founding_statement(
        invitation,
        org=founder.org,
        name=founder.name,
        agent=agent,
        admins=(admin,),
        nodes=(make_founding_node(invitation, claim, founder.node_keys.vote),),
        first_admin=founder.admin.sign_key,
    )


def found(founders: Sequence[Founder], invitation: Invitation) -> GenesisDocument:
    """Hold the whole ceremony at one table, as a test network does."""
    return assemble(invitation, [make_statement(founder, invitation) for founder in founders])


def write_node_directory(
    directory: Path,
    founder: Founder,
    document: GenesisDocument,
    passphrase: str,
    *,
    api: Endpoint,
    created_ms: int,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    kdf: Kdf = KDF_DEFAULT,
) -> NodeLayout:
    """Make the directory of a node that has never run; raises storage and keystore errors."""
    layout = make_layout(directory)
    save_node_keys(layout.keys, founder.node_keys, passphrase, created_ms=created_ms, kdf=kdf)
    return write_node_settings(
        directory,
        document,
        index=founder.index,
        p2p=founder.p2p,
        api=api,
        timeouts=timeouts,
        limits=limits,
    )


def write_node_settings(
    directory: Path,
    document: GenesisDocument,
    *,
    index: ReplicaId,
    p2p: Endpoint,
    api: Endpoint,
    api_origin: str = "",
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    has_new_journal: bool = True,
) -> NodeLayout:
    """Make a directory that holds a node's keys a node directory, with an empty vote journal.

    Without a journal the node starts behind the fence: its keys may have signed anything.
    Raises `JournalExists` for a node that has run already, `InvalidConfig` for an `api` that
    listens everywhere and no `api_origin`.
    """
    layout = make_layout(directory)
    config = NodeConfig(
        node_index=index,
        directory=layout.root,
        p2p=p2p,
        api=api,
        timeouts=timeouts or Timeouts(),
        limits=limits or Limits(),
        api_origin=api_origin,
    )
    api_origins(config)
    if has_new_journal:
        begin_journal(layout.journal, chain_id_of(document), index)
    layout.genesis.write_bytes(dump_genesis(document))
    layout.config.write_text(dump_config(config), encoding="utf-8")
    return layout


def wallet_entry(person: Person, *, created_ms: int) -> AccountEntry:
    """Return the person's keys as a wallet keeps them."""
    return make_account_entry(
        label=person.label,
        account_id=AccountId(account_id(public_key(person.sign_key))),
        sign_key=person.sign_key,
        seal_keys=(person.seal_key,),
        created_ms=created_ms,
    )
