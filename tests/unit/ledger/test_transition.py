import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from crypto.hashing import Digest
from crypto.schema import encode
from crypto.signatures import remember_valid
from ledger.accounts import Role, get_account
from ledger.contract import Context
from ledger.contracts import KINDS
from ledger.errors import Refused
from ledger.identity_payloads import Suspend
from ledger.receipts import EVENT_FIELDS_MAX, Receipt
from ledger.state import MemoryState, Overlay
from ledger.transactions import inner_signature_jobs
from ledger.transition import REFUSED_EVENT, BlockResult, apply_block, apply_block_in_slices
from tests.unit.ledger.small_consortium import (
    CREATED_MS,
    NORTH,
    Consortium,
    account_of,
    registration,
)

ADMIN = "first admin of north"


def busy_block(consortium: Consortium) -> BlockResult:
    """A block in which some transactions succeed, some are refused, and some build on others."""
    doctor = account_of("dr. a")
    payload = registration(consortium.chain_id, NORTH, "dr. a", Role.DOCTOR)
    return consortium.apply(
        consortium.transaction("identity.register", payload, ADMIN),
        consortium.transaction("identity.register", payload, "second admin of north"),
        consortium.transaction("identity.suspend", Suspend(account_id=doctor, reason=""), ADMIN),
        consortium.transaction("identity.suspend", Suspend(account_id=doctor, reason=""), ADMIN),
        consortium.transaction(
            "identity.suspend", Suspend(account_id=account_of("nobody"), reason=""), ADMIN
        ),
    )


def test_order_decides_inside_a_block() -> None:
    consortium = Consortium()

    result = busy_block(consortium)

    assert [receipt.code for receipt in result.receipts] == [
        "ok",
        "identity.exists",
        "ok",
        "identity.already_suspended",
        "identity.unknown",
    ]
    assert sorted(result.reasons) == [1, 3, 4]
    assert [(one.height, one.index) for one in result.receipts] == [(1, at) for at in range(5)]


def test_a_refused_transaction_leaves_nothing_but_its_receipt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    consortium = Consortium()

    def write_then_refuse(context: Context, payload: Suspend) -> None:
        context.state.put(b"identity/account/" + bytes(32), b"junk")
        context.state.delete(b"governance/parameters")
        context.emit("identity.suspended", payload.account_id)
        context.keep_sidecar(Digest(bytes(32)), b"x")
        raise Refused("test.refused", "the reason", (("field", 7),))

    kind = KINDS["identity.suspend"]
    monkeypatch.setitem(
        KINDS,
        "identity.suspend",
        type(kind)(
            name=kind.name, payload=kind.payload, signer=kind.signer, handler=write_then_refuse
        ),
    )

    result = consortium.submit(
        "identity.suspend", Suspend(account_id=account_of("x"), reason=""), ADMIN
    )

    assert result.writes == {}
    assert result.sidecars == ()
    assert result.reasons == {0: "the reason"}
    assert not result.receipts[0].accepted
    assert result.receipts[0].code == "test.refused"
    assert [event.kind for event in result.receipts[0].events] == [REFUSED_EVENT]
    assert result.receipts[0].events[0].fields == (("field", 7),)


def test_a_long_refusal_is_cut_to_what_a_receipt_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    consortium = Consortium()

    def refuse(_: Context, __: Suspend) -> None:
        raise Refused("test.refused", "x", tuple((f"field {at}", at) for at in range(100)))

    kind = KINDS["identity.suspend"]
    monkeypatch.setitem(
        KINDS,
        "identity.suspend",
        type(kind)(name=kind.name, payload=kind.payload, signer=kind.signer, handler=refuse),
    )

    result = consortium.submit(
        "identity.suspend", Suspend(account_id=account_of("x"), reason=""), ADMIN
    )

    assert len(result.receipts[0].events[0].fields) == EVENT_FIELDS_MAX
    encode(result.receipts[0])


def test_an_empty_block_writes_nothing() -> None:
    result = Consortium().apply()

    assert result == BlockResult(writes={}, receipts=(), sidecars=(), reasons={})


def test_executing_again_gives_the_same_whatever_the_view_is_made_of() -> None:
    consortium, twin = Consortium(), Consortium()
    overlay = Overlay(Overlay(MemoryState(twin.state.entries())))
    twin.state = overlay  # type: ignore[assignment]  # It is read like any other state.
    payload = registration(twin.chain_id, NORTH, "dr. a", Role.DOCTOR)
    register = twin.transaction("identity.register", payload, ADMIN)

    one = consortium.apply(register)
    other = apply_block(
        overlay,
        chain_id=twin.chain_id,
        height=1,
        time_ms=CREATED_MS + 1_000,
        transactions=[register],
    )

    assert one == other
    assert list(one.writes) == list(other.writes)


def test_a_block_in_slices_pauses_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.transition.SLICE_TRANSACTIONS", 2)
    consortium = Consortium()
    payload = Suspend(account_id=account_of("nobody"), reason="")
    block = [consortium.transaction("identity.suspend", payload, ADMIN) for _ in range(5)]
    slices = apply_block_in_slices(
        consortium.state,
        chain_id=consortium.chain_id,
        height=1,
        time_ms=CREATED_MS + 1_000,
        transactions=block,
    )

    pauses = 0
    while True:
        try:
            next(slices)
        except StopIteration as done:
            result = done.value
            break
        pauses += 1

    assert pauses == 2
    assert result == consortium.apply(*block)


def test_signatures_found_valid_ahead_change_nothing_but_the_time() -> None:
    slow, fast = Consortium(), Consortium()
    payload = registration(slow.chain_id, NORTH, "dr. a", Role.DOCTOR)
    register = slow.transaction("identity.register", payload, ADMIN)

    expected = slow.apply(register)
    for job in inner_signature_jobs(fast.state, register):
        remember_valid(job)

    assert fast.apply(register) == expected


def test_an_account_registered_in_a_block_is_there_in_the_next() -> None:
    consortium = Consortium()
    doctor = consortium.register("dr. a", Role.DOCTOR)

    found = get_account(consortium.state, doctor)

    assert found is not None
    assert found.registered_height == 1


def digest_of(result: BlockResult) -> str:
    state = hashlib.sha256()
    for key, value in sorted(result.writes.items()):
        state.update(key + b"\x00" + (value or b""))
    for receipt in result.receipts:
        assert isinstance(receipt, Receipt)
        state.update(encode(receipt))
    return state.hexdigest()


HASHED = (
    "from tests.unit.ledger.test_transition import *;print(digest_of(busy_block(Consortium())))"
)


def test_processes_with_other_hash_seeds_write_the_same() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", HASHED],
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": "."},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }

    assert digests == {digest_of(busy_block(Consortium())) + "\n"}
