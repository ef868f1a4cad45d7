"""A stopped node and a restart of its chain: its statement, and whether a document is for it."""

from commands.node_directory import OpenDirectory
from consensus.errors import InvalidRestart
from consensus.records import Booted, FenceLifted, FenceRaised, Record, Restarted
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
from shell.chain import Chain, expect_restart
from shell.journal import append_votes, open_votes
from shell.keys import load_node_keys
from shell.restart import trace_copy
from storage.blocks import get_stored_header
from storage.errors import JournalMissing
from storage.files import SYSTEM_FILES
from storage.journal import close_journal, create_journal, open_journal
from storage.place import keep_place


def make_statement(opened: OpenDirectory, chain: Chain, passphrase: str) -> TipStatement:
    """Sign what the node can prove, after its silence is durable."""
    key = load_node_keys(opened.layout.keys, passphrase).vote
    replica = _member_of(chain, public_key(key).data)
    records = _records(opened, chain)
    is_stuck = _is_fenced(records) or trace_copy(opened.layout, records) is not None
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


def _records(opened: OpenDirectory, chain: Chain) -> list[Record]:
    """Return the journal; a lost one begins anew, behind a fence."""
    try:
        journal, encoded = open_journal(opened.layout.journal)
    except JournalMissing:
        return []
    try:
        return list(open_votes(journal, encoded, chain.tip.height)[1])
    finally:
        close_journal(journal)


def _is_fenced(records: list[Record]) -> bool:
    if not records:
        return True  # The journal is lost: the next start raises the fence.
    is_fenced = False
    for one in records:
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
    records = _records(opened, chain)
    return trace_copy(opened.layout, records) if records else "the vote journal is missing"


def check_order(opened: OpenDirectory, chain: Chain, order: Restarted) -> None:
    """Raise `InvalidRestart` where the chain has gone on without it."""
    if chain.tip.epoch >= order.epoch:
        raise InvalidRestart(
            f"the chain has gone on to block {chain.tip.height} in epoch {chain.tip.epoch}: this"
            " restart is not needed any more"
        )
    records = _records(opened, chain)
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


def _has_started_since(records: list[Record], order: Restarted) -> bool:
    return any(isinstance(one, Booted) for one in records[records.index(order) :])
