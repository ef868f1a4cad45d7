from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.hashing import ChainId, Digest
from crypto.schema import decode, encode
from crypto.signatures import Scheme, make_signing_key
from crypto.validators import Epoch, ReplicaId
from crypto.votes import Height, View
from ledger.accounts import account_key
from ledger.blocks import (
    NO_CERTIFICATE,
    Header,
    genesis_header_digest,
    header_digest,
    receipts_root,
    tx_root,
)
from ledger.contracts.governance import get_validators
from ledger.errors import (
    Expired,
    InvalidBlock,
    InvalidSidecars,
    InvalidTransaction,
    InvalidWindow,
    KeyInactive,
    Replayed,
    TooEarly,
    TransactionTooLarge,
    UnknownSender,
)
from ledger.identity_payloads import Restore
from ledger.parameters import PARAMETERS_KEY, Parameters, get_parameters
from ledger.pool import Pool, PoolLimits
from ledger.proposal import forget_dead, make_block
from ledger.replay import ReplayWindow
from ledger.transactions import Transaction, decode_transaction, sign_transaction
from ledger.validation import (
    AHEAD_MS_MAX,
    ParentFacts,
    check_admission,
    check_proposal,
    check_time,
)
from tests.unit.ledger.small_consortium import CREATED_MS, Consortium, account_of

ADMIN, OTHER = "first admin of north", "first admin of south"
NOW_MS = CREATED_MS + 5_000
CONSORTIUM = Consortium()
STATE_ROOT, OTHER_DIGEST = Digest(b"s" * 32), Digest(b"o" * 32)


def parent(**changes: Any) -> ParentFacts:
    validators = get_validators(CONSORTIUM.state)
    facts = ParentFacts(
        chain_id=CONSORTIUM.chain_id,
        height=Height(0),
        header=genesis_header_digest(CONSORTIUM.chain_id),
        certificate=NO_CERTIFICATE,
        time_ms=CREATED_MS,
        state_root=STATE_ROOT,
        receipts_root=receipts_root(CONSORTIUM.chain_id, ()),
        epoch=Epoch(0),
        validators=validators,
        next_validators=validators.digest(),
    )
    return replace(facts, **changes)


def window() -> ReplayWindow:
    return ReplayWindow(height=0, time_ms=CREATED_MS)


def transaction(number: int, by: str = ADMIN, **options: Any) -> Transaction:
    payload = Restore(account_id=account_of(str(number)), reason=str(number))
    return CONSORTIUM.transaction("identity.restore", payload, by, **options)


def filled_pool(transactions: Sequence[Transaction]) -> Pool:
    pool = Pool(PoolLimits(transactions_max=1_000, bytes_max=1 << 20, account_transactions_max=500))
    for one in transactions:
        pool.add(one, [bytes(50)] * len(one.body.sidecars), CREATED_MS)
    return pool


def header_for(transactions: Sequence[Transaction], **changes: Any) -> Header:
    header, _ = make_block(
        filled_pool([]),
        parent=parent(),
        state=CONSORTIUM.state,
        replay=window(),
        parameters=Parameters(),
        proposer=ReplicaId(0),
        view=View(0),
        now_ms=NOW_MS,
    )
    root = tx_root([one.signed_hash for one in transactions])
    return replace(header, **{"tx_root": root, "tx_count": len(transactions), **changes})


def check(
    header: Header,
    transactions: Sequence[Transaction] = (),
    sizes: Sequence[Sequence[int]] | None = None,
    *,
    replay: ReplayWindow | None = None,
    parameters: Parameters | None = None,
) -> None:
    check_proposal(
        header,
        transactions,
        [[50] * len(one.body.sidecars) for one in transactions] if sizes is None else sizes,
        parent=parent(),
        view=CONSORTIUM.state,
        replay=replay or window(),
        parameters=parameters or Parameters(),
    )


def refusal(*args: Any, **options: Any) -> str:
    with pytest.raises(InvalidBlock) as refused:
        check(*args, **options)
    assert len(str(refused.value)) > 10
    return refused.value.code


# What a primary makes is valid


