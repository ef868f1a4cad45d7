"""What the ledger costs per transaction: decode, admit, propose, check, execute, encode receipts.

One process, no consensus, storage or sockets; the state is in memory. `python -m
benchmarks.parts.ledger_execution` prints microseconds per transaction, best of some rounds, for a
cheap kind (`identity.suspend`, no state but accounts) and for `identity.register`, whose two inner
signatures are checked ahead as workers do it. The signature on the transaction itself is apart.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crypto.envelopes import SealScheme, make_seal_private_key, seal_public_key
from crypto.hashing import ChainId, Digest
from crypto.schema import encode
from crypto.signatures import (
    PublicKey,
    Scheme,
    SigningKey,
    account_id,
    is_valid_many,
    make_signing_key,
    public_key,
    remember_valid,
)
from crypto.validators import Epoch, ReplicaId
from crypto.votes import NO_DIGEST, Height, View
from genesis.ceremony import (
    assemble,
    make_founding_account,
    make_founding_node,
    make_founding_statement,
)
from genesis.document import GenesisDocument, Invitation, chain_id_of
from genesis.state import apply_genesis, founding_validators
from ledger.accounts import OrgId, Role
from ledger.blocks import genesis_header_digest, receipts_root
from ledger.identity_payloads import Register, Suspend
from ledger.key_proofs import sign_registration, sign_seal_binding
from ledger.nodes import NodeClaim
from ledger.parameters import Parameters
from ledger.pool import Pool, PoolLimits
from ledger.proposal import make_block
from ledger.replay import ReplayWindow
from ledger.state import MemoryState
from ledger.transactions import (
    Transaction,
    decode_transaction,
    inner_signature_jobs,
    make_transaction,
    sign_transaction,
    signature_job,
)
from ledger.transition import BlockResult, apply_block
from ledger.validation import ParentFacts, check_admission, check_proposal

CREATED_MS: Final = 1_790_000_000_000
HOSPITAL: Final = OrgId("bench")
PARAMETERS: Final = Parameters(account_transactions_per_block_max=4_000)
MICROSECONDS: Final = 1e6


@dataclass(slots=True, kw_only=True)
class Bench:
    """One hospital's chain at genesis, with the key of its admin."""

    document: GenesisDocument
    chain_id: ChainId
    admin: SigningKey
    state: MemoryState
    nonces: int = 0

    def signed(self, kind: str, payload: Any) -> bytes:
        self.nonces += 1
        body = make_transaction(
            chain_id=self.chain_id,
            sender=account_id(public_key(self.admin)),
            kind=kind,
            payload=payload,
            valid_from_ms=CREATED_MS,
            valid_until_ms=CREATED_MS + 60_000,
            nonce=self.nonces.to_bytes(16, "big"),
        )
        return sign_transaction(body, self.admin)


def make_bench() -> Bench:
    """Found a consortium of one hospital with one node."""
    invitation = Invitation(chain_name="bench", created_ms=CREATED_MS, parameters=PARAMETERS)
    admin, agent = (make_signing_key(Scheme.P256) for _ in range(2))
    vote_key = make_signing_key(Scheme.ED25519)
    founders = [
        make_founding_account(invitation, org=HOSPITAL, role=role, key=key, seal_key=seal_key())
        for role, key in ((Role.KEY_AGENT, agent), (Role.HOSPITAL_ADMIN, admin))
    ]
    claim = NodeClaim(
        index=ReplicaId(0),
        org=HOSPITAL,
        vote_key=public_key(vote_key).data,
        tls_pin=bytes(32),
        p2p_address="127.0.0.1:7000",
    )
    statement = make_founding_statement(
        invitation,
        org=HOSPITAL,
        name="Benchmark hospital",
        agent=founders[0],
        admins=founders[1:],
        nodes=[make_founding_node(invitation, claim, vote_key)],
        first_admin=admin,
    )
    document = assemble(invitation, [statement])
    state = MemoryState()
    state.apply(apply_genesis(document))
    return Bench(document=document, chain_id=chain_id_of(document), admin=admin, state=state)


def seal_key() -> Any:
    return seal_public_key(make_seal_private_key(SealScheme.P256))


def registration(bench: Bench, role: Role, key: SigningKey) -> Register:
    """Return a registration of somebody new, who holds `key`."""
    new_seal_key = seal_key()
    sign_key: PublicKey = public_key(key)
    new_id = account_id(sign_key)
    return Register(
        role=role,
        sign_key=sign_key,
        seal_key=new_seal_key,
        seal_binding=sign_seal_binding(key, account_id=new_id, seal_key=new_seal_key),
        possession=sign_registration(
            key, chain_id=bench.chain_id, org=HOSPITAL, role=role, seal_key=new_seal_key
        ),
        specialty="",
        licence=None,
        categories=(),
        in_custody=False,
        notes=(),
    )


