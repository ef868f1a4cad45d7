"""`medledger demo`: four hospitals on this machine, one record's life, told step by step."""

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.scene.local import (
    Member,
    found_devnet,
    load_members,
    passphrase_path,
    start_members,
    stop_members,
    wait_ready,
)
from client.access import (
    approve_request,
    explain_access,
    list_grants,
    read_log,
    request_access,
    revoke_access,
)
from client.connection import GENESIS_NAME, Client, open_client
from client.directories import share_directory
from client.enrolment import make_enrolment, register_person
from client.errors import Refused
from client.plain_http import get_json
from client.records import get_record, put_record
from client.wallet import Wallet, find_account, open_wallet
from commands.devnet import DEVNET_ERRORS
from commands.home import CLIENT_ERRORS
from commands.output import Exit, fail, failures, say, settings, show, show_rows
from commands.samples import fhir_bundle, pdf_letter, png_image
from commands.times import time_text
from crypto.record_ids import RecordId
from ledger.accounts import OrgId, Role
from ledger.parameters import Parameters

HOSPITALS: Final = 4
IDLE_BLOCK_MS: Final = 1_000
DAY_MS: Final = 86_400_000
NORTH, SOUTH = "hospital-a", "hospital-b"
PATIENT, AUTHOR, READER = "anna", "dr-ada", "dr-bob"


@dataclass(slots=True, kw_only=True)
class Story:
    """What the demonstration has so far: the consortium, the wallet, and its clock.

    `height` is that of the newest block that anybody's step has led to.
    """

    directory: Path
    members: list[Member]
    wallet: Wallet
    started: float = field(default_factory=time.monotonic)
    steps: int = 0
    height: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)

    def url(self, org: str) -> str:
        return next(member.url for member in self.members if member.org == org)


@click.command()
@click.option("--once", is_flag=True, help="End by itself instead of keeping the consortium.")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the consortium lives; a temporary folder when left out.",
)
def demo(directory: Path | None, *, once: bool) -> None:
    """Show one record's life in a consortium of four hospitals on this machine.

    A record is sealed by a doctor of one hospital, asked for by a doctor of another, granted by
    the patient, read there, revoked, refused; the patient's log ends the story.

    \b
    Example:
      medledger demo --once
    """
    folder = directory or Path(tempfile.mkdtemp(prefix="medledger-demo-"))
    members: list[Member] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with failures({**CLIENT_ERRORS, **DEVNET_ERRORS}):
            story = begin(folder)
            members = story.members
            asyncio.run(tell(story))
            addresses(story)
            if not once:
                keep_running(story)
    except KeyboardInterrupt:
        say("\nstopping the consortium")
    finally:
        stop_members(members or _members_of(folder))
        if directory is None:
            shutil.rmtree(folder, ignore_errors=True)


def begin(folder: Path) -> Story:
    """Found the consortium and start its four nodes, each a process of its own."""
    started = time.monotonic()
    if not (folder / "nodes").is_dir():
        found_devnet(folder, HOSPITALS, parameters=Parameters(idle_block_ms=IDLE_BLOCK_MS))
    members = load_members(folder)
    start_members(folder, members)
    wait_ready(members)
    passphrase = passphrase_path(folder).read_text(encoding="utf-8").strip()
    story = Story(
        directory=folder,
        members=members,
        wallet=open_wallet(folder / "home", passphrase),
        started=started,
    )
    say("medledger: one record's life in a consortium of four hospitals\n")
    with step(story, "four hospitals found a consortium and start their nodes", since=started):
        say("   each node is a process with its own keys, disk and TLS; the first block is decided")
    return story


async def tell(story: Story) -> None:
    """The life of one record."""
    with step(story, f"{NORTH} registers a doctor and a patient, {SOUTH} a doctor"):
        await register(story, AUTHOR, NORTH, Role.DOCTOR)
        await register(story, READER, SOUTH, Role.DOCTOR)
        await register(story, PATIENT, NORTH, Role.PATIENT)
        async with acting(story, PATIENT, NORTH) as client:
            author = find_account(story.wallet, AUTHOR)
            await share_directory(client, client.actor.account, [author])
        say("   keys were made on their own devices; the ledger has public keys and pseudonyms")
    with step(story, f"{AUTHOR} seals three files and files them for {PATIENT}"):
        records = [
            await file_record(story, name, content, category)
            for name, content, category in (
                ("summary.json", fhir_bundle(), "problems"),
                ("letter.pdf", pdf_letter(), "documents"),
                ("scan.png", png_image(), "imaging"),
            )
        ]
    scan = records[2]
    with step(story, f"{READER} of {SOUTH} tries to read the scan: no right yet"):
        await refused_read(story, scan)
    with step(story, f"{READER} asks, {PATIENT} approves for a day"):
        await ask_and_approve(story)
    with step(story, f"{READER} reads the scan at {SOUTH}"):
        await read_it(story, scan, png_image())
    with step(story, "the ledger explains why that was permitted"):
        async with acting(story, PATIENT, NORTH) as client:
            reader = find_account(story.wallet, READER)
            for sentence in (await explain_access(client, scan, requester=reader)).sentences:
                say(f"   {sentence}")
    with step(story, f"{PATIENT} takes the right back"):
        await take_back(story)
    with step(story, f"{READER} tries again"):
        await refused_read(story, scan)
    with step(story, f"{PATIENT} sees who did what, at {SOUTH}'s node"):
        await show_log(story)
    with step(story, "the four nodes agree"):
        await agree(story)


