"""Making a block: what the primary proposes from its pool, by the rules it will be checked by."""

from collections.abc import Collection

from crypto.validators import ReplicaId
from crypto.votes import Height, View
from ledger.accounts import ACCOUNTS, account_key, get_account
from ledger.blocks import Header, tx_root
from ledger.errors import InvalidTransaction
from ledger.parameters import PARAMETERS_KEY, Parameters
from ledger.pool import BlockLimits, Entry, Pool
from ledger.replay import ReplayWindow
from ledger.state import StateView
from ledger.validation import ParentFacts, check_limits


def make_block(
    pool: Pool,
    *,
    parent: ParentFacts,
    state: StateView,
    replay: ReplayWindow,
    parameters: Parameters,
    proposer: ReplicaId,
    view: View,
    now_ms: int,
) -> tuple[Header, tuple[Entry, ...]]:
    """Return the header of the next block and its transactions; none, if nothing waits.

    The time is the clock's, or the parent's plus one where the clock is behind. Entries that no
    block can hold any more leave the pool.
    """
    time_ms = max(now_ms, parent.time_ms + 1)
    entries = _takeable(pool, parameters, time_ms, state, replay)
    header = Header(
        chain_id=parent.chain_id,
        epoch=parent.epoch,
        height=Height(parent.height + 1),
        view=view,
        proposer=proposer,
        parent=parent.header,
        parent_certificate=parent.certificate,
        time_ms=time_ms,
        tx_root=tx_root([entry.transaction.signed_hash for entry in entries]),
        tx_count=len(entries),
        state_root=parent.state_root,
        receipts_root=parent.receipts_root,
        validators=parent.validators.digest(),
        next_validators=parent.next_validators,
    )
    return header, entries


def forget_dead(
    pool: Pool,
    writes: Collection[bytes],
    *,
    state: StateView,
    replay: ReplayWindow,
    parameters: Parameters,
) -> None:
    """Remove what no block can hold any more since one has written these keys of state.

    Else it would wait here until its window ends, for a primary that rightly leaves it out.
    """
    has_other_limits = PARAMETERS_KEY in writes
    if not has_other_limits and not any(key.startswith(ACCOUNTS) for key in writes):
        return
    dead = [
        entry.transaction.tx_id
        for entry in pool.entries()
        if has_other_limits or account_key(entry.transaction.body.sender) in writes
        if not _is_alive(entry, state, replay, parameters)
    ]
    pool.remove(dead)


def block_limits(parameters: Parameters) -> BlockLimits:
    return BlockLimits(
        transactions_max=parameters.block_transactions_max,
        bytes_max=parameters.block_bytes_max,
        account_transactions_max=parameters.account_transactions_per_block_max,
    )


def _takeable(
    pool: Pool, parameters: Parameters, time_ms: int, state: StateView, replay: ReplayWindow
) -> tuple[Entry, ...]:
    """Take from the pool, leaving out and removing what no block can hold any more."""
    taken = pool.take(block_limits(parameters), time_ms=time_ms)
    kept = tuple([entry for entry in taken if _is_alive(entry, state, replay, parameters)])
    if len(kept) < len(taken):
        alive = {entry.transaction.tx_id for entry in kept}
        ids = [entry.transaction.tx_id for entry in taken]
        pool.remove([tx_id for tx_id in ids if tx_id not in alive])
    return kept


def _is_alive(entry: Entry, state: StateView, replay: ReplayWindow, parameters: Parameters) -> bool:
    """Whether the entry may still enter a block: limits may have been lowered while it waited."""
    transaction = entry.transaction
    try:
        check_limits(transaction, [len(one) for one in entry.sidecars], parameters)
    except InvalidTransaction:
        return False
    if replay.contains(transaction.tx_id, transaction.body.valid_until_ms):
        return False
    sender = get_account(state, transaction.body.sender)
    return sender is not None and sender.sign_key == transaction.key
