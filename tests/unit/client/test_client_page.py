"""The example of `docs/client.md` runs as it stands, but for its address and its folders."""

import asyncio
import re
from pathlib import Path

import client
from client.wallet import add_keys
from crypto.keystore import KDF_CHEAPEST
from tests.unit.client.people_of_north import PASSPHRASE, make_town
from tests.unit.client.small_node import SmallNode, serve

PAGE = Path(__file__).parents[3] / "docs" / "client.md"


def example(page: Path) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return str(code)


async def test_the_example_puts_grants_and_reads(tmp_path: Path) -> None:
    (tmp_path / "scan.dcm").write_bytes(b"DICM" * 10_000)
    async with serve(node := SmallNode()) as url:
        town = await make_town(node, url, tmp_path / "homes")
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "genesis.json").write_bytes(node.genesis)
        home = client.create_wallet(tmp_path / "home", PASSPHRASE, kdf=KDF_CHEAPEST)
        people = {"ada": "ada", "doctor": "dr-north", "south-doctor": "dr-south"}
        for name, label in people.items():
            keys = town.keys(name)
            add_keys(
                home,
                label,
                keys.account,
                sign_key=keys.sign_key,
                seal_keys=keys.seal_keys,
                created_ms=1,
            )
        code = example(PAGE)
        for word, value in {
            '"nine words that nobody guesses"': repr(PASSPHRASE),
            '"http://127.0.0.1:8400"': repr(url),
            'Path("': f'Path("{tmp_path}/',
        }.items():
            assert word in code
            code = code.replace(word, value)

        await asyncio.to_thread(exec, compile(code, "docs/client.md", "exec"), {})

    assert (tmp_path / "received" / "scan.dcm").read_bytes() == b"DICM" * 10_000
    assert len(code.splitlines()) <= 30


def test_every_name_the_page_imports_is_public() -> None:
    imported = re.search(r"from client import (.+)", example(PAGE))

    assert imported is not None
    assert {name.strip() for name in imported[1].split(",")} <= set(client.__all__)
    assert all(hasattr(client, name) for name in client.__all__)
