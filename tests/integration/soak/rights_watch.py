"""A patient who shares with a doctor and takes it back, over and over, while nodes are tormented.

After a revocation is acknowledged the doctor goes on asking the node that served him: not one byte
may come later than the acknowledgement and `MAX_STALENESS_S`, however cut off that node is.
"""

import asyncio
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile

from client.access import grant_access, revoke_access
from client.connection import Client
from client.errors import ClientError
from client.lookup import FoundVersion, find_version
from client.reading import enter_read
from client.records import put_record
from client.transfers import download_blob
from crypto.hashing import Digest
from crypto.record_ids import RecordId
from ledger.accounts import Role
from ledger.purposes import TREAT
from shell.freshness import max_staleness_ms
from tests.integration.consortium import acting, acting_after, register
from tests.integration.soak.arena import IDLE_BLOCK_MS, Arena, Violation

MAX_STALENESS_S = max_staleness_ms(IDLE_BLOCK_MS) / 1000

TRIES_FOR_S = MAX_STALENESS_S + 3
TRY_EVERY_S = 0.4
STEP_S = 30.0
CONTENT = b"blood pressure 120/80\n" * 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A record, the node where its patient and author are at home, and where the doctors are.

    Every turn has a doctor of its own: what an earlier turn may have left behind gives him nothing.
    """

    record_id: RecordId
    at: int
    elsewhere: str
    doctors: Iterator[int] = field(default_factory=itertools.count)


async def prepare(arena: Arena, folder: Path) -> Shared:
    """Register the three people and put the record, before anything goes wrong."""
    consortium = arena.consortium
    home, elsewhere = (arena.members[index].org for index in arena.correct[:2])
    await register(consortium, "watched-author", home, Role.DOCTOR)
    await register(consortium, "watched-patient", home, Role.PATIENT, writers=["watched-author"])
    note = folder / "note.txt"
    note.write_bytes(CONTENT)
    async with acting_after(
        consortium, "watched-author", home, consortium.registered_height
    ) as author:
        put = await put_record(
            author, consortium.account("watched-patient"), note, category="documents"
        )
    return Shared(record_id=put.record_id, at=arena.correct[0], elsewhere=elsewhere)


async def watch(arena: Arena, shared: Shared, ending: asyncio.Event) -> None:
    """Share, read, revoke and try again until told to end; a fault may end any turn early."""
    while not ending.is_set():
        server = arena.random.choice(arena.correct)
        try:
            async with asyncio.timeout(STEP_S + TRIES_FOR_S):
                await _turn(arena, shared, server)
        except (ClientError, OSError, TimeoutError):
            await asyncio.sleep(0.5)  # The node is down, cut off or slow: another turn.


async def _turn(arena: Arena, shared: Shared, server: int) -> None:
    consortium = arena.consortium
    home, other = arena.members[shared.at].org, arena.members[server].org
    name = f"watched-doctor-{next(shared.doctors)}"
    account = await register(consortium, name, shared.elsewhere, Role.DOCTOR)
    async with acting(consortium, "watched-patient", home) as patient:
        patient.height = consortium.registered_height
        granted = await grant_access(patient, grantee=account)
        async with acting(consortium, name, other) as doctor:
            doctor.height = granted.outcome.height
            found = await find_version(doctor, shared.record_id, at_least_height=doctor.height)
            read = await enter_read(doctor, found, TREAT)
            await _read(doctor, found, read)
            arena.report.reads += 1
            await revoke_access(patient, granted.grant_id, reseal=False)
            await _try_until_stale(arena, doctor, found, read, time.monotonic())


async def _try_until_stale(
    arena: Arena, doctor: Client, found: FoundVersion, read: Digest, acknowledged: float
) -> None:
    while (waited_s := time.monotonic() - acknowledged) < TRIES_FOR_S:
        if waited_s > MAX_STALENESS_S:
            arena.report.late_tries += 1
        try:
            async with asyncio.timeout(5):
                await _read(doctor, found, read)
        except (ClientError, OSError, TimeoutError):
            pass
        else:
            if waited_s > MAX_STALENESS_S:
                arena.report.served_late += 1
                raise Violation(f"bytes were served {waited_s:.1f} s after the right had ended")
        await asyncio.sleep(TRY_EVERY_S)


async def _read(client: Client, found: FoundVersion, read: Digest) -> None:
    seal = found.seal
    with TemporaryFile() as sink:
        await download_blob(client.node, seal.cid, seal.size_bytes, sink, read=read)
