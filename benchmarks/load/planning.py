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
from benchmarks.load.records import Agent, Record, put_payload, read_payload
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

RIGHTS_PER_PATIENT: Final = 40
"""Rights of one patient in force at a time; the ledger's own limit is 64 unless changed."""

NEWCOMERS_FROM: Final = 1_000_000_000
"""The number of the first patient whose registration is what is measured."""

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
    """What every driver knows: `admins` and key `agents` stand in the order of their hospitals."""

    seed: int
    chain_id: ChainId
    orgs: tuple[OrgId, ...]
    admins: tuple[tuple[AccountId, SigningKey], ...]
    agents: tuple[Agent, ...]
    patients: int
    doctors: int


@dataclass(slots=True, kw_only=True)
class Shard:
    """The part of one driver: which people are its own, and what it has signed so far.

    `givers` give rights; `keepers` have records, to which nobody is given a right. `granted` are
    rights given and not yet taken back, the oldest first; `uploads` wait for their put, `records`
    were put, the first `settled` of them in a plan before this one; `turns` counts what was signed
    of a kind.
    """

    town: Town
    index: int
    count: int
    patients: list[Person] = field(default_factory=list)
    doctors: list[Person] = field(default_factory=list)
    givers: list[Person] = field(default_factory=list)
    keepers: list[Person] = field(default_factory=list)
    granted: deque[Right] = field(default_factory=deque)
    uploads: deque[Record] = field(default_factory=deque)
    records: list[Record] = field(default_factory=list)
    settled: int = 0
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
    half = (len(shard.patients) + 1) // 2
    shard.givers, shard.keepers = shard.patients[:half], shard.patients[half:]
    return shard


def add_givers(shard: Shard, count: int, now_ms: int) -> Iterator[Planned]:
    """Sign the registrations of so many patients more, who give rights from then on."""
    for _ in range(count):
        number = shard.index + len(shard.patients) * shard.count
        person = make_person(shard.town.seed, Role.PATIENT, number, shard.town.orgs)
        shard.patients.append(person)
        shard.givers.append(person)
        yield _registration(shard, person, now_ms)


def room_for_rights(shard: Shard) -> int:
    """Return how many rights more the patients of this driver can give."""
    return RIGHTS_PER_PATIENT * len(shard.givers) - len(shard.granted)


def plan_people(shard: Shard, now_ms: int) -> Iterator[Planned]:
    """Sign the registration of this driver's patients and its share of the doctors."""
    for person in (*shard.doctors[shard.index :: shard.count], *shard.patients):
        yield _registration(shard, person, now_ms)


def draw_kinds(shard: Shard, shares: dict[str, int], count: int) -> list[str]:
    """Return `count` kinds in exact shares, in a shuffled order that the seed decides."""
    order = random.Random(f"{shard.town.seed}/{shard.index}/{shard.signed}")
    deck = [kind for kind in sorted(shares) for _ in range(shares[kind])]
    drawn: list[str] = []
    while len(drawn) < count:
        order.shuffle(deck)
        drawn += deck
    return drawn[:count]


def plan(
    shard: Shard, kinds: Sequence[str], now_ms: int, *, rate_per_s: float | None
) -> Iterator[Planned]:
    """Sign a transaction of each kind. With a rate, what is due long after now is valid later."""
    shard.settled = len(shard.records)
    for number, kind in enumerate(kinds):
        due_ms = 0 if rate_per_s is None else int(1_000 * number / rate_per_s)
        yield PLANNERS[kind](shard, now_ms + max(0, due_ms - AHEAD_MS))


def next_pairs(shard: Shard, count: int) -> list[tuple[Person, Person]]:
    """Return the next so many patients with records, each with a doctor of the own hospital."""
    pairs = []
    for _ in range(count):
        turn = _turn(shard, "upload")
        patient = shard.keepers[turn % len(shard.keepers)]
        doctors = [one for one in shard.doctors if one.org == patient.org]
        pairs.append((patient, doctors[turn % len(doctors)]))
    return pairs


def forget(shard: Shard, planned: Sequence[Planned]) -> None:
    """Undo what planning these, the last ones, had decided: they are never sent."""
    for one in reversed(planned):
        match one.kind:
            case "identity.register":
                shard.registered -= 1
            case "access.grant":
                shard.granted.pop()
                shard.turns["grant"] -= 1
            case "access.revoke":
                assert one.right is not None, "a right is taken back"
                shard.granted.appendleft(one.right)
            case "records.put":
                shard.uploads.appendleft(shard.records.pop())
            case "records.read":
                pass  # It changes nothing here.
            case kind:
                raise AssertionError(f"{kind} is planned and cannot be undone")


def _plan_register(shard: Shard, now_ms: int) -> Planned:
    number = NEWCOMERS_FROM + shard.index + shard.registered * shard.count
    shard.registered += 1
    person = make_person(shard.town.seed, Role.PATIENT, number, shard.town.orgs)
    return _registration(shard, person, now_ms)


def _plan_grant(shard: Shard, now_ms: int) -> Planned:
    turn = _turn(shard, "grant")
    patient = shard.givers[turn % len(shard.givers)]
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


def _plan_put(shard: Shard, now_ms: int) -> Planned:
    record, town = shard.uploads.popleft(), shard.town
    shard.records.append(record)
    agent = town.agents[town.orgs.index(record.author.org)]
    payload, sidecars = put_payload(record, town.chain_id, town.seed, agent)
    author = record.author
    return _signed(
        shard, author.account, author.sign_key, "records.put", payload, now_ms, sidecars=sidecars
    )


def _plan_read(shard: Shard, now_ms: int) -> Planned:
    turn = _turn(shard, "read")
    record = shard.records[turn % shard.settled]
    payload = read_payload(record, turn % len(shard.town.orgs))
    author = record.author
    return _signed(shard, author.account, author.sign_key, "records.read", payload, now_ms)


PLANNERS: Final[dict[str, Callable[[Shard, int], Planned]]] = {
    "register": _plan_register,
    "grant": _plan_grant,
    "revoke": _plan_revoke,
    "put": _plan_put,
    "read": _plan_read,
}


def _registration(shard: Shard, person: Person, now_ms: int) -> Planned:
    town = shard.town
    account, key = town.admins[town.orgs.index(person.org)]
    payload = make_registration(town.seed, person, town.chain_id)
    return _signed(shard, account, key, "identity.register", payload, now_ms)


def _signed(
    shard: Shard,
    account: AccountId,
    key: SigningKey,
    kind: str,
    payload: Any,
    now_ms: int,
    *,
    sidecars: Sequence[tuple[Digest, bytes]] = (),
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
        sidecars=[digest for digest, _ in sidecars],
    )
    return Planned(
        tx_id=transaction_id(town.chain_id, encode(body)),
        kind=kind,
        item=SubmitItem(
            signed=sign_transaction(body, key), sidecars=tuple(content for _, content in sidecars)
        ),
    )


def _turn(shard: Shard, kind: str) -> int:
    turn = shard.turns.get(kind, 0)
    shard.turns[kind] = turn + 1
    return turn
