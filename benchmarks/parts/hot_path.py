"""What one transaction costs one node, step by step, beside the budget of the performance page.

One process, no sockets and no consensus: the real code of intake, pool, proposal, execution and
storage, called in the order in which a node calls it, on `access.grant` transactions of many
patients and a LevelDB in a temporary directory. `python -m benchmarks.parts.hot_path` prints
processor microseconds per transaction, of the best block, since noise only ever adds; `--profile
FILE` writes a cProfile of all blocks.
"""

import argparse
import cProfile
import dataclasses
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.parts.ledger_execution import (
    CREATED_MS,
    HOSPITAL,
    Bench,
    make_bench,
    parent_facts,
    registration,
)
from crypto.record_ids import AccountId
from crypto.schema import decode, encode
from crypto.signatures import (
    Scheme,
    SigningKey,
    account_id,
    encode_jobs,
    make_signing_key,
    public_key,
)
from crypto.validators import ReplicaId
from crypto.votes import View
from genesis.state import apply_genesis
from ledger.access_payloads import AccessGrant, AccessLevel, AllRecords, Terms, WholeOrganisation
from ledger.accounts import Role
from ledger.blocks import Header
from ledger.exchange import SubmitBatch, SubmitItem
from ledger.parameters import get_parameters
from ledger.pool import Entry, Pool, PoolLimits
from ledger.proposal import make_block
from ledger.purposes import TREAT
from ledger.replay import ReplayWindow
from ledger.transactions import (
    Transaction,
    decode_transaction,
    make_transaction,
    sign_transaction,
    signature_job,
)
from ledger.transition import apply_block
from ledger.validation import check_admission, check_proposal
from storage.chain import DecidedBlock, create_chain, publish_commit, stage_block, write_commit
from storage.database import create_database
from storage.slices import run_to_end

MICROSECONDS: Final = 1e6
CERTIFICATE_BYTES: Final = 400
REGISTERED_AT_ONCE: Final = 500
BATCH_ITEMS: Final = 20
"""Transactions in one frame of gossip: what gathers in a few milliseconds under load."""


@dataclass(slots=True, kw_only=True)
class Costs:
    """Processor seconds by step, one number for each block."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def timed(self, step: str, work: Callable[[], Any]) -> Any:
        began = time.thread_time()
        outcome = work()
        self.seconds.setdefault(step, []).append(time.thread_time() - began)
        return outcome


@dataclass(slots=True, kw_only=True)
class Line:
    """One node's chain without the node: what a block meets on its way."""

    bench: Bench
    chain: Any
    pool: Pool
    replay: ReplayWindow
    costs: Costs = field(default_factory=Costs)


def make_grants(
    line: Line, patients: Sequence[tuple[Any, AccountId]], count: int, first: int
) -> list[bytes]:
    """Sign so many grants, one patient after the other."""
    signed = []
    for number in range(first, first + count):
        key, pseudonym = patients[number % len(patients)]
        terms = Terms(
            grantee=WholeOrganisation(org=HOSPITAL),
            scope=AllRecords(),
            level=AccessLevel.READ,
            purposes=(TREAT,),
            from_ms=CREATED_MS + number,
            until_ms=CREATED_MS + (1 << 40),
        )
        body = make_transaction(
            chain_id=line.bench.chain_id,
            sender=pseudonym,
            kind="access.grant",
            payload=AccessGrant(pseudonym=pseudonym, terms=terms),
            valid_from_ms=CREATED_MS,
            valid_until_ms=CREATED_MS + 60_000,
            nonce=number.to_bytes(16, "big"),
        )
        signed.append(sign_transaction(body, key))
    return signed


def framed(signed: Sequence[bytes]) -> list[bytes]:
    return [
        encode(
            SubmitBatch(
                items=tuple(
                    SubmitItem(signed=one, sidecars=())
                    for one in signed[start : start + BATCH_ITEMS]
                )
            )
        )
        for start in range(0, len(signed), BATCH_ITEMS)
    ]


def run_block(line: Line, frames: Sequence[bytes]) -> None:
    """Take the transactions through everything that a node does with them."""
    now_ms = max(line.chain.tip.time_ms + 1, CREATED_MS + 1)
    transactions = receive(line, frames, now_ms)
    header, entries = propose(line, now_ms)
    assert len(entries) == len(transactions), "one block takes them all"
    decide(line, header, [one.transaction for one in entries])


def receive(line: Line, frames: Sequence[bytes], now_ms: int) -> list[Transaction]:
    """Decode, check and pool what comes in frames, and make frames for the others."""
    timed, view = line.costs.timed, line.chain.world.view
    parameters = get_parameters(view)
    batches = timed("receive: decode frames", lambda: [decode(SubmitBatch, one) for one in frames])
    signed = [item.signed for batch in batches for item in batch.items]
    chain_id = line.bench.chain_id
    transactions: list[Transaction] = timed(
        "receive: decode, hash", lambda: [decode_transaction(one, chain_id) for one in signed]
    )

    def admit() -> None:
        for one in transactions:
            check_admission(
                one, (), view=view, replay=line.replay, parameters=parameters, now_ms=now_ms
            )

    timed("receive: admit", admit)
    timed("signature: jobs", lambda: encode_jobs([signature_job(one) for one in transactions]))
    timed("receive: pool", lambda: [line.pool.add(one, (), now_ms) for one in transactions])
    timed("gossip: encode", lambda: framed(signed))
    return transactions


