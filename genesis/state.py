"""The state that the founding document stands for: what block 1 is executed on."""

from crypto.envelopes import seal_key_id
from crypto.signatures import account_id, key_id
from crypto.validators import Validator, ValidatorSet
from genesis.document import FoundingAccount, GenesisDocument, NodeClaim
from ledger.accounts import Account, Organisation, OrgId, Role, Status, add_account
from ledger.contracts.governance import (
    NodeEntry,
    put_node,
    put_organisation,
    put_parameters,
    put_validators,
)
from ledger.state import MemoryState, Overlay, Writes


def apply_genesis(document: GenesisDocument) -> Writes:
    """Return what the founding document writes to the empty state."""
    state = Overlay(MemoryState())
    put_parameters(state, document.invitation.parameters)
    put_validators(state, founding_validators(document))
    for claim in _nodes(document):
        put_node(state, NodeEntry(index=claim.index, p2p_address=claim.p2p_address))
    for statement in document.statements:
        body = statement.body
        admins = [
            account_id(one.sign_key) for one in body.admins if one.role is Role.HOSPITAL_ADMIN
        ]
        put_organisation(
            state,
            Organisation(
                org=body.org,
                name=body.name,
                status=Status.ACTIVE,
                agent=account_id(body.agent.sign_key),
                admins=tuple(sorted(admins)),
            ),
        )
        for founder in (body.agent, *body.admins):
            add_account(state, _account(body.org, founder))
    return state.writes


def founding_validators(document: GenesisDocument) -> ValidatorSet:
    """Return the replica set of the first epoch."""
    return ValidatorSet(
        members=tuple(
            [
                Validator(
                    index=claim.index,
                    org=claim.org,
                    vote_key=claim.vote_key,
                    tls_pin=claim.tls_pin,
                )
                for claim in _nodes(document)
            ]
        )
    )


def _nodes(document: GenesisDocument) -> list[NodeClaim]:
    claims = [node.claim for one in document.statements for node in one.body.nodes]
    return sorted(claims, key=lambda claim: claim.index)


def _account(org: OrgId, founder: FoundingAccount) -> Account:
    return Account(
        account_id=account_id(founder.sign_key),
        org=org,
        role=founder.role,
        status=Status.ACTIVE,
        sign_key=founder.sign_key,
        sign_key_id=key_id(founder.sign_key),
        seal_key=founder.seal_key,
        seal_key_id=seal_key_id(founder.seal_key),
        seal_binding=founder.seal_binding,
        registered_height=0,
        specialty="",
        licence=None,
        categories=(),
        in_custody=False,
    )
