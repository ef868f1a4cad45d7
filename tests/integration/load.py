"""A steady load of signed transactions through several nodes, and what became of each of them.

Each lane is one patient who gives a right and takes it back, over and over. A transaction is signed
once and handed in, at another node if need be, until somebody says what became of it: that is an
acknowledgement, and it is never forgotten.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from client.errors import ClientError, NotReachable, OutcomeUnknown, Refused
from client.http import Node, Patience, open_node
from client.transactions import Outcome, Signed, hand_in, sign_payload
from client.trust import Trust, make_trust
from client.wallet import Keys, find_keys
from crypto.hashing import Digest
from crypto.record_ids import AccountId
from genesis.files import load_genesis
from ledger.access_payloads import AccessGrant, AccessLevel, AccessRevoke, AllRecords, Person, Terms
from ledger.accounts import Role
from ledger.purposes import TREAT
from ledger.replay import Status
from ledger.words import END_OF_TIME_MS
from tests.integration.commands import run
from tests.integration.consortium import HOSPITALS, Consortium, ask, block_at, height_of, register

LANES = 3
PAUSE_S = 0.05
PATIENCE_MS = 3_000
KNOWN_WITHIN_S = 60.0


@dataclass(slots=True, kw_only=True)
class Load:
    """What was acknowledged so far: transaction id to the block and place told to the client."""

    trust: Trust
    nodes: list[Node]
    acknowledged: dict[Digest, tuple[int, int]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    is_ending: bool = False
    turns: int = 0


async def register_lanes(consortium: Consortium, org: str, *, lanes: int = LANES) -> None:
    await register(consortium, "load-doctor", org, Role.DOCTOR)
    for number in range(lanes):
        await register(consortium, f"load-patient-{number}", org, Role.PATIENT)


@asynccontextmanager
async def running_load(
    consortium: Consortium, orgs: Sequence[str], *, lanes: int = LANES
) -> AsyncIterator[Load]:
    """Keep the lanes busy through the nodes of `orgs`; end them, and check that nothing failed."""
    patience = Patience(attempts=1, connect_timeout_s=2, read_timeout_s=15)
    async with AsyncExitStack() as stack:
        nodes = [
            await stack.enter_async_context(
                open_node(consortium.member(org).url, patience=patience)
            )
            for org in orgs
        ]
        load = Load(trust=make_trust(load_genesis(consortium.genesis)), nodes=nodes)
        doctor = consortium.account("load-doctor")
        running = [
            asyncio.create_task(
                _lane(load, find_keys(consortium.wallet, f"load-patient-{number}"), doctor)
            )
            for number in range(lanes)
        ]
        try:
            yield load
        finally:
            load.is_ending = True
            await asyncio.gather(*running)
        assert not load.failed, load.failed[:3]


async def wait_acknowledged(load: Load, more: int, *, timeout_s: float = 60) -> None:
    """Wait until `more` transactions than now have been acknowledged."""
    goal = len(load.acknowledged) + more
    deadline = time.monotonic() + timeout_s
    while len(load.acknowledged) < goal:
        assert time.monotonic() < deadline, f"{len(load.acknowledged)} acknowledged, not {goal}"
        assert not load.failed, load.failed[:3]
        await asyncio.sleep(0.05)


def check_nothing_lost(consortium: Consortium, load: Load) -> None:
    """Every node has every acknowledged transaction where it was told, and none has one twice."""
    assert load.acknowledged, "a load without acknowledgements shows nothing"
    for member in consortium.members:
        for tx_id, place in load.acknowledged.items():
            found = ask(member, f"/v1/transactions/{tx_id.hex()}")
            assert found["state"] == Status.COMMITTED.value, (member.org, found)
            assert (found["receipt"]["height"], found["receipt"]["index"]) == place
    witness = consortium.members[0]
    seen = Counter(
        tx_id
        for height in range(1, height_of(witness) + 1)
        for tx_id in block_at(witness, height)["transactions"]
    )
    assert set(seen.values()) <= {1}, [one for one, count in seen.items() if count > 1]
    assert {one.hex() for one in load.acknowledged} <= set(seen)


def export_one(
    consortium: Consortium, tx_ids: Sequence[Digest], *, through: str = HOSPITALS[0]
) -> tuple[Digest, Path]:
    """Write the receipt of a transaction of the first patient's, while nodes still have it."""
    file = consortium.directory / "one.receipt"
    words = ("--home", consortium.directory / "home", "--as", "load-patient-0")
    node = ("--node", consortium.member(through).url)
    told = []
    for tx_id in tx_ids:
        ended = run("tx", "receipt", tx_id.hex(), "--out", file, *words, *node)
        if ended.returncode == 0:
            return tx_id, file
        told.append(ended.stderr)
    raise AssertionError(f"none of these is the first patient's: {told}")


async def _lane(load: Load, keys: Keys, doctor: AccountId) -> None:
    while not load.is_ending:
        start_ms = time.time_ns() // 1_000_000 - 1_000
        terms = Terms(
            grantee=Person(account=doctor),
            scope=AllRecords(),
            level=AccessLevel.READ,
            purposes=(TREAT,),
            from_ms=start_ms,
            until_ms=END_OF_TIME_MS,
        )
        grant = AccessGrant(pseudonym=keys.account, terms=terms)
        given = await _acknowledged(load, sign_payload(load.trust, keys, "access.grant", grant))
        if given is None:
            return
        revoke = AccessRevoke(pseudonym=keys.account, grant=given.tx_id)
        if (
            await _acknowledged(load, sign_payload(load.trust, keys, "access.revoke", revoke))
            is None
        ):
            return
        await asyncio.sleep(PAUSE_S)


async def _acknowledged(load: Load, signed: Signed) -> Outcome | None:
    """Hand in at one node after the other until one of them knows what became of it."""
    deadline = time.monotonic() + KNOWN_WITHIN_S
    problem: ClientError | None = None
    while time.monotonic() < deadline:
        load.turns += 1
        node = load.nodes[load.turns % len(load.nodes)]
        try:
            outcome = await hand_in(node, signed, patience_ms=PATIENCE_MS)
        except (NotReachable, OutcomeUnknown) as unknown:
            problem = unknown
            await asyncio.sleep(PAUSE_S)
            continue
        except Refused as refusal:
            if not refusal.definite:
                problem = refusal
                await asyncio.sleep(PAUSE_S)
                continue
            load.failed.append(f"{signed.kind}: {refusal.code}: {refusal}")
            return None
        load.acknowledged[signed.tx_id] = (outcome.height, outcome.index)
        return outcome
    load.failed.append(f"{signed.kind}: nobody knew within {KNOWN_WITHIN_S} s: {problem}")
    return None
