"""Clients: what people sign, and the odd things that clients, clocks and thieves do with it.

Most transactions are sound: doctors ask patients for access, patients grant and revoke. Some are
refused by the rules, some expire before anybody orders them, some are submitted before their time,
some again after they were decided, some in many signature variants of one body, some are not
signed at all.
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from crypto.hashing import Digest, Domain
from crypto.record_ids import AccountId
from crypto.schema import encode
from crypto.signatures import public_key, signature_preimage
from ledger.access_payloads import (
    AccessGrant,
    AccessLevel,
    AccessRequest,
    AccessRevoke,
    AllRecords,
    Person,
    Terms,
)
from ledger.purposes import TREAT
from ledger.transactions import (
    SignedTransaction,
    TransactionBody,
    make_transaction,
    transaction_id,
)
from tests.simulation.founding import DOCTORS, PATIENTS, Founding
from tests.simulation.ideal import signature
from tests.unit.ledger.small_consortium import account_of, signing_key

WINDOW_MS = 55_000
DAY_MS = 86_400_000


@dataclass(slots=True, kw_only=True)
class Clients:
    """All clients of a chain; `made` counts what they did by kind of oddity.

    `again` and `variants` are how often one submits anew what was sent, or another signature of it.
    """

    founding: Founding
    random: random.Random
    again: float = 0.04
    variants: float = 0.04
    made: Counter[str] = field(default_factory=Counter)
    sent: list[bytes] = field(default_factory=list)
    bodies: list[tuple[str, TransactionBody]] = field(default_factory=list)
    grants: list[tuple[str, Digest]] = field(default_factory=list)

    def draw(self, now_ms: int) -> list[bytes]:
        """Return what one client submits now (virtual time): the same body twice is two items."""
        chance = self.random.random()
        if chance < self.again and self.sent:
            self.made["submitted again"] += 1
            return [self.random.choice(self.sent)]
        chance -= self.again
        if 0 <= chance < self.variants and self.bodies:
            self.made["signature variant"] += 1
            who, body = self.random.choice(self.bodies[-8:])
            return [self._sign(who, body, variant=True) for _ in range(3)]
        chance -= self.variants
        if 0 <= chance < 0.02:
            self.made["garbage"] += 1
            return [self.random.randbytes(self.random.randint(0, 90))]
        who, body = self._body(now_ms, self.random.random())
        if 0.02 <= chance < 0.04:
            self.made["wrong signature"] += 1
            return [self._sign("a thief", body)]
        signed = self._sign(who, body)
        self.bodies = [*self.bodies[-50:], (who, body)]
        self.sent = [*self.sent[-200:], signed]
        self.made["sound"] += 1
        return [signed]

    def _body(self, now_ms: int, chance: float) -> tuple[str, TransactionBody]:
        now_ms += self.founding.created_ms
        from_ms, until_ms = now_ms - 2_000, now_ms + WINDOW_MS
        if chance < 0.06:
            self.made["short window"] += 1
            until_ms = now_ms + self.random.randint(20, 1_500)
        elif chance < 0.12:
            self.made["early"] += 1
            from_ms = now_ms + self.random.randint(200, 4_000)
        who, kind, payload = self._payload(now_ms)
        body = make_transaction(
            chain_id=self.founding.chain_id,
            sender=_account(who),
            kind=kind,
            payload=payload,
            valid_from_ms=from_ms,
            valid_until_ms=until_ms,
            nonce=self.random.randbytes(16),
        )
        if kind == "access.grant":
            granted = (who, transaction_id(body.chain_id, encode(body)))
            self.grants = [*self.grants[-30:], granted]
        return who, body

    def _payload(self, now_ms: int) -> tuple[str, str, Any]:
        patient, doctor = self.random.choice(PATIENTS), self.random.choice(DOCTORS)
        terms = Terms(
            grantee=Person(account=_account(doctor)),
            scope=AllRecords(),
            level=self.random.choice(tuple(AccessLevel)),
            purposes=(TREAT,),
            from_ms=now_ms,
            until_ms=now_ms + DAY_MS,
        )
        match self.random.randrange(4):
            case 0:
                asked = AccessRequest(
                    pseudonym=_account(patient), wanted=terms, expires_ms=now_ms + 2_000
                )
                return doctor, "access.request", asked
            case 1 if self.grants:
                owner, grant = self.random.choice(self.grants)
                return owner, "access.revoke", AccessRevoke(pseudonym=_account(owner), grant=grant)
            case 2 if self.random.random() < 0.2:  # Not the patient's own: refused by the rules.
                granted = AccessGrant(pseudonym=_account(patient), terms=terms)
                return doctor, "access.grant", granted
            case _:
                granted = AccessGrant(pseudonym=_account(patient), terms=terms)
                return patient, "access.grant", granted

    def _sign(self, who: str, body: TransactionBody, *, variant: bool = False) -> bytes:
        encoded = encode(body)
        preimage = signature_preimage(
            Domain.TRANSACTION_SIGNATURE, body.chain_id, transaction_id(body.chain_id, encoded)
        )
        owner = "ada" if who == "a thief" else who
        key = _public_key(owner)
        signed = signature(key.data, preimage)
        if variant:
            signed = signature(key.data, preimage, self.random.randbytes(32))
        if who == "a thief":
            signed = signature(_public_key("ben").data, preimage)
        return encode(SignedTransaction(body=encoded, key=key, signature=signed))


@cache
def _public_key(label: str) -> Any:
    return public_key(signing_key(label))


@cache
def _account(label: str) -> AccountId:
    return account_of(label)
