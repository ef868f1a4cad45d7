"""A stopped node and a restart of its chain: its statement, and whether a document is for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from commands.node_directory import OpenDirectory
from consensus.errors import InvalidRestart
from consensus.records import (
    Booted,
    FenceLifted,
    FenceRaised,
    NewViewRecord,
    Record,
    Restarted,
    ViewChangeRecord,
    VoteRecord,
    record_height,
)
from consensus.restarting import (
    STATED,
    RestartDocument,
    TipStatement,
    document_jobs,
    pending,
    statement_preimage,
)
from crypto.schema import decode
from crypto.signatures import is_valid_many, public_key, sign_preimage
from crypto.validators import Epoch, ReplicaId, ValidatorSet, set_number
from crypto.votes import CommitCertificate
from ledger.contracts.governance import get_epoch
from ledger.transactions import decode_transaction
from shell.chain import Chain, expect_restart
from shell.journal import BodiesRecord, append_votes, open_votes
from shell.keys import load_node_keys
from shell.restart import trace_copy
from storage.blocks import get_block, get_stored_header
from storage.errors import JournalMissing
from storage.files import SYSTEM_FILES
from storage.journal import close_journal, create_journal, open_journal
from storage.place import keep_place


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What a vote journal says of heights above the tip; `is_whole` unless its tail is torn."""

    records: Sequence[Record] = ()
    bodies: Sequence[BodiesRecord] = ()
    is_whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """What a restart takes away, as far as the directory of one node can tell.

    `decided` are transactions of blocks that this node has, with their heights, `proposed` those
    that it has voted for in blocks whose decision it has not seen. `voted_height` is the highest
    height at which it is known to have voted.
    """

    decided: tuple[tuple[int, bytes], ...]
    proposed: tuple[tuple[int, bytes], ...]
    voted_height: int


def make_statement(opened: OpenDirectory, chain: Chain, passphrase: str) -> TipStatement:
    """Sign what the node can prove, after its silence is durable."""
    key = load_node_keys(opened.layout.keys, passphrase).vote
    replica = _member_of(chain, public_key(key).data)
    remembered = _remembered(opened, chain)
    records = remembered.records
    is_stuck = _is_fenced(remembered) or trace_copy(opened.layout, records) is not None
    if (order := pending(records)) is not None:
        expect_restart(chain, order)
    append_records(opened, chain, [FenceRaised(reason=STATED)])
    tip = chain.tip
    stored = get_stored_header(chain.stored, tip.height)
    proof = None if stored is None else decode(CommitCertificate, stored.certificate)
    preimage = statement_preimage(
        chain.chain_id,
        chain.next_epoch,
        tip.height,
        tip.digest,
        is_stuck=is_stuck,
        signer=replica,
    )
    return TipStatement(
        chain_id=chain.chain_id,
        epoch=chain.next_epoch,
        height=tip.height,
        digest=tip.digest,
        is_stuck=is_stuck,
        certificate=proof,
        signer=replica,
        signature=sign_preimage(key, preimage),
    )


def _member_of(chain: Chain, vote_key: bytes) -> ReplicaId:
    for member in chain.next_set.members:
        if member.vote_key == vote_key:
            return member.index
    raise InvalidRestart("the keys in this directory are those of no present validator")


def _remembered(opened: OpenDirectory, chain: Chain) -> Remembered:
    """Return the journal; a lost one begins anew, behind a fence."""
    try:
        journal, encoded = open_journal(opened.layout.journal)
    except JournalMissing:
        return Remembered()
    try:
        _, records, bodies = open_votes(journal, encoded, chain.tip.height)
        return Remembered(records=records, bodies=bodies, is_whole=journal.tail_cut is None)
    finally:
        close_journal(journal)


def _is_fenced(remembered: Remembered) -> bool:
    """Whether the node would start behind a fence, but for a statement of its operator's."""
    if not (remembered.records and remembered.is_whole):
        return True  # Lost, or its tail is torn: the next start raises the fence.
    is_fenced = False
    for one in remembered.records:
        match one:
            case FenceRaised(reason=reason):
                is_fenced = is_fenced or reason != STATED
            case FenceLifted() | Restarted():
                is_fenced = False
            case _:
                pass
    return is_fenced


def append_records(opened: OpenDirectory, chain: Chain, records: list[Record]) -> None:
    """Make records durable, and let the directory be where it is: its operator says so."""
    try:
        journal, encoded = open_journal(opened.layout.journal)
    except JournalMissing:
        journal, encoded = create_journal(opened.layout.journal), ()
    try:
        votes, known, _ = open_votes(journal, encoded, chain.tip.height)
        append_votes(votes, records)
    finally:
        close_journal(journal)
    booted = next((one for one in reversed(known) if isinstance(one, Booted)), None)
    if booted is not None:
        keep_place(opened.layout, booted.boot_id)
    else:
        SYSTEM_FILES.unlink(opened.layout.place)  # It speaks of a journal that is lost.


