"""`medledger record`: seal and file a record, list what may be seen, read one, its versions."""

from pathlib import Path
from typing import Any

import click

from client.connection import Client
from client.directories import get_directory
from client.errors import DirectoryUnknown, Refused
from client.lookup import FoundVersion, find_versions, list_records
from client.records import OpenedFile, PutRecord, get_record, put_record, put_version
from client.wallet import name_of
from commands.home import account_named, home_options, make_home, record_named, run_client
from commands.output import Exit, fail, show, show_rows
from commands.progress import transfer_bar
from commands.times import time_text
from crypto.cid import encode_cid_text
from crypto.directory import category_name
from crypto.record_ids import VersionId
from ledger.purposes import TREAT
from ledger.records_payloads import Confidentiality

LEVELS = tuple(level.value for level in Confidentiality)
file_argument = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))


@click.group()
def record() -> None:
    """Records: put, list, get, versions."""


@record.command()
@file_argument
@click.option("--patient", required=True, help="Label, contact or account of the patient.")
@click.option("--category", required=True, help="Name of a category, e.g. imaging.")
@click.option("--label", "labels", multiple=True, help="Sensitivity labels, by code.")
@click.option("--level", type=click.Choice(LEVELS), default="N", show_default=True)
@click.option("--type", "content_type", help="Content type; guessed from the name otherwise.")
@home_options
def put(
    file: Path,
    patient: str,
    category: str,
    labels: tuple[str, ...],
    level: str,
    content_type: str | None,
    **options: Any,
) -> None:
    """Seal FILE on this side and file it as a new record of a patient.

    \b
    Example:
      medledger record put scan.dcm --patient anna --category imaging --as dr-ada
    """

    async def work(client: Client) -> PutRecord:
        with transfer_bar(file.name) as progress:
            return await put_record(
                client,
                account_named(client, patient),
                file,
                category=category,
                labels=labels,
                level=Confidentiality(level),
                content_type=content_type,
                progress=progress,
            )

    _show_put(run_client(make_home(**options), work))


@record.command()
@click.argument("record_id")
@file_argument
@click.option("--type", "content_type", help="Content type; guessed from the name otherwise.")
@home_options
def amend(record_id: str, file: Path, content_type: str | None, **options: Any) -> None:
    """Seal FILE as the next version of a record.

    \b
    Example:
      medledger record amend 3f...9a report-2.pdf --as dr-ada
    """
    wanted = record_named(record_id)

    async def work(client: Client) -> PutRecord:
        with transfer_bar(file.name) as progress:
            return await put_version(
                client, wanted, file, content_type=content_type, progress=progress
            )

    _show_put(run_client(make_home(**options), work))


@record.command(name="list")
@click.option("--patient", help="Label, contact or account; the actor when left out.")
@home_options
def list_all(patient: str | None, **options: Any) -> None:
    """List the records of a patient that the actor may know of.

    \b
    Example:
      medledger record list --patient anna --as dr-bob
    """

    async def work(client: Client) -> list[dict[str, Any]]:
        pseudonym = client.actor.account if patient is None else account_named(client, patient)
        found = await list_records(client, pseudonym)
        try:
            directory = await get_directory(client, pseudonym)
        except (DirectoryUnknown, Refused):
            directory = None  # Without the directory a category is an opaque id.
        rows = []
        for one in found:
            row = _row(client, one)
            category = one.record.facts.category
            row["category"] = (directory and category_name(directory, category)) or category
            rows.append(row)
        return rows

    columns = ("record", "category", "level", "versions", "author", "hospital", "bytes", "put")
    show_rows("Records", columns, run_client(make_home(**options), work))


@record.command()
@click.argument("record_id")
@home_options
def versions(record_id: str, **options: Any) -> None:
    """List the versions of a record, latest first.

    \b
    Example:
      medledger record versions 3f...9a --as anna
    """
    wanted = record_named(record_id)

    async def work(client: Client) -> list[dict[str, Any]]:
        return [_row(client, one) for one in await find_versions(client, wanted)]

    columns = ("ordinal", "version", "author", "hospital", "bytes", "put", "safe")
    show_rows(f"Versions of {record_id}", columns, run_client(make_home(**options), work))


@record.command()
@click.argument("record_id")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), default=Path(), help="File or folder."
)
@click.option("--version", "version_id", help="Which version; the latest when left out.")
@click.option("--purpose", default=TREAT, show_default=True, help="Why, as a code.")
@click.option("--overwrite", is_flag=True, help="Replace a file of that name.")
@home_options
def get(
    record_id: str,
    out: Path,
    version_id: str | None,
    purpose: str,
    *,
    overwrite: bool,
    **options: Any,
) -> None:
    """Read a record: enter the read into the patient's log, fetch, verify everything, open.

    \b
    Example:
      medledger record get 3f...9a -o scan.dcm --as dr-bob
    """
    wanted = record_named(record_id)
    folder, name = (out, None) if out.is_dir() else (out.parent, out.name)
    if not folder.is_dir():
        fail(Exit.USAGE, "record.out", f"there is no folder {folder}: the record was not read")
    version = None if version_id is None else VersionId(bytes(record_named(version_id)))

    async def work(client: Client) -> OpenedFile:
        with transfer_bar(record_id[:8]) as progress:
            return await get_record(
                client,
                wanted,
                folder,
                version_id=version,
                purpose=purpose,
                file_name=name,
                overwrite=overwrite,
                progress=progress,
            )

    opened = run_client(make_home(**options), work)
    show(
        {
            "file": opened.path,
            "content_type": opened.metadata.content_type,
            "bytes": opened.metadata.content_bytes,
            "read_entry": opened.read,
        },
        f"{opened.path}: {opened.metadata.content_bytes} bytes of {opened.metadata.content_type},"
        " verified; the read stands in the patient's log",
    )


def _show_put(done: PutRecord) -> None:
    put_ = {
        "record": done.record_id,
        "version": done.version_id,
        "cid": encode_cid_text(done.cid),
        "sealed_bytes": done.size_bytes,
        "safe": done.is_safe,
        "recipients": list(done.recipients),
        "tx_id": done.outcome.tx_id,
        "height": done.outcome.height,
    }
    if not done.is_safe:
        fail(
            Exit.REFUSED,
            "record.unsafe",
            f"record {done.record_id.hex()} is filed, but too few hospitals keep a copy yet:"
            " put it again as a new version when more nodes are reachable",
            found=put_,
        )
    show(
        put_,
        f"record {done.record_id.hex()} stands in block {done.outcome.height},"
        f" sealed for {len(done.recipients)}, {done.size_bytes} bytes",
    )


def _row(client: Client, found: FoundVersion) -> dict[str, Any]:
    version, facts = found.version, found.record.facts
    author = name_of(client.wallet, version.author) or version.author.hex()[:16]
    return {
        "record": facts.record_id,
        "version": version.version_id,
        "ordinal": int(version.ordinal),
        "versions": found.record.version_count,
        "level": facts.level.value,
        "category": facts.category,
        "author": author,
        "hospital": version.author_org,
        "bytes": found.seal.size_bytes,
        "put": time_text(version.time_ms),
        "safe": found.seal.is_safe,
    }
