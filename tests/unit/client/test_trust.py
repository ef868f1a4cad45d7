"""A light client believes a quorum of the pinned founders, recent time and proofs; nothing else."""

from dataclasses import replace

import pytest

from client.errors import (
    CertificateRejected,
    NotProven,
    ProofRejected,
    Stale,
    WrongChain,
)
from client.proving import joined
from client.trust import FOUNDING_EPOCH, FRESH_MS, check_witness
from crypto.hashing import ChainId, Digest
from crypto.record_ids import AccountId
from crypto.schema import encode
from crypto.validators import after_restart
from crypto.votes import VoteType
from ledger.access_state import NO_GRANTS, get_grants, grants_key
from ledger.accounts import account_key, get_account
from ledger.decision import Action, decide_about
from ledger.tree.proofs import StateProofs
from tests.unit.client.certified_state import CertifiedState
from tests.unit.ledger.record_samples import DOCTOR, PATIENT, SOUTH_DOCTOR
from tests.unit.ledger.small_consortium import account_of, seal_key_of

DOCTOR_KEY = account_key(account_of(DOCTOR))
ABSENT_KEY = account_key(b"\x01" * 32)
GRANTS_KEY = grants_key(account_of(PATIENT))


@pytest.fixture(scope="module")
def certified() -> CertifiedState:
    return CertifiedState()


def test_a_quorums_witness_proves_what_is_there_and_what_is_not(certified: CertifiedState) -> None:
    witness = certified.witness((DOCTOR_KEY, ABSENT_KEY))

    view = check_witness(certified.trust, witness, now_ms=certified.time_ms)

    account = get_account(view, account_of(DOCTOR))
    assert account is not None
    assert account.account_id == account_of(DOCTOR)
    assert get_account(view, AccountId(b"\x01" * 32)) is None
    assert view.height == certified.hospitals.chain.height


def test_an_entry_nobody_proved_is_a_question_not_an_absence(certified: CertifiedState) -> None:
    view = check_witness(
        certified.trust, certified.witness((ABSENT_KEY,)), now_ms=certified.time_ms
    )

    with pytest.raises(NotProven):
        view.get(DOCTOR_KEY)
    with pytest.raises(NotProven):
        view.scan(b"identity/", limit=1)


def test_another_seal_key_for_somebody_is_refused(certified: CertifiedState) -> None:
    account = get_account(certified.state, account_of(DOCTOR))
    assert account is not None
    forged = encode(replace(account, seal_key=seal_key_of("the node's own")))
    honest = certified.witness((DOCTOR_KEY,))
    lying = certified.witness(
        (DOCTOR_KEY,), changes={DOCTOR_KEY: forged}, sealed=honest.sealed_header
    )

    with pytest.raises(ProofRejected):
        check_witness(certified.trust, lying, now_ms=certified.time_ms)


def test_a_hidden_grant_is_refused() -> None:
    certified = CertifiedState()
    certified.hospitals.grant(certified.hospitals.terms(SOUTH_DOCTOR))
    honest = certified.witness((GRANTS_KEY,))
    hidden = encode(NO_GRANTS)

    told: tuple[bytes | None, ...] = (hidden, None)
    for value in told:
        lying = certified.witness(
            (GRANTS_KEY,), changes={GRANTS_KEY: value}, sealed=honest.sealed_header
        )
        with pytest.raises(ProofRejected):
            check_witness(certified.trust, lying, now_ms=certified.time_ms)
    view = check_witness(certified.trust, honest, now_ms=certified.time_ms)
    assert len(get_grants(view, account_of(PATIENT))) == 1


def test_a_proof_of_absence_does_not_hide_what_is_there(certified: CertifiedState) -> None:
    honest = certified.witness((DOCTOR_KEY,))
    proof = honest.proofs.proofs[0]
    lying = replace(honest, proofs=StateProofs(proofs=(replace(proof, value=None),)))

    with pytest.raises(ProofRejected):
        check_witness(certified.trust, lying, now_ms=certified.time_ms)


def test_proofs_of_other_keys_than_those_asked_for_are_refused(certified: CertifiedState) -> None:
    witness = certified.witness((ABSENT_KEY,))

    with pytest.raises(ProofRejected):
        check_witness(
            certified.trust, witness, now_ms=certified.time_ms, asked=(DOCTOR_KEY, ABSENT_KEY)
        )


@pytest.mark.parametrize("signers", [(0, 1), (0,), (), (0, 1, 2, 3)])
def test_anything_but_a_quorum_is_refused(
    certified: CertifiedState, signers: tuple[int, ...]
) -> None:
    header = certified.header(certified.tree().root)
    witness = certified.witness((DOCTOR_KEY,), sealed=certified.sealed(header, signers=signers))

    with pytest.raises(CertificateRejected):
        check_witness(certified.trust, witness, now_ms=certified.time_ms)


