"""The founding ceremony: each organisation signs about itself, anybody puts the parts together.

No trusted dealer: the convener circulates an invitation, every founder answers with a statement
made where its keys are, and `assemble` gives the same document whatever the order of arrival.
"""

from collections.abc import Iterable, Sequence

from crypto.envelopes import SealKey
from crypto.hashing import ChainId, Domain
from crypto.schema import encode
from crypto.signatures import SigningKey, account_id, public_key, sign
from genesis.document import (
    FoundingStatement,
    GenesisDocument,
    Invitation,
    StatementBody,
    check_document,
    check_statement,
    invitation_digest,
)
from genesis.errors import GenesisConflict
from ledger.accounts import OrgId, Role
from ledger.founders import FoundingAccount
from ledger.key_proofs import sign_registration, sign_seal_binding
from ledger.nodes import NodeClaim, NodeStatement, sign_node_claim


def make_founding_account(
    invitation: Invitation, *, org: OrgId, role: Role, key: SigningKey, seal_key: SealKey
) -> FoundingAccount:
    """Return an account with the proofs that its sign key makes."""
    sign_key = public_key(key)
    return FoundingAccount(
        role=role,
        sign_key=sign_key,
        seal_key=seal_key,
        seal_binding=sign_seal_binding(key, account_id=account_id(sign_key), seal_key=seal_key),
        possession=sign_registration(
            key,
            chain_id=ChainId(invitation_digest(invitation)),
            org=org,
            role=role,
            seal_key=seal_key,
        ),
    )


def make_founding_node(
    invitation: Invitation, claim: NodeClaim, vote_key: SigningKey
) -> NodeStatement:
    """Return a node's claim for this invitation, signed by the vote key it names."""
    return sign_node_claim(claim, vote_key, ChainId(invitation_digest(invitation)))


def make_founding_statement(
    invitation: Invitation,
    *,
    org: OrgId,
    name: str,
    agent: FoundingAccount,
    admins: Sequence[FoundingAccount],
    nodes: Sequence[NodeStatement],
    first_admin: SigningKey,
) -> FoundingStatement:
    """Return the organisation's statement, signed by its first admin's key.

    Raises a `GenesisError` if a part does not verify, so nobody sends a statement in vain.
    """
    invited = invitation_digest(invitation)
    body = StatementBody(
        invitation=invited,
        org=org,
        name=name,
        agent=agent,
        admins=tuple(admins),
        nodes=tuple(nodes),
    )
    signature = sign(first_admin, Domain.FOUNDING, ChainId(invited), encode(body))
    statement = FoundingStatement(body=body, signature=signature)
    check_statement(statement, invitation)
    return statement


def assemble(invitation: Invitation, statements: Iterable[FoundingStatement]) -> GenesisDocument:
    """Return the founding document, the same for every order of the statements.

    Raises a `GenesisError` that names the organisation whose statement does not fit.
    """
    by_org: dict[OrgId, FoundingStatement] = {}
    for statement in statements:
        known = by_org.setdefault(statement.body.org, statement)
        if known != statement:
            raise GenesisConflict(f"two different statements of {statement.body.org}")
    if not by_org:
        raise GenesisConflict("nobody founds: there is no statement")
    document = GenesisDocument(
        invitation=invitation, statements=tuple([by_org[org] for org in sorted(by_org)])
    )
    check_document(document)
    return document
