"""`medledger bench`: how much a consortium commits, how fast, and what that costs."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from benchmarks import quick as quick_benchmark
from benchmarks.errors import LoadError
from benchmarks.load.drivers import TownFiles
from benchmarks.measuring import Site
from benchmarks.open_loop import Planned, drive
from benchmarks.processes import Usage, usage_of
from benchmarks.report import machine, summarise
from benchmarks.scene.local import (
    Member,
    found_devnet,
    load_members,
    passphrase_path,
    running_pid,
    start_members,
    stop_members,
    wait_ready,
)
from benchmarks.workloads import GRANTS_PER_PATIENT, Town, plan_grants, plan_puts, populate
from client.wallet import open_wallet
from commands.devnet import DEVNET_ERRORS
from commands.home import CLIENT_ERRORS
from commands.output import Exit, fail, failures, say, settings, show
from crypto.keystore import KDF_CHEAPEST
from ledger.parameters import Parameters

IDLE_BLOCK_MS: Final = 1_000
RATE = click.FloatRange(1, 100_000)
BENCH_ERRORS: Final[dict[type[Exception], Exit]] = {
    **CLIENT_ERRORS,
    **DEVNET_ERRORS,
    LoadError: Exit.LOCAL,
}


@click.group()
def bench() -> None:
    """Measure: transactions per second, latency, processor time."""


@bench.command()
def quick() -> None:
    """In less than a minute: four local nodes at saturation and at half of it; one line of JSON.

    \b
    Example:
      medledger bench quick
    """
    with failures(BENCH_ERRORS), _local_site(4) as site:
        town = town_files(
            site,
            seed=quick_benchmark.SEED,
            patients=quick_benchmark.PATIENTS,
            doctors=quick_benchmark.DOCTORS,
        )
        line = asyncio.run(quick_benchmark.measure(site, town, say))
    click.echo(json.dumps(line))


def town_files(site: Site, *, seed: int, patients: int, doctors: int) -> TownFiles:
    """Return where the drivers find who may register people."""
    return TownFiles(
        seed=seed,
        chain_id=site.chain_id,
        orgs=site.orgs,
        admins=tuple(f"admin-{org}" for org in site.orgs),
        home=site.home,
        passphrase_file=site.passphrase_file,
        patients=patients,
        doctors=doctors,
    )


@contextmanager
def _local_site(count: int) -> Iterator[Site]:
    """Found and start `count` nodes on this machine; stop them and remove them afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="medledger-bench-"))
    members: list[Member] = []
    try:
        say(f"starting {count} nodes")
        found_devnet(folder, count, parameters=Parameters(idle_block_ms=IDLE_BLOCK_MS))
        members = load_members(folder)
        start_members(folder, members)
        wait_ready(members)
        yield Site(
            chain_id=bytes.fromhex((folder / "chain-id").read_text(encoding="ascii")),
            orgs=tuple(member.org for member in members),
            urls=tuple(member.url for member in members),
            home=folder / "home",
            passphrase_file=passphrase_path(folder),
            pids={member.org: pid for member in members if (pid := running_pid(member))},
        )
    finally:
        stop_members(members)
        shutil.rmtree(folder, ignore_errors=True)


@bench.command()
@click.option("-n", "count", type=click.IntRange(1, 16), default=4, show_default=True)
@click.option("--rate", type=RATE, default=300.0, show_default=True, help="Grants per second.")
@click.option("--put-rate", type=RATE, default=50.0, show_default=True, help="Puts per second.")
@click.option(
    "--seconds",
    type=click.IntRange(1, 3_600),
    default=10,
    show_default=True,
    help="How long each is offered.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="JSON results.")
def run(count: int, rate: float, put_rate: float, seconds: int, out: Path | None) -> None:
    """Offer signed grants, then puts, to local nodes at fixed rates (open loop), and report.

    \b
    Example:
      medledger bench run --rate 500 --seconds 20 --out results.json
    """
    if out is not None and not out.parent.is_dir():
        fail(Exit.USAGE, "bench.out", f"there is no folder {out.parent} to write {out.name} to")
    folder = Path(tempfile.mkdtemp(prefix="medledger-bench-"))
    members: list[Member] = []
    try:
        with failures({**CLIENT_ERRORS, **DEVNET_ERRORS}):
            say(f"starting {count} nodes")
            found_devnet(folder, count, parameters=Parameters(idle_block_ms=IDLE_BLOCK_MS))
            members = load_members(folder)
            start_members(folder, members)
            wait_ready(members)
            results = asyncio.run(_measure(folder, members, rate, put_rate, seconds))
        report = {"nodes": count, "machine": machine(), "runs": results}
        if out is not None:
            out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        for one in results:
            if not settings().as_json:
                show(one)
                say("")
        if settings().as_json:
            show(report)
    finally:
        stop_members(members)
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(
    folder: Path, members: list[Member], rate: float, put_rate: float, seconds: int
) -> list[dict[str, Any]]:
    grants, puts = int(rate * seconds), int(put_rate * seconds)
    passphrase = passphrase_path(folder).read_text(encoding="utf-8").strip()
    wallet = open_wallet(folder / "home", passphrase, kdf=KDF_CHEAPEST)
    patients = -(-grants // GRANTS_PER_PATIENT)
    say(f"registering {patients} patients and a doctor")
    first = members[0]
    town = await populate(first.url, folder / "home", wallet, first.org, patients=patients)
    few = Town(
        url=town.url,
        genesis=town.genesis,
        wallet=wallet,
        org=town.org,
        doctor=town.doctor,
        patients=town.patients[:4],
    )
    say(f"sealing and uploading {puts} records, signing their puts")
    planned_puts = await plan_puts(few, puts)
    results = []
    say(f"offering {put_rate:g} records.put a second for {seconds} s")
    results.append(await _run(members, planned_puts, "records.put", put_rate))
    say(f"signing {grants} grants")
    planned_grants = await plan_grants(town, grants)
    say(f"offering {rate:g} access.grant a second for {seconds} s")
    results.append(await _run(members, planned_grants, "access.grant", rate))
    return results


async def _run(
    members: list[Member], planned: list[Planned], kind: str, rate: float
) -> dict[str, Any]:
    before = _usage(members)
    seen = await drive([member.url for member in members], planned, rate_per_s=rate)
    return summarise(seen, kind=kind, offered_per_s=rate, before=before, after=_usage(members))


def _usage(members: list[Member]) -> dict[str, Usage]:
    return {member.org: usage_of(pid) for member in members if (pid := running_pid(member))}