def test_votes_by_strangers_in_members_names_are_refused(certified: CertifiedState) -> None:
    header = certified.header(certified.tree().root)
    sealed = certified.sealed(header, keys=(0, 1, 9))
    witness = certified.witness((DOCTOR_KEY,), sealed=sealed)

    with pytest.raises(CertificateRejected):
        check_witness(certified.trust, witness, now_ms=certified.time_ms)


def test_prepares_are_no_commits(certified: CertifiedState) -> None:
    header = certified.header(certified.tree().root)
    sealed = certified.sealed(header, vote=VoteType.PREPARE)
    witness = certified.witness((DOCTOR_KEY,), sealed=sealed)

    with pytest.raises(CertificateRejected):
        check_witness(certified.trust, witness, now_ms=certified.time_ms)


def test_a_certificate_of_another_header_is_refused(certified: CertifiedState) -> None:
    tree = certified.tree()
    other = certified.sealed(certified.header(Digest(b"\x07" * 32)))
    sealed = replace(certified.sealed(certified.header(tree.root)), certificate=other.certificate)
    witness = certified.witness((DOCTOR_KEY,), sealed=sealed)

    with pytest.raises(CertificateRejected):
        check_witness(certified.trust, witness, now_ms=certified.time_ms)


def test_another_consortium_is_refused_by_name(certified: CertifiedState) -> None:
    header = certified.header(certified.tree().root, chain_id=ChainId(b"\x02" * 32))
    witness = certified.witness((DOCTOR_KEY,), sealed=certified.sealed(header))

    with pytest.raises(WrongChain):
        check_witness(certified.trust, witness, now_ms=certified.time_ms)


def test_a_block_after_a_restart_is_believed_by_the_same_validators(
    certified: CertifiedState,
) -> None:
    header = certified.header(certified.tree().root, epoch=after_restart(FOUNDING_EPOCH))
    witness = certified.witness((DOCTOR_KEY,), sealed=certified.sealed(header))

    view = check_witness(certified.trust, witness, now_ms=certified.time_ms)

    assert view.get(DOCTOR_KEY) is not None


def test_votes_of_the_epoch_before_a_restart_do_not_certify_a_block_after_it(
    certified: CertifiedState,
) -> None:
    header = certified.header(certified.tree().root)
    before = certified.sealed(header)
    later = replace(header, epoch=after_restart(FOUNDING_EPOCH))
    sealed = replace(before, header=later)
    witness = certified.witness((DOCTOR_KEY,), sealed=sealed)

    with pytest.raises(CertificateRejected):
        check_witness(certified.trust, witness, now_ms=certified.time_ms)


@pytest.mark.parametrize("changes", [{"validators": Digest(b"\x03" * 32)}, {"epoch": 1}])
def test_other_validators_than_the_pinned_ones_are_refused(
    certified: CertifiedState, changes: dict[str, object]
) -> None:
    header = certified.header(certified.tree().root, **changes)
    witness = certified.witness((DOCTOR_KEY,), sealed=certified.sealed(header))

    with pytest.raises(CertificateRejected):
        check_witness(certified.trust, witness, now_ms=certified.time_ms)


def test_a_state_is_believed_for_ten_minutes_and_not_a_millisecond_longer(
    certified: CertifiedState,
) -> None:
    witness = certified.witness((DOCTOR_KEY,))

    check_witness(certified.trust, witness, now_ms=certified.time_ms + FRESH_MS)

    with pytest.raises(Stale):
        check_witness(certified.trust, witness, now_ms=certified.time_ms + FRESH_MS + 1)
    with pytest.raises(Stale, match="set its clock"):
        check_witness(certified.trust, witness, now_ms=certified.time_ms - FRESH_MS - 1)


def test_a_state_from_before_ones_own_transaction_is_refused(certified: CertifiedState) -> None:
    witness = certified.witness((DOCTOR_KEY,))
    height = certified.hospitals.chain.height

    check_witness(certified.trust, witness, now_ms=certified.time_ms, at_least_height=height)

    with pytest.raises(Stale):
        check_witness(
            certified.trust, witness, now_ms=certified.time_ms, at_least_height=height + 1
        )


def test_the_decision_runs_over_proven_entries_as_on_a_node() -> None:
    certified = CertifiedState()
    certified.hospitals.grant(certified.hospitals.terms(SOUTH_DOCTOR))
    people = (account_of(SOUTH_DOCTOR), account_of(PATIENT))
    keys = (
        GRANTS_KEY,
        *map(account_key, people),
        b"governance/organisation/north",
        b"governance/organisation/south",
    )

    view = check_witness(certified.trust, certified.witness(keys), now_ms=certified.time_ms)

    decision = decide_about(
        joined(view),
        requester=people[0],
        pseudonym=people[1],
        action=Action.METADATA,
        purpose="TREAT",
        time_ms=view.time_ms,
    )
    assert decision.permitted
    assert decision.rule == "grant"
