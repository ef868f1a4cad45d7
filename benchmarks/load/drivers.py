"""The driver processes as their parent sees them: started, told what to do, ended."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.errors import DriverEnded
from benchmarks.load.driver import ROW
from benchmarks.load.planning import RIGHTS_PER_PATIENT

STOP_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TownFiles:
    """Where the people of a benchmark come from: a consortium's home, and how many there are."""

    seed: int
    orgs: tuple[str, ...]
    admins: tuple[str, ...]
    home: Path
    passphrase_file: Path
    patients: int
    doctors: int

    def told(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "orgs": self.orgs,
            "admins": self.admins,
            "home": str(self.home),
            "passphrase_file": str(self.passphrase_file),
            "patients": self.patients,
            "doctors": self.doctors,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A transaction that a node took: when it was due, and when it left (monotonic seconds)."""

    tx_id: bytes
    kind: str
    due_s: float
    sent_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """What the drivers did in one phase, all of them together."""

    sent: int
    not_taken: dict[str, int]
    late_ms_max: float
    cpu_s: float
    taken: tuple[Sent, ...]


@dataclass(slots=True, kw_only=True)
class Drivers:
    """The running drivers; `folder` is where they leave their rows."""

    processes: list[asyncio.subprocess.Process]
    folder: Path
    credited: int = 0


@asynccontextmanager
async def running_drivers(
    town: TownFiles, urls: Sequence[str], count: int
) -> AsyncIterator[Drivers]:
    """Start `count` drivers; end them when the block ends, however it ends."""
    processes: list[asyncio.subprocess.Process] = []
    with tempfile.TemporaryDirectory(prefix="medledger-drivers-") as folder:
        drivers = Drivers(processes=processes, folder=Path(folder))
        try:
            for index in range(count):
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "benchmarks.load.driver",
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    start_new_session=True,  # Ctrl-C is the parent's, which ends us in good order.
                )
                processes.append(process)
                first = {"town": town.told(), "urls": list(urls), "index": index, "count": count}
                _write(process, first)
            await _answers(drivers)
            yield drivers
        finally:
            for process in processes:
                await _end(process)


async def order(drivers: Drivers, told: dict[str, Any]) -> list[dict[str, Any]]:
    """Tell every driver the same and wait for what each answers; raise `DriverEnded`."""
    for process in drivers.processes:
        _write(process, told)
    return await _answers(drivers)


async def plan_people(drivers: Drivers) -> int:
    """Let the registrations be signed; return how many there are."""
    return sum(one["waiting"] for one in await order(drivers, {"do": "people"}))


async def plan_givers(drivers: Drivers, rights: int) -> int:
    """Let so many patients be signed as have room for `rights` more; return how many those are."""
    parts = len(drivers.processes)
    room = min([one["room"] for one in await order(drivers, {"do": "givers", "count": 0})])
    lacking = -(-rights // parts) - room
    count: int = max(0, -(-lacking // RIGHTS_PER_PATIENT))
    await order(drivers, {"do": "givers", "count": count})
    return count * parts


async def plan_mix(
    drivers: Drivers,
    shares: dict[str, int],
    count: int,
    *,
    rate_per_s: float | None = None,
    record_bytes: int = 0,
) -> None:
    """Let so many transactions be signed in all; what is left of a former plan is forgotten.

    Records that are to be put are sealed and uploaded first, each of `record_bytes`.
    """
    parts = len(drivers.processes)
    told = {
        "do": "plan",
        "shares": shares,
        "count": -(-count // parts),
        "rate": None if rate_per_s is None else rate_per_s / parts,
        "record_bytes": record_bytes,
    }
    await order(drivers, told)


async def send(
    drivers: Drivers, *, rate_per_s: float, start_s: float, seconds: float, batch_ms: float
) -> Handed:
    """Send what is planned at a fixed rate, open loop."""
    told = {
        "do": "send",
        "rate": rate_per_s,
        "start_s": start_s,
        "seconds": seconds,
        "batch_ms": batch_ms,
    }
    return await _hand(drivers, told)


async def push(drivers: Drivers, *, window: int, seconds: float | None, batch: int = 250) -> Handed:
    """Send what is planned as fast as at most `window` stay open, closed loop."""
    parts = len(drivers.processes)
    told = {"do": "push", "window": window // parts, "seconds": seconds, "batch": batch}
    return await _hand(drivers, told)


def credit(drivers: Drivers, decided: int) -> None:
    """Tell the drivers that so many transactions were decided; the drivers share them."""
    parts = len(drivers.processes)
    before, drivers.credited = drivers.credited, drivers.credited + decided
    for index, process in enumerate(drivers.processes):
        share = (drivers.credited + index) // parts - (before + index) // parts
        if share and process.returncode is None:
            _write(process, {"do": "credit", "count": share})


def stop(drivers: Drivers) -> None:
    """Let the drivers send no more; what they do ends by itself then."""
    for process in drivers.processes:
        if process.returncode is None:
            _write(process, {"do": "stop"})


async def _hand(drivers: Drivers, told: dict[str, Any]) -> Handed:
    files = [drivers.folder / f"rows-{index}" for index in range(len(drivers.processes))]
    for process, file in zip(drivers.processes, files, strict=True):
        _write(process, {**told, "rows": str(file)})
    answers = await _answers(drivers)
    not_taken: dict[str, int] = {}
    for one in answers:
        for code, count in one["not_taken"].items():
            not_taken[code] = not_taken.get(code, 0) + count
    taken = [
        Sent(tx_id=tx_id, kind=kind.rstrip(b"\0").decode("ascii"), due_s=due_s, sent_s=sent_s)
        for file in files
        for tx_id, due_s, sent_s, kind in ROW.iter_unpack(file.read_bytes())
    ]
    return Handed(
        sent=sum(one["sent"] for one in answers),
        not_taken=not_taken,
        late_ms_max=max(one["late_ms_max"] for one in answers),
        cpu_s=sum(one["cpu_s"] for one in answers),
        taken=tuple(taken),
    )


async def _answers(drivers: Drivers) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*(_answer(one) for one in drivers.processes)))


async def _answer(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise DriverEnded(f"driver process {process.pid} ended by itself; its last words are above")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _write(process: asyncio.subprocess.Process, told: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(told).encode() + b"\n")


async def _end(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        process.kill()
        await process.wait()