def test_what_a_primary_makes_from_its_pool_is_valid() -> None:
    waiting = [transaction(number, by) for number, by in enumerate((ADMIN, OTHER, ADMIN))]
    pool = filled_pool(waiting)

    header, entries = make_block(
        pool,
        parent=parent(),
        state=CONSORTIUM.state,
        replay=window(),
        parameters=get_parameters(CONSORTIUM.state),
        proposer=ReplicaId(3),
        view=View(2),
        now_ms=NOW_MS,
    )

    assert [entry.transaction for entry in entries] == waiting
    assert (header.height, header.view, header.proposer, header.time_ms) == (1, 2, 3, NOW_MS)
    check(header, waiting)
    assert len(pool) == 3


def test_an_empty_block_is_valid() -> None:
    check(header_for([]))


def test_a_slow_clock_does_not_turn_time_back() -> None:
    header, _ = make_block(
        filled_pool([]),
        parent=parent(time_ms=NOW_MS + 10),
        state=CONSORTIUM.state,
        replay=window(),
        parameters=Parameters(),
        proposer=ReplicaId(0),
        view=View(0),
        now_ms=NOW_MS,
    )

    assert header.time_ms == NOW_MS + 11


def test_a_primary_drops_what_was_decided_meanwhile_and_what_has_no_sender() -> None:
    decided, orphan, good = transaction(1), transaction(2, "stranger"), transaction(3)
    pool = filled_pool([decided, orphan, good])
    replay = window()
    replay.add_block(1, CREATED_MS + 1, [(decided.tx_id, decided.body.valid_until_ms)])

    _, entries = make_block(
        pool,
        parent=parent(),
        state=CONSORTIUM.state,
        replay=replay,
        parameters=Parameters(),
        proposer=ReplicaId(0),
        view=View(0),
        now_ms=NOW_MS,
    )

    assert [entry.transaction for entry in entries] == [good]
    assert len(pool) == 1


# Headers


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"chain_id": ChainId(bytes(32))}, "block.chain"),
        ({"height": Height(2)}, "block.height"),
        ({"epoch": Epoch(1)}, "block.epoch"),
        ({"parent": OTHER_DIGEST}, "block.parent"),
        ({"parent_certificate": OTHER_DIGEST}, "block.parent_certificate"),
        ({"state_root": OTHER_DIGEST}, "block.state_root"),
        ({"receipts_root": OTHER_DIGEST}, "block.receipts_root"),
        ({"validators": OTHER_DIGEST}, "block.validators"),
        ({"next_validators": OTHER_DIGEST}, "block.next_validators"),
        ({"proposer": ReplicaId(4)}, "block.proposer"),
        ({"time_ms": CREATED_MS}, "block.time"),
        ({"time_ms": CREATED_MS - 1}, "block.time"),
        ({"tx_count": 1}, "block.tx_count"),
        ({"tx_root": OTHER_DIGEST}, "block.tx_root"),
    ],
)
def test_a_header_that_says_something_else_is_invalid(changes: dict[str, Any], code: str) -> None:
    assert refusal(header_for([], **changes)) == code


def test_every_field_of_a_header_is_in_its_digest() -> None:
    header = header_for([transaction(1)])
    values: dict[str, Any] = {name: getattr(header, name) for name in Header.__slots__}
    others: dict[str, Any] = {
        name: OTHER_DIGEST if isinstance(value, bytes) else value + 1
        for name, value in values.items()
    }
    changed = [replace(header, **{name: other}) for name, other in others.items()]

    digests = {header_digest(one) for one in (header, *changed)}

    assert len(digests) == len(Header.__slots__) + 1
    assert decode(Header, encode(header)) == header


def test_the_largest_header_fits_its_limit() -> None:
    header = header_for([])
    largest = replace(
        header,
        epoch=Epoch(2**64 - 1),
        height=Height(2**64 - 1),
        view=View(2**32 - 1),
        proposer=ReplicaId(2**16 - 1),
        time_ms=2**64 - 1,
        tx_count=2**32 - 1,
    )

    assert decode(Header, encode(largest)) == largest


@pytest.mark.parametrize(
    ("behind_ms", "wait_ms"), [(10_000, 0), (0, 0), (-1_000, 0), (-1_001, 1), (-5_000, 4_000)]
)
def test_a_fresh_block_waits_until_it_is_due(behind_ms: int, wait_ms: int) -> None:
    header = header_for([], time_ms=NOW_MS)

    assert check_time(header, NOW_MS + behind_ms, Parameters()) == wait_ms


def test_a_fresh_block_from_the_past_is_invalid() -> None:
    with pytest.raises(InvalidBlock) as refused:
        check_time(header_for([], time_ms=NOW_MS), NOW_MS + 10_001, Parameters())

    assert refused.value.code == "block.time_past"