def propose(line: Line, now_ms: int) -> tuple[Header, Sequence[Entry]]:
    """Make a block of the pool, and check it as the others do."""
    timed, chain, view = line.costs.timed, line.chain, line.chain.world.view
    parameters = get_parameters(view)
    parent = dataclasses.replace(
        parent_facts(line.bench),
        height=chain.tip.height,
        header=chain.tip.digest,
        time_ms=chain.tip.time_ms,
        state_root=chain.tip.state_root,
        receipts_root=chain.tip.receipts_root,
    )
    header, entries = timed(
        "propose: make",
        lambda: make_block(
            line.pool,
            parent=parent,
            state=view,
            replay=line.replay,
            parameters=parameters,
            proposer=ReplicaId(0),
            view=View(0),
            now_ms=now_ms,
        ),
    )
    timed(
        "propose: check",
        lambda: check_proposal(
            header,
            [one.transaction for one in entries],
            [()] * len(entries),
            parent=parent,
            view=view,
            replay=line.replay,
            parameters=parameters,
        ),
    )
    return header, entries


def decide(line: Line, header: Header, transactions: Sequence[Transaction]) -> None:
    """Execute and store a block, and let go of its transactions."""
    timed, chain = line.costs.timed, line.chain
    result = timed(
        "execute",
        lambda: apply_block(
            chain.world.view,
            chain_id=line.bench.chain_id,
            height=header.height,
            time_ms=header.time_ms,
            transactions=transactions,
        ),
    )
    assert all(receipt.accepted for receipt in result.receipts), "the benchmark's block is clean"
    block = DecidedBlock(
        header=encode(header),
        certificate=bytes(CERTIFICATE_BYTES),
        transactions=tuple(transactions),
    )
    commit = timed(
        "store: tree, receipts, rows", lambda: run_to_end(stage_block(chain, block, result))
    )
    timed("store: batch", lambda: write_commit(chain, commit))

    def publish() -> None:
        publish_commit(chain, commit)
        line.pool.remove([one.tx_id for one in transactions], decided_ms=header.time_ms)
        line.replay.add_block(
            header.height,
            header.time_ms,
            [(one.tx_id, one.body.valid_until_ms) for one in transactions],
        )

    timed("publish", publish)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=500, help="transactions in a block")
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--patients", type=int, default=1_000)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="medledger-hot-path-") as folder:
        costs = measure(Path(folder), options)
    least = {
        step: min(times) / options.count * MICROSECONDS for step, times in costs.seconds.items()
    }
    if options.json:
        sys.stdout.write(json.dumps(least, indent=1) + "\n")
        return
    for step, cost in [*least.items(), ("all", sum(least.values()))]:
        sys.stdout.write(f"  {step:<30}{cost:8.1f}\n")


def measure(folder: Path, options: argparse.Namespace) -> Costs:
    """Register the patients, then run the blocks."""
    bench = make_bench()
    with create_database(folder / "ledger") as database:
        writes = apply_genesis(bench.document)
        chain = create_chain(database, bench.chain_id, writes, time_ms=CREATED_MS)
        limits = PoolLimits(
            transactions_max=20_000, bytes_max=1 << 28, account_transactions_max=20_000
        )
        replay = ReplayWindow(height=0, time_ms=CREATED_MS)
        line = Line(bench=bench, chain=chain, pool=Pool(limits), replay=replay)
        patients = register(line, options.patients)
        line.costs = Costs()
        count = options.count
        blocks = [
            framed(make_grants(line, patients, count, number * count))
            for number in range(options.blocks)
        ]
        gc.collect()
        profile = cProfile.Profile()
        if options.profile:
            profile.enable()
        for frames in blocks:
            run_block(line, frames)
        if options.profile:
            profile.disable()
            profile.dump_stats(options.profile)
        return line.costs


def register(line: Line, count: int) -> list[tuple[SigningKey, AccountId]]:
    """Register so many patients, in blocks of the usual size."""
    keys = [make_signing_key(Scheme.P256) for _ in range(count)]
    for first in range(0, count, REGISTERED_AT_ONCE):
        payloads = [
            registration(line.bench, Role.PATIENT, key)
            for key in keys[first : first + REGISTERED_AT_ONCE]
        ]
        run_block(line, framed([line.bench.signed("identity.register", one) for one in payloads]))
    return [(key, account_id(public_key(key))) for key in keys]


if __name__ == "__main__":
    main()
