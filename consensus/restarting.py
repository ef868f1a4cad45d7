"""Restarting a chain whose replicas have forgotten: beyond f, no fence falls by itself (rule 19).

Every operator states, signed with its node's vote key, the highest block that its node can prove to
be decided, and from then on that node signs nothing in the present epoch. The statements of a
quorum are the document: the chain goes on above the highest block among them, with the same
members, in another epoch. No vote of the old epoch counts there, and as a quorum has stopped, no
further block is decided in it. Nothing is chosen: whoever has the document computes the same.

A block of the old epoch above that height was decided only if its certificate is at none of the
quorum. It counts no longer, and the node that has it must be told so by its operator.

    domain || chain id (32) || epoch (8) || height (8) || digest (32) || is stuck (1) || signer (2)
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Final

from consensus.effects import Effect, Persist
from consensus.errors import InvalidRestart
from consensus.mailbox import Mailbox
from consensus.membership import Membership
from consensus.records import FenceLifted, Record, Restarted, record_height
from consensus.state import Instance, ReplicaState
from crypto.errors import InvalidCertificate
from crypto.hashing import ChainId, Digest, Domain
from crypto.schema import Bytes64, Count
from crypto.signatures import SignatureJob
from crypto.validators import (
    MEMBERS_MAX,
    RESTART_EPOCHS,
    Epoch,
    ReplicaId,
    ValidatorSet,
    after_restart,
    set_number,
    under_restart,
)
from crypto.votes import (
    CERTIFICATE_BYTES_MAX,
    GENESIS_HEIGHT,
    CommitCertificate,
    Height,
    commit_certificate_jobs,
    vote_job,
)

STATED: Final = "its operator stated its tip for `medledger recover`"
LEFT_BEHIND: Final = "the others restarted the chain below our tip: `medledger recover apply` here"

RESTARTS_MAX: Final = 16
"""Restarts since the highest block that are believed: more is a wrong number in a statement."""

_FIELDS: Final = struct.Struct(">QQ32s?H")


@dataclass(frozen=True, slots=True, kw_only=True)
class TipStatement:
    """One member says: this is the highest block I can prove, and I sign nothing more in `epoch`.

    `epoch` is that of the height above; `digest` that of the block's header, `certificate` its
    proof, None at height 0. `is_stuck` says that the replica was behind its fence already.
    """

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = CERTIFICATE_BYTES_MAX + 256

    chain_id: ChainId
    epoch: Epoch
    height: Height
    digest: Digest
    is_stuck: bool
    certificate: CommitCertificate | None
    signer: ReplicaId
    signature: Bytes64

    def __post_init__(self) -> None:
        proof = self.certificate
        if proof is None and self.height != GENESIS_HEIGHT:
            raise ValueError("a block is stated with its certificate")
        if proof is not None and (proof.height, proof.digest) != (self.height, self.digest):
            raise ValueError("the certificate proves another block")


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartDocument:
    """What operators of a quorum have stated, ascending by signer."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = MEMBERS_MAX * TipStatement.WIRE_BYTES_MAX

    statements: Annotated[tuple[TipStatement, ...], Count(1, MEMBERS_MAX)]

    def __post_init__(self) -> None:
        signers = [one.signer for one in self.statements]
        if signers != sorted(set(signers)):
            raise ValueError("statements are listed once for each signer, ascending")

    @property
    def tip(self) -> TipStatement:
        """The highest block: the chain goes on above it.

        A block that was lost at an earlier restart may be higher than any decided since, so the
        epoch in which a block was decided counts first: it rises with heights and at restarts.
        """
        return max(self.statements, key=_rank)

    @property
    def epoch(self) -> Epoch:
        """The epoch in which it goes on: above every epoch in which somebody has stopped."""
        latest = max(one.epoch for one in self.statements)
        return after_restart(under_restart(self.tip.epoch, latest))


def _rank(stated: TipStatement) -> tuple[int, int]:
    return 0 if stated.certificate is None else stated.certificate.epoch, stated.height


def statement_preimage(
    chain_id: ChainId,
    epoch: Epoch,
    height: Height,
    digest: Digest,
    *,
    is_stuck: bool,
    signer: ReplicaId,
) -> bytes:
    """Return the bytes that a statement signs."""
    fields = _FIELDS.pack(epoch, height, digest, is_stuck, signer)
    return Domain.TIP_STATEMENT.value + chain_id + fields


def combine(statements: Iterable[TipStatement]) -> RestartDocument:
    """Put statements together; of one that came twice, once. Raises `InvalidRestart`."""
    by_signer: dict[ReplicaId, TipStatement] = {}
    for one in statements:
        if by_signer.setdefault(one.signer, one) != one:
            raise InvalidRestart(
                f"there are two different statements of node {one.signer}: take its last one"
            )
    return RestartDocument(statements=tuple(by_signer[signer] for signer in sorted(by_signer)))


