"""The way in for transactions: decode once, check, have the signature verified, pool, pass on.

Everything that arrives goes through here, from users and from peers alike, and each transaction
is verified once per node, ever. What can never commit is answered definitely; what a full pool
turns away may be offered again.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

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
    hash_signed,
    inner_signature_jobs,
    signature_job,
)
from ledger.validation import check_admission
from shell.chain import Chain
from shell.clock import Clock
from shell.gathering import Gathering, take_part, wait_done
from shell.verifier import Verifier

log = logging.getLogger("medledger.intake")

SLICE_ITEMS: Final = 32
"""Transactions decoded before the loop gets a turn: about 1 ms of work."""

TURN_ITEMS_MAX: Final = 512

TURNED_AWAY_MAX: Final = 4_096

TAKEN_MS_MAX: Final = 250
"""How long a proposal waits for what has come in, before peers are asked for the same."""

INDEFINITE: Final = (PoolError, UnknownSender, KeyInactive, TooEarly)
"""What another moment may change: the same bytes may be offered again."""

Item = tuple[bytes, tuple[bytes, ...]]
"""A signed transaction and its sidecar contents, in the order its body lists them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The outcome of an item that a block has already: what is told of it is read afterwards."""

    tx_id: Digest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Offer:
    """An item that came in, and whether a peer passed it on."""

    signed: bytes
    sidecars: tuple[bytes, ...]
    is_gossip: bool


def is_unchecked(_signed_hash: Digest) -> bool:
    """Know of nothing that was checked before: until the node is connected."""
    return False


def ignore_added(_entries: Sequence[Entry], _is_gossip: bool) -> None:
    """Tell nobody: until the node is connected."""


class Intake:
    """Where transactions come in; they are taken in turns (`shell.gathering`).

    `on_added(entries, is_gossip)` hears of what is new in the pool. `is_checked` tells whether the
    signature behind a signed hash was found valid here already, for a proposal that named it. At
    `full_at_ms` the pool last turned one away for want of room. `turned_away` are signed hashes of
    the latest that the pool did not take, though a block may have them.
    """

    def __init__(self, *, chain: Chain, pool: Pool, verifier: Verifier, clock: Clock) -> None:
        self.chain = chain
        self.pool = pool
        self.verifier = verifier
        self.clock = clock
        self.on_added: Callable[[Sequence[Entry], bool], None] = ignore_added
        self.is_checked: Callable[[Digest], bool] = is_unchecked
        self.full_at_ms: int | None = None
        self.turned_away: dict[Digest, None] = {}
        self.offers = Gathering(work=partial(_take, self), items_max=TURN_ITEMS_MAX)


async def submit(
    intake: Intake, items: Sequence[Item], *, is_gossip: bool = False
) -> list[Submitted | NotTaken]:
    """Take what can be taken; return one answer for each item, in order."""
    offers = [
        Offer(signed=signed, sidecars=sidecars, is_gossip=is_gossip) for signed, sidecars in items
    ]
    outcomes = await take_part(intake.offers, offers)
    return [_told(intake, one, is_gossip=is_gossip) for one in outcomes]


async def wait_taken(intake: Intake, wanted: Iterable[Digest]) -> None:
    """Wait, not for long, until what has come in before is in the pool or turned away.

    Nobody waits for what was turned away already: who signs one body twice and shows each node
    another signature would hold up every block.
    """
    if not all(one in intake.turned_away for one in wanted):
        await wait_done(intake.offers, TAKEN_MS_MAX)


def _told(
    intake: Intake, outcome: Submitted | NotTaken | Decided, *, is_gossip: bool
) -> Submitted | NotTaken:
    """Return the answer to an outcome.

    A receipt is read for whoever asks, outside the turn: one that the disk has damaged is raised to
    nobody else.
    """
    if not isinstance(outcome, Decided):
        return outcome
    if is_gossip:  # A peer is told nothing.
        return _pending(outcome.tx_id)
    return Submitted(status=intake.chain.status(outcome.tx_id))


async def _take(intake: Intake, offers: Sequence[Offer]) -> list[Submitted | NotTaken | Decided]:
    """Do one turn: decode, check and verify everything, and pool what is good."""
    outcomes: list[Transaction | Submitted | NotTaken | Decided] = []
    for index, offer in enumerate(offers):
        if index % SLICE_ITEMS == SLICE_ITEMS - 1:
            await asyncio.sleep(0)
        outcomes.append(_admit(intake, offer))
    fresh = {one.signed_hash: one for one in outcomes if isinstance(one, Transaction)}
    known = {one for one in fresh if intake.is_checked(one)}
    new = [one for signed_hash, one in fresh.items() if signed_hash not in known]
    valid = known | await _find_valid(intake, new)
    added: dict[bool, list[Entry]] = {False: [], True: []}
    answers: list[Submitted | NotTaken | Decided] = []
    for offer, outcome in zip(offers, outcomes, strict=True):
        if not isinstance(outcome, Transaction):
            answers.append(outcome)
        elif outcome.signed_hash not in valid:
            problem = NotSigned("the signature is not one of the key in the transaction")
            answers.append(_not_taken(outcome.tx_id, problem))
        else:
            answers.append(_pool_one(intake, outcome, offer.sidecars, added[offer.is_gossip]))
    for is_gossip, entries in added.items():
        if entries:
            _log_pooled(entries, is_gossip)
            intake.on_added(entries, is_gossip)
    return answers


def _admit(intake: Intake, offer: Offer) -> Transaction | Submitted | NotTaken | Decided:
    """Return a transaction that is worth verifying, or what is known without that."""
    tx_id: Digest | None = None
    sidecars, chain_id = offer.sidecars, intake.chain.chain_id
    signed_hash = hash_signed(offer.signed, chain_id)
    if (entry := intake.pool.get(signed_hash)) is not None:  # Most of what peers say again.
        return _pending(entry.transaction.tx_id)
    try:
        transaction = decode_transaction(offer.signed, chain_id, signed_hash)
        tx_id = transaction.tx_id
        if intake.pool.find(tx_id) is not None:
            _note_turned_away(intake, signed_hash)
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
        return Decided(tx_id=tx_id)
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


async def _find_valid(intake: Intake, transactions: Sequence[Transaction]) -> set[Digest]:
    """Return the signed hashes of those whose signature is valid.

    Signatures inside payloads are checked in the same go, so that execution need not wait.
    """
    view = intake.chain.view()
    inner = [job for one in transactions for job in inner_signature_jobs(view, one)]
    jobs = [signature_job(one) for one in transactions]
    valid = await intake.verifier.is_valid([*jobs, *inner])
    for job, ok in zip(inner, valid[len(jobs) :], strict=True):
        if ok:
            remember_valid(job)
    return {one.signed_hash for one, ok in zip(transactions, valid, strict=False) if ok}


def _log_pooled(added: Sequence[Entry], is_gossip: bool) -> None:
    """Begin the path of each transaction in the log: who brought it to this node."""
    if log.isEnabledFor(logging.DEBUG):
        for entry in added:
            tx_id, by = entry.transaction.tx_id.hex(), "peer" if is_gossip else "user"
            log.debug("pooled", extra={"tx": tx_id, "by": by, "bytes": entry.size_bytes})


def _pool_one(
    intake: Intake, transaction: Transaction, sidecars: tuple[bytes, ...], added: list[Entry]
) -> Submitted | NotTaken | Decided:
    if intake.chain.replay.contains(transaction.tx_id, transaction.body.valid_until_ms):
        return Decided(tx_id=transaction.tx_id)
    try:
        added.append(intake.pool.add(transaction, sidecars, intake.clock.now_ms()))
    except AlreadyPooled:
        if intake.pool.get(transaction.signed_hash) is None:
            _note_turned_away(intake, transaction.signed_hash)
        return _pending(transaction.tx_id)
    except PoolError as problem:
        _note_turned_away(intake, transaction.signed_hash)
        if isinstance(problem, PoolFull):
            intake.full_at_ms = intake.clock.now_ms()
        return _not_taken(transaction.tx_id, problem)
    return _pending(transaction.tx_id)


def _note_turned_away(intake: Intake, signed_hash: Digest) -> None:
    intake.turned_away[signed_hash] = None
    if len(intake.turned_away) > TURNED_AWAY_MAX:
        del intake.turned_away[next(iter(intake.turned_away))]


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
