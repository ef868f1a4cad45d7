"""Governance: members propose and vote on who takes part, whose nodes vote, and by which numbers.

A proposal names one change. Every active organisation has one ballot on it; the ballot that makes
the majority also executes the change, in its own block. A ballot binds the proposal (by the id of
the transaction that made it, a digest over every word of it and the chain), the epoch it was made
in and the organisation that casts it.

A new validator begins as a learner: it has an account and connections but no vote. Once its node
has caught up, `validator.ready` puts it into the set. The set written by block b is that of height
b + 2, so the old set signs the new one in; the next change of the set waits until then. The set of
every epoch stays, so that old votes can be judged for ever.

    governance/parameters                     Parameters
    governance/validators                     ValidatorSet: of the height after the next
    governance/epoch/<epoch, u64 big-endian>  EpochEntry
    governance/latest-epoch                   LatestEpoch
    governance/node/<index, u16 big-endian>   NodeEntry (`ledger.nodes`)
    governance/organisation/<slug>            Organisation (`ledger.accounts`)
    governance/proposal/<proposal 32>         Proposal (`ledger.proposals`)
    governance/open-proposals                 OpenProposals
    governance/evidence/<index 2><epoch 8><height 8><view 4><type 1>   EvidenceEntry
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final

from crypto.schema import U64, decode, encode
from crypto.validators import Epoch, ValidatorSet
from ledger.parameters import PARAMETERS_KEY, Parameters
from ledger.state import Overlay, StateView

VALIDATORS_KEY: Final = b"governance/validators"
LATEST_EPOCH_KEY: Final = b"governance/latest-epoch"

FIRST_EPOCH: Final = Epoch(0)
FIRST_HEIGHT: Final = 1
HEIGHTS_UNTIL_EFFECTIVE: Final = 2
"""The set that block b writes is that of height b + 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEntry:
    """The set of one epoch and the first height it votes at; its last is before the next's."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 33 << 10

    epoch: Epoch
    first_height: U64
    validators: ValidatorSet


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestEpoch:
    """Which epoch is the newest: it may begin at one of the next two heights."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_BYTES_MAX: ClassVar[int] = 64

    epoch: Epoch
    first_height: U64


def get_validators(view: StateView) -> ValidatorSet:
    """Return the replica set in this state: after block h, that of height h + 2."""
    encoded = view.get(VALIDATORS_KEY)
    assert encoded is not None, "genesis wrote the replica set"
    return _validators(encoded)


def get_former_validators(view: StateView) -> ValidatorSet | None:
    """Return the set of the epoch before the newest; None while the founders' is the only one."""
    latest = get_latest_epoch(view)
    entry = get_epoch(view, latest.epoch - 1) if latest.epoch else None
    return None if entry is None else entry.validators


def get_latest_epoch(view: StateView) -> LatestEpoch:
    """Return the epoch of the set in this state: after block h, that of height h + 2."""
    encoded = view.get(LATEST_EPOCH_KEY)
    assert encoded is not None, "genesis wrote the first epoch"
    return _latest(encoded)


def get_epoch(view: StateView, epoch: int) -> EpochEntry | None:
    """Return the set of an epoch and where it begins; None if it is not known yet."""
    encoded = view.get(epoch_key(epoch))
    return None if encoded is None else _epoch(encoded)


def epoch_at(view: StateView, height: int) -> EpochEntry:
    """Return the epoch of a height at most two above the block this is the state after.

    `height` is not below the last change of the set: what is asked for is who votes about now.
    """
    latest = get_latest_epoch(view)
    number = latest.epoch if latest.first_height <= height else latest.epoch - 1
    entry = get_epoch(view, number)
    assert entry is not None, "every epoch has an entry"
    return entry


def epoch_key(epoch: int) -> bytes:
    return b"governance/epoch/" + epoch.to_bytes(8, "big")


def put_parameters(state: Overlay, parameters: Parameters) -> None:
    state.put(PARAMETERS_KEY, encode(parameters))


def put_first_epoch(state: Overlay, validators: ValidatorSet) -> None:
    """Write the founders' set: that of the first height and, until a change, of all others."""
    _begin_epoch(state, FIRST_EPOCH, FIRST_HEIGHT, validators)


def put_validators(state: Overlay, validators: ValidatorSet, height: int) -> None:
    """Begin an epoch: let block `height` write another set than its parent left.

    The heights around number epochs in the same way (`consensus.membership.follow`): the set of
    `height + 1` is the parent's, so that of `height + 2` is the first that differs.
    """
    latest = get_latest_epoch(state)
    assert height >= latest.first_height, "one change of the set at a time"
    assert validators != get_validators(state), "an epoch begins with another set"
    begins = height + HEIGHTS_UNTIL_EFFECTIVE
    _begin_epoch(state, Epoch(latest.epoch + 1), begins, validators)


def _begin_epoch(state: Overlay, epoch: Epoch, first_height: int, validators: ValidatorSet) -> None:
    entry = EpochEntry(epoch=epoch, first_height=first_height, validators=validators)
    latest = LatestEpoch(epoch=epoch, first_height=first_height)
    state.put(VALIDATORS_KEY, encode(validators))
    state.put(epoch_key(epoch), encode(entry))
    state.put(LATEST_EPOCH_KEY, encode(latest))


@lru_cache(maxsize=8)
def _validators(encoded: bytes) -> ValidatorSet:
    return decode(ValidatorSet, encoded)


@lru_cache(maxsize=8)
def _latest(encoded: bytes) -> LatestEpoch:
    return decode(LatestEpoch, encoded)


@lru_cache(maxsize=8)
def _epoch(encoded: bytes) -> EpochEntry:
    return decode(EpochEntry, encoded)
