"""Bad input through the real thing: one clear error, a stable code, an exit status, no harm."""

import asyncio
import base64
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from client.connection import Client
from client.plain_http import post_json
from client.transactions import Signed, hand_in, sign_payload
from commands.output import Exit
from crypto.hashing import ChainId, Digest
from crypto.schema import decode, encode
from crypto.signatures import make_signing_key
from ledger.access_payloads import AccessDeny, AccessGrant
from ledger.accounts import Role
from ledger.transactions import SignedTransaction, TransactionBody, sign_transaction
from tests.integration.commands import run
from tests.integration.conftest import MakeConsortium
from tests.integration.consortium import (
    HOSPITALS,
    Consortium,
    acting,
    acting_after,
    block_at,
    height_of,
    register,
    wait_height,
)
from tests.integration.rights import terms_for

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ADMIN = "admin-hospital-a"


@dataclass(frozen=True, slots=True, kw_only=True)
class BadTransaction:
    """Signed bytes that no node may take, and the code that says why."""

    code: str
    signed: bytes
    definite: bool = True


def denial(client: Client) -> Signed:
    """A harmless transaction, well made: the answer to a request that does not exist."""
    payload = AccessDeny(pseudonym=client.actor.account, request=Digest(bytes(32)))
    return sign_payload(client.trust, client.actor, "access.deny", payload)


def bad_transactions(client: Client) -> list[BadTransaction]:
    good = denial(client).item.signed
    outer = decode(SignedTransaction, good)
    body = decode(TransactionBody, outer.body)
    key = client.actor.sign_key
    r, s = outer.signature[:32], int.from_bytes(outer.signature[32:])
    mirrored = r + (P256_ORDER - s).to_bytes(32)
    now_ms = time.time_ns() // 1_000_000

    def signed_with(**changed: Any) -> bytes:
        return sign_transaction(replace(body, **changed), key)

    return [
        BadTransaction(code="transaction.malformed", signed=good[:-1]),
        BadTransaction(code="transaction.malformed", signed=b"\x00" + good),
        BadTransaction(code="transaction.too_large", signed=good + bytes(100_000)),
        BadTransaction(
            code="transaction.wrong_chain", signed=signed_with(chain_id=ChainId(bytes(32)))
        ),
        BadTransaction(
            code="transaction.high_s", signed=encode(replace(outer, signature=mirrored))
        ),
        BadTransaction(
            code="transaction.signature",
            signed=encode(replace(outer, signature=r + (1).to_bytes(32))),
        ),
        BadTransaction(
            code="key.inactive",
            signed=sign_transaction(body, make_signing_key(key.scheme)),
            definite=False,  # The key may be the next one, whose block is on its way.
        ),
        BadTransaction(
            code="transaction.expired",
            signed=signed_with(valid_from_ms=now_ms - 90_000, valid_until_ms=now_ms - 60_000),
        ),
        BadTransaction(
            code="transaction.window", signed=signed_with(valid_until_ms=now_ms + 86_400_000)
        ),
        BadTransaction(code="transaction.unknown_kind", signed=signed_with(kind="access.steal")),
        BadTransaction(code="transaction.payload", signed=signed_with(payload=b"\x90")),
    ]


async def test_transactions_that_can_never_commit_are_refused_with_their_code_and_exit_status(
    make_consortium: MakeConsortium, tmp_path: Path
) -> None:
    alone = make_consortium(1)
    member = alone.members[0]
    async with acting(alone, ADMIN, member.org) as admin:
        cases = bad_transactions(admin)
    before = block_at(member, height_of(member))["header"]["state_root"]

    for case in cases:
        signed = base64.b64encode(case.signed).decode()
        answer = post_json(member.url, "/v1/transactions", {"transactions": [{"signed": signed}]})
        assert (answer[0]["code"], answer[0]["definite"]) == (case.code, case.definite), answer
    for case in (cases[0], cases[-1]):
        file = tmp_path / f"{case.code}.tx"
        file.write_bytes(case.signed)
        ended = await asyncio.to_thread(run, "tx", "submit", file, "--node", member.url)
        assert (ended.returncode, ended.code) == (Exit.REFUSED, case.code), ended.stderr

    wait_height([member], height_of(member) + 2)
    assert block_at(member, height_of(member))["header"]["state_root"] == before


