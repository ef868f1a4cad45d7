"""Planted bugs about whose votes count, where members change."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from consensus import decision
from consensus.effects import Effect
from consensus.events import BlockExecuted
from consensus.state import ReplicaState
from crypto.signatures import SignatureJob
from crypto.validators import Epoch, ValidatorSet
from ledger.contracts.governance import get_former_validators, get_validators
from ledger.state import StateView
from ledger.transactions import Transaction
from shell import chain as live_chain
from shell import execution
from shell.chain import Chain
from tests.planted.switches import Patch
from tests.simulation import host, ledger_application
from tests.simulation.ideal import is_signed, sign_ideally
from tests.simulation.keystores import make_keys, vote_key_of
from tests.simulation.ledger_application import LedgerApplication

INDEXES: Final = range(10)


def leavers_count(patch: Patch) -> None:
    """Whoever was in the set of the epoch before votes on, and its vote counts."""

    def with_leavers(view: StateView) -> ValidatorSet:
        present, former = get_validators(view), get_former_validators(view)
        gone = [
            one
            for one in (() if former is None else former.members)
            if present.member(one.index) is None
        ]
        members = sorted((*present.members, *gone), key=lambda one: one.index)
        return replace(present, members=tuple(members))

    patch.setattr(live_chain, "get_validators", with_leavers)


def set_in_force_early(patch: Patch) -> None:
    """A set that a block writes is that of the next height, not of the one after it."""

    def publish(chain: Chain, transactions: Sequence[Transaction]) -> None:
        live_chain.publish(chain, transactions)
        chain.next_set = chain.later_set
        live_chain._number_epochs(chain, chain.tip.epoch, chain.tip_set)

    def on_block_executed(state: ReplicaState, event: BlockExecuted) -> list[Effect]:
        effects = real(state, event)
        assert state.next_members is not None, "the tip is executed"
        state.members = state.next_members
        return effects

    real: Callable[[ReplicaState, BlockExecuted], list[Effect]] = decision.on_block_executed
    patch.setattr(execution, "publish", publish)
    patch.setattr(decision, "on_block_executed", on_block_executed)


def former_key_accepted(patch: Patch) -> None:
    """A re-keyed member goes on under its first key, and everybody takes that."""
    first = {
        vote_key_of(make_keys(index, generation)): vote_key_of(make_keys(index))
        for index in INDEXES
        for generation in (1, 2)
    }

    def is_signed_somehow(job: SignatureJob) -> bool:
        return is_signed(job) or is_signed(job._replace(key=first.get(job.key, job.key)))

    def sign(application: LedgerApplication, _epoch: Epoch, preimage: bytes) -> bytes:
        return sign_ideally(make_keys(application.replica).vote, preimage)

    patch.setattr(host, "is_signed", is_signed_somehow)
    patch.setattr(ledger_application.LedgerApplication, "sign", sign)
