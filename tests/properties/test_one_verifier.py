"""Attack 28: whoever reads a commit certificate, and wherever, believes and refuses the same."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from client.errors import CertificateRejected
from client.trust import check_header
from commands.fsck import _certificate_check
from consensus.blocks import Block, CertifiedBlock
from consensus.errors import InvalidMessage, InvalidRestart, UnknownEpoch
from consensus.messages import Blocks, Message, Status
from consensus.restarting import (
    RestartDocument,
    TipStatement,
    document_jobs,
    statement_preimage,
)
from consensus.verification import message_signature_jobs
from crypto.errors import InvalidCertificate
from crypto.hashing import ChainId
from crypto.schema import encode
from crypto.signatures import Scheme, is_valid_many, sign_preimage
from crypto.validators import ReplicaId
from crypto.votes import View, VoteType
from genesis.errors import GenesisDamaged
from genesis.invite import Invite, KnownNode, check_invite
from ledger.blocks import Header, header_digest, tx_root
from ledger.exchange import SealedHeader
from shell.chain import Chain
from shell.mending import _check_certificate
from shell.targets import Target, check_sealed
from storage.chain import StoredHeader
from storage.sidecars import close_sidecars
from tests.unit.client.certified_state import QUORUM, CertifiedState
from tests.unit.ledger.small_consortium import genesis, signing_key
from tests.unit.shell.live_chain import make_live_chain

STRANGER = 9
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Desk:
    """What the readers know: the founders' set, the same for all of them."""

    certified: CertifiedState
    chain: Chain

    @property
    def chain_id(self) -> ChainId:
        return self.certified.trust.chain_id


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    live = make_live_chain(tmp_path_factory.mktemp("live"))
    yield Desk(CertifiedState(), live.chain)
    close_sidecars(live.sidecars)
    live.chain.stored.database.close()


def copy_of(sealed: SealedHeader) -> CertifiedBlock:
    header = sealed.header
    block = Block(
        height=header.height,
        view=header.view,
        proposer=header.proposer,
        parent=header.parent,
        digest=header_digest(header),
        header=encode(header),
        parent_certificate=None,
        payload=b"",
    )
    return CertifiedBlock(block=block, certificate=sealed.certificate, bodies=b"")


def is_message_valid(desk: Desk, message: Message) -> bool:
    trust = desk.certified.trust
    try:
        return all(is_valid_many(message_signature_jobs(message, trust.sets, trust.chain_id)))
    except (InvalidMessage, UnknownEpoch):
        return False


def is_believed_live(desk: Desk, sealed: SealedHeader) -> bool:
    """A heartbeat that proves a decision."""
    return is_message_valid(
        desk,
        Status(
            height=sealed.header.height,
            view=View(0),
            has_proposal=False,
            has_committed=False,
            is_fenced=False,
            is_listening=False,
            certificate=sealed.certificate,
            boot=None,
            clock_ms=0,
        ),
    )


def is_believed_in_catch_up(desk: Desk, sealed: SealedHeader) -> bool:
    return is_message_valid(desk, Blocks(blocks=(copy_of(sealed),)))


def is_believed_of_a_snapshot(desk: Desk, sealed: SealedHeader) -> bool:
    target = Target(height=sealed.header.height, sets=desk.certified.trust.sets)
    stored = StoredHeader(header=encode(sealed.header), certificate=encode(sealed.certificate))
    try:
        return check_sealed(desk.chain_id, target, stored) == sealed.header
    except InvalidCertificate:
        return False


def is_believed_as_a_copy(desk: Desk, sealed: SealedHeader) -> bool:
    """What a peer sends in the place of a damaged block."""
    try:
        _check_certificate(desk.chain, copy_of(sealed))
    except InvalidCertificate:
        return False
    return True


def is_believed_of_a_receipt(desk: Desk, sealed: SealedHeader) -> bool:
    """A client, for receipts, state, and offline proofs."""
    try:
        return check_header(desk.certified.trust, sealed) == sealed.header
    except CertificateRejected:
        return False


def is_believed_by_fsck(desk: Desk, sealed: SealedHeader) -> bool:
    try:
        _certificate_check(desk.chain.stored)(sealed.header, sealed.certificate)
    except InvalidCertificate:
        return False
    return True