def test_commands_name_what_is_wrong_and_end_with_its_status(
    make_consortium: MakeConsortium, tmp_path: Path
) -> None:
    alone = make_consortium(1)
    member = alone.members[0]
    home = alone.directory / "home"
    wrong = tmp_path / "passphrase"
    wrong.write_text("correct horse battery staple at noon\n", encoding="utf-8")
    nobody, at_home = "00" * 32, ("--home", home, "--as", ADMIN)
    record = "11" * 16
    cases = (
        (("person", "show", nobody, *at_home), Exit.REFUSED, "account.unknown"),
        (("person", "show", "dr-who", *at_home), Exit.LOCAL, "wallet.unknown_label"),
        (("person", "show", ADMIN, "--home", home, "--as", "dr-who"), 4, "wallet.unknown_label"),
        (
            ("person", "show", ADMIN, *at_home, "--passphrase-file", wrong),
            Exit.LOCAL,
            "keystore.passphrase",
        ),
        (
            ("node", "start", member.directory, "--passphrase-file", wrong),
            Exit.LOCAL,
            "node.running",
        ),
        (("record", "get", record, *at_home), Exit.REFUSED, "record.unknown"),
        (("record", "get", "xyz", *at_home), Exit.USAGE, "record.id"),
        (("access", "revoke", "22" * 32, *at_home), Exit.REFUSED, "access.unknown_grant"),
        (
            ("person", "show", ADMIN, *at_home, "--node", "http://127.0.0.1:9"),
            Exit.UNKNOWN,
            "node.unreachable",
        ),
        (("tx", "show", "zz", "--node", member.url), Exit.USAGE, "digest.form"),
    )

    for arguments, status, code in cases:
        ended = run(*arguments)
        assert (ended.returncode, ended.code) == (status, code), (arguments, ended.stderr)
        assert ended.stderr.startswith("error: "), ended.stderr
        assert len(ended.stderr.splitlines()) == 1, ended.stderr


async def test_a_replayed_transaction_gets_the_same_receipt_wherever_it_is_handed_in(
    four: Consortium,
) -> None:
    await register(four, "anna", HOSPITALS[0], Role.PATIENT)
    await register(four, "bob", HOSPITALS[1], Role.DOCTOR)
    since = four.registered_height
    async with (
        acting_after(four, "anna", HOSPITALS[0], since) as here,
        acting_after(four, "anna", HOSPITALS[2], since) as there,
    ):
        terms = terms_for(four.account("bob"))
        payload = AccessGrant(pseudonym=here.actor.account, terms=terms)
        signed = sign_payload(here.trust, here.actor, "access.grant", payload)

        outcomes = await asyncio.gather(
            hand_in(here.node, signed), hand_in(there.node, signed), hand_in(here.node, signed)
        )
        wait_height(four.members, outcomes[0].height)
        again = await hand_in(there.node, signed)

    assert [(one.height, one.index, one.code) for one in (*outcomes, again)] == [
        (again.height, again.index, "ok")
    ] * 4
    ids = [
        tx_id
        for height in range(1, height_of(four.members[0]) + 1)
        for tx_id in block_at(four.members[0], height)["transactions"]
    ]
    assert ids.count(signed.tx_id.hex()) == 1


async def test_a_good_transaction_with_bytes_changed_is_never_taken(
    make_consortium: MakeConsortium,
) -> None:
    alone = make_consortium(1)
    member = alone.members[0]
    async with acting(alone, ADMIN, member.org) as admin:
        good = denial(admin).item.signed
    codes: set[str] = set()

    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, len(good) - 1), st.integers(1, 255), st.integers(0, 3))
    def offer(position: int, change: int, dropped: int) -> None:
        changed = bytearray(good)
        changed[position] ^= change
        signed = base64.b64encode(bytes(changed[: len(changed) - dropped])).decode()
        answer = post_json(member.url, "/v1/transactions", {"transactions": [{"signed": signed}]})
        assert "state" not in answer[0], answer
        codes.add(answer[0]["code"])

    await asyncio.to_thread(offer)

    assert codes >= {"transaction.malformed", "transaction.signature", "transaction.wrong_chain"}
    wait_height([member], height_of(member) + 2)