async def register(story: Story, label: str, org: str, role: Role) -> None:
    """Make somebody's keys on their device, and let the hospital's admin register them."""
    genesis = story.directory / "home" / GENESIS_NAME
    async with open_client(story.url(org), genesis, story.wallet) as device:
        enrolment = await make_enrolment(device, label, org=OrgId(org), role=role)
    async with acting(story, f"admin-{org}", org) as admin:
        outcome = await register_person(admin, enrolment, org=OrgId(org))
    say(f"   {label}: {role.value}, account {enrolment.account.hex()[:16]}, block {outcome.height}")


async def file_record(story: Story, name: str, content: bytes, category: str) -> RecordId:
    path = story.directory / "home" / name
    path.write_bytes(content)
    async with acting(story, AUTHOR, NORTH) as client:
        patient = find_account(story.wallet, PATIENT)
        done = await put_record(client, patient, path, category=category)
    path.unlink()
    if not done.is_safe:
        fail(Exit.LOCAL, "record.unsafe", f"too few hospitals keep a copy of {name}")
    say(
        f"   {name}: {len(content)} bytes, {done.size_bytes} sealed, copies at two hospitals,"
        f" {len(done.recipients)} envelopes, block {done.outcome.height}"
    )
    return done.record_id


async def refused_read(story: Story, record_id: RecordId) -> None:
    async with acting(story, READER, SOUTH) as client:
        try:
            await get_record(client, record_id, story.directory / "home")
        except Refused as refusal:
            say(f"   refused: {refusal.code} - {refusal}")
            return
    fail(Exit.LOCAL, "demo.not_refused", "the read was not refused: this must not happen")


async def ask_and_approve(story: Story) -> None:
    async with acting(story, READER, SOUTH) as client:
        patient = find_account(story.wallet, PATIENT)
        until_ms = int(time.time() * 1000) + DAY_MS
        request = await request_access(client, patient, until_ms=until_ms)
    say(f"   request {request.tx_id.hex()[:16]} in block {request.height}")
    async with acting(story, PATIENT, NORTH) as client:
        granted = await approve_request(client, request.tx_id)
    say(
        f"   grant {granted.grant_id.hex()[:16]} in block {granted.outcome.height};"
        f" keys of {granted.keys.envelopes} records sealed to {READER}"
    )


async def read_it(story: Story, record_id: RecordId, expected: bytes) -> None:
    folder = story.directory / "home"
    async with acting(story, READER, SOUTH) as client:
        opened = await get_record(client, record_id, folder, overwrite=True)
    same = opened.path.read_bytes() == expected
    opened.path.unlink()
    if not same:
        fail(Exit.LOCAL, "demo.other_bytes", "the bytes read are not the bytes filed")
    say(
        f"   {opened.metadata.content_bytes} bytes of {opened.metadata.content_type}, the same as"
        " filed; address, key commitment, padding, length and author verified first"
    )


async def take_back(story: Story) -> None:
    async with acting(story, PATIENT, NORTH) as client:
        grant = (await list_grants(client, client.actor.account))[0]
        done = await revoke_access(client, grant.grant_id)
    say(
        f"   ended in block {done.outcome.height}; {done.keys.resealed} records sealed afresh;"
        f" {len(done.opened)} had been opened, which nobody can take back"
    )


async def show_log(story: Story) -> None:
    async with acting(story, PATIENT, SOUTH) as client:
        lines = await read_log(client, client.actor.account)
    rows = [
        {"time": time_text(one.time_ms), "block": one.height, "what": one.sentence} for one in lines
    ]
    story.log = rows
    if not settings().as_json:
        show_rows("Audit trail", ("time", "block", "what"), rows)


async def agree(story: Story) -> None:
    """Every node has the same chain: compare the newest block that all of them have."""
    tips = [get_json(member.url, "/v1/node")["tip"]["height"] for member in story.members]
    height = min(tips)
    digests = {get_json(member.url, f"/v1/blocks/{height}")["digest"] for member in story.members}
    if len(digests) != 1:
        fail(Exit.LOCAL, "demo.fork", f"the nodes differ at height {height}")
    say(f"   block {height} is {digests.pop()[:16]} on all four")


@asynccontextmanager
async def acting(story: Story, label: str, org: str) -> AsyncIterator[Client]:
    """Connect to a hospital's node as somebody who has seen what was done so far."""
    genesis = story.directory / "home" / GENESIS_NAME
    async with open_client(story.url(org), genesis, story.wallet, actor=label) as client:
        client.height = max(client.height, story.height)
        try:
            yield client
        finally:
            story.height = max(story.height, client.height)


def addresses(story: Story) -> None:
    rows = [
        {"hospital": member.org, "api": member.url, "log": str(member.log_file)}
        for member in story.members
    ]
    took_s = time.monotonic() - story.started
    if settings().as_json:
        show({"log": story.log, "addresses": rows, "took_s": round(took_s, 1)})
        return
    show_rows("Addresses", ("hospital", "api", "log"), rows)
    say(f"the whole story took {took_s:.1f} s")


def keep_running(story: Story) -> None:
    """Keep the consortium for whoever wants to look around, until Ctrl-C."""
    home = story.directory / "home"
    say(f"try:  medledger record list --as {PATIENT} --home {home}")
    say("the consortium keeps running; Ctrl-C stops it")
    while True:
        signal.pause()


@contextmanager
def step(story: Story, what: str, *, since: float | None = None) -> Iterator[None]:
    """Announce a step and say how long it took."""
    story.steps += 1
    began = time.monotonic() if since is None else since
    say(f"{story.steps:>2}. {what}")
    yield
    say(f"   {time.monotonic() - began:.2f} s\n")


def _members_of(folder: Path) -> list[Member]:
    return load_members(folder) if (folder / "nodes").is_dir() else []