def measure(bench: Bench, signed: Sequence[bytes], rounds: int) -> dict[str, float]:
    """Return microseconds per transaction of every step, best of `rounds`."""
    transactions = [decode_transaction(one, bench.chain_id) for one in signed]
    for job in [job for one in transactions for job in inner_signature_jobs(bench.state, one)]:
        remember_valid(job)
    replay = ReplayWindow(height=0, time_ms=CREATED_MS)
    parent = parent_facts(bench)
    header, _ = propose(bench, transactions, parent, replay)
    result = execute(bench, transactions)
    jobs = [signature_job(one) for one in transactions]

    steps: dict[str, Callable[[], object]] = {
        "signature": lambda: is_valid_many(jobs),
        "decode, hash": lambda: [decode_transaction(one, bench.chain_id) for one in signed],
        "admit": lambda: admit_all(bench, transactions, replay),
        "pool, propose": lambda: propose(bench, transactions, parent, replay),
        "check proposal": lambda: check_proposal(
            header,
            transactions,
            [()] * len(transactions),
            parent=parent,
            view=bench.state,
            replay=replay,
            parameters=PARAMETERS,
        ),
        "execute": lambda: execute(bench, transactions),
        "receipts, encoded": lambda: [encode(one) for one in result.receipts],
        "receipts root": lambda: receipts_root(bench.chain_id, result.receipts),
    }
    return {
        name: best_of(rounds, step) / len(signed) * MICROSECONDS for name, step in steps.items()
    }


def parent_facts(bench: Bench) -> ParentFacts:
    validators = founding_validators(bench.document)
    return ParentFacts(
        chain_id=bench.chain_id,
        height=Height(0),
        header=genesis_header_digest(bench.chain_id),
        certificate=NO_DIGEST,
        time_ms=CREATED_MS,
        state_root=Digest(bytes(32)),
        receipts_root=receipts_root(bench.chain_id, ()),
        epoch=Epoch(0),
        validators=validators,
        next_validators=validators.digest(),
    )


def admit_all(bench: Bench, transactions: Sequence[Transaction], replay: ReplayWindow) -> None:
    for one in transactions:
        check_admission(
            one,
            (),
            view=bench.state,
            replay=replay,
            parameters=PARAMETERS,
            now_ms=CREATED_MS + 1,
        )


def propose(
    bench: Bench, transactions: Sequence[Transaction], parent: ParentFacts, replay: ReplayWindow
) -> Any:
    """Fill a pool and make one block of it."""
    count = len(transactions)
    pool = Pool(
        PoolLimits(
            transactions_max=4 * count, bytes_max=1 << 30, account_transactions_max=4 * count
        )
    )
    for one in transactions:
        pool.add(one, (), CREATED_MS)
    return make_block(
        pool,
        parent=parent,
        state=bench.state,
        replay=replay,
        parameters=PARAMETERS,
        proposer=ReplicaId(0),
        view=View(0),
        now_ms=CREATED_MS + 1,
    )


def execute(bench: Bench, transactions: Sequence[Transaction]) -> BlockResult:
    result = apply_block(
        bench.state,
        chain_id=bench.chain_id,
        height=1,
        time_ms=CREATED_MS + 1,
        transactions=transactions,
    )
    assert all(receipt.accepted for receipt in result.receipts), "the benchmark's block is clean"
    return result


def best_of(rounds: int, step: Callable[[], object]) -> float:
    """Return the seconds of the fastest round: noise only ever adds."""
    fastest = float("inf")
    for _ in range(rounds):
        started = time.perf_counter()
        step()
        fastest = min(fastest, time.perf_counter() - started)
    return fastest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000, help="transactions in the block")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    bench = make_bench()
    people = [
        registration(bench, Role.DOCTOR, make_signing_key(Scheme.P256))
        for _ in range(options.count)
    ]
    registrations = [bench.signed("identity.register", one) for one in people]
    report = {"identity.register": measure(bench, registrations, options.rounds)}
    decoded = [decode_transaction(one, bench.chain_id) for one in registrations]
    bench.state.apply(execute(bench, decoded).writes)
    suspensions = [
        bench.signed("identity.suspend", Suspend(account_id=account_id(one.sign_key), reason=""))
        for one in people
    ]
    report["identity.suspend"] = measure(bench, suspensions, options.rounds)
    if options.json:
        sys.stdout.write(json.dumps(report, indent=1) + "\n")
        return
    for kind, steps in report.items():
        sys.stdout.write(f"{kind}, {options.count} transactions, us each\n")
        for name, cost in steps.items():
            sys.stdout.write(f"  {name:<20}{cost:8.1f}\n")


if __name__ == "__main__":
    main()
