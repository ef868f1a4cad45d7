"""Votes of others, kept until their turn: bounded per signer and kind, the first of a slot counts.

Of each signer and kind a few views are kept: the replica's own, the highest, and what lies next to
it. A faulty peer thereby fills only its own places, and nothing a correct peer sends is lost for
good, because every status makes it send again what its reader lacks.
"""

from dataclasses import dataclass, field
from typing import Final, TypeVar, cast

from consensus.messages import Commit, NewView, Prepare, PrePrepare, ViewChange, Vote
from crypto.validators import ReplicaId
from crypto.votes import View

VIEWS_KEPT: Final = 3
PHASES: Final[tuple[type[Vote], ...]] = (ViewChange, NewView, PrePrepare, Prepare, Commit)
"""The kinds of votes, in the order in which a replica casts them in one view."""

V = TypeVar("V", PrePrepare, Prepare, Commit, ViewChange, NewView)


@dataclass(slots=True)
class Mailbox:
    """The votes of one height: kind -> view -> signer -> message; no empty maps are kept."""

    by_kind: dict[type[Vote], dict[View, dict[ReplicaId, Vote]]] = field(default_factory=dict)


def put(mailbox: Mailbox, message: Vote, *, own_view: View) -> str | None:
    """Keep a vote; return why not otherwise, and for an equivocation keep the first."""
    views = mailbox.by_kind.setdefault(type(message), {})
    known = views.get(message.view, {}).get(message.signer)
    if known is not None:
        return "known already" if known == message else "equivocation: the first vote counts"
    held = sorted(view for view, signers in views.items() if message.signer in signers)
    if len(held) >= VIEWS_KEPT:
        lowest = next(view for view in held if view != own_view)
        if message.view < lowest and message.view != own_view:
            return "older than what is kept"
        discard(mailbox, type(message), lowest, message.signer)
    views.setdefault(message.view, {})[message.signer] = message
    return None


def discard(mailbox: Mailbox, kind: type[Vote], view: View, signer: ReplicaId) -> None:
    """Forget one vote."""
    views = mailbox.by_kind[kind]
    del views[view][signer]
    if not views[view]:
        del views[view]


def votes_at(mailbox: Mailbox, kind: type[V], view: View) -> dict[ReplicaId, V]:
    """Return the votes of one kind and view; arrival order, so sort before choosing."""
    signers = mailbox.by_kind.get(kind, {}).get(view, {})
    return cast("dict[ReplicaId, V]", signers)  # `put` files each message under its own kind.


def views_of(mailbox: Mailbox, kind: type[Vote]) -> list[View]:
    """Return the views that hold a vote of one kind, ascending."""
    return sorted(mailbox.by_kind.get(kind, {}))


def votes_of(mailbox: Mailbox, signer: ReplicaId) -> list[Vote]:
    """Return all votes kept of one signer, ascending by view and phase."""
    found = [
        (view, PHASES.index(kind), signers[signer])
        for kind, views in mailbox.by_kind.items()
        for view, signers in views.items()
        if signer in signers
    ]
    return [vote for _, _, vote in sorted(found, key=lambda one: one[:2])]


def count_votes(mailbox: Mailbox) -> int:
    return sum(len(signers) for views in mailbox.by_kind.values() for signers in views.values())
