"""The path of one transaction over four real nodes, read from their logs; and their numbers."""

import re
from dataclasses import replace
from typing import Any

from benchmarks.scene.local import Member
from client.transactions import sign_payload
from client.trust import make_trust
from client.wallet import find_keys
from config import dump_config, load_config
from crypto.hashing import Digest
from genesis.files import load_genesis
from ledger.access_payloads import AccessRevoke
from tests.integration.commands import run
from tests.integration.conftest import MakeConsortium
from tests.integration.consortium import Consortium, ask, start_all, wait_until
from tests.integration.test_doctor import hand_in_signed
from tests.unit.commands.command_line import invoke

STEPS = ("pooled", "in proposal", "committed", "block")
"""What every node logs on the way of a transaction."""


def test_the_path_of_a_transaction_is_read_from_the_logs_of_four_nodes(
    make_consortium: MakeConsortium,
) -> None:
    four = make_consortium(4, is_started=False)
    for member in four.members:
        talk(member)
    start_all(four)
    signed = sign_revoke(four)

    hand_in_signed(four.members[1], [signed.item.signed])
    told = ask(four.members[1], f"/v1/transactions/{signed.tx_id.hex()}?wait_ms=20000")
    rows = wait_whole_path(four, signed.tx_id)
    numbers = run("metrics", "--node", four.members[1].url).stdout

    height = told["receipt"]["height"]
    assert {row["height"] for row in rows if row["event"] == "block"} == {height}
    first, *later = rows
    assert (first["event"], first["replica"], first["what"]["by"]) == ("pooled", 1, "user")
    assert {row["what"]["by"] for row in later if row["event"] == "pooled"} == {"peer"}
    assert [row["replica"] for row in rows if row["event"] == "gossiped"] == [1]
    primary = {row["replica"] for row in rows} - {
        row["replica"] for row in rows if row["event"] == "voted"
    }
    assert len(primary) == 1, "all but the primary vote for a proposal"
    codes = {row["what"]["code"] for row in rows if row["event"] in ("executed", "refused")}
    assert codes == {told["receipt"]["code"]}
    assert "receipt told" in {row["event"] for row in rows if row["replica"] == 1}
    check_numbers(numbers)


def talk(member: Member) -> None:
    path = member.directory / "node.toml"
    config = replace(load_config(path), log_level="debug")
    path.write_text(dump_config(config), encoding="utf-8")


def sign_revoke(consortium: Consortium) -> Any:
    trust = make_trust(load_genesis(consortium.genesis))
    keys = find_keys(consortium.wallet, "admin-hospital-a")
    payload = AccessRevoke(pseudonym=keys.account, grant=Digest(trust.chain_id))
    return sign_payload(trust, keys, "access.revoke", payload)


def wait_whole_path(consortium: Consortium, tx_id: Digest) -> list[dict[str, Any]]:
    """Wait until each of the four has logged every step; return the rows of the trace."""
    logs = [member.log_file for member in consortium.members]
    found: list[list[dict[str, Any]]] = []

    def is_whole() -> bool:
        traced = invoke("--json", "tx", "trace", tx_id.hex(), *logs)
        if traced.status != 0:
            return False
        found.append(traced.json)
        steps = {(row["replica"], row["event"]) for row in found[-1]}
        return {(index, step) for index in range(4) for step in STEPS} <= steps

    wait_until(is_whole, lambda: f"every step: {found[-1:]}")
    return found[-1]


def check_numbers(text: str) -> None:
    """The numbers moved with the transaction, and none is twice there."""
    names = re.findall(r"^(medledger_\w+(?:\{.*\})?) ", text, re.MULTILINE)
    assert len(set(names)) == len(names)
    for line in (
        "medledger_well 1",
        "medledger_committed_transactions_total 1",
        "medledger_commit_latency_seconds_count 1",
        'medledger_peers{state="connected"} 3',
    ):
        assert f"{line}\n" in text, text
    blocks = re.search(r"^medledger_blocks_total (\d+)$", text, re.MULTILINE)
    assert blocks is not None
    assert int(blocks[1]) > 1
    assert 'medledger_clock_offset_seconds{peer="hospital-a"}' in text
    assert re.search(r'medledger_phase_latency_seconds_count\{phase="committed"\} [1-9]', text)
    assert re.search(r"medledger_journal_fsync_seconds_count [1-9]", text)