def document_jobs(
    document: RestartDocument,
    validators: ValidatorSet,
    chain_id: ChainId,
    sets: Mapping[Epoch, ValidatorSet],
) -> tuple[SignatureJob, ...]:
    """Check a document against the present members; return the signatures that are left to check.

    `sets` are the members of earlier epochs: a block is proven by those of its own epoch. Raises
    `InvalidRestart`.
    """
    quorum = validators.quorum.strong
    if len(document.statements) < quorum:
        raise InvalidRestart(
            f"{len(document.statements)} statements, and a quorum of these members is {quorum}:"
            " ask more operators for theirs"
        )
    if sum(not one.is_stuck for one in document.statements) >= quorum:
        raise InvalidRestart(
            f"{quorum} of these nodes or more are not behind a fence: the chain needs no restart,"
            " start them"
        )
    jobs: list[SignatureJob] = []
    for one in document.statements:
        if one.chain_id != chain_id:
            raise InvalidRestart(f"node {one.signer} speaks of another chain")
        preimage = statement_preimage(
            one.chain_id,
            one.epoch,
            one.height,
            one.digest,
            is_stuck=one.is_stuck,
            signer=one.signer,
        )
        _check_epoch(one)
        try:
            jobs.append(vote_job(one.signer, one.signature, preimage, validators))
            if one.certificate is not None:
                jobs += _proof_jobs(one.certificate, one.signer, chain_id, sets)
        except InvalidCertificate as problem:
            raise InvalidRestart(f"the statement of node {one.signer}: {problem}") from problem
    return tuple(dict.fromkeys(jobs))


def _check_epoch(stated: TipStatement) -> None:
    """Raise `InvalidRestart` for an epoch that cannot follow the block with which it is stated."""
    proof = stated.certificate
    first = Epoch(0) if proof is None else proof.epoch
    restarts = stated.epoch // RESTART_EPOCHS - first // RESTART_EPOCHS
    changes = set_number(stated.epoch) - set_number(first)
    if not (0 <= restarts <= RESTARTS_MAX and 0 <= changes <= 1):
        raise InvalidRestart(
            f"the statement of node {stated.signer}: epoch {stated.epoch} does not follow a block"
            f" of epoch {first}"
        )


def _proof_jobs(
    proof: CommitCertificate,
    signer: ReplicaId,
    chain_id: ChainId,
    sets: Mapping[Epoch, ValidatorSet],
) -> tuple[SignatureJob, ...]:
    if proof.epoch not in sets:
        raise InvalidRestart(
            f"the statement of node {signer} proves a block of epoch {proof.epoch}, whose members"
            " are not known here: do this at a node with a higher tip, and let this one follow"
        )
    return commit_certificate_jobs(proof, sets[proof.epoch], chain_id, epoch=proof.epoch)


def take_restart(state: ReplicaState) -> list[Effect]:
    """Go on in the epoch of the restart, if our tip is the block above which the chain goes on."""
    restart = state.restart
    if restart is None or state.tip.height < restart.height:
        return []
    state.restart = None
    if (restart.height, restart.digest) != (state.tip.height, state.tip.digest):
        return []
    epoch = under_restart(state.members.epoch, restart.epoch)
    if state.members.epoch < epoch:
        skip_epochs(state, epoch - state.members.epoch)
    if state.fence is None or not state.fence.falls_at_restart:
        return []
    state.fence = None
    return [Persist(records=(FenceLifted(height=state.tip.height),))]


def skip_epochs(state: ReplicaState, count: int) -> None:
    """Number the epochs of the height being agreed and of the next anew: a restart.

    Whatever was said there in the epoch before, votes and even a decision, counts no longer.
    """
    state.members = _later(state.members, count)
    if state.next_members is not None:
        state.next_members = _later(state.next_members, count)
    state.instance = Instance()
    state.next_mailbox = Mailbox()
    state.complaints = {}


def is_restart(state: ReplicaState, certificate: CommitCertificate) -> bool:
    """Whether others have decided our height after a restart: a quorum signed in that epoch.

    Correct members sign there only under the document, so the certificate stands for it.
    """
    return certificate.epoch == after_restart(state.members.epoch)


def in_force(records: Iterable[Record]) -> list[Record]:
    """Leave out what a journal holds of heights above a restart from before that restart."""
    kept: list[Record] = []
    for record in records:
        if isinstance(record, Restarted):
            kept = [one for one in kept if (record_height(one) or 0) <= record.height]
        kept.append(record)
    return kept


def pending(records: Iterable[object]) -> Restarted | None:
    """Return the last restart in a journal."""
    found = [one for one in records if isinstance(one, Restarted)]
    return found[-1] if found else None


def _later(members: Membership, count: int) -> Membership:
    return replace(members, epoch=Epoch(members.epoch + count))
