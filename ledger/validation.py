"""Which proposals are valid, and which transactions may wait for one.

Validity is a function of the block and the state after its parent and of nothing else, so correct
replicas agree on it; the only look at a clock is `check_time`, on fresh blocks. What is stateful
about a transaction (its key, role, the rules of its contract) makes no block invalid: it makes a
receipt, so a primary cannot burn a client's id. Signatures are checked by the caller, in batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from crypto.hashing import ChainId, Digest
from crypto.validators import Epoch, ValidatorSet
from crypto.votes import Height
from ledger.accounts import get_account
from ledger.blocks import Header, tx_root
from ledger.errors import (
    Expired,
    InvalidBlock,
    InvalidSidecars,
    InvalidTransaction,
    InvalidWindow,
    KeyInactive,
    Replayed,
    TooEarly,
    TransactionTooLarge,
    UnknownSender,
)
from ledger.parameters import Parameters
from ledger.replay import ReplayWindow
from ledger.state import StateView
from ledger.transactions import Transaction

AHEAD_MS_MAX = 60_000
"""How far in the future a waiting transaction's window may begin: clients' clocks differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentFacts:
    """What the block at `height + 1` is checked against, all after its parent at `height`.

    `certificate` is the digest of the parent's certificate that travels with the proposal;
    `epoch` and `validators` are those of the new block, `next_validators` the digest of the set
    after it.
    """

    chain_id: ChainId
    height: Height
    header: Digest
    certificate: Digest
    time_ms: int
    state_root: Digest
    receipts_root: Digest
    epoch: Epoch
    validators: ValidatorSet
    next_validators: Digest


def check_proposal(
    header: Header,
    transactions: Sequence[Transaction],
    sidecar_sizes: Sequence[Sequence[int]],
    *,
    parent: ParentFacts,
    view: StateView,
    replay: ReplayWindow,
    parameters: Parameters,
) -> None:
    """Raise `InvalidBlock` unless the block may follow its parent.

    `sidecar_sizes` are the bytes of each transaction's sidecars, in the order its body lists them.
    """
    check_header(header, parent)
    if header.tx_count != len(transactions):
        raise InvalidBlock("block.tx_count", f"{header.tx_count} transactions announced")
    if header.tx_root != tx_root([one.signed_hash for one in transactions]):
        raise InvalidBlock("block.tx_root", "the tx root is not that of the transactions")
    _check_sizes(transactions, sidecar_sizes, parameters)
    _check_admissions(transactions, header.time_ms, view, replay, parameters)


def check_header(header: Header, parent: ParentFacts) -> None:
    """Raise `InvalidBlock` unless the header says of its parent what we know."""
    for code, claimed, known in (
        ("block.chain", header.chain_id, parent.chain_id),
        ("block.height", header.height, parent.height + 1),
        ("block.epoch", header.epoch, parent.epoch),
        ("block.parent", header.parent, parent.header),
        ("block.parent_certificate", header.parent_certificate, parent.certificate),
        ("block.state_root", header.state_root, parent.state_root),
        ("block.receipts_root", header.receipts_root, parent.receipts_root),
        ("block.validators", header.validators, parent.validators.digest()),
        ("block.next_validators", header.next_validators, parent.next_validators),
    ):
        if claimed != known:
            raise InvalidBlock(code, f"the header says {_shown(claimed)}, it is {_shown(known)}")
    if parent.validators.member(header.proposer) is None:
        raise InvalidBlock("block.proposer", f"replica {header.proposer} is not a member")
    if header.time_ms <= parent.time_ms:
        raise InvalidBlock(
            "block.time", f"time {header.time_ms} is not above the parent's {parent.time_ms}"
        )


def check_time(header: Header, now_ms: int, parameters: Parameters) -> int:
    """Return how many milliseconds to keep a fresh block until it is due; 0: it is.

    Raises `InvalidBlock` for a time too far behind the clock (consensus rule 12).
    """
    if header.time_ms < now_ms - parameters.time_delta_past_ms:
        raise InvalidBlock(
            "block.time_past", f"time {header.time_ms} is {now_ms - header.time_ms} ms behind"
        )
    return max(0, header.time_ms - now_ms - parameters.time_delta_ms)


