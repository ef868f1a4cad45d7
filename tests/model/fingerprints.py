"""Copies and fingerprints of replicas: two states with one fingerprint behave alike from here on.

A fingerprint is the structure of the state, field by field, with these merged:

- *Certificates* are told by what they certify (epoch, height, view, digest), not by their signers.
  Every certificate that reaches the core is valid, and the core reads no more of it than that,
  except whom to ask for a missing block.
- *A new-view* is told by what its view-changes report, not by who sent them: their reader counts
  them and takes the highest certificate.
- *Votes that no step reads any more* are left out (`_mailbox`).
- *Timers, heartbeats and what is known of peers* only choose when to ask for a new view and whom
  to ask for blocks. The model lets every timer expire at any time and every answer come from
  anywhere, so that they are set back after each step (`relax`) and left out here. So is what was
  noticed of equivocation: it is reported, and the first vote of a slot counts all the same.

Any field that this page does not name is part of the fingerprint, those to come included.
"""

from collections import Counter
from collections.abc import Hashable
from dataclasses import fields, is_dataclass
from typing import Any

from consensus.blocks import Block, CertifiedBlock
from consensus.messages import Commit, NewView, Prepare, PrePrepare, ViewChange
from consensus.state import Config, Fetching, Instance, ReplicaState, primary_at
from crypto.validators import ValidatorSet
from crypto.votes import CommitCertificate, PreparedCertificate

STEERING_ONLY = frozenset(
    {
        "peers",
        "timers",
        "timer_serial",
        "heartbeats",
        "fetches_of_strangers",
        "height_at_heartbeat",
        "is_behind",
        "has_backlog",
        "fetched_from",
        "is_timed",
        "is_idle",
        "is_extended",
        "lag_ms",
        "supplier",
        "view_changes",
        "contradicted",
        "past_votes",
        "reported",
        "said",
    }
)
"""Fields that only steer timers, questions and reports."""


def copied(value: Any) -> Any:
    """Copy what can change: plain dataclasses and dicts; frozen things are shared."""
    if isinstance(value, Counter):
        return value.copy()
    if isinstance(value, dict):
        return {key: copied(one) for key, one in value.items()}
    if is_dataclass(value) and not is_frozen(type(value)):
        twin = object.__new__(type(value))
        for field in fields(value):
            setattr(twin, field.name, copied(getattr(value, field.name)))
        return twin
    return value


def is_frozen(kind: Any) -> bool:
    return bool(kind.__dataclass_params__.frozen)


def relax(state: ReplicaState) -> None:
    """Forget what only steers timers and questions, so that either may happen next."""
    state.peers, state.timers = {}, {}
    state.timer_serial = state.heartbeats = state.fetches_of_strangers = 0
    state.is_behind = False
    state.past_votes, state.reported, state.instance.contradicted = {}, {}, {}
    state.view_changes.clear()


def fingerprint(value: Any) -> Hashable:
    """Return what two values must share to behave alike."""
    match value:
        case Config() | ValidatorSet():
            return None
        case Block():
            return value.digest
        case CertifiedBlock():
            return value.block.digest, value.certificate.view
        case PreparedCertificate() | CommitCertificate():
            return value.epoch, value.height, value.view, value.digest
        case PrePrepare() | Prepare() | Commit():
            return type(value).__name__, value.epoch, value.height, value.view, value.digest
        case ViewChange():
            return "ViewChange", value.height, value.view, fingerprint(value.prepared)
        case NewView():
            reports = sorted(_report(one) for one in value.view_changes)
            return "NewView", value.height, value.view, value.digest, tuple(reports)
        case Fetching():
            return value.digest
        case Instance():
            raise AssertionError("an instance is read together with its state")
        case ReplicaState():
            return _state(value)
        case dict():
            return tuple((fingerprint(key), fingerprint(one)) for key, one in value.items())
        case tuple() | list():
            return tuple(fingerprint(one) for one in value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            return tuple(
                fingerprint(getattr(value, field.name))
                for field in fields(value)
                if field.name not in STEERING_ONLY
            )
        case _:
            plain: Hashable = value
            return plain


def _report(message: ViewChange) -> tuple[int, bytes]:
    prepared = message.prepared
    return (-1, b"") if prepared is None else (prepared.view, prepared.digest)


def _state(state: ReplicaState) -> Hashable:
    parts: list[Hashable] = []
    for field in fields(state):
        if field.name == "instance":
            parts.append(_instance(state))
        elif field.name not in STEERING_ONLY:
            parts.append(fingerprint(getattr(state, field.name)))
    return tuple(parts)


def _instance(state: ReplicaState) -> Hashable:
    parts: list[Hashable] = []
    for field in fields(state.instance):
        if field.name == "mailbox":
            parts.append(_mailbox(state))
        elif field.name == "blocks":
            parts.append(tuple(sorted(state.instance.blocks)))
        elif field.name == "basis":
            parts.append(tuple(sorted(_report(one) for one in state.instance.basis)))
        elif field.name not in STEERING_ONLY:
            parts.append(fingerprint(getattr(state.instance, field.name)))
    return tuple(parts)


def _mailbox(state: ReplicaState) -> Hashable:
    """Return the votes of others that a step may still read.

    Prepares and first proposals up to the view of our prepared certificate were counted for it.
    View-changes up to our view move us nowhere, and are read by the primary of that view until it
    has its basis.
    """
    instance, replica = state.instance, state.config.replica
    prepared = -1 if instance.prepared is None else instance.prepared.view
    waits = not instance.basis and primary_at(state, instance.view) == replica
    kept: list[Hashable] = []
    for kind, views in state.instance.mailbox.by_kind.items():
        for view, signers in views.items():
            if kind in (Prepare, PrePrepare) and view <= prepared:
                continue
            if kind is ViewChange and view < instance.view + (not waits):
                continue
            for signer, vote in signers.items():
                if signer != replica:
                    kept.append((signer, fingerprint(vote)))
    return frozenset(kept)
