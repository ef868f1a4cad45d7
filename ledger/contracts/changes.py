"""What each class of change does, and when it can not be done.

A change is tried when it is proposed, leaving nothing, and done when its ballots decide it: the
state may have moved on in between. `check_in_turn` keeps changes of the set apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import assert_never

from crypto.errors import InvalidKey, InvalidSignature
from crypto.hashing import ChainId
from crypto.signatures import SignatureJob, account_id, check_job
from crypto.validators import MEMBERS_MAX, ValidatorSet
from ledger.accounts import (
    ORGANISATIONS_MAX,
    Organisation,
    OrgId,
    Status,
    add_account,
    get_account,
    get_organisation,
    get_organisations,
    put_account,
    put_organisation,
)
from ledger.contract import Context
from ledger.contracts.governance import (
    get_latest_epoch,
    get_validators,
    put_parameters,
    put_validators,
)
from ledger.errors import Refused
from ledger.founders import add_member, founder_jobs
from ledger.governance_payloads import (
    AddOrganisation,
    AddValidator,
    Change,
    ChangeParameters,
    RekeyValidator,
    RemoveValidator,
    RestoreOrganisation,
    SuspendOrganisation,
)
from ledger.nodes import (
    NodeClaim,
    NodeEntry,
    NodeStanding,
    get_node,
    get_nodes,
    make_node_account,
    make_node_entry,
    make_validator,
    node_account_id,
    node_statement_job,
    put_node,
)
from ledger.receipts import EventValue
from ledger.state import StateView


def check_change(context: Context, change: Change) -> None:
    """Raise `Refused` unless the sender may propose it and every key in it agrees.

    What holds for good is checked here, once; what the state can take back, by `apply_change`.
    """
    if isinstance(change, AddValidator | RekeyValidator):
        org = change.node.claim.org
        if org != context.sender.org:
            raise Refused(
                "governance.not_own_node", f"an admin of {org} proposes the keys of its nodes"
            )
    for title, job in change_jobs(change, context.chain_id):
        try:
            check_job(job)
        except (InvalidSignature, InvalidKey) as problem:
            raise Refused("governance.possession", f"{title}: {problem}") from problem


def change_jobs(change: Change, chain_id: ChainId) -> Iterator[tuple[str, SignatureJob]]:
    """Yield the proofs that the keys in a change make for this chain, with what each is."""
    match change:
        case AddOrganisation():
            for founder in (change.agent, *change.admins):
                yield from founder_jobs(founder, org=change.org, chain_id=chain_id)
        case AddValidator() | RekeyValidator():
            index = change.node.claim.index
            yield f"vote key of node {index}", node_statement_job(change.node, chain_id)
        case SuspendOrganisation() | RestoreOrganisation() | RemoveValidator():
            pass
        case ChangeParameters():
            pass
        case _:
            assert_never(change)


def change_fields(change: Change) -> tuple[tuple[str, EventValue], ...]:
    """Return what a log says of a change: its class, and what it is about."""
    match change:
        case AddOrganisation():
            return (("change", "add_organisation"), ("org", change.org))
        case SuspendOrganisation():
            return (("change", "suspend_organisation"), ("org", change.org))
        case RestoreOrganisation():
            return (("change", "restore_organisation"), ("org", change.org))
        case AddValidator():
            claim = change.node.claim
            return (("change", "add_validator"), ("index", claim.index), ("org", claim.org))
        case RemoveValidator():
            return (("change", "remove_validator"), ("index", change.index))
        case RekeyValidator():
            claim = change.node.claim
            return (("change", "rekey_validator"), ("index", claim.index), ("org", claim.org))
        case ChangeParameters():
            return (("change", "change_parameters"),)
        case _:
            assert_never(change)


def is_change_of_set(view: StateView, change: Change) -> bool:
    """Whether executing the change now would begin an epoch."""
    match change:
        case RemoveValidator():
            return get_validators(view).member(change.index) is not None
        case RekeyValidator():
            member = get_validators(view).member(change.node.claim.index)
            return member is not None and member != make_validator(change.node.claim)
        case _:
            return False


def apply_change(context: Context, change: Change) -> None:
    """Execute a change; raise `Refused` where the state does not allow it."""
    match change:
        case AddOrganisation():
            _add_organisation(context, change)
        case SuspendOrganisation():
            _suspend_organisation(context, change)
        case RestoreOrganisation():
            _restore_organisation(context, change)
        case AddValidator():
            _add_learner(context, change.node.claim)
        case RemoveValidator():
            _remove_node(context, change)
        case RekeyValidator():
            _rekey_node(context, change.node.claim)
        case ChangeParameters():
            _change_parameters(context, change)
        case _:
            assert_never(change)


def change_set(context: Context, nodes: Sequence[NodeEntry]) -> None:
    """Begin the epoch in which `nodes` vote; raise `Refused` if it is not its turn."""
    check_in_turn(context)
    members = ValidatorSet(members=tuple([make_validator(node) for node in nodes]))
    put_validators(context.state, members, context.height)


def tell_epoch(context: Context) -> None:
    """Tell of the epoch that this transaction has begun."""
    latest, members = get_latest_epoch(context.state), get_validators(context.state)
    context.emit(
        "governance.epoch",
        None,
        ("epoch", latest.epoch),
        ("first_height", latest.first_height),
        ("validators", len(members.members)),
        ("digest", members.digest()),
    )


def check_in_turn(context: Context) -> None:
    """Raise `Refused` while the last change of the set is not effective."""
    latest = get_latest_epoch(context.state)
    if context.height < latest.first_height:
        raise Refused(
            "governance.in_flight",
            f"epoch {latest.epoch} begins at block {latest.first_height}; send again from then on",
            (("first_height", latest.first_height),),
        )


def voting_nodes(view: StateView) -> list[NodeEntry]:
    """Return the entries of the set in this state, by index."""
    return [node for node in get_nodes(view) if node.standing is NodeStanding.VOTING]


def node_in_place(view: StateView, index: int) -> NodeEntry:
    """Return a node that is a validator or a learner; raise `Refused` for any other index."""
    node = get_node(view, index)
    if node is None or node.standing is NodeStanding.REMOVED:
        raise Refused("governance.unknown_node", f"there is no node {index}")
    return node


def _add_organisation(context: Context, change: AddOrganisation) -> None:
    if get_organisation(context.state, change.org) is not None:
        raise Refused("governance.org_exists", f"{change.org} is or was a member")
    if sum(1 for _ in get_organisations(context.state)) == ORGANISATIONS_MAX:
        raise Refused("governance.orgs_full", f"{ORGANISATIONS_MAX} organisations are members")
    new = [account_id(founder.sign_key) for founder in (change.agent, *change.admins)]
    for account in new:
        if get_account(context.state, account) is not None or new.count(account) > 1:
            raise Refused(
                "governance.account_exists",
                f"account {account.hex()} exists; make fresh keys",
                (("account", account),),
            )
    add_member(
        context.state,
        org=change.org,
        name=change.name,
        agent=change.agent,
        admins=change.admins,
        height=context.height,
    )


def _suspend_organisation(context: Context, change: SuspendOrganisation) -> None:
    organisation = _organisation(context.state, change.org)
    _check_active(organisation)
    active = [one for one in get_organisations(context.state) if one.status is Status.ACTIVE]
    if len(active) == 1:
        raise Refused("governance.last_org", f"{change.org} is the last active member")
    put_organisation(context.state, replace(organisation, status=Status.SUSPENDED))


def _restore_organisation(context: Context, change: RestoreOrganisation) -> None:
    organisation = _organisation(context.state, change.org)
    if organisation.status is Status.ACTIVE:
        raise Refused("governance.org_active", f"{change.org} is not suspended")
    put_organisation(context.state, replace(organisation, status=Status.ACTIVE))


def _add_learner(context: Context, claim: NodeClaim) -> None:
    _check_active(_organisation(context.state, claim.org))
    if get_node(context.state, claim.index) is not None:
        raise Refused("governance.index_taken", f"node {claim.index} is or was there")
    _check_unclaimed(context.state, claim)
    _check_fresh_vote_key(context.state, claim)
    in_place = [one for one in get_nodes(context.state) if one.standing is not NodeStanding.REMOVED]
    if len(in_place) >= MEMBERS_MAX:
        raise Refused("governance.nodes_full", f"{MEMBERS_MAX} validators and learners are there")
    put_node(context.state, make_node_entry(claim, NodeStanding.LEARNER, context.height))
    add_account(context.state, make_node_account(claim.org, claim.vote_key, context.height))


def _remove_node(context: Context, change: RemoveValidator) -> None:
    node = node_in_place(context.state, change.index)
    if node.standing is NodeStanding.VOTING:
        rest = [one for one in voting_nodes(context.state) if one.index != node.index]
        if not rest:
            raise Refused("governance.last_validator", "nobody would be left to vote")
        change_set(context, rest)
    removed = replace(
        node,
        standing=NodeStanding.REMOVED,
        former_tls_pin=None,
        former_until_height=None,
        changed_height=context.height,
    )
    put_node(context.state, removed)
    _retire_vote_key(context, node.vote_key)


def _rekey_node(context: Context, claim: NodeClaim) -> None:
    node = node_in_place(context.state, claim.index)
    if node.org != claim.org:
        raise Refused("governance.other_node", f"node {node.index} is run by {node.org}")
    _check_active(_organisation(context.state, claim.org))
    same = (node.vote_key, node.tls_pin, node.p2p_address)
    if same == (claim.vote_key, claim.tls_pin, claim.p2p_address):
        raise Refused("governance.no_change", f"node {node.index} has these keys and this address")
    _check_unclaimed(context.state, claim)
    if claim.vote_key != node.vote_key:
        _check_fresh_vote_key(context.state, claim)
        _retire_vote_key(context, node.vote_key)
        add_account(context.state, make_node_account(claim.org, claim.vote_key, context.height))
    rekeyed = _rekeyed(context, node, claim)
    if node.standing is NodeStanding.VOTING and make_validator(node) != make_validator(claim):
        others = [one for one in voting_nodes(context.state) if one.index != node.index]
        change_set(context, sorted([*others, rekeyed], key=lambda one: one.index))
    put_node(context.state, rekeyed)


def _rekeyed(context: Context, node: NodeEntry, claim: NodeClaim) -> NodeEntry:
    """Return the entry with the claim's keys; a replaced TLS key is accepted for a while."""
    rekeyed = replace(
        node,
        vote_key=claim.vote_key,
        tls_pin=claim.tls_pin,
        p2p_address=claim.p2p_address,
        changed_height=context.height,
    )
    if claim.tls_pin == node.tls_pin:
        return rekeyed
    return replace(
        rekeyed,
        former_tls_pin=node.tls_pin,
        former_until_height=context.height + context.parameters.tls_overlap_blocks,
    )


