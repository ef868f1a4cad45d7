"""Where a replica takes up again: the stored tip, the vote journal, and the bodies it promised."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from consensus.effects import Effect
from consensus.records import Booted, JournalStarted, ProposalRecord, Record
from consensus.restarting import pending
from consensus.restore import Decided, restore
from consensus.state import Config, ReplicaState
from consensus.state import Tip as DecidedTip
from crypto.hashing import ChainId, Digest
from crypto.schema import decode
from crypto.validators import ReplicaId, ValidatorSet
from crypto.votes import CommitCertificate
from ledger.blocks import Header
from ledger.transactions import decode_transaction
from shell.bodies import Body
from shell.chain import Chain, expect_restart
from shell.journal import BodiesRecord, VoteJournal, append_votes, open_votes
from shell.proposals import Checked, Proposals, remember
from storage import blocks as stored_blocks
from storage.errors import JournalMissing
from storage.files import SYSTEM_FILES, Files
from storage.journal import create_journal, open_journal
from storage.layout import NodeLayout
from storage.place import find_move

log = logging.getLogger("medledger.restart")

GetSidecar = Callable[[Digest], bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted:
    """A replica that stands where its journal says, and what it does first."""

    votes: VoteJournal
    state: ReplicaState
    effects: tuple[Effect, ...]


def begin_journal(directory: Path, chain_id: ChainId, replica: ReplicaId) -> None:
    """Write the first record of a new member's journal: nothing was ever signed before."""
    votes = VoteJournal(journal=create_journal(directory))
    append_votes(votes, [JournalStarted(chain_id=chain_id, replica=replica)])


def restart(
    chain: Chain,
    config: Config,
    layout: NodeLayout,
    proposals: Proposals,
    get_sidecar: GetSidecar,
    *,
    is_mute: Callable[[ValidatorSet], bool] = lambda _validators: False,
) -> Restarted:
    """Open the journal and restore the replica from it.

    A lost journal raises the fence, and so does a directory that is a copy (`storage.place`).

    `is_mute` says whether a set names this node with a key that is not here.

    Raises `JournalCorrupt`, `ForeignJournal`, or `DecodeError` for a record that is none of ours.
    """
    return restart_from(
        chain,
        config,
        layout.journal,
        proposals,
        get_sidecar,
        is_mute=is_mute,
        find_copy=lambda records: trace_copy(layout, records),
    )


def restart_from(
    chain: Chain,
    config: Config,
    journal_directory: Path,
    proposals: Proposals,
    get_sidecar: GetSidecar,
    *,
    is_mute: Callable[[ValidatorSet], bool],
    find_copy: Callable[[Sequence[Record]], str | None],
    files: Files = SYSTEM_FILES,
) -> Restarted:
    """Do what `restart` does, wherever the journal lies; `find_copy` says why it is a copy."""
    try:
        journal, encoded = open_journal(journal_directory, files=files)
    except JournalMissing as problem:
        log.warning("vote journal missing", extra={"reason": str(problem)})
        journal, encoded = create_journal(journal_directory, files=files), ()
    if journal.tail_cut is not None:
        log.warning("vote journal cut", extra={"bytes": journal.tail_cut.bytes_count})
    votes, records, bodies = open_votes(journal, encoded, chain.tip.height)
    if (ordered := pending(records)) is not None:
        expect_restart(chain, ordered)
    moved = find_copy(records)
    if moved is not None:
        log.warning("node directory moved", extra={"reason": moved})
    _recall_proposals(chain, proposals, records, bodies, get_sidecar)
    state, effects = restore(
        config,
        Decided(
            tip=_decided_tip(chain),
            epoch=chain.next_epoch,
            validators=chain.next_set,
            next_validators=chain.later_set,
            pace=chain.next_pace,
            next_pace=chain.later_pace,
            is_mute=is_mute(chain.next_set),
            is_next_mute=is_mute(chain.later_set),
        ),
        records,
        is_journal_whole=journal.tail_cut is None,
        waiting=False,
        moved=moved,
    )
    return Restarted(votes=votes, state=state, effects=tuple(effects))


def trace_copy(layout: NodeLayout, records: Sequence[Record]) -> str | None:
    """Look where the directory is; one that never ran may have been brought here from anywhere."""
    last = next((one for one in reversed(records) if isinstance(one, Booted)), None)
    if last is not None:
        return find_move(layout, (*last.earlier, last.boot_id))
    return find_move(layout, ()) if layout.place.exists() else None


def _decided_tip(chain: Chain) -> DecidedTip:
    tip = chain.tip
    stored = stored_blocks.get_stored_header(chain.stored, tip.height)
    header = None if stored is None else decode(Header, stored.header)
    return DecidedTip(
        height=tip.height,
        digest=tip.digest,
        proposer=None if header is None else header.proposer,
        transaction_count=0 if header is None else header.tx_count,
        certificate=None if stored is None else decode(CommitCertificate, stored.certificate),
    )


def _recall_proposals(
    chain: Chain,
    proposals: Proposals,
    records: Iterable[Record],
    bodies: Sequence[BodiesRecord],
    get_sidecar: GetSidecar,
) -> None:
    """Have the bodies of journaled proposals at hand again: this node promised to serve them."""
    by_digest = {one.digest: one for one in bodies}
    for record in records:
        if not isinstance(record, ProposalRecord) or record.block.digest not in by_digest:
            continue
        found = tuple(
            _recalled(chain, signed, get_sidecar)
            for signed in by_digest[record.block.digest].transactions
        )
        header = decode(Header, record.block.header)
        remember(proposals, Checked(block=record.block, header=header, bodies=found))


def _recalled(chain: Chain, signed: bytes, get_sidecar: GetSidecar) -> Body:
    transaction = decode_transaction(signed, chain.chain_id)
    contents = [get_sidecar(digest) for digest in transaction.body.sidecars]
    return Body(
        transaction=transaction,
        sidecars=tuple(content for content in contents if content is not None),
    )
