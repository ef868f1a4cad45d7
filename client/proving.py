"""Asking pure functions of state over proven entries: fetch what they need, then run them.

The functions that decide (`recipients`, `decide`, `explain`) run here exactly as on the nodes, over
a view that holds proven entries only. Which entries they need follows from the entries themselves:
an account leads to its organisation, grants to their grantees, a version to its seal. All entries
of one answer come from one state: whenever more are needed, all are fetched again together.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, TypeVar

from client.epochs import follow_epochs
from client.errors import AnswerRejected, NotProven
from client.http import Node, exchange
from client.trust import ProvenView, Trust, check_witness
from crypto.schema import decode
from ledger.access_payloads import Person
from ledger.access_state import GrantsInForce
from ledger.accounts import (
    Account,
    Organisation,
    account_key,
    key_record_key,
    organisation_key,
)
from ledger.exchange import WITNESS_KEYS_MAX, ScanQuery, Witness, WitnessQuery
from ledger.grants import grantee_org
from ledger.records_state import Record, Version, record_key, seal_key, version_key

T = TypeVar("T")

WAIT_MS: Final = 10_000
ROUNDS_MAX: Final = 16
SCAN_PAGE: Final = 256

_ACCOUNT: Final = account_key(b"")
_ORGANISATION: Final = organisation_key("")
_GRANTS: Final = b"access/grants/"
_RECORD: Final = b"records/record/"
_VERSION: Final = b"records/version/"


async def prove(
    node: Node,
    trust: Trust,
    question: Callable[[ProvenView], T],
    keys: Iterable[bytes] = (),
    *,
    at_least_height: int = 0,
    is_following: bool = True,
) -> tuple[T, ProvenView]:
    """Return the question's answer over proven state, and the view it was answered from.

    `keys` are entries known to be needed: each spares a round; so does following where entries
    lead, which needs a session. Raises `Untrusted` for an answer
    that does not hold, `AnswerRejected` if the question needs more than one witness can prove.
    """
    wanted = dict.fromkeys(keys)
    view = ProvenView(entries={}, height=0, time_ms=0)
    for _ in range(ROUNDS_MAX):
        if wanted:
            view = await fetch_entries(node, trust, tuple(wanted), at_least_height=at_least_height)
        led_to = [key for key in follow(view) if key not in wanted] if is_following else []
        if led_to and len(wanted) + len(led_to) <= WITNESS_KEYS_MAX:
            wanted.update(dict.fromkeys(led_to))
            continue
        try:
            return question(view), view
        except NotProven as missing:
            if missing.is_prefix:  # Our own question walks what it has not scanned.
                raise
            wanted[missing.key] = None
            if len(wanted) > WITNESS_KEYS_MAX:
                raise AnswerRejected(
                    f"more than {WITNESS_KEYS_MAX} state entries are needed at once"
                ) from missing
    raise AnswerRejected(f"the entries needed keep changing; gave up after {ROUNDS_MAX} rounds")


async def fetch_entries(
    node: Node, trust: Trust, keys: tuple[bytes, ...], *, at_least_height: int = 0
) -> ProvenView:
    """Return proven entries for at most 256 keys; absent ones are proven absent."""
    at_least_height = _not_behind(trust, at_least_height)
    query = WitnessQuery(keys=keys, at_least_height=at_least_height, wait_ms=WAIT_MS)
    witness = await exchange(
        node, "/v1/state/witness", query, Witness, bytes_max=Witness.WIRE_BYTES_MAX
    )
    await follow_epochs(node, trust, witness.sealed_header.header.epoch)
    return check_witness(
        trust, witness, now_ms=now_ms(), at_least_height=at_least_height, asked=keys
    )


async def scan_entries(
    node: Node,
    trust: Trust,
    prefix: bytes,
    *,
    start: bytes = b"",
    entries_max: int = 65_536,
    at_least_height: int = 0,
) -> ProvenView:
    """Return the entries under `prefix`, each proven; that none is left out is not.

    Pages may come from different states, each proven for itself and no older than the one before.
    """
    entries: dict[bytes, bytes | None] = {}
    while True:
        at_least_height = _not_behind(trust, at_least_height)
        query = ScanQuery(
            prefix=prefix,
            start=start,
            limit=SCAN_PAGE,
            at_least_height=at_least_height,
            wait_ms=WAIT_MS,
        )
        witness = await exchange(
            node, "/v1/state/scan", query, Witness, bytes_max=Witness.WIRE_BYTES_MAX
        )
        await follow_epochs(node, trust, witness.sealed_header.header.epoch)
        view = check_witness(trust, witness, now_ms=now_ms(), at_least_height=at_least_height)
        page = sorted(view.entries)
        if any(not key.startswith(prefix) or key < start for key in page):
            raise AnswerRejected("the node answers a scan with entries from elsewhere")
        entries.update(view.entries)
        if len(page) < SCAN_PAGE or len(entries) >= entries_max:
            return replace(view, entries=entries, scanned=frozenset((prefix,)))
        start = page[-1] + b"\x00"


def joined(*views: ProvenView) -> ProvenView:
    """Return one view over the entries of several; later ones win, the newest gives the time."""
    newest = max(views, key=lambda view: view.height)
    entries = {key: value for view in views for key, value in view.entries.items()}
    scanned = frozenset().union(*(view.scanned for view in views))
    return replace(newest, entries=entries, scanned=scanned)


def follow(view: ProvenView) -> list[bytes]:
    """Return the keys that proven entries lead to."""
    found: list[bytes] = []
    for key, value in view.entries.items():
        if value is None:
            continue
        if key.startswith(_ACCOUNT):
            found.append(organisation_key(decode(Account, value).org))
        elif key.startswith(_ORGANISATION):
            found.append(account_key(decode(Organisation, value).agent))
        elif key.startswith(_GRANTS):
            found.extend(_grantee_keys(decode(GrantsInForce, value)))
        elif key.startswith(_RECORD):
            record = decode(Record, value)
            found.append(version_key(record.facts.record_id, record.latest))
            found.append(organisation_key(record.facts.author_org))
        elif key.startswith(_VERSION):
            version = decode(Version, value)
            found.append(seal_key(version.seal.cid))
            found.append(key_record_key(version.author, version.author_key_id))
            found.append(record_key(version.record_id))
    return list(dict.fromkeys(found))


def now_ms() -> int:
    """Return this computer's time, Unix milliseconds."""
    return time.time_ns() // 1_000_000


def _not_behind(trust: Trust, at_least_height: int) -> int:
    """Return the height to ask for: the chain never goes back behind what was proven before."""
    return max(at_least_height, trust.height - 1)


def _grantee_keys(grants: GrantsInForce) -> list[bytes]:
    found = []
    for grant in grants.grants:
        grantee = grant.terms.grantee
        if isinstance(grantee, Person):
            found.append(account_key(grantee.account))
        else:
            org = grantee_org(grantee)
            assert org is not None, "only a person has no organisation"
            found.append(organisation_key(org))
    return found
