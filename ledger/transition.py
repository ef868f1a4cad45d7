"""The transition: what executing a block writes, a pure function of state and block.

A transaction that the rules refuse leaves nothing but its receipt. Who executes must already have
checked the block (`ledger.validation`): here a sender exists and every form is right.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

from crypto.hashing import ChainId
from ledger.accounts import Status, get_account, get_organisation
from ledger.contract import Context, SidecarPlace, check_signer
from ledger.contracts import KINDS
from ledger.errors import Refused
from ledger.parameters import get_parameters
from ledger.receipts import ACCEPTED_CODE, EVENT_FIELDS_MAX, Event, Receipt
from ledger.state import Overlay, StateView, Writes
from ledger.transactions import Transaction

REFUSED_EVENT: Final = "transaction.refused"

SLICE_TRANSACTIONS: Final = 200
"""Executed without a pause: a few milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockResult:
    """What a block did.

    `reasons` holds one sentence per refused transaction by its index, for this node's users: it is
    not agreed on. `sidecars` are those that live on, with the state entries that name them; every
    other sidecar of the block is to be dropped.
    """

    writes: Writes
    receipts: tuple[Receipt, ...]
    sidecars: tuple[SidecarPlace, ...]
    reasons: dict[int, str]


def apply_block(
    view: StateView,
    *,
    chain_id: ChainId,
    height: int,
    time_ms: int,
    transactions: Sequence[Transaction],
) -> BlockResult:
    """Return what executing `transactions` as block `height` does to `view`."""
    slices = apply_block_in_slices(
        view, chain_id=chain_id, height=height, time_ms=time_ms, transactions=transactions
    )
    while True:
        try:
            next(slices)
        except StopIteration as done:
            result: BlockResult = done.value
            return result


def apply_block_in_slices(
    view: StateView,
    *,
    chain_id: ChainId,
    height: int,
    time_ms: int,
    transactions: Sequence[Transaction],
) -> Generator[None, None, BlockResult]:
    """Do what `apply_block` does, pausing so that an event loop can breathe."""
    parameters = get_parameters(view)
    staged = Overlay(view)
    receipts: list[Receipt] = []
    sidecars: list[SidecarPlace] = []
    reasons: dict[int, str] = {}
    for index, transaction in enumerate(transactions):
        if index % SLICE_TRANSACTIONS == SLICE_TRANSACTIONS - 1:
            yield
        sender = get_account(staged, transaction.body.sender)
        assert sender is not None, "a valid block names known senders only"
        context = Context(
            state=staged,
            chain_id=chain_id,
            height=height,
            time_ms=time_ms,
            parameters=parameters,
            transaction=transaction,
            sender=sender,
        )
        staged.begin()
        try:
            _execute(context)
        except Refused as refusal:
            staged.discard()
            reasons[index] = str(refusal)
            receipts.append(_refused(transaction, height, index, refusal))
        else:
            staged.commit()
            sidecars += context.sidecars
            receipts.append(_accepted(context, index))
    return BlockResult(
        writes=staged.writes, receipts=tuple(receipts), sidecars=tuple(sidecars), reasons=reasons
    )


def _execute(context: Context) -> None:
    """Run one transaction's handler, once its sender may sign it at all."""
    sender, transaction = context.sender, context.transaction
    if sender.sign_key != transaction.key:
        raise Refused("key.inactive", "the transaction is not signed by the sender's key in force")
    if sender.status is not Status.ACTIVE:
        raise Refused("identity.suspended", "the sender's account is suspended")
    organisation = get_organisation(context.state, sender.org)
    if organisation is None or organisation.status is not Status.ACTIVE:
        raise Refused("organisation.suspended", f"the organisation {sender.org} is suspended")
    kind = KINDS[transaction.body.kind]
    check_signer(kind.signer, sender)
    kind.handler(context, transaction.payload)
    _check_sidecars(context)


def _check_sidecars(context: Context) -> None:
    """Every listed sidecar has a place in state that keeps it alive, and none but the listed."""
    claimed = {place.digest for place in context.sidecars}
    if claimed != set(context.transaction.body.sidecars):
        raise Refused(
            "transaction.sidecars", "the sidecars listed are not those that the payload names"
        )


def _accepted(context: Context, index: int) -> Receipt:
    return Receipt(
        tx_id=context.transaction.tx_id,
        height=context.height,
        index=index,
        accepted=True,
        code=ACCEPTED_CODE,
        events=tuple(context.events),
    )


def _refused(transaction: Transaction, height: int, index: int, refusal: Refused) -> Receipt:
    events: tuple[Event, ...] = ()
    if refusal.fields:
        events = (
            Event(kind=REFUSED_EVENT, subject=None, fields=refusal.fields[:EVENT_FIELDS_MAX]),
        )
    return Receipt(
        tx_id=transaction.tx_id,
        height=height,
        index=index,
        accepted=False,
        code=refusal.code,
        events=events,
    )
