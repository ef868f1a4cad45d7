"""Ledgers that have grown, made fast and really: signed transactions, contracts, certificates.

What the nodes would do together one process does alone, by the same code: it signs transactions,
executes them, stores blocks, and lets a quorum's keys certify each. Every member gets a copy, so a
peer that has nothing catches up from any of them. Only the rhythm differs: blocks are not synced
one by one, and their times are spread over the past.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.load.people import Person, make_person, make_registration
from benchmarks.scene.local import found_devnet, load_members, passphrase_path
from config import NodeConfig, load_config
from consensus.membership import Membership, primary_of
from crypto.hashing import ChainId, Digest
from crypto.keystore import AccountEntry, entry_sign_key, load_keystore
from crypto.record_ids import AccountId
from crypto.schema import encode
from crypto.signatures import SigningKey, sign_preimage
from crypto.validators import ReplicaId, ValidatorSet
from crypto.votes import (
    NO_DIGEST,
    CommitCertificate,
    Height,
    View,
    VoteType,
    certificate_digest,
    vote_preimage,
)
from genesis.document import chain_id_of
from genesis.files import load_genesis
from genesis.state import apply_genesis
from ledger.access_payloads import AccessGrant, AccessLevel, AllRecords, Terms, WholeOrganisation
from ledger.accounts import OrgId, Role
from ledger.blocks import Header, header_digest, tx_root
from ledger.contracts.governance import get_validators
from ledger.parameters import Parameters, get_parameters
from ledger.purposes import TREAT
from ledger.transactions import (
    Transaction,
    decode_transaction,
    make_transaction,
    sign_transaction,
)
from ledger.transition import apply_block
from shell.keys import load_node_keys
from shell.limits import world_limits
from storage.chain import Chain, DecidedBlock, create_chain, publish_commit, stage_block
from storage.database import create_database
from storage.layout import NodeLayout, make_layout
from storage.slices import run_to_end

MADE: Final = "grown"
"""A file that is written last: a directory without it was broken off."""

REGISTERED_AT_ONCE: Final = 200
REGISTERED_MAX: Final = 1_000
VALID_MS: Final = 60_000
GRANTED_MS: Final = 400 * 86_400_000
TOLD_EVERY: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How far a ledger shall have grown: in blocks, and in entries of the state.

    A block holds `grants` of access rights, and its time is `spacing_ms` after the one before it;
    patients are registered in between as they are needed. Rights are kept with their patient, so
    entries that are still missing behind the last block come from more patients.
    """

    blocks: int = 1
    state_keys: int = 1
    grants: int = 1
    spacing_ms: int = 1_000
    validators: int = 4
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How far a ledger has grown."""

    height: int
    state_keys: int
    transactions: int


@dataclass(slots=True, kw_only=True)
class _Making:
    """A ledger that is being made, and whoever signs for it."""

    growth: Growth
    chain: Chain
    validators: ValidatorSet
    parameters: Parameters
    voters: Mapping[ReplicaId, SigningKey]
    orgs: tuple[OrgId, ...]
    admins: tuple[tuple[AccountId, SigningKey], ...]
    certificate: CommitCertificate | None = None
    proposer: ReplicaId | None = None
    givers: list[Person] = field(default_factory=list)
    rights_left: int = 0
    registered: int = 0
    granted: int = 0
    transactions: int = 0
    state_keys: int = 0


def make_grown(directory: Path, growth: Growth, tell: Callable[[str], None]) -> tuple[Size, float]:
    """Found a consortium and let its ledger grow; return how far it came, and the seconds it took.

    A directory that was made before by the same wish is used again, in no time. Raises `OSError`
    for one that holds anything else, and what founding and storage raise.
    """
    if (directory / MADE).exists():
        return _read_size(directory, growth), 0.0
    began = time.monotonic()
    span_ms = growth.spacing_ms * (growth.blocks + 1) + VALID_MS
    found_devnet(directory, growth.validators, created_ms=time.time_ns() // 1_000_000 - span_ms)
    members = load_members(directory)
    layouts = [make_layout(member.directory) for member in members]
    size = _grow(directory, growth, layouts, tell)
    for layout in layouts[1:]:
        shutil.rmtree(layout.ledger)
        shutil.copytree(layouts[0].ledger, layout.ledger)
    (directory / MADE).write_text(
        f"{growth}\n{size.height} {size.state_keys} {size.transactions}\n"
    )
    return size, time.monotonic() - began


def _read_size(directory: Path, growth: Growth) -> Size:
    wish, sizes = (directory / MADE).read_text().splitlines()
    if wish != str(growth):
        raise FileExistsError(f"{directory} holds a ledger that has grown in another way: {wish}")
    height, state_keys, transactions = map(int, sizes.split())
    return Size(height=height, state_keys=state_keys, transactions=transactions)


def _grow(
    directory: Path, growth: Growth, layouts: list[NodeLayout], tell: Callable[[str], None]
) -> Size:
    """Make the ledger of the first node."""
    with create_database(layouts[0].ledger) as database:
        document = load_genesis(layouts[0].genesis)
        writes = apply_genesis(document)
        chain = create_chain(
            database,
            chain_id_of(document),
            writes,
            time_ms=document.invitation.created_ms,
            limits=world_limits(load_config(layouts[0].config).limits),
        )
        making = _begin(directory, growth, layouts, chain)
        making.state_keys = len(writes)
        while chain.tip.height < growth.blocks or making.state_keys < growth.state_keys:
            _add_block(making)
            if chain.tip.height % TOLD_EVERY == 0 or chain.tip.height >= growth.blocks:
                tell(f"block {chain.tip.height:,}, {making.state_keys:,} entries of state")
        database.write((), sync=True)
    return Size(
        height=chain.tip.height,
        state_keys=making.state_keys,
        transactions=making.transactions,
    )


def _begin(directory: Path, growth: Growth, layouts: list[NodeLayout], chain: Chain) -> _Making:
    passphrase = passphrase_path(directory).read_text(encoding="utf-8").strip()
    people = {
        entry.label: entry
        for entry in load_keystore(directory / "home" / "wallet.keystore", passphrase).accounts
    }
    orgs = tuple(OrgId(layout.root.name) for layout in layouts)
    configs: list[NodeConfig] = [load_config(layout.config) for layout in layouts]
    validators = get_validators(chain.world.view)
    keys = {
        ReplicaId(config.node_index): load_node_keys(layout.keys, passphrase).vote
        for config, layout in zip(configs, layouts, strict=True)
    }
    signers = [member.index for member in validators.members][: validators.quorum.strong]
    return _Making(
        growth=growth,
        chain=chain,
        validators=validators,
        parameters=get_parameters(chain.world.view),
        voters={index: keys[index] for index in signers},
        orgs=orgs,
        admins=tuple(_signer(people[f"admin-{org}"]) for org in orgs),
    )


def _signer(entry: AccountEntry) -> tuple[AccountId, SigningKey]:
    return AccountId(entry.account_id), entry_sign_key(entry)


def _add_block(making: _Making) -> None:
    """Decide one block: of grants while blocks are missing and patients can give them."""
    growth = making.growth
    time_ms = making.chain.tip.time_ms + growth.spacing_ms
    if making.chain.tip.height >= growth.blocks:
        signed = list(_registrations(making, time_ms, REGISTERED_MAX))
    elif making.rights_left < growth.grants:
        wanted = -(-growth.grants // making.parameters.grants_per_patient_max)
        signed = list(_registrations(making, time_ms, max(wanted, REGISTERED_AT_ONCE)))
    else:
        signed = list(_grants(making, time_ms))
    chain_id = making.chain.chain_id
    transactions = tuple(decode_transaction(one, chain_id) for one in signed)
    _decide(making, time_ms, transactions)
    making.transactions += len(transactions)


def _registrations(making: _Making, time_ms: int, count: int) -> Iterable[bytes]:
    """Sign the registrations of so many patients, who give the rights of the blocks to come."""
    each = making.parameters.grants_per_patient_max
    making.givers = [
        make_person(making.growth.seed, Role.PATIENT, number, making.orgs)
        for number in range(making.registered, making.registered + count)
    ]
    making.registered += len(making.givers)
    making.rights_left = each * len(making.givers)
    for person in making.givers:
        payload = make_registration(making.growth.seed, person, making.chain.chain_id)
        admin = making.admins[making.orgs.index(person.org)]
        yield _signed(making, admin, "identity.register", payload, time_ms, person.number)


def _grants(making: _Making, time_ms: int) -> Iterable[bytes]:
    making.rights_left -= making.growth.grants
    for number in range(making.granted, making.granted + making.growth.grants):
        person = making.givers[number % len(making.givers)]
        terms = Terms(
            grantee=WholeOrganisation(org=making.orgs[number % len(making.orgs)]),
            scope=AllRecords(),
            level=AccessLevel.READ,
            purposes=(TREAT,),
            from_ms=time_ms,
            until_ms=time_ms + GRANTED_MS,
        )
        payload = AccessGrant(pseudonym=person.account, terms=terms)
        giver = (person.account, person.sign_key)
        yield _signed(making, giver, "access.grant", payload, time_ms, number)
    making.granted += making.growth.grants


def _signed(
    making: _Making,
    sender: tuple[AccountId, SigningKey],
    kind: str,
    payload: object,
    time_ms: int,
    number: int,
) -> bytes:
    body = make_transaction(
        chain_id=making.chain.chain_id,
        sender=sender[0],
        kind=kind,
        payload=payload,
        valid_from_ms=time_ms - 1,
        valid_until_ms=time_ms + VALID_MS,
        nonce=number.to_bytes(16, "big"),
    )
    return sign_transaction(body, sender[1])


def _decide(making: _Making, time_ms: int, transactions: tuple[Transaction, ...]) -> None:
    """Execute and store one block, with the certificate of a quorum."""
    chain = making.chain
    header = _header(making, time_ms, transactions)
    view = chain.world.view
    result = apply_block(
        view,
        chain_id=chain.chain_id,
        height=header.height,
        time_ms=time_ms,
        transactions=transactions,
    )
    assert all(receipt.accepted for receipt in result.receipts), "every transaction is sound"
    for key, value in result.writes.items():
        making.state_keys += (value is not None) - (view.get(key) is not None)
    making.certificate = _certify(header, making.voters)
    making.proposer = header.proposer
    block = DecidedBlock(
        header=encode(header),
        certificate=encode(making.certificate),
        transactions=transactions,
    )
    commit = run_to_end(stage_block(chain, block, result))
    chain.database.write(commit.rows, sync=False)
    publish_commit(chain, commit)


def _header(making: _Making, time_ms: int, transactions: Iterable[Transaction]) -> Header:
    tip, validators = making.chain.tip, making.validators
    hashes = [one.signed_hash for one in transactions]
    height = Height(tip.height + 1)
    certificate = making.certificate
    return Header(
        chain_id=making.chain.chain_id,
        epoch=tip.epoch,
        height=height,
        view=View(0),
        proposer=primary_of(
            Membership(tip.epoch, validators),
            height,
            View(0),
            last_proposer=making.proposer,
            rotate_every=making.parameters.rotate_every,
        ),
        parent=tip.digest,
        parent_certificate=NO_DIGEST if certificate is None else certificate_digest(certificate),
        time_ms=time_ms,
        tx_root=tx_root(hashes),
        tx_count=len(hashes),
        state_root=tip.state_root,
        receipts_root=tip.receipts_root,
        validators=validators.digest(),
        next_validators=validators.digest(),
    )


def _certify(header: Header, voters: Mapping[ReplicaId, SigningKey]) -> CommitCertificate:
    """Return the commits of these members, who are a quorum."""
    chain_id: ChainId = header.chain_id
    decided: Digest = header_digest(header)
    preimage = vote_preimage(
        chain_id, header.epoch, VoteType.COMMIT, header.height, header.view, decided
    )
    return CommitCertificate(
        epoch=header.epoch,
        height=header.height,
        view=header.view,
        digest=decided,
        signatures=tuple(
            (index, sign_preimage(key, preimage)) for index, key in sorted(voters.items())
        ),
    )
