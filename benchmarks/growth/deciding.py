"""One process that decides blocks by itself, with the keys of a quorum: what it signs is real."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.load.people import Person, make_person, make_registration
from benchmarks.scene.local import passphrase_path
from config import load_config
from consensus.membership import Membership, primary_of
from crypto.hashing import ChainId, Digest
from crypto.keystore import AccountEntry, entry_sign_key, load_keystore
from crypto.record_ids import AccountId
from crypto.schema import decode, encode
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
from storage.blocks import get_stored_header
from storage.chain import Chain, DecidedBlock, publish_commit, stage_block
from storage.layout import NodeLayout
from storage.slices import run_to_end

VALID_MS: Final = 60_000
GRANTED_MS: Final = 400 * 86_400_000


@dataclass(slots=True, kw_only=True)
class Making:
    """A ledger that is being made, and whoever signs for it.

    `costs` are processor seconds by step. With `is_synced` every block is durable before the next.
    """

    seed: int
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
    is_synced: bool = False
    costs: dict[str, float] = field(default_factory=dict)


def begin_making(
    directory: Path, layouts: Sequence[NodeLayout], chain: Chain, *, seed: int
) -> Making:
    """Be ready to add blocks to a chain of the consortium in `directory`."""
    passphrase = passphrase_path(directory).read_text(encoding="utf-8").strip()
    people = {
        entry.label: entry
        for entry in load_keystore(directory / "home" / "wallet.keystore", passphrase).accounts
    }
    orgs = tuple(OrgId(layout.root.name) for layout in layouts)
    configs = [load_config(layout.config) for layout in layouts]
    validators = get_validators(chain.world.view)
    keys = {
        ReplicaId(config.node_index): load_node_keys(layout.keys, passphrase).vote
        for config, layout in zip(configs, layouts, strict=True)
    }
    signers = [member.index for member in validators.members][: validators.quorum.strong]
    last = get_stored_header(chain, chain.tip.height)
    return Making(
        seed=seed,
        chain=chain,
        validators=validators,
        parameters=get_parameters(chain.world.view),
        voters={index: keys[index] for index in signers},
        orgs=orgs,
        admins=tuple(_signer(people[f"admin-{org}"]) for org in orgs),
        certificate=None if last is None else decode(CommitCertificate, last.certificate),
        proposer=None if last is None else decode(Header, last.header).proposer,
    )


def _signer(entry: AccountEntry) -> tuple[AccountId, SigningKey]:
    return AccountId(entry.account_id), entry_sign_key(entry)


def registrations(making: Making, time_ms: int, count: int) -> Iterator[bytes]:
    """Sign the registrations of so many patients, who give the rights of the blocks to come."""
    each = making.parameters.grants_per_patient_max
    making.givers = [
        make_person(making.seed, Role.PATIENT, number, making.orgs)
        for number in range(making.registered, making.registered + count)
    ]
    making.registered += len(making.givers)
    making.rights_left = each * len(making.givers)
    for person in making.givers:
        payload = make_registration(making.seed, person, making.chain.chain_id)
        admin = making.admins[making.orgs.index(person.org)]
        yield _signed(making, admin, "identity.register", payload, time_ms, person.number)


def grants(making: Making, time_ms: int, givers: Iterable[Person]) -> Iterator[bytes]:
    """Sign a right of each of these patients to all records, for a hospital."""
    for person in givers:
        number = making.granted
        making.granted += 1
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


def _signed(
    making: Making,
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


def decide(making: Making, time_ms: int, signed: Iterable[bytes]) -> None:
    """Execute and store one block of signed transactions, with the certificate of a quorum."""
    chain = making.chain
    transactions = tuple(decode_transaction(one, chain.chain_id) for one in signed)
    header, view = _header(making, time_ms, transactions), chain.world.view
    making.certificate = _certify(header, making.voters)
    making.proposer = header.proposer
    block = DecidedBlock(
        header=encode(header),
        certificate=encode(making.certificate),
        transactions=transactions,
    )
    with _timed(making, "execute"):
        result = apply_block(
            view,
            chain_id=chain.chain_id,
            height=header.height,
            time_ms=time_ms,
            transactions=transactions,
        )
    assert all(receipt.accepted for receipt in result.receipts), "every transaction is sound"
    with _timed(making, "stage"):
        commit = run_to_end(stage_block(chain, block, result))
    for key, value in result.writes.items():
        making.state_keys += (value is not None) - (view.get(key) is not None)
    with _timed(making, "write"):
        chain.database.write(commit.rows, sync=making.is_synced)
        publish_commit(chain, commit)
    making.transactions += len(transactions)


@contextmanager
def _timed(making: Making, step: str) -> Iterator[None]:
    began = time.thread_time()
    yield
    making.costs[step] = making.costs.get(step, 0.0) + time.thread_time() - began


def _header(making: Making, time_ms: int, transactions: Iterable[Transaction]) -> Header:
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
