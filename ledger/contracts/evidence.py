"""Evidence of equivocation: two votes that no correct node signs both, ordered for all to see.

The ledger records a fault once for each slot and takes no other step: what follows from it,
members decide by ballot. Votes are judged by the key of their own epoch, so a node that has been
removed or re-keyed since is still named.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from crypto.errors import InvalidEvidence, InvalidKey, InvalidSignature
from crypto.evidence import Evidence, evidence_jobs
from crypto.signatures import SignatureJob, check_job
from crypto.validators import set_number
from ledger.accounts import Role
from ledger.contract import Context, Kind, Lane, Rule
from ledger.contracts.governance import get_epoch
from ledger.errors import Refused
from ledger.nodes import get_node, put_node
from ledger.proposals import EVIDENCE_PER_NODE_MAX, EvidenceEntry, evidence_key, put_evidence
from ledger.state import StateView

if TYPE_CHECKING:
    from ledger.transactions import Transaction


def on_evidence(context: Context, payload: Evidence) -> None:
    """Record a member's fault under its index."""
    fault = payload.fault
    if context.state.get(evidence_key(fault)) is not None:
        raise Refused("evidence.known", f"this fault of node {fault.signer} is recorded")
    age = context.height - fault.height
    if not 0 <= age <= context.parameters.evidence_blocks_max:
        raise Refused(
            "evidence.age",
            f"votes of height {fault.height} are judged from block {fault.height} on, for"
            f" {context.parameters.evidence_blocks_max} blocks",
            (("height", context.height),),
        )
    _check_votes(context, payload)
    node = get_node(context.state, fault.signer)
    assert node is not None, "a member of any epoch has an entry"
    if node.evidence_count >= EVIDENCE_PER_NODE_MAX:
        raise Refused(
            "evidence.full", f"{EVIDENCE_PER_NODE_MAX} faults of node {node.index} are recorded"
        )
    put_node(context.state, replace(node, evidence_count=node.evidence_count + 1))
    entry = EvidenceEntry(
        index=fault.signer,
        epoch=fault.epoch,
        height=fault.height,
        view=fault.view,
        vote=fault.vote,
        digests=(payload.first.digest, payload.second.digest),
        by=context.sender.account_id,
        tx_id=context.transaction.tx_id,
        reported_height=context.height,
    )
    put_evidence(context.state, fault, entry)
    context.emit(
        "governance.evidence",
        None,
        ("index", fault.signer),
        ("org", node.org),
        ("epoch", fault.epoch),
        ("height", fault.height),
        ("view", fault.view),
        ("vote", fault.vote.name.lower()),
        ("by", context.sender.account_id),
    )


def evidence_jobs_of(view: StateView, transaction: "Transaction") -> tuple[SignatureJob, ...]:
    """Return the two votes' signatures, if the state knows the epoch and its member."""
    payload: Evidence = transaction.payload
    entry = get_epoch(view, set_number(payload.fault.epoch))
    if entry is None:
        return ()
    try:
        return evidence_jobs(payload, entry.validators, transaction.body.chain_id)
    except InvalidEvidence:
        return ()


KINDS: Final = (
    Kind(
        name="governance.evidence",
        payload=Evidence,
        signer=Rule((Role.NODE, Role.HOSPITAL_ADMIN, Role.CONSORTIUM_ADMIN)),
        handler=on_evidence,
        lane=Lane.EMERGENCY,
        inner_jobs=evidence_jobs_of,
    ),
)


def _check_votes(context: Context, evidence: Evidence) -> None:
    """Raise `Refused` unless a member of the votes' epoch signed both."""
    fault = evidence.fault
    entry = get_epoch(context.state, set_number(fault.epoch))
    if entry is None or fault.height < entry.first_height:
        raise Refused("evidence.epoch", f"height {fault.height} is not in epoch {fault.epoch}")
    try:
        for job in evidence_jobs(evidence, entry.validators, context.chain_id):
            check_job(job)
    except (InvalidEvidence, InvalidSignature, InvalidKey) as problem:
        raise Refused("evidence.invalid", f"the votes prove nothing: {problem}") from problem