# Transactions


def test_a_transaction_twice_makes_a_block_invalid() -> None:
    twice = [transaction(1)] * 2

    assert refusal(header_for(twice), twice) == "transaction.duplicate"


def test_a_decided_transaction_makes_a_block_invalid() -> None:
    one = transaction(1)
    replay = window()
    replay.add_block(1, CREATED_MS + 1, [(one.tx_id, one.body.valid_until_ms)])

    assert refusal(header_for([one]), [one], replay=replay) == "transaction.replayed"


@pytest.mark.parametrize(
    ("from_ms", "length_ms", "valid"),
    [(0, 1, True), (-999, 1_000, True), (1, 1_000, False), (-1_000, 1_000, False)],
)
def test_the_validity_window_is_checked_to_the_millisecond(
    from_ms: int, length_ms: int, valid: bool
) -> None:
    one = transaction(1, valid_from_ms=NOW_MS + from_ms, window_ms=length_ms)
    header = header_for([one], time_ms=NOW_MS)

    if valid:
        check(header, [one])
    else:
        assert refusal(header, [one]) == "transaction.window"


def test_a_window_above_the_parameter_makes_a_block_invalid() -> None:
    one = transaction(1, window_ms=600_001)

    assert refusal(header_for([one]), [one]) == "transaction.window"


def test_an_unknown_sender_makes_a_block_invalid() -> None:
    one = transaction(1, "stranger")

    assert refusal(header_for([one]), [one]) == "transaction.unknown_sender"


def test_a_body_signed_by_a_foreign_key_makes_a_block_invalid() -> None:
    """Else a primary signs a client's body with a key of its own, and the body's id is used up."""
    one = transaction(1, "stranger", sender=account_of(ADMIN))

    assert refusal(header_for([one]), [one]) == "key.foreign"


def test_an_entry_whose_key_has_ended_leaves_the_pool_instead_of_entering_a_block() -> None:
    pool = filled_pool([transaction(1, "stranger", sender=account_of(ADMIN))])

    _, entries = make_block(
        pool,
        parent=parent(),
        state=CONSORTIUM.state,
        replay=window(),
        parameters=Parameters(),
        proposer=ReplicaId(3),
        view=View(0),
        now_ms=NOW_MS,
    )

    assert entries == ()
    assert len(pool) == 0


@pytest.mark.parametrize(
    ("written", "left"),
    [
        (account_key(account_of(ADMIN)), ["alive"]),
        (PARAMETERS_KEY, ["alive"]),
        (account_key(account_of(OTHER)), ["dead", "alive"]),
        (b"records/anything", ["dead", "alive"]),
    ],
)
def test_what_a_block_has_made_impossible_leaves_every_pool(
    written: bytes, left: list[str]
) -> None:
    """A dead entry in a backup's pool would accuse each primary that rightly leaves it out."""
    named = {
        "dead": transaction(1, "stranger", sender=account_of(ADMIN)),
        "alive": transaction(2, OTHER),
    }
    pool = filled_pool(list(named.values()))

    forget_dead(pool, {written}, state=CONSORTIUM.state, replay=window(), parameters=Parameters())

    assert [entry.transaction for entry in pool.entries()] == [named[one] for one in left]


@pytest.mark.parametrize(
    "lowered",
    [
        {"tx_window_ms_max": 1_000},
        {"transaction_bytes_max": 4 << 10},
        {"sidecar_bytes_max": 1 << 10},
    ],
)
def test_what_waits_above_limits_lowered_since_leaves_the_pool(lowered: dict[str, int]) -> None:
    """Else every primary would propose a block that all others refuse."""
    sidecars = (Digest(b"d" * 32),)
    one = transaction(1, sidecars=sidecars)
    pool = Pool(PoolLimits(transactions_max=9, bytes_max=1 << 20, account_transactions_max=9))
    pool.add(one, [bytes(5_000)], CREATED_MS)

    entries = [
        make_block(
            pool,
            parent=parent(),
            state=CONSORTIUM.state,
            replay=window(),
            parameters=parameters,
            proposer=ReplicaId(3),
            view=View(0),
            now_ms=NOW_MS,
        )[1]
        for parameters in (Parameters(), Parameters(**lowered))
    ]

    assert [len(found) for found in entries] == [1, 0]
    assert len(pool) == 0


