"""A record of a gigabyte through the API of four nodes: put, with its second copy, and got again.

Run `python -m benchmarks.parts.blobs`. Four node processes and the client share this machine, with
fsync, TLS between the nodes and every digest checked. `put` ends when the promises of f + 1
hospitals are there; `get` is from the node that keeps the bytes, `get elsewhere` from one that has
to fetch them first. `record put` and `record get` are whole commands: sealing or opening, the
ledger and the envelopes included. `--folder` chooses the disk, which has to take two copies of a
put: the line at the end says how fast it does.
"""

import asyncio
import os
import platform
import secrets
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import click
from typing_extensions import override

from benchmarks.scene.local import (
    Member,
    found_devnet,
    load_members,
    passphrase_path,
    pids_of,
    start_members,
    stop_members,
    wait_ready,
)
from client.access import grant_access
from client.connection import GENESIS_NAME, Client, open_client
from client.enrolment import make_enrolment, register_person
from client.lookup import find_version
from client.reading import enter_read, get_record
from client.records import put_record
from client.transfers import download_blob, upload_blob
from client.wallet import Wallet, find_account, open_wallet
from crypto.cid import Cid
from crypto.keystore import KDF_CHEAPEST
from crypto.record_ids import RecordId
from crypto.unixfs import cid_of_stream
from ledger.accounts import OrgId, Role
from ledger.purposes import TREAT

MIB: Final = 1 << 20
NODES: Final = 4
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Row:
    """What one transfer took: seconds on the clock, and of processors by process."""

    def __init__(self, what: str, mib: int, clock_s: float, cpu_s: dict[str, float]) -> None:
        self.what, self.mib, self.clock_s, self.cpu_s = what, mib, clock_s, cpu_s

    @override
    def __str__(self) -> str:
        shares = " ".join(f"{name} {seconds:.1f}" for name, seconds in self.cpu_s.items())
        speed, total = self.mib / self.clock_s, sum(self.cpu_s.values())
        return f"| {self.what} | {speed:,.0f} | {self.mib / total:,.0f} | {shares} |"


class Bench:
    """A consortium that runs, and what was measured on it."""

    def __init__(self, folder: Path, mib: int) -> None:
        self.folder, self.mib = folder, mib
        self.members: list[Member] = load_members(folder)
        passphrase = passphrase_path(folder).read_text(encoding="utf-8").strip()
        self.wallet: Wallet = open_wallet(folder / "home", passphrase, kdf=KDF_CHEAPEST)
        self.rows: list[Row] = []

    def acting(self, label: str, node: int) -> AbstractAsyncContextManager[Client]:
        genesis = self.folder / "home" / GENESIS_NAME
        return open_client(self.members[node].url, genesis, self.wallet, actor=label)

    async def measure(self, what: str, action: Callable[[], Awaitable[object]]) -> None:
        before, started_s = self._cpu_s(), time.perf_counter()
        await action()
        clock_s, after = time.perf_counter() - started_s, self._cpu_s()
        spent = {name: after[name] - before[name] for name in after}
        self.rows.append(Row(what, self.mib, clock_s, spent))
        click.echo(str(self.rows[-1]))

    def _cpu_s(self) -> dict[str, float]:
        nodes = {f"node {index}": cpu_s(pid) for index, pid in pids_of(self.members).items()}
        return {"client": time.process_time(), **nodes}

    async def register(self, label: str, role: Role, *, node: int, height: int = 0) -> int:
        org = self.members[node].org
        async with self.acting(f"admin-{org}", node) as desk:
            desk.height = height
            writers = [find_account(self.wallet, "ada")] if role is Role.PATIENT else []
            person = await make_enrolment(desk, label, org=OrgId(org), role=role, writers=writers)
            height = (await register_person(desk, person, org=OrgId(org))).height
        await self.wait_height(height + 1)
        return height

    async def wait_height(self, height: int) -> None:
        await asyncio.to_thread(wait_ready, self.members, height=height)


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has spent."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


