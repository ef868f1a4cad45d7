"""The people of a benchmark: every key follows from the seed, so any process can make anybody.

Nothing here is secret, and no account made this way belongs on a ledger that matters.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from crypto.envelopes import SealPrivateKey, SealScheme, seal_public_key
from crypto.hashing import ChainId
from crypto.record_ids import AccountId
from crypto.signatures import P256_ORDER, Scheme, SigningKey, account_id, public_key
from ledger.accounts import OrgId, Role
from ledger.identity_payloads import Register
from ledger.key_proofs import sign_registration, sign_seal_binding

CATEGORIES: Final = 8
"""Opaque categories of each patient, as in the client's own directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who signs: number `number` of the benchmark's patients or doctors."""

    role: Role
    number: int
    org: OrgId
    account: AccountId
    sign_key: SigningKey


def make_person(seed: int, role: Role, number: int, orgs: tuple[OrgId, ...]) -> Person:
    """Return person `number` of that role; hospitals take turns."""
    key = SigningKey(scheme=Scheme.P256, secret=_scalar(seed, "sign", role, number))
    return Person(
        role=role,
        number=number,
        org=orgs[number % len(orgs)],
        account=account_id(public_key(key)),
        sign_key=key,
    )


def make_people(seed: int, role: Role, numbers: range, orgs: tuple[OrgId, ...]) -> Iterator[Person]:
    return (make_person(seed, role, number, orgs) for number in numbers)


def seal_key_of(seed: int, person: Person) -> SealPrivateKey:
    """Return the key that others seal to."""
    secret = _scalar(seed, "seal", person.role, person.number)
    return SealPrivateKey(scheme=SealScheme.P256, secret=secret)


def categories_of(seed: int, person: Person) -> tuple[bytes, ...]:
    """Return a patient's opaque category ids, ascending; nobody else has any."""
    if person.role is not Role.PATIENT:
        return ()
    named = (
        _drawn(seed, f"category-{one}", person.role, person.number) for one in range(CATEGORIES)
    )
    return tuple(sorted(one[:16] for one in named))


def make_registration(seed: int, person: Person, chain_id: ChainId) -> Register:
    """Return what the hospital's admin registers: both keys with their proofs, no sealed notes."""
    seal_key = seal_public_key(seal_key_of(seed, person))
    return Register(
        role=person.role,
        sign_key=public_key(person.sign_key),
        seal_key=seal_key,
        seal_binding=sign_seal_binding(
            person.sign_key, account_id=person.account, seal_key=seal_key
        ),
        possession=sign_registration(
            person.sign_key,
            chain_id=chain_id,
            org=person.org,
            role=person.role,
            seal_key=seal_key,
        ),
        specialty="",
        licence=None,
        categories=categories_of(seed, person),
        in_custody=False,
        notes=(),
    )


def _scalar(seed: int, what: str, role: Role, number: int) -> bytes:
    drawn = int.from_bytes(_drawn(seed, what, role, number), "big")
    return (drawn % (P256_ORDER - 1) + 1).to_bytes(32, "big")


def _drawn(seed: int, what: str, role: Role, number: int) -> bytes:
    return hashlib.sha256(f"bench/{seed}/{what}/{role.value}/{number}".encode()).digest()
