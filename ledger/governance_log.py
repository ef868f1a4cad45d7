"""What governance did, in plain words: one sentence for each of its events."""

from collections.abc import Callable
from typing import Final

from ledger.event_fields import Fields
from ledger.state import StateView
from ledger.words import counted, short_id


def _proposed(view: StateView, fields: Fields) -> str:
    return (
        f"Proposal {_proposal(fields)} by {fields.text('by_org')}: {_change(fields)}; "
        f"open below block {fields.number('expires_height')}."
    )


def _voted(view: StateView, fields: Fields) -> str:
    said = "for" if fields.number("accepts") else "against"
    return f"{fields.text('org')} voted {said} proposal {_proposal(fields)}."


def _closed(view: StateView, fields: Fields) -> str:
    reason = fields.text("reason")
    because = f": {reason}" if reason else ""
    return f"Proposal {_proposal(fields)} is {fields.text('outcome')}{because}."


def _epoch(view: StateView, fields: Fields) -> str:
    validators = counted(fields.number("validators"), "validator", "validators")
    return (
        f"Epoch {fields.number('epoch')} begins at block {fields.number('first_height')} "
        f"with {validators}."
    )


def _evidence(view: StateView, fields: Fields) -> str:
    return (
        f"Node {fields.number('index')} of {fields.text('org')} signed two different "
        f"{fields.text('vote').replace('_', '-')} votes at height {fields.number('height')}, "
        f"view {fields.number('view')}, epoch {fields.number('epoch')}."
    )


def _ready(view: StateView, fields: Fields) -> str:
    return (
        f"Learner {fields.number('index')} of {fields.text('org')} has executed block "
        f"{fields.number('height')} and is ready to vote."
    )


GOVERNANCE_SENTENCES: Final[dict[str, Callable[[StateView, Fields], str]]] = {
    "governance.proposed": _proposed,
    "governance.voted": _voted,
    "governance.closed": _closed,
    "governance.epoch": _epoch,
    "governance.evidence": _evidence,
    "validator.ready": _ready,
}


def _proposal(fields: Fields) -> str:
    return short_id(fields.identifier("proposal"))


def _change(fields: Fields) -> str:
    words = fields.text("change").replace("_", " ")
    node = f" {fields.number('index')}" if fields.has("index") else ""
    org = fields.text("org")
    joint = " of " if node else " "
    return words + node + (joint + org if org else "")
