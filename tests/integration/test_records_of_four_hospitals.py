"""Real medical records walk through a consortium of real processes and come out as they went in."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from client.access import LogLine, grant_access, read_log, revoke_access
from client.connection import Client, act
from client.errors import Refused
from client.http import get_bytes
from client.reading import OpenedFile, get_record
from client.records import put_record
from crypto.cid import encode_cid_text
from crypto.record_ids import AccountId
from ledger.access_payloads import RecordList
from ledger.accounts import Role
from ledger.purposes import TREAT
from ledger.records_payloads import RecordRead
from tests.integration.consortium import (
    HOSPITALS,
    Consortium,
    acting,
    acting_after,
    check_one_history,
    register,
    wait_height,
)

RESEAL_EVERY = 4
"""One revocation in so many seals the record afresh; the others leave it, which is quicker."""

FILES_LEAST = 40

CATEGORIES = {
    ".dcm": "imaging",
    ".png": "imaging",
    ".pdf": "documents",
    ".xml": "documents",
    ".json": "problems",
    ".ndjson": "laboratory",
}


@dataclass(slots=True, kw_only=True)
class Ward:
    """One patient's place: the doctor at home who files, the doctor elsewhere who reads."""

    home: str
    elsewhere: str
    files: list[Path]

    @property
    def patient(self) -> str:
        return f"patient-{self.home}"

    @property
    def author(self) -> str:
        return f"doctor-{self.home}"

    @property
    def reader(self) -> str:
        return f"doctor-{self.elsewhere}"

    def is_resealed(self, position: int) -> bool:
        return position % RESEAL_EVERY == 0

    def expected_log(self) -> list[str]:
        kinds = ["identity.registered"]
        for position in range(len(self.files)):
            kinds += ["record.put", "access.granted", "record.envelopes", "record.read"]
            kinds.append("access.revoked")
            if self.is_resealed(position):
                kinds += ["record.read", "record.resealed"]
        return kinds


@pytest.mark.timeout(400)
async def test_every_real_record_is_shared_read_revoked_and_logged_alike_on_four_nodes(
    four: Consortium, shared_data: Path, tmp_path: Path
) -> None:
    files = sorted(path for path in (shared_data / "emr").glob("*/*") if path.is_file())
    assert len(files) >= FILES_LEAST
    wards = [
        Ward(home=home, elsewhere=HOSPITALS[(index + 1) % 4], files=files[index::4])
        for index, home in enumerate(HOSPITALS)
    ]
    for org in HOSPITALS:
        await register(four, f"doctor-{org}", org, Role.DOCTOR)
    for ward in wards:
        await register(four, ward.patient, ward.home, Role.PATIENT, writers=[ward.author])

    heights = await asyncio.gather(*(walk(four, ward, tmp_path) for ward in wards))

    wait_height(four.members, max(heights))
    check_one_history(four.members)
    for ward in wards:
        logs = [await log_at(four, ward, org) for org in HOSPITALS]
        assert [line.kind for line in logs[0]] == ward.expected_log()
        assert logs[1:] == [logs[0]] * 3
        reads = [line.sentence for line in logs[0] if line.kind == "record.read"]
        assert len(reads) >= len(ward.files)


async def walk(consortium: Consortium, ward: Ward, folder: Path) -> int:
    """Take each file of a ward through its life; return the height of the last step."""
    since = consortium.registered_height
    async with (
        acting_after(consortium, ward.author, ward.home, since) as author,
        acting_after(consortium, ward.patient, ward.home, since) as patient,
        acting_after(consortium, ward.reader, ward.elsewhere, since) as reader,
    ):
        for position, path in enumerate(ward.files):
            await share_read_and_revoke(
                (author, patient, reader), path, folder, is_resealed=ward.is_resealed(position)
            )
        return max(one.height for one in (author, patient, reader))


async def share_read_and_revoke(
    people: tuple[Client, Client, Client], path: Path, folder: Path, *, is_resealed: bool
) -> None:
    author, patient, reader = people
    account = AccountId(patient.actor.account)
    put = await put_record(author, account, path, category=CATEGORIES[path.suffix])
    assert put.is_safe, path
    patient.height = max(patient.height, author.height)
    scope = RecordList(records=(put.record_id,))
    granted = await grant_access(patient, grantee=reader.actor.account, scope=scope)
    assert (granted.keys.envelopes, granted.keys.failed) == (1, []), path
    reader.height = max(reader.height, patient.height)

    opened = await get_record(reader, put.record_id, folder / reader.actor.label)

    assert is_same(opened.path, path)
    assert opened.metadata.file_name == path.name
    opened.path.unlink()
    patient.height = max(patient.height, reader.height)
    revoked = await revoke_access(patient, granted.grant_id, reseal=is_resealed)
    assert [entry.reader for entry in revoked.opened] == [reader.actor.account]
    assert (revoked.keys.resealed, revoked.keys.failed) == (int(is_resealed), []), path
    reader.height = max(reader.height, patient.height)
    await check_refused(reader, opened, folder)


def is_same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


async def check_refused(reader: Client, opened: OpenedFile, folder: Path) -> None:
    """The node knows of no right, the ledger refuses a read entry, the old entry serves nothing."""
    found = opened.found
    with pytest.raises(Refused) as by_node:
        await get_record(reader, found.version.record_id, folder)
    payload = RecordRead(
        record_id=found.version.record_id,
        version_id=found.version.version_id,
        seal_id=found.seal.seal_id,
        purpose=TREAT,
        serving_node=reader.node_index,
    )
    with pytest.raises(Refused) as by_ledger:
        await act(reader, "records.read", payload)
    blob = f"/v1/blobs/{encode_cid_text(found.seal.cid)}"
    with pytest.raises(Refused) as by_old_entry:
        await get_bytes(reader.node, blob, {"read": opened.read.hex()}, bytes_max=1 << 20)

    assert by_node.value.code == "access.denied"
    assert by_ledger.value.code in {"access.denied", "records.seal_ended"}
    assert by_old_entry.value.code in {"access.denied", "records.seal_ended"}


async def log_at(consortium: Consortium, ward: Ward, org: str) -> tuple[LogLine, ...]:
    async with acting(consortium, ward.patient, org) as patient:
        return await read_log(patient, patient.actor.account)
