import itertools
from dataclasses import replace
from typing import Any

import pytest

from crypto.envelopes import seal_key_id
from crypto.signatures import key_id
from crypto.validators import ReplicaId
from genesis.ceremony import assemble
from genesis.document import (
    GenesisDocument,
    chain_id_of,
    check_document,
    check_statement,
)
from genesis.errors import (
    GenesisConflict,
    GenesisInvitation,
    GenesisSignature,
)
from genesis.state import apply_genesis, founding_validators
from ledger.accounts import (
    OrgId,
    Role,
    get_account,
    get_key,
    get_organisation,
    get_organisations,
    is_active,
)
from ledger.contracts.governance import get_validators
from ledger.nodes import get_nodes
from ledger.parameters import Parameters, get_parameters
from ledger.state import MemoryState
from tests.unit.ledger.small_consortium import (
    NORTH,
    SOUTH,
    account_of,
    genesis,
    invitation,
    seed,
    statement,
)

EAST = OrgId("east")


def founded() -> MemoryState:
    state = MemoryState()
    state.apply(apply_genesis(genesis()))
    return state


def test_every_order_of_statements_founds_the_same_chain() -> None:
    statements = [statement(NORTH, (0, 1)), statement(SOUTH, (2, 3)), statement(EAST, ())]

    documents = [assemble(invitation(), order) for order in itertools.permutations(statements)]

    assert len({chain_id_of(document) for document in documents}) == 1
    assert [one.body.org for one in documents[0].statements] == [EAST, NORTH, SOUTH]


def test_a_statement_that_arrives_twice_counts_once() -> None:
    once = [statement(NORTH, (0, 1)), statement(SOUTH, (2, 3))]

    assert assemble(invitation(), once * 2) == assemble(invitation(), once)


def test_every_word_of_the_document_is_in_the_chain_id() -> None:
    parameters = Parameters(rotate_every=101)

    other = assemble(invitation(parameters), [statement(NORTH, (0, 1), parameters)])
    same_names = assemble(invitation(), [statement(NORTH, (0, 1))])

    assert len({chain_id_of(one) for one in (genesis(), other, same_names)}) == 3


def test_a_statement_to_another_invitation_is_refused() -> None:
    other = statement(NORTH, (0, 1), Parameters(rotate_every=101))

    with pytest.raises(GenesisInvitation, match="north"):
        assemble(invitation(), [other])


def test_nobody_founds_nothing() -> None:
    with pytest.raises(GenesisConflict):
        assemble(invitation(), [])
    with pytest.raises(GenesisConflict, match="0 nodes"):
        assemble(invitation(), [statement(NORTH, ())])


def test_one_organisation_makes_one_statement() -> None:
    with pytest.raises(GenesisConflict, match="two different statements of north"):
        assemble(invitation(), [statement(NORTH, (0,)), statement(NORTH, (1,))])


def with_claim(**changes: Any) -> GenesisDocument:
    """The small consortium with one word of one node's claim changed after signing."""
    statements = list(genesis().statements)
    body = statements[1].body
    node = body.nodes[0]
    claim = replace(node.claim, **changes)
    nodes = list(body.nodes)
    nodes[0] = replace(node, claim=claim)
    statements[1] = replace(statements[1], body=replace(body, nodes=tuple(nodes)))
    return replace(genesis(), statements=tuple(statements))


@pytest.mark.parametrize(
    "changes",
    [
        {"index": ReplicaId(9)},
        {"tls_pin": bytes(32)},
        {"p2p_address": "127.0.0.1:9"},
    ],
)
def test_a_vote_key_signs_for_its_node(changes: dict[str, Any]) -> None:
    with pytest.raises(GenesisSignature, match="south: vote key of node"):
        check_document(with_claim(**changes))


def test_the_first_admin_signs_the_whole_statement() -> None:
    statements = genesis().statements
    renamed = replace(statements[0], body=replace(statements[0].body, name="Hospital nord"))

    with pytest.raises(GenesisSignature, match="north: statement"):
        check_statement(renamed, invitation())