def is_believed_in_an_invite(desk: Desk, sealed: SealedHeader) -> bool:
    validators = desk.certified.trust.validators
    node = KnownNode(index=ReplicaId(0), org="north", tls_pin=bytes(32), p2p_address="a:1")
    invite = Invite(
        genesis=genesis(),
        free_index=ReplicaId(STRANGER),
        nodes=(node,),
        validators=validators,
        sealed_header=encode(sealed),
    )
    try:
        check_invite(invite)
    except GenesisDamaged:
        return False
    return True


def is_believed_in_a_restart(desk: Desk, sealed: SealedHeader) -> bool:
    trust, proof = desk.certified.trust, sealed.certificate

    def statement(signer: int) -> TipStatement:
        signed = statement_preimage(
            trust.chain_id,
            sealed.header.epoch,
            proof.height,
            proof.digest,
            is_stuck=True,
            signer=ReplicaId(signer),
        )
        return TipStatement(
            chain_id=trust.chain_id,
            epoch=sealed.header.epoch,
            height=proof.height,
            digest=proof.digest,
            is_stuck=True,
            certificate=proof,
            signer=ReplicaId(signer),
            signature=sign_preimage(signing_key(f"node {signer}", Scheme.ED25519), signed),
        )

    document = RestartDocument(statements=tuple(statement(signer) for signer in QUORUM))
    try:
        jobs = document_jobs(document, trust.validators, trust.chain_id, trust.sets)
    except InvalidRestart:
        return False
    return all(is_valid_many(jobs))


READERS: tuple[Callable[[Desk, SealedHeader], bool], ...] = (
    is_believed_live,
    is_believed_in_catch_up,
    is_believed_of_a_snapshot,
    is_believed_as_a_copy,
    is_believed_of_a_receipt,
    is_believed_by_fsck,
    is_believed_in_an_invite,
    is_believed_in_a_restart,
)


def header_of(desk: Desk) -> Header:
    return desk.certified.header(desk.certified.tree().root, tx_root=tx_root(()))


def changed(sealed: SealedHeader, **changes: Any) -> SealedHeader:
    return replace(sealed, certificate=replace(sealed.certificate, **changes))


def other_chain(desk: Desk) -> SealedHeader:
    """The same votes, cast on another chain for a header of the same digest."""
    header = header_of(desk)
    foreign = desk.certified.sealed(replace(header, chain_id=ChainId(b"\x02" * 32)))
    return changed(desk.certified.sealed(header), signatures=foreign.certificate.signatures)


FORGERIES: dict[str, Callable[[Desk], SealedHeader]] = {
    "one vote short": lambda desk: desk.certified.sealed(header_of(desk), signers=(0, 1)),
    "one vote more": lambda desk: desk.certified.sealed(header_of(desk), signers=(0, 1, 2, 3)),
    "a stranger's vote": lambda desk: desk.certified.sealed(
        header_of(desk), signers=(0, 1, STRANGER)
    ),
    "another key in a member's name": lambda desk: desk.certified.sealed(
        header_of(desk), keys=(0, 1, STRANGER)
    ),
    "prepares": lambda desk: desk.certified.sealed(header_of(desk), vote=VoteType.PREPARE),
    "votes of another chain": other_chain,
    "another view": lambda desk: changed(desk.certified.sealed(header_of(desk)), view=View(1)),
    "another epoch": lambda desk: changed(desk.certified.sealed(header_of(desk)), epoch=1),
}


@pytest.mark.parametrize("reader", READERS, ids=lambda one: one.__name__)
def test_a_certificate_of_a_quorum_is_believed(
    desk: Desk, reader: Callable[[Desk, SealedHeader], bool]
) -> None:
    assert reader(desk, desk.certified.sealed(header_of(desk)))


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("reader", READERS, ids=lambda one: one.__name__)
def test_a_forged_certificate_is_refused_by_every_reader(
    desk: Desk, reader: Callable[[Desk, SealedHeader], bool], forgery: str
) -> None:
    assert not reader(desk, FORGERIES[forgery](desk))


def test_whoever_reads_a_certificate_is_among_these() -> None:
    """A new caller of the one verifier gets its place in this table."""
    rooms = ("api", "client", "commands", "consensus", "genesis", "ledger", "shell", "storage")
    callers = {
        str(path.relative_to(REPOSITORY))
        for room in rooms
        for path in sorted((REPOSITORY / room).rglob("*.py"))
        if "commit_certificate" in path.read_text(encoding="utf-8")
    }

    assert callers == {
        "client/trust.py",
        "commands/fsck.py",
        "consensus/restarting.py",
        "consensus/verification.py",
        "genesis/invite.py",
        "shell/mending.py",
        "shell/targets.py",
    }