def test_limits_of_number_make_a_block_invalid() -> None:
    many = [transaction(number, (ADMIN, OTHER)[number % 2]) for number in range(11)]
    ten = Parameters(block_transactions_max=10)
    five = Parameters(account_transactions_per_block_max=5)

    check(header_for(many[:10]), many[:10], parameters=ten)
    assert refusal(header_for(many), many, parameters=ten) == "block.too_many"
    check(header_for(many[:10]), many[:10], parameters=five)
    assert refusal(header_for(many), many, parameters=five) == "block.account_limit"


def test_limits_of_size_make_a_block_invalid_sidecars_included() -> None:
    one = transaction(1, sidecars=[OTHER_DIGEST])
    small = Parameters(
        block_bytes_max=256 << 10, transaction_bytes_max=20_000, sidecar_bytes_max=16_000
    )
    fits = 16_000
    header = header_for([one])

    check(header, [one], [[fits]], parameters=small)
    cases = [([[fits + 1]], "transaction.too_large"), ([[]], "transaction.sidecars")]
    for sizes, code in cases:
        assert refusal(header, [one], sizes, parameters=small) == code
    two = transaction(2, sidecars=[OTHER_DIGEST, STATE_ROOT])
    codes = refusal(header_for([two]), [two], [[10_000, 10_000]], parameters=small)
    assert codes == "transaction.too_large"
    many = [transaction(number, sidecars=[OTHER_DIGEST]) for number in range(17)]
    sizes = [[15_900]] * 17
    assert refusal(header_for(many), many, sizes, parameters=small) == "block.too_large"


@given(st.permutations(range(4)))
def test_the_order_as_proposed_is_the_order(order: list[int]) -> None:
    waiting = [TRANSACTIONS[number] for number in order]

    check(header_for(waiting), waiting)

    if order != sorted(order):
        assert refusal(header_for(waiting), TRANSACTIONS) == "block.tx_root"


TRANSACTIONS = [transaction(number) for number in range(4)]


# Admission


def admit(
    one: Transaction,
    sizes: Sequence[int] = (),
    *,
    replay: ReplayWindow | None = None,
    now_ms: int = NOW_MS,
) -> None:
    check_admission(
        one,
        sizes,
        view=CONSORTIUM.state,
        replay=replay or window(),
        parameters=Parameters(),
        now_ms=now_ms,
    )


def test_what_a_block_could_hold_is_admitted() -> None:
    one = transaction(1, sidecars=[OTHER_DIGEST])

    admit(one, [100])
    admit(one, [100], now_ms=one.body.valid_until_ms - 1)
    admit(one, [100], now_ms=one.body.valid_from_ms - AHEAD_MS_MAX)


@pytest.mark.parametrize(
    ("one", "sizes", "now_ms", "error"),
    [
        (transaction(1), [], CREATED_MS + 60_000, Expired),
        (transaction(1), [], CREATED_MS - AHEAD_MS_MAX - 1, TooEarly),
        (transaction(1, window_ms=600_001), [], NOW_MS, InvalidWindow),
        (transaction(1, "stranger"), [], NOW_MS, UnknownSender),
        (transaction(1), [1], NOW_MS, InvalidSidecars),
        (transaction(1, sidecars=[OTHER_DIGEST]), [65_537], NOW_MS, TransactionTooLarge),
    ],
)
def test_what_no_block_could_hold_is_not_admitted(
    one: Transaction, sizes: Sequence[int], now_ms: int, error: type[InvalidTransaction]
) -> None:
    with pytest.raises(error) as refused:
        admit(one, sizes, now_ms=now_ms)

    assert refused.value.code.startswith("transaction.")


def test_nobody_is_admitted_in_the_name_of_another() -> None:
    theirs = transaction(1)
    forged = sign_transaction(theirs.body, make_signing_key(Scheme.P256))

    with pytest.raises(KeyInactive):
        admit(decode_transaction(forged, CONSORTIUM.chain_id))


def test_a_decided_transaction_is_not_admitted_again() -> None:
    one = transaction(1)
    replay = window()
    replay.add_block(1, CREATED_MS + 1, [(one.tx_id, one.body.valid_until_ms)])

    with pytest.raises(Replayed):
        admit(one, replay=replay)


def test_a_transaction_leaves_other_lanes_their_share_of_a_block() -> None:
    with pytest.raises(ValueError, match="tenth of a block"):
        Parameters(block_bytes_max=1 << 20, transaction_bytes_max=192 << 10)