@pytest.mark.parametrize("part", ["possession", "seal_binding"])
def test_every_founders_key_signs_for_itself(part: str) -> None:
    first = genesis().statements[0]
    agent, admin = first.body.agent, first.body.admins[0]
    forged = replace(agent, **{part: getattr(admin, part)})

    with pytest.raises(GenesisSignature, match=r"north: (possession|seal key) of key_agent"):
        check_statement(replace(first, body=replace(first.body, agent=forged)), invitation())


@pytest.mark.parametrize(
    ("claims", "what"),
    [
        ({"index": ReplicaId(0)}, "node index 0"),
        ({"vote_label": "node 0"}, "vote key"),
        ({"tls_pin": seed("tls 0")}, "TLS pin"),
        ({"p2p_address": "127.0.0.1:7000"}, "address 127.0.0.1:7000"),
        ({"people_of": NORTH}, "account key"),
    ],
)
def test_what_two_founders_claim_is_named(claims: dict[str, Any], what: str) -> None:
    statements = [statement(NORTH, (0,)), statement(SOUTH, (1,), **claims)]

    with pytest.raises(GenesisConflict, match=what):
        assemble(invitation(), statements)


def test_founding_roles_are_fixed() -> None:
    body = genesis().statements[0].body

    for changes in (
        {"agent": body.admins[0]},
        {"admins": (body.agent,)},
        {"org": OrgId("Nord")},
        {"org": SOUTH},
        {"admins": (body.admins[0], body.agent)},
    ):
        with pytest.raises(ValueError, match=r"agent|admin|organisation"):
            replace(body, **changes)


@pytest.mark.parametrize(
    "address", ["", "host", ":1", "host:", "host:0", "host:65536", "a b:1", "::1:7000", "host:x"]
)
def test_an_address_is_host_and_port(address: str) -> None:
    claim = genesis().statements[0].body.nodes[0].claim

    with pytest.raises(ValueError, match=r"host|port"):
        replace(claim, p2p_address=address)


def test_an_ipv6_address_stands_in_brackets() -> None:
    claim = genesis().statements[0].body.nodes[0].claim

    assert replace(claim, p2p_address="[::1]:7000").p2p_address == "[::1]:7000"


def test_the_first_state_holds_members_accounts_keys_nodes_and_parameters() -> None:
    state = founded()

    assert get_parameters(state) == Parameters()
    assert get_validators(state) == founding_validators(genesis())
    assert [member.index for member in get_validators(state).members] == [0, 1, 2, 3]
    assert [entry.p2p_address for entry in get_nodes(state)] == [
        f"127.0.0.1:{7_000 + index}" for index in range(4)
    ]
    for org in (NORTH, SOUTH):
        organisation = get_organisation(state, org)
        assert organisation is not None
        assert organisation.agent == account_of(f"agent of {org}")
        assert organisation.admins == tuple(
            sorted(account_of(f"{one} admin of {org}") for one in ("first", "second"))
        )


def test_members_are_listed_by_slug() -> None:
    assert [one.org for one in get_organisations(founded())] == [NORTH, SOUTH]


@pytest.mark.parametrize(
    ("label", "role"),
    [("agent of north", Role.KEY_AGENT), ("second admin of south", Role.HOSPITAL_ADMIN)],
)
def test_a_founders_account_is_like_any_other(label: str, role: Role) -> None:
    state = founded()

    account = get_account(state, account_of(label))

    assert account is not None
    assert is_active(state, account)
    assert account.role is role
    assert account.registered_height == 0
    assert account.sign_key_id == key_id(account.sign_key)
    assert account.seal_key is not None
    assert account.seal_key_id == seal_key_id(account.seal_key)
    for one in (account.sign_key_id, account.seal_key_id):
        assert get_key(state, account.account_id, one) is not None