def check_admission(
    transaction: Transaction,
    sidecar_sizes: Sequence[int],
    *,
    view: StateView,
    replay: ReplayWindow,
    parameters: Parameters,
    now_ms: int,
) -> None:
    """Raise an `InvalidTransaction` unless some block from now on could hold the transaction.

    `now_ms` is the later of the clock and the tip's time.
    """
    body = transaction.body
    check_limits(transaction, sidecar_sizes, parameters)
    if replay.contains(transaction.tx_id, body.valid_until_ms):
        raise Replayed(f"transaction {transaction.tx_id.hex()} is in a decided block")
    if body.valid_until_ms <= now_ms:
        raise Expired(f"valid until {body.valid_until_ms}, it is {now_ms}; sign it anew")
    if body.valid_from_ms > now_ms + AHEAD_MS_MAX:
        raise TooEarly(f"valid from {body.valid_from_ms}, it is {now_ms}; check the clock")
    sender = get_account(view, body.sender)
    if sender is None:
        raise UnknownSender(f"no account {body.sender.hex()} is registered")
    if sender.sign_key != transaction.key:  # Nobody fills another's places in the pool.
        raise KeyInactive("the transaction is not signed by the sender's key in force")


def check_limits(
    transaction: Transaction, sidecar_sizes: Sequence[int], parameters: Parameters
) -> None:
    """Raise an `InvalidTransaction` for sizes or a window above the parameters in force."""
    body = transaction.body
    if len(sidecar_sizes) != len(body.sidecars):
        raise InvalidSidecars(f"{len(sidecar_sizes)} sidecars where {len(body.sidecars)} are due")
    for size in sidecar_sizes:
        if size > parameters.sidecar_bytes_max:
            raise TransactionTooLarge(
                f"a sidecar of {size} bytes; at most {parameters.sidecar_bytes_max} are allowed"
            )
    size = transaction.size_bytes + sum(sidecar_sizes)
    if size > parameters.transaction_bytes_max:
        raise TransactionTooLarge(
            f"{size} bytes with sidecars; at most {parameters.transaction_bytes_max} are allowed"
        )
    window_ms = body.valid_until_ms - body.valid_from_ms
    if window_ms > parameters.tx_window_ms_max:
        raise InvalidWindow(
            f"a validity window of {window_ms} ms; at most {parameters.tx_window_ms_max} ms"
        )


def _check_sizes(
    transactions: Sequence[Transaction],
    sidecar_sizes: Sequence[Sequence[int]],
    parameters: Parameters,
) -> None:
    if len(transactions) > parameters.block_transactions_max:
        raise InvalidBlock("block.too_many", f"{len(transactions)} transactions in one block")
    size = 0
    for transaction, sizes in zip(transactions, sidecar_sizes, strict=True):
        try:
            check_limits(transaction, sizes, parameters)
        except InvalidTransaction as problem:
            raise _invalid(transaction, problem.code, str(problem)) from problem
        size += transaction.size_bytes + sum(sizes)
    if size > parameters.block_bytes_max:
        raise InvalidBlock("block.too_large", f"{size} bytes with sidecars in one block")


def _check_admissions(
    transactions: Sequence[Transaction],
    time_ms: int,
    view: StateView,
    replay: ReplayWindow,
    parameters: Parameters,
) -> None:
    assert replay.is_complete(), "proposals are checked with a whole replay window"
    seen: set[Digest] = set()
    by_sender: dict[bytes, int] = {}
    for transaction in transactions:
        body = transaction.body
        if transaction.tx_id in seen:
            raise _invalid(transaction, "transaction.duplicate", "it is in the block twice")
        seen.add(transaction.tx_id)
        if not body.valid_from_ms <= time_ms < body.valid_until_ms:
            raise _invalid(transaction, "transaction.window", f"not valid at {time_ms}")
        if replay.contains(transaction.tx_id, body.valid_until_ms):
            raise _invalid(transaction, "transaction.replayed", "it was decided before")
        count = by_sender.get(body.sender, 0)
        sender = get_account(view, body.sender)
        if sender is None:
            raise _invalid(transaction, "transaction.unknown_sender", "its sender is unknown")
        if sender.sign_key != transaction.key:  # Or a primary could burn the id of its body.
            raise _invalid(transaction, "key.foreign", "its key is not the sender's in force")
        if count == parameters.account_transactions_per_block_max:
            raise _invalid(transaction, "block.account_limit", "its sender has too many")
        by_sender[body.sender] = count + 1


def _invalid(transaction: Transaction, code: str, text: str) -> InvalidBlock:
    return InvalidBlock(code, f"transaction {transaction.tx_id.hex()[:16]}: {text}")


def _shown(value: bytes | int) -> str:
    return value.hex()[:16] if isinstance(value, bytes) else str(value)
