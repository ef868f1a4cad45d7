"""A consortium small enough to read: real keys, real genesis, blocks applied one by one.

Keys follow from their labels, so vectors and failures repeat. `Consortium.apply` is the whole walk
of a transaction: signed, decoded, executed, written.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from crypto.envelopes import SealKey, SealPrivateKey, SealScheme, seal_public_key
from crypto.hashing import ChainId, Digest
from crypto.record_ids import AccountId
from crypto.signatures import PublicKey, Scheme, SigningKey, account_id, public_key
from crypto.validators import ReplicaId, Validator
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
from genesis.state import apply_genesis
from ledger.accounts import Account, OrgId, Role, get_account
from ledger.founders import FoundingAccount
from ledger.identity_payloads import DirectoryNote, Register, RotateKey
from ledger.key_proofs import sign_registration, sign_rotation, sign_seal_binding
from ledger.nodes import NodeClaim, NodeStatement
from ledger.parameters import Parameters
from ledger.receipts import Receipt
from ledger.state import MemoryState
from ledger.transactions import (
    Transaction,
    check_transaction_signature,
    decode_transaction,
    make_transaction,
    sign_transaction,
)
from ledger.transition import BlockResult, apply_block

CREATED_MS = 1_790_000_000_000
WINDOW_MS = 60_000
VOTE_KEYS = ("node {}", "node {}, second")
"""Labels of the vote keys that a node may have."""

NORTH, SOUTH = OrgId("north"), OrgId("south")


def seed(label: str) -> bytes:
    return hashlib.sha256(label.encode()).digest()


@cache
def signing_key(label: str, scheme: Scheme = Scheme.P256) -> SigningKey:
    return SigningKey(scheme=scheme, secret=seed(f"sign {label}"))


@cache
def seal_private_key(label: str) -> SealPrivateKey:
    return SealPrivateKey(scheme=SealScheme.P256, secret=seed(f"seal {label}"))


def vote_key_of(member: Validator) -> SigningKey:
    """The vote key of a node: its first, or the one it was re-keyed to."""
    keys = [signing_key(label.format(member.index), Scheme.ED25519) for label in VOTE_KEYS]
    return next(key for key in keys if public_key(key).data == member.vote_key)


def sign_key_of(label: str) -> PublicKey:
    return public_key(signing_key(label))


def seal_key_of(label: str) -> SealKey:
    return seal_public_key(seal_private_key(label))


def account_of(label: str) -> AccountId:
    """The account whose first sign key has this label."""
    return account_id(sign_key_of(label))


def invitation(parameters: Parameters | None = None) -> Invitation:
    return Invitation(
        chain_name="small consortium",
        created_ms=CREATED_MS,
        parameters=parameters or Parameters(),
    )


def statement(
    org: OrgId,
    node_indexes: Sequence[int],
    parameters: Parameters | None = None,
    *,
    people_of: str | None = None,
    vote_label: str | None = None,
    **claim_changes: Any,
) -> FoundingStatement:
    """What a hospital with an agent, two admins and some nodes signs.

    `people_of`, `vote_label` and `claim_changes` let it claim what belongs to others.
    """
    invited = invitation(parameters)
    people = people_of or org

    def founder(role: Role, label: str) -> FoundingAccount:
        return make_founding_account(
            invited, org=org, role=role, key=signing_key(label), seal_key=seal_key_of(label)
        )

    def node(index: int) -> NodeStatement:
        vote_key = signing_key(vote_label or f"node {index}", Scheme.ED25519)
        claim = NodeClaim(
            index=ReplicaId(index),
            org=org,
            vote_key=public_key(vote_key).data,
            tls_pin=seed(f"tls {index}"),
            p2p_address=f"127.0.0.1:{7_000 + index}",
        )
        return make_founding_node(invited, replace(claim, **claim_changes), vote_key)

    return make_founding_statement(
        invited,
        org=org,
        name=f"Hospital {org}",
        agent=founder(Role.KEY_AGENT, f"agent of {people}"),
        admins=[
            founder(Role.HOSPITAL_ADMIN, f"{one} admin of {people}") for one in ("first", "second")
        ],
        nodes=[node(index) for index in node_indexes],
        first_admin=signing_key(f"first admin of {people}"),
    )


@cache
def genesis() -> GenesisDocument:
    """Two hospitals with two nodes each."""
    return assemble(invitation(), [statement(NORTH, (0, 1)), statement(SOUTH, (2, 3))])


def registration(
    chain_id: ChainId,
    org: OrgId,
    label: str,
    role: Role,
    *,
    scheme: Scheme = Scheme.P256,
    notes: Sequence[DirectoryNote] = (),
    categories: Sequence[bytes] = (),
) -> Register:
    """A registration of the person with that label, with the proofs its key makes."""
    key, seal_key = signing_key(label, scheme), seal_key_of(label)
    new_id = account_id(public_key(key))
    return Register(
        role=role,
        sign_key=public_key(key),
        seal_key=seal_key,
        seal_binding=sign_seal_binding(key, account_id=new_id, seal_key=seal_key),
        possession=sign_registration(key, chain_id=chain_id, org=org, role=role, seal_key=seal_key),
        specialty="" if role is Role.PATIENT else "general",
        licence=None,
        categories=tuple(sorted(categories)),
        in_custody=False,
        notes=tuple(sorted(notes, key=lambda note: note.recipient)),
    )


def rotation(
    chain_id: ChainId,
    label: str,
    *,
    next_key: SigningKey | None = None,
    next_seal: str | None = None,
    binding_by: SigningKey | None = None,
    in_custody: bool = False,
) -> RotateKey:
    owner = account_of(label)
    seal_key = seal_key_of(next_seal or label)
    signer = binding_by or next_key or signing_key(label)
    return RotateKey(
        sign_key=None if next_key is None else public_key(next_key),
        possession=None
        if next_key is None
        else sign_rotation(next_key, chain_id=chain_id, account_id=owner),
        seal_key=None if next_seal is None else seal_key,
        seal_binding=sign_seal_binding(signer, account_id=owner, seal_key=seal_key),
        in_custody=in_custody,
    )


@dataclass(slots=True)
class Consortium:
    """A chain without consensus: state, height and block time."""

    document: GenesisDocument = field(default_factory=genesis)
    state: MemoryState = field(default_factory=MemoryState)
    height: int = 0
    time_ms: int = CREATED_MS
    nonces: int = 0
    chain_id: ChainId = field(init=False)

    def __post_init__(self) -> None:
        self.chain_id = chain_id_of(self.document)
        self.state.apply(apply_genesis(self.document))

    def signed(
        self,
        kind: str,
        payload: Any,
        by: str,
        *,
        sender: AccountId | None = None,
        scheme: Scheme = Scheme.P256,
        sidecars: Sequence[Digest] = (),
        valid_from_ms: int | None = None,
        window_ms: int = WINDOW_MS,
    ) -> bytes:
        """Signed bytes by the key with the label `by`, valid from the block time on."""
        self.nonces += 1
        key = signing_key(by, scheme)
        start_ms = self.time_ms if valid_from_ms is None else valid_from_ms
        body = make_transaction(
            chain_id=self.chain_id,
            sender=sender or account_id(public_key(key)),
            kind=kind,
            payload=payload,
            valid_from_ms=start_ms,
            valid_until_ms=start_ms + window_ms,
            nonce=self.nonces.to_bytes(16, "big"),
            sidecars=sidecars,
        )
        return sign_transaction(body, key)

    def transaction(self, kind: str, payload: Any, by: str, **options: Any) -> Transaction:
        """The same, decoded, its signature checked."""
        transaction = decode_transaction(self.signed(kind, payload, by, **options), self.chain_id)
        check_transaction_signature(transaction)
        return transaction

    def apply(self, *transactions: Transaction, after_ms: int = 1_000) -> BlockResult:
        """Execute one block, `after_ms` after the last."""
        self.height += 1
        self.time_ms += after_ms
        result = apply_block(
            self.state,
            chain_id=self.chain_id,
            height=self.height,
            time_ms=self.time_ms,
            transactions=transactions,
        )
        self.state.apply(result.writes)
        return result

    def submit(self, kind: str, payload: Any, by: str, **options: Any) -> BlockResult:
        """Execute one block with one transaction."""
        return self.apply(self.transaction(kind, payload, by, **options))

    def outcome(self, kind: str, payload: Any, by: str, **options: Any) -> Receipt:
        """Execute one transaction; a refusal must leave the state alone and give a reason."""
        before = self.state.entries()
        result = self.submit(kind, payload, by, **options)
        receipt = result.receipts[0]
        if not receipt.accepted:
            assert self.state.entries() == before, "a refusal leaves nothing"
            assert result.reasons[0], "a refusal says why"
        return receipt

    def account(self, label: str) -> Account:
        """Return the account whose first sign key has this label."""
        found = get_account(self.state, account_of(label))
        assert found is not None, f"{label} is registered"
        return found

    def register(self, label: str, role: Role, org: OrgId = NORTH, **options: Any) -> AccountId:
        """Register a person by the first admin of `org`; it must succeed."""
        sidecars = tuple([note.note for note in options.get("notes", ())])
        payload = registration(self.chain_id, org, label, role, **options)
        result = self.submit(
            "identity.register", payload, f"first admin of {org}", sidecars=sidecars
        )
        assert result.receipts[0].accepted, result.reasons
        return account_id(payload.sign_key)