async def run(bench: Bench, rounds: int) -> None:
    """Put and get, a blob alone and a whole record."""
    height = await bench.register("ada", Role.DOCTOR, node=0)
    height = await bench.register("bob", Role.DOCTOR, node=1, height=height)
    height = await bench.register("anna", Role.PATIENT, node=0, height=height)
    source = bench.folder / "study.bin"
    for _ in range(rounds):
        await measure_put(bench, source, height)
        height = await measure_record(bench, source, height)


async def measure_put(bench: Bench, source: Path, height: int) -> None:
    cid = await asyncio.to_thread(write_noise, source, bench.mib)
    async with bench.acting("ada", 0) as ada:
        ada.height = height

        async def put() -> None:
            stored = await upload_blob(ada.node, ada.trust, source, cid, bench.mib * MIB)
            assert stored.is_safe, "a second hospital has promised to keep it"

        await bench.measure("put", put)


async def measure_record(bench: Bench, source: Path, height: int) -> int:
    async with bench.acting("ada", 0) as ada:
        ada.height = height
        anna, filed = find_account(bench.wallet, "anna"), []

        async def file() -> None:
            filed.append(await put_record(ada, anna, source, category="imaging"))

        await bench.measure("record put", file)
        record = filed[0]
        await bench.wait_height(ada.height + 1)
        await measure_get(bench, ada, "get", record.record_id)
        async with bench.acting("anna", 0) as patient:
            patient.height = ada.height
            await grant_access(patient, grantee=find_account(bench.wallet, "bob"))
            height = patient.height
    await bench.wait_height(height + 1)
    keepers = set()
    async with bench.acting("bob", 1) as bob:
        bob.height = height
        found = await find_version(bob, record.record_id)
        keepers = set(found.seal.stored_by)
    elsewhere = next(index for index in range(NODES) if index not in keepers)
    async with bench.acting("bob", elsewhere) as bob:
        bob.height = height
        await measure_get(bench, bob, "get elsewhere", record.record_id)
        height = bob.height
        target = bench.folder / "received"

        async def read() -> None:
            await get_record(bob, record.record_id, target)

        await bench.measure("record get", read)
        shutil.rmtree(target)
        return max(height, bob.height)


async def measure_get(bench: Bench, client: Client, what: str, record_id: RecordId) -> None:
    found = await find_version(client, record_id)
    read = await enter_read(client, found, TREAT)
    await bench.wait_height(client.height)
    seal = found.seal

    async def get() -> None:
        with tempfile.TemporaryFile(dir=bench.folder) as sink:
            await download_blob(client.node, seal.cid, seal.size_bytes, sink, read=read)

    await bench.measure(what, get)


def write_noise(path: Path, mib: int) -> Cid:
    with path.open("wb") as stream:
        for _ in range(mib):
            stream.write(secrets.token_bytes(MIB))
        stream.flush()
        os.fsync(stream.fileno())  # Else the disk is still busy with it when the nodes need it.
    with path.open("rb", buffering=0) as stream:
        return cid_of_stream(stream)


def disk_mib_per_s(folder: Path, mib: int) -> float:
    """Return how fast the disk takes a flushed file, beside nothing else of ours."""
    block, path = secrets.token_bytes(MIB), folder / "disk.bin"
    started_s = time.perf_counter()
    with path.open("wb", buffering=0) as stream:
        for _ in range(mib):
            stream.write(block)
        os.fdatasync(stream.fileno())
    taken_s = time.perf_counter() - started_s
    path.unlink()
    return mib / taken_s


@click.command(help=__doc__)
@click.option("--mib", type=click.IntRange(2), default=1024, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=1, show_default=True)
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(mib: int, rounds: int, folder: Path | None) -> None:
    """Found four nodes, measure, stop them, and leave nothing behind."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        place = Path(temporary)
        disk = disk_mib_per_s(place, mib)
        found_devnet(place, NODES)
        bench = Bench(place, mib)
        try:
            start_members(place, bench.members)
            wait_ready(bench.members)
            click.echo("| | MiB/s | MiB per processor second | processor seconds |")
            click.echo("|---|---|---|---|")
            asyncio.run(run(bench, rounds))
        finally:
            stop_members(bench.members)
    click.echo(
        f"\nPython {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores,"
        f" {mib} MiB; the disk takes {disk:,.0f} MiB/s, flushed."
    )


if __name__ == "__main__":
    main()
