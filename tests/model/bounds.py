"""How far one search goes, and the small world it happens in: members, blocks, signatures."""

import hashlib
from dataclasses import dataclass
from functools import cache

from typing_extensions import override

from consensus.blocks import Block
from consensus.errors import InvalidMessage, UnknownEpoch
from consensus.messages import Message
from consensus.state import Config
from consensus.verification import message_signature_jobs
from crypto.hashing import Digest
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from crypto.votes import CommitCertificate, Height, View
from tests.simulation.ideal import CHAIN, at_every_epoch, is_signed, make_signer, make_validators

GENESIS = Digest(b"\xfe" * 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """One search: `byzantine` lies, the others are correct and may restart `restarts` times.

    Heights are 1 .. `heights`, views 0 .. `view_max`; sets of any size fit, four are searched.
    `leaves`: the liar is no member any more from height 2 on, so that this height belongs to
    another epoch with another quorum. `executes_apart`: votes may reach a replica between its
    decision and the execution of the block.
    """

    byzantine: int
    heights: int = 2
    view_max: int = 1
    restarts: int = 0
    replicas: int = 4
    leaves: bool = False
    executes_apart: bool = False

    @override
    def __str__(self) -> str:
        left = ", which leaves the set after height 1" if self.leaves else ""
        return (
            f"n = {self.replicas}, {self.heights} heights, views 0..{self.view_max}, "
            f"{self.restarts} restarts, replica {self.byzantine} lies{left}"
        )

    @property
    def correct(self) -> tuple[int, ...]:
        return tuple(one for one in range(self.replicas) if one != self.byzantine)

    def epoch(self, height: int) -> Epoch:
        return Epoch(1 if self.leaves and height > 1 else 0)

    def validators(self, height: int) -> ValidatorSet:
        """Return the members of a height."""
        return _members(self.replicas, self.byzantine if self.epoch(height) else None)

    def is_member(self, replica: int, height: int) -> bool:
        return not (self.epoch(height) and replica == self.byzantine)


@cache
def _members(replicas: int, without: int | None) -> ValidatorSet:
    everybody = make_validators(replicas).members
    return ValidatorSet(members=tuple(one for one in everybody if one.index != without))


@cache
def make_config(replica: int) -> Config:
    """Delays do not matter: every timer may expire at any time."""
    return Config(
        chain_id=CHAIN,
        replica=ReplicaId(replica),
        boot_id=b"a start of ours.",
        sign=at_every_epoch(make_signer(replica)),
        base_timeout_ms=1,
        timeout_cap_ms=1,
        gather_ms=1,
        idle_block_ms=1,
        status_ms=1,
        fetch_ms=1,
        rotate_every=1_000,
        listen_heartbeats=0,
    )


def make_block(
    *,
    height: Height,
    view: View,
    proposer: int,
    parent: Digest,
    proof: CommitCertificate | None,
    variant: str,
) -> Block:
    """Return a block whose header says all that tells it from others, the view of its parent's
    certificate included, as a real header does by the digest of that certificate.

    Its digest opens with a short name: height, view and proposer, the variant, that view.
    """
    shown = "" if proof is None or not proof.view else f"+{proof.view}"
    name = f"h{height}v{view}r{proposer}{variant}{shown}".encode()
    header = name + b" on " + parent
    return Block(
        height=height,
        view=view,
        proposer=ReplicaId(proposer),
        parent=parent,
        digest=Digest(name.ljust(16) + hashlib.sha256(header).digest()[:16]),
        header=header,
        parent_certificate=proof,
        payload=hashlib.sha256(b"payload of " + header).digest(),
    )


def name_of(digest: Digest) -> str:
    """Return the short name of a block of the model."""
    return digest[:16].decode().rstrip()


def is_verified(bounds: Bounds, message: Message) -> bool:
    """Whether the real verifier lets a message through to the core."""
    sets = {bounds.epoch(height): bounds.validators(height) for height in (1, 2)}
    try:
        jobs = message_signature_jobs(message, sets, CHAIN)
    except (InvalidMessage, UnknownEpoch):
        return False
    return all(is_signed(job) for job in jobs)
