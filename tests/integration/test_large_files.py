"""A file of 2 GiB goes in at one hospital and comes out at another, in little memory."""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scene.local import Member
from client.access import grant_access
from ledger.accounts import Role
from tests.integration.consortium import (
    HOSPITALS,
    Consortium,
    acting_after,
    pid_of,
    register,
    wait_height,
)

FILE_BYTES = 2 << 30
RESIDENT_BYTES_MAX = 300 << 20
STEP_BYTES = 4 << 20
DISK_BYTES_NEEDED = 8 * FILE_BYTES


@pytest.mark.slow
@pytest.mark.timeout(1_800)
async def test_two_gibibytes_go_in_and_come_out_elsewhere_below_300_mebibytes_of_memory(
    four: Consortium, tmp_path: Path
) -> None:
    if shutil.disk_usage(tmp_path).free < DISK_BYTES_NEEDED:
        pytest.skip(f"needs {DISK_BYTES_NEEDED >> 30} GiB of disk in {tmp_path}")
    home, elsewhere = four.members[0], four.members[1]
    await register(four, "ada", home.org, Role.DOCTOR)
    await register(four, "bob", elsewhere.org, Role.DOCTOR)
    await register(four, "anna", home.org, Role.PATIENT, writers=["ada"])
    await asyncio.to_thread(wait_height, four.members, four.registered_height + 1)
    source, received = tmp_path / "study.bin", tmp_path / "received.bin"
    digest = await asyncio.to_thread(write_random, source)

    filing = ("record", "put", source, "--patient", "anna", "--category", "imaging")
    put = await asyncio.to_thread(run_measured, four, home, "ada", *filing)
    async with acting_after(four, "anna", HOSPITALS[0], int(put["height"])) as anna:
        await grant_access(anna, grantee=four.account("bob"))
        await asyncio.to_thread(wait_height, four.members, anna.height + 1)
    source.unlink()
    reading = ("record", "get", put["record"], "--out", received)
    await asyncio.to_thread(run_measured, four, elsewhere, "bob", *reading)

    assert received.stat().st_size == FILE_BYTES
    assert await asyncio.to_thread(digest_of, received) == digest
    peaks = {member.org: peak_bytes(pid_of(member)) for member in four.members}
    print({org: f"{peak >> 20} MiB" for org, peak in peaks.items()})
    assert max(peaks.values()) < RESIDENT_BYTES_MAX, peaks
    for member in four.members:  # What is left would stay on the disk for three sessions of tests.
        shutil.rmtree(member.directory / "blobs")
    received.unlink()


def write_random(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(FILE_BYTES // STEP_BYTES):
            step = os.urandom(STEP_BYTES)
            hasher.update(step)
            file.write(step)
    return hasher.hexdigest()


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run_measured(
    consortium: Consortium, member: Member, actor: str, *arguments: str | Path
) -> dict[str, Any]:
    """Run a command as somebody at a node; its answer, once its peak of memory is found small."""
    home = consortium.directory / "home"
    whose = ("--home", home, "--as", actor, "--node", member.url)
    command = [sys.executable, "-m", "cli", "--json", *map(str, (*arguments, *whose))]
    peak, started = 0, time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as client:
        while client.poll() is None:
            peak = max(peak, peak_bytes(client.pid))
            time.sleep(0.1)
        told, failed = client.communicate()
    assert client.returncode == 0, failed
    print(f"{arguments[1]}: {time.monotonic() - started:.0f} s, client {peak >> 20} MiB")
    assert 0 < peak < RESIDENT_BYTES_MAX, f"the client took {peak >> 20} MiB"
    answer = json.loads(told)
    assert isinstance(answer, dict)
    return answer


def peak_bytes(pid: int) -> int:
    """Return the most memory a process has had resident; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) << 10 if lines else 0
