"""Signing ahead: each driver signs what its own patients send, in the order it sends it.

A plan is the same for the same seed, chain and time. Patient `p` belongs to driver `p mod drivers`,
so nothing that one driver signs depends on what another one does.
"""

import hashlib
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from benchmarks.load.people import Person, make_person, make_registration
from crypto.hashing import ChainId, Digest
from crypto.record_ids import AccountId
from crypto.schema import encode
from crypto.signatures import SigningKey
from ledger.access_payloads import AccessGrant, AccessLevel, AccessRevoke, AllRecords, Terms
from ledger.access_payloads import Person as Grantee
from ledger.accounts import OrgId, Role
from ledger.exchange import SubmitItem
from ledger.purposes import TREAT
from ledger.transactions import make_transaction, sign_transaction, transaction_id
from ledger.words import END_OF_TIME_MS

BACKDATED_MS: Final = 60_000
"""A transaction is valid from so long before it is signed: the chain's time may be behind."""

WINDOW_MS: Final = 600_000
AHEAD_MS: Final = 240_000
"""What is due later than this after signing becomes valid later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A signed transaction that waits for its turn; `right` is what it gives or takes back."""

    tx_id: Digest
    kind: str
    item: SubmitItem
    right: "Right | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """A right that a patient gave in the transaction of that id."""

    patient: Person
    grant: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """What every driver knows of the benchmark's people: `admins` sign for their hospitals."""

    seed: int
    chain_id: ChainId
    orgs: tuple[OrgId, ...]
    admins: tuple[tuple[AccountId, SigningKey], ...]
    patients: int
    doctors: int


@dataclass(slots=True, kw_only=True)
class Shard:
    """The part of one driver: which people are its own, and what it has signed so far.

    `granted` are rights given and not yet taken back, the oldest first; `turns` counts what was
    signed of each kind, which is also what makes every transaction another one.
    """

    town: Town
    index: int
    count: int
    patients: list[Person] = field(default_factory=list)
    doctors: list[Person] = field(default_factory=list)
    granted: deque[Right] = field(default_factory=deque)
    turns: dict[str, int] = field(default_factory=dict)
    registered: int = 0
    signed: int = 0


def make_shard(town: Town, index: int, count: int) -> Shard:
    """Return the part of driver `index` of `count`; its people are not registered yet."""
    shard = Shard(town=town, index=index, count=count)
    shard.patients = [
        make_person(town.seed, Role.PATIENT, number, town.orgs)
        for number in range(index, town.patients, count)
    ]
    shard.doctors = [
        make_person(town.seed, Role.DOCTOR, number, town.orgs) for number in range(town.doctors)
    ]
    shard.registered = len(shard.patients)
    return shard


def plan_people(shard: Shard, now_ms: int) -> Iterator[Planned]:
    """Sign the registration of this driver's patients and its share of the doctors."""
    for person in (*shard.doctors[shard.index :: shard.count], *shard.patients):
        yield _registration(shard, person, now_ms)


def plan_mix(
    shard: Shard, shares: dict[str, int], count: int, now_ms: int, *, rate_per_s: float | None
) -> Iterator[Planned]:
    """Sign `count` transactions of the kinds in `shares`, in a shuffled order the seed decides.

    With a rate, what is due long after now becomes valid only then.
    """
    order = random.Random(f"{shard.town.seed}/{shard.index}/{shard.signed}")
    for number, kind in enumerate(_kinds(shares, count, order)):
        due_ms = 0 if rate_per_s is None else int(1_000 * number / rate_per_s)
        yield PLANNERS[kind](shard, now_ms + max(0, due_ms - AHEAD_MS))


def forget(shard: Shard, planned: Sequence[Planned]) -> None:
    """Undo what planning these, the last ones, had decided: they are never sent."""
    for one in reversed(planned):
        match one.kind:
            case "identity.register":
                shard.registered -= 1
            case "access.grant":
                shard.granted.pop()
            case "access.revoke":
                assert one.right is not None, "a right is taken back"
                shard.granted.appendleft(one.right)
            case kind:
                raise AssertionError(f"{kind} is planned and cannot be undone")


def _kinds(shares: dict[str, int], count: int, order: random.Random) -> Iterator[str]:
    deck = [kind for kind in sorted(shares) for _ in range(shares[kind])]
    left = count
    while left > 0:
        order.shuffle(deck)
        yield from deck[:left]
        left -= len(deck)


def _plan_register(shard: Shard, now_ms: int) -> Planned:
    number = shard.index + shard.registered * shard.count
    shard.registered += 1
    return _registration(
        shard, make_person(shard.town.seed, Role.PATIENT, number, shard.town.orgs), now_ms
    )


def _plan_grant(shard: Shard, now_ms: int) -> Planned:
    turn = _turn(shard, "grant")
    patient = shard.patients[turn % len(shard.patients)]
    doctor = shard.doctors[turn % len(shard.doctors)]
    terms = Terms(
        grantee=Grantee(account=doctor.account),
        scope=AllRecords(),
        level=AccessLevel.READ,
        purposes=(TREAT,),
        from_ms=now_ms - BACKDATED_MS,
        until_ms=END_OF_TIME_MS - turn,
    )
    payload = AccessGrant(pseudonym=patient.account, terms=terms)
    planned = _signed(shard, patient.account, patient.sign_key, "access.grant", payload, now_ms)
    right = Right(patient=patient, grant=planned.tx_id)
    shard.granted.append(right)
    return replace(planned, right=right)


def _plan_revoke(shard: Shard, now_ms: int) -> Planned:
    """Take back the right that was given the longest ago: long enough to be decided by now."""
    assert shard.granted, "rights were given before the run that takes them back"
    right = shard.granted.popleft()
    patient, payload = (
        right.patient,
        AccessRevoke(pseudonym=right.patient.account, grant=right.grant),
    )
    planned = _signed(shard, patient.account, patient.sign_key, "access.revoke", payload, now_ms)
    return replace(planned, right=right)


PLANNERS: Final[dict[str, Callable[[Shard, int], Planned]]] = {
    "register": _plan_register,
    "grant": _plan_grant,
    "revoke": _plan_revoke,
}


def _registration(shard: Shard, person: Person, now_ms: int) -> Planned:
    town = shard.town
    account, key = town.admins[town.orgs.index(person.org)]
    payload = make_registration(town.seed, person, town.chain_id)
    return _signed(shard, account, key, "identity.register", payload, now_ms)


def _signed(
    shard: Shard, account: AccountId, key: SigningKey, kind: str, payload: Any, now_ms: int
) -> Planned:
    town = shard.town
    nonce = hashlib.sha256(f"{town.seed}/{shard.index}/{shard.signed}".encode()).digest()[:16]
    shard.signed += 1
    body = make_transaction(
        chain_id=town.chain_id,
        sender=account,
        kind=kind,
        payload=payload,
        valid_from_ms=now_ms - BACKDATED_MS,
        valid_until_ms=now_ms - BACKDATED_MS + WINDOW_MS,
        nonce=nonce,
    )
    return Planned(
        tx_id=transaction_id(town.chain_id, encode(body)),
        kind=kind,
        item=SubmitItem(signed=sign_transaction(body, key), sidecars=()),
    )


def _turn(shard: Shard, kind: str) -> int:
    turn = shard.turns.get(kind, 0)
    shard.turns[kind] = turn + 1
    return turn
