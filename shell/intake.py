"""The way in for transactions: decode once, check, have the signature verified, pool, pass on.

Everything that arrives goes through here, from users and from peers alike, and each transaction
is verified once per node, ever. What can never commit is answered definitely; what a full pool
turns away may be offered again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from api.ports import NotTaken, Submitted, TransactionStatus
from crypto.envelopes import check_sidecar
from crypto.errors import CryptoError
from crypto.hashing import Digest
from crypto.signatures import remember_valid
from ledger.errors import (
    AlreadyPooled,
    InvalidSidecars,
    InvalidTransaction,
    KeyInactive,
    NotSigned,
    PoolError,
    PoolFull,
    Replayed,
    TooEarly,
    UnknownSender,
)
from ledger.pool import Entry, Pool
from ledger.replay import Status
from ledger.transactions import (
    Transaction,
    decode_transaction,
    inner_signature_jobs,
    signature_job,
)
from ledger.validation import check_admission
from shell.chain import Chain
from shell.clock import Clock
from shell.verifier import Verifier

log = logging.getLogger("medledger.intake")

SLICE_ITEMS = 32
"""Transactions decoded before the loop gets a turn: about 2 ms of work."""

INDEFINITE = (PoolError, UnknownSender, KeyInactive, TooEarly)
"""What another moment may change: the same bytes may be offered again."""

Item = tuple[bytes, tuple[bytes, ...]]
"""A signed transaction and its sidecar contents, in the order its body lists them."""


def ignore_added(_entries: Sequence[Entry], _is_gossip: bool) -> None:
    """Tell nobody: until the node is connected."""


@dataclass(slots=True, kw_only=True)
class Intake:
    """Where transactions come in.

    `on_added(entries, is_gossip)` hears of what is new in the pool. `under_check` holds the signed
    hashes whose signature is with a worker now, so that the same transaction from a user and from
    three peers is verified once. At `full_at_ms` the pool last turned one away for want of room.
    """

    chain: Chain
    pool: Pool
    verifier: Verifier
    clock: Clock
    on_added: Callable[[Sequence[Entry], bool], None] = ignore_added
    under_check: dict[Digest, asyncio.Future[None]] = field(default_factory=dict)
    full_at_ms: int | None = None


async def submit(
    intake: Intake, items: Sequence[Item], *, is_gossip: bool = False
) -> list[Submitted | NotTaken]:
    """Take what can be taken; return one answer for each item, in order."""
    answers: list[Submitted | NotTaken | None] = [None] * len(items)
    fresh: list[tuple[int, Transaction, tuple[bytes, ...]]] = []
    for index, (signed, sidecars) in enumerate(items):
        if index % SLICE_ITEMS == SLICE_ITEMS - 1:
            await asyncio.sleep(0)
        outcome = _admit(intake, signed, sidecars)
        if isinstance(outcome, Transaction):
            fresh.append((index, outcome, sidecars))
        else:
            answers[index] = outcome
    for (index, *_), outcome in zip(
        fresh, await _verify_and_pool(intake, fresh, is_gossip=is_gossip), strict=True
    ):
        answers[index] = outcome
    assert all(answer is not None for answer in answers), "every item has its answer"
    return [answer for answer in answers if answer is not None]


def _admit(
    intake: Intake, signed: bytes, sidecars: tuple[bytes, ...]
) -> Transaction | Submitted | NotTaken:
    """Return a transaction that is worth verifying, or what is known without that."""
    tx_id: Digest | None = None
    try:
        transaction = decode_transaction(signed, intake.chain.chain_id)
        tx_id = transaction.tx_id
        if intake.pool.find(tx_id) is not None:
            return _pending(tx_id)
        check_admission(
            transaction,
            [len(one) for one in sidecars],
            view=intake.chain.view(),
            replay=intake.chain.replay,
            parameters=intake.chain.parameters(),
            now_ms=max(intake.clock.now_ms(), intake.chain.tip.time_ms),
        )
        check_sidecars(transaction, sidecars)
    except Replayed:
        assert tx_id is not None, "only a decoded transaction is a replay"
        return Submitted(status=intake.chain.status(tx_id))
    except InvalidTransaction as problem:
        return _not_taken(tx_id, problem)
    return transaction


def check_sidecars(transaction: Transaction, sidecars: Sequence[bytes]) -> None:
    """Raise `InvalidSidecars` unless the contents are those whose digests the body lists."""
    try:
        for digest, content in zip(transaction.body.sidecars, sidecars, strict=True):
            check_sidecar(digest, content)
    except (CryptoError, ValueError) as problem:
        raise InvalidSidecars(
            f"the sidecars beside the transaction are not those it lists: {problem}"
        ) from problem


async def _verify_and_pool(
    intake: Intake, fresh: Sequence[tuple[int, Transaction, tuple[bytes, ...]]], *, is_gossip: bool
) -> list[Submitted | NotTaken]:
    ours = []
    for _, transaction, _ in fresh:
        waiting = intake.under_check.get(transaction.signed_hash)
        if waiting is None:
            mark = asyncio.get_running_loop().create_future()
            intake.under_check[transaction.signed_hash] = mark
            ours.append(transaction)
    try:
        verdicts = await _verify(intake, ours)
        return _pool_all(intake, fresh, verdicts, is_gossip=is_gossip)
    finally:
        for one in ours:
            intake.under_check.pop(one.signed_hash).cancel()


async def _verify(intake: Intake, transactions: Sequence[Transaction]) -> dict[Digest, bool]:
    """Check signatures in one go, those inside payloads too, so that execution need not wait."""
    view = intake.chain.view()
    inner = [inner_signature_jobs(view, one) for one in transactions]
    jobs = [signature_job(one) for one in transactions]
    valid = await intake.verifier.is_valid([*jobs, *(job for some in inner for job in some)])
    flat = (job for some in inner for job in some)
    for job, ok in zip(flat, valid[len(jobs) :], strict=True):
        if ok:
            remember_valid(job)
    return {one.signed_hash: ok for one, ok in zip(transactions, valid[: len(jobs)], strict=True)}


def _pool_all(
    intake: Intake,
    fresh: Sequence[tuple[int, Transaction, tuple[bytes, ...]]],
    verdicts: dict[Digest, bool],
    *,
    is_gossip: bool,
) -> list[Submitted | NotTaken]:
    answers: list[Submitted | NotTaken] = []
    added: list[Entry] = []
    for _, transaction, sidecars in fresh:
        is_valid = verdicts.get(transaction.signed_hash)
        if is_valid is None:  # The same bytes are being verified for somebody else.
            answers.append(_pending(transaction.tx_id))
        elif not is_valid:
            problem = NotSigned("the signature is not one of the key in the transaction")
            answers.append(_not_taken(transaction.tx_id, problem))
        else:
            answers.append(_pool_one(intake, transaction, sidecars, added))
    if added:
        _log_pooled(added, is_gossip)
        intake.on_added(added, is_gossip)
    return answers


def _log_pooled(added: Sequence[Entry], is_gossip: bool) -> None:
    """Begin the path of each transaction in the log: who brought it to this node."""
    if log.isEnabledFor(logging.DEBUG):
        for entry in added:
            tx_id, by = entry.transaction.tx_id.hex(), "peer" if is_gossip else "user"
            log.debug("pooled", extra={"tx": tx_id, "by": by, "bytes": entry.size_bytes})


def _pool_one(
    intake: Intake, transaction: Transaction, sidecars: tuple[bytes, ...], added: list[Entry]
) -> Submitted | NotTaken:
    if intake.chain.replay.contains(transaction.tx_id, transaction.body.valid_until_ms):
        return Submitted(status=intake.chain.status(transaction.tx_id))
    try:
        added.append(intake.pool.add(transaction, sidecars, intake.clock.now_ms()))
    except AlreadyPooled:
        return _pending(transaction.tx_id)
    except PoolError as problem:
        if isinstance(problem, PoolFull):
            intake.full_at_ms = intake.clock.now_ms()
        return _not_taken(transaction.tx_id, problem)
    return _pending(transaction.tx_id)


def _pending(tx_id: Digest) -> Submitted:
    status = TransactionStatus(tx_id=tx_id, state=Status.PENDING, receipt=None)
    return Submitted(status=status)


def _not_taken(tx_id: Digest | None, problem: InvalidTransaction | PoolError) -> NotTaken:
    if log.isEnabledFor(logging.DEBUG):
        told = None if tx_id is None else tx_id.hex()
        log.debug("not taken", extra={"tx": told, "code": problem.code, "why": str(problem)})
    return NotTaken(
        tx_id=tx_id,
        code=problem.code,
        text=str(problem),
        definite=not isinstance(problem, INDEFINITE),
    )