def _change_parameters(context: Context, change: ChangeParameters) -> None:
    if change.parameters == context.parameters:
        raise Refused("governance.no_change", "these parameters are in force")
    if change.parameters.protocol_version != context.parameters.protocol_version:
        raise Refused(
            "governance.protocol_version",
            f"this version knows protocol {context.parameters.protocol_version} alone",
        )
    put_parameters(context.state, change.parameters)


def _organisation(view: StateView, org: OrgId) -> Organisation:
    organisation = get_organisation(view, org)
    if organisation is None:
        raise Refused("governance.unknown_org", f"{org} is no member; add it first")
    return organisation


def _check_active(organisation: Organisation) -> None:
    if organisation.status is not Status.ACTIVE:
        raise Refused("governance.org_suspended", f"{organisation.org} is suspended")


def _check_unclaimed(view: StateView, claim: NodeClaim) -> None:
    """Raise `Refused` if another node has the TLS key or address: they tell peers apart."""
    for node in get_nodes(view):
        if node.index == claim.index or node.standing is NodeStanding.REMOVED:
            continue
        if claim.tls_pin in (node.tls_pin, node.former_tls_pin):
            raise Refused("governance.tls_pin_taken", f"node {node.index} has this TLS key")
        if claim.p2p_address == node.p2p_address:
            raise Refused("governance.address_taken", f"node {node.index} has this address")


def _check_fresh_vote_key(view: StateView, claim: NodeClaim) -> None:
    """Raise `Refused` for a key that signed for anybody before: a retired one never returns."""
    account = node_account_id(claim.vote_key)
    if get_account(view, account) is not None:
        raise Refused(
            "governance.vote_key_used",
            "the vote key was in use before; make a fresh one",
            (("account", account),),
        )


def _retire_vote_key(context: Context, vote_key: bytes) -> None:
    """End the account of a key that votes no more; nothing restores a node's account."""
    account = get_account(context.state, node_account_id(vote_key))
    assert account is not None, "a node in place has an account"
    put_account(context.state, replace(account, status=Status.SUSPENDED))
