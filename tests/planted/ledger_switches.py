"""Planted bugs below consensus: in execution, storage, the journal and what a proposal may hold."""

from collections.abc import Generator, Iterator, Sequence
from typing import Any

from consensus import core, timers
from consensus.effects import CheckProposal, Effect
from consensus.events import BlockExecuted, TimerKind
from consensus.state import ReplicaState, may_vote
from crypto.votes import FIRST_VIEW
from ledger import validation
from ledger.errors import InvalidBlock
from ledger.transition import BlockResult, apply_block_in_slices
from shell import execution
from shell import proposals as proposing
from shell.divergence import StateDiverged
from shell.journal import BodiesRecord
from storage import blocks as stored_blocks
from storage import journal_format
from storage.chain import Commit
from storage.keys import TIP_KEY
from tests.planted.switches import Patch, skip_records
from tests.simulation import ledger_application
from tests.simulation.application import Verdict
from tests.simulation.ledger_application import LedgerApplication, checked_transaction
from tests.simulation.memory_files import MemoryFiles


def body_not_journaled(patch: Patch) -> None:
    """A proposal is journaled without the transactions that were promised with it."""
    skip_records(patch, BodiesRecord)


def timer_without_quorum(patch: Patch) -> None:
    """The timer of a view above 0 runs although nobody else is known to be there (rule 9)."""

    def start_joined_view(state: ReplicaState) -> list[Effect] | None:
        instance = state.instance
        if instance.view == FIRST_VIEW or instance.is_timed or not may_vote(state):
            return None
        instance.is_timed = True
        delay_ms = timers.timeout_ms(state.config, instance.view)
        return [timers.set_timer(state, TimerKind.VIEW_CHANGE, delay_ms)]

    steps = tuple(
        start_joined_view if step is timers.start_joined_view else step for step in core.STEPS
    )
    patch.setattr(core, "STEPS", steps)


def wrong_root_stops(patch: Patch) -> None:
    """A wrong root in a proposal is taken for one in a decided block."""
    real = validation.check_header

    def check_header(header: Any, parent: Any) -> None:
        try:
            real(header, parent)
        except InvalidBlock as problem:
            if problem.code == "block.state_root":
                raise StateDiverged(str(problem), {}) from problem
            raise

    patch.setattr(ledger_application, "check_header", check_header)


def flipped_record_taken_for_torn(patch: Patch) -> None:
    """A record with a wrong checksum ends the journal, as if a crash had cut it."""
    real = journal_format._decode_record

    def decode_record(*arguments: Any) -> bytes | None:
        try:
            return real(*arguments)
        except journal_format.Damaged:
            return None

    patch.setattr(journal_format, "_decode_record", decode_record)


def replay_window_lost(patch: Patch) -> None:
    """A start does not read back which transactions were decided."""

    def replay_entries(*_: Any) -> Iterator[Any]:
        return iter(())

    patch.setattr(stored_blocks, "replay_entries", replay_entries)


def tip_written_apart(patch: Patch) -> None:
    """State and block are one batch, the tip another: after a crash in between a block is applied
    to a state that it has changed already."""

    def write_commit(chain: Any, commit: Commit) -> None:
        chain.database.write([row for row in commit.rows if row[0] != TIP_KEY])
        chain.database.write([row for row in commit.rows if row[0] == TIP_KEY])

    patch.setattr(execution, "write_commit", write_commit)


def executing(patch: Patch, change: Any) -> None:
    """Let what a block is executed with depend on the node that does it."""
    real = LedgerApplication.execute
    current: list[LedgerApplication] = []

    def execute(application: LedgerApplication, decided: Any) -> BlockExecuted:
        current[:] = [application]
        return real(application, decided)

    def apply(view: Any, **facts: Any) -> Generator[None, None, BlockResult]:
        return apply_block_in_slices(view, **{**facts, **change(current[0], facts)})

    patch.setattr(LedgerApplication, "execute", execute)
    patch.setattr(execution, "apply_block_in_slices", apply)


def set_order(patch: Patch) -> None:
    """Execution follows an order that differs between processes, as a set's does."""

    def change(application: LedgerApplication, facts: dict[str, Any]) -> dict[str, Any]:
        transactions: Sequence[Any] = facts["transactions"]
        turn = application.replica % max(1, len(transactions))
        return {"transactions": [*transactions[turn:], *transactions[:turn]]}

    executing(patch, change)


def expiry_by_local_clock(patch: Patch) -> None:
    """Rights begin and end by the clock of whoever executes, not by the block's time."""

    def change(application: LedgerApplication, _: dict[str, Any]) -> dict[str, Any]:
        return {"time_ms": application.watch.now_ms()}

    executing(patch, change)


def variants_refused(patch: Patch) -> None:
    """A signature that is not the one we hold under the same id makes a proposal invalid."""
    keep, real = LedgerApplication.take_body, LedgerApplication.check
    refused: dict[bytes, None] = {}

    def take_body(application: LedgerApplication, signed: bytes) -> None:
        transaction = checked_transaction(signed, application.founding.chain_id)
        if transaction is not None and application.running.pool.find(transaction.tx_id):
            refused[transaction.signed_hash] = None
        else:
            keep(application, signed)

    def check(application: LedgerApplication, request: CheckProposal, now_ms: int) -> Verdict:
        verdict = real(application, request, now_ms)
        if any(one in refused for one in verdict.missing):
            return Verdict(refusal="transaction.variant")
        return verdict

    patch.setattr(LedgerApplication, "check", check)
    patch.setattr(LedgerApplication, "take_body", take_body)


def time_not_checked(patch: Patch) -> None:
    """A block may be of any time after its parent's."""
    patch.setattr(proposing, "_wait_ms", lambda *_, **__: 0)


def flush_forgotten(patch: Patch) -> None:
    """The journal is written and never flushed."""
    patch.setattr(MemoryFiles, "sync", lambda files, descriptor: None)