def check_document(document: RestartDocument, chain: Chain) -> Restarted:
    """Return what a document orders; raise `InvalidRestart` unless a quorum has signed it."""
    jobs = document_jobs(document, chain.next_set, chain.chain_id, _sets(document, chain))
    if not all(is_valid_many(jobs)):
        raise InvalidRestart("a signature in the document is wrong: it was changed on its way")
    return Restarted(epoch=document.epoch, height=document.tip.height, digest=document.tip.digest)


def _sets(document: RestartDocument, chain: Chain) -> dict[Epoch, ValidatorSet]:
    """Return the members of the epochs in which the stated blocks were decided, as known here."""
    sets: dict[Epoch, ValidatorSet] = {}
    for one in document.statements:
        if one.certificate is not None:
            epoch = one.certificate.epoch
            entry = get_epoch(chain.view(), set_number(epoch))
            if entry is not None:
                sets[epoch] = entry.validators
    return sets


def find_doubt(opened: OpenDirectory, chain: Chain) -> str | None:
    """Say why this node may have signed under the document already, and forgotten it.

    One that stated its tip has a journal, and a place that is bound since. Any other directory may
    be a copy from before an `apply` that was started since; it stays behind its fence.
    """
    records = _remembered(opened, chain).records
    return trace_copy(opened.layout, records) if records else "the vote journal is missing"


def check_order(
    opened: OpenDirectory, chain: Chain, document: RestartDocument, order: Restarted
) -> None:
    """Raise `InvalidRestart` where the chain, or this node, has gone on without it."""
    if chain.tip.epoch >= order.epoch:
        raise InvalidRestart(
            f"the chain has gone on to block {chain.tip.height} in epoch {chain.tip.epoch}: this"
            " restart is not needed any more"
        )
    records = _remembered(opened, chain).records
    before = pending(records)
    is_again = before == order
    if before is not None and is_again and _has_started_since(records, before):
        raise InvalidRestart(
            "this node has started under this restart already, and may have voted: start it; if it"
            " stays behind a fence with others, make new statements"
        )
    if before is not None and before.epoch >= order.epoch and not is_again:
        raise InvalidRestart(
            f"this node follows another restart, in epoch {before.epoch}: a second one needs new"
            " statements"
        )
    if not is_again and _has_gone_on(opened, document, records):
        raise InvalidRestart(
            "the document holds a statement of this node from before an earlier recovery: it has"
            " gone on since. Make a new one, `medledger recover statement`, and combine again"
        )


def _has_gone_on(
    opened: OpenDirectory, document: RestartDocument, records: Sequence[Record]
) -> bool:
    """Whether a statement of this node's is there that it does not keep to any more.

    Statements name no recovery, so a former one could be put among new ones. Its node knows: it is
    not silent. A directory that may have forgotten its statement is for `find_doubt`.
    """
    if opened.config.node_index not in [one.signer for one in document.statements]:
        return False
    if not records or trace_copy(opened.layout, records) is not None:
        return False
    marks = [one for one in records if isinstance(one, FenceRaised | FenceLifted | Restarted)]
    silent_since = 0
    for position, one in enumerate(marks):
        if not isinstance(one, FenceRaised):
            silent_since = position + 1
    return FenceRaised(reason=STATED) not in marks[silent_since:]


def _has_started_since(records: Sequence[Record], order: Restarted) -> bool:
    return any(isinstance(one, Booted) for one in records[records.index(order) :])


def find_lost(opened: OpenDirectory, chain: Chain, order: Restarted) -> Lost:
    """Return what this directory knows of blocks above the restart."""
    blocks = {
        height: get_block(chain.stored, height)
        for height in range(order.height + 1, chain.tip.height + 1)
    }
    decided = [
        (height, _id_of(signed, chain))
        for height, block in blocks.items()
        for signed in (() if block is None else block.transactions)
    ]
    remembered = _remembered(opened, chain)
    proposed = {
        (one.height, _id_of(signed, chain)): None
        for one in remembered.bodies
        if one.height > order.height
        for signed in one.transactions
    }
    voted = [
        record_height(one)
        for one in remembered.records
        if isinstance(one, VoteRecord | ViewChangeRecord | NewViewRecord)
    ]
    return Lost(
        decided=tuple(decided),
        proposed=tuple(proposed),
        voted_height=max((height for height in voted if height is not None), default=0),
    )


def set_aside(opened: OpenDirectory, chain: Chain) -> Path:
    """Move the ledger out of the way: the node fetches the chain from the others.

    One that an earlier restart has moved away from the same height stays where it is.
    """
    ledger = opened.layout.ledger
    name = f"ledger.lost-{chain.tip.height}"
    aside, count = ledger.with_name(name), 1
    while aside.exists():
        count += 1
        aside = ledger.with_name(f"{name}-{count}")
    opened.chain.database.close()
    ledger.rename(aside)
    ledger.mkdir(mode=0o700)
    return aside


def _id_of(signed: bytes, chain: Chain) -> bytes:
    return decode_transaction(signed, chain.chain_id).tx_id
