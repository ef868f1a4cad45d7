"""Faults planted in real consortia: the doctor names the true cause, and who or what is to blame.

One consortium serves most of them; whatever a test has broken it mends, and the next one begins
with all nodes running.
"""

import asyncio
import base64
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scene.local import Member, free_ports
from client.plain_http import post_json
from client.transactions import sign_payload
from client.trust import make_trust
from client.wallet import find_keys
from config import Endpoint, NodeConfig, Timeouts, dump_config, load_config
from crypto.hashing import Digest
from genesis.files import load_genesis
from ledger.access_payloads import AccessRevoke
from ledger.parameters import Parameters
from node import Node, running_node
from p2p.config import NetworkConfig, PeerAddress
from p2p.network import Network
from shell.clock import Clock
from shell.keys import identity_of, load_node_keys, make_node_keys
from shell.kinds import KIND_RULES, Kind
from shell.replica import update_backlog
from storage.layout import check_layout
from tests.integration.commands import run
from tests.integration.conftest import MakeConsortium
from tests.integration.consortium import (
    IDLE_BLOCK_MS,
    Consortium,
    ask,
    found_consortium,
    height_of,
    is_up,
    kill,
    pid_of,
    start_all,
    start_one,
    stop_all,
    stop_one,
    wait_height,
    wait_until,
)
from tests.integration.test_flipped_bytes import flipped, start_and_see
from tests.integration.test_full_disks import NODE_BYTES, fill, needs_root, small_disk
from tests.integration.test_hostile_bytes import passphrase_of
from tests.unit.commands.command_line import invoke

BASE_TIMEOUT_MS = 3_000
"""Long enough to see a view change under way."""

SKEW_MS = 90_000
POOL_MAX = 100
TURNING = Parameters(idle_block_ms=IDLE_BLOCK_MS, rotate_every=2)
"""Everybody's turn to be primary comes soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the doctor said: `status` is that of the command, `others` the codes told beside it."""

    status: int
    code: str
    sentence: str
    others: tuple[str, ...]


def examine(member: Member) -> Told:
    """Ask the doctor as the operator of a node does."""
    ended = invoke("--json", "doctor", member.directory)
    others = tuple(one["code"] for one in ended.json["others"] if one["code"] != "log")
    return Told(
        status=ended.status,
        code=ended.json["code"],
        sentence=ended.json["sentence"],
        others=others,
    )


def wait_told(member: Member, *codes: str) -> Told:
    """Wait until the command tells one of the codes: a machine that stumbles is told first."""
    seen: list[Told] = []

    def is_so() -> bool:
        seen.append(examine(member))
        return seen[-1].code in codes

    wait_until(is_so, lambda: f"{codes}: {seen[-1]}")
    return seen[-1]


def asked(member: Member) -> dict[str, Any]:
    try:
        found = ask(member, "/v1/doctor")
    except OSError:
        return {"code": "", "sentence": "it does not answer"}
    assert isinstance(found, dict)
    return found


def wait_code(member: Member, *codes: str, timeout_s: float = 60.0) -> str:
    """Wait until a node's own diagnosis has one of the codes; return its sentence."""
    seen: list[dict[str, Any]] = []

    def is_so() -> bool:
        seen.append(asked(member))
        return seen[-1]["code"] in codes

    wait_until(is_so, lambda: f"{codes}: {seen[-1]['sentence']}", timeout_s=timeout_s)
    return str(seen[-1]["sentence"])


def configure(member: Member, **changes: Any) -> None:
    path = member.directory / "node.toml"
    path.write_text(dump_config(replace(load_config(path), **changes)), encoding="utf-8")


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    consortium = found_consortium(tmp_path_factory.mktemp("doctor") / "consortium", 4)
    for member in consortium.members:
        timeouts = Timeouts(base_timeout_ms=BASE_TIMEOUT_MS, status_ms=200)
        configure(member, timeouts=timeouts)
    yield consortium
    stop_all(consortium)


@pytest.fixture
def hospitals(founded: Consortium) -> Consortium:
    """Four hospitals whose nodes run, and all of whose members vote."""
    start_all(founded)
    for member in founded.members:
        wait_until(partial(has_all_voting, member), partial(sentence_of, member))
    return founded


def sentence_of(member: Member) -> str:
    return str(asked(member)["sentence"])


def has_all_voting(member: Member) -> bool:
    """Whether a node votes and hears all others vote, whatever else may be told of it."""
    facts = asked(member).get("facts")
    if facts is None or facts["fence"] is not None:
        return False
    heard = [one["heard_ms"] for one in facts["others"] if one["link"] == "connected"]
    is_fenced = any(one["is_fenced"] for one in facts["others"])
    is_near = all((one["height"] or 0) + 1 >= facts["height"] for one in facts["others"])
    is_heard = all(elapsed_ms is not None and elapsed_ms < 1_000 for elapsed_ms in heard)
    return len(heard) == 3 and is_heard and is_near and not is_fenced


def test_all_is_well(hospitals: Consortium) -> None:
    wait_told(hospitals.members[0], "idle")
    ended = run("doctor", hospitals.members[0].directory)

    assert ended.returncode == 0
    assert ended.stdout.startswith("All is well, and nothing waits: hospital-a decided block")
    assert ended.stdout.endswith("[idle]\n")
    assert "4 of 4 members vote" in ended.stdout


def test_fault_a_silent_member_whom_the_quorum_can_spare(hospitals: Consortium) -> None:
    stop_one(hospitals.members[3])
    wait_until(
        lambda: asked(hospitals.members[0]).get("others", []) != [], "the silence is noticed"
    )

    told = wait_told(hospitals.members[0], "idle")

    assert (told.status, told.others) == (0, ("member_silent",))
    assert "hospital-d has been silent" in told.sentence
    assert "no more may fail" in told.sentence


def test_fault_a_lost_quorum(hospitals: Consortium) -> None:
    one, _, third, fourth = hospitals.members
    stop_one(third)
    stop_one(fourth)

    told = wait_told(one, "no_quorum")

    assert (told.status, told.code) == (4, "no_quorum")
    assert "3 of 4 members have to vote and only hospital-a and hospital-b can" in told.sentence
    assert "hospital-c has been silent" in told.sentence
    assert "hospital-d has been silent" in told.sentence


def test_fault_a_full_pool_behind_a_lost_quorum_is_told_as_what_follows(
    hospitals: Consortium,
) -> None:
    one, _, third, fourth = hospitals.members
    stop_one(one)
    limits = load_config(one.directory / "node.toml").limits
    configure(one, limits=replace(limits, pool_transactions_max=POOL_MAX))
    start_one(hospitals, one)
    wait_height([one], height_of(third))
    stop_one(third)
    stop_one(fourth)
    wait_code(one, "no_quorum")

    hand_in_many(hospitals, one)
    told = wait_told(one, "no_quorum")

    assert (told.status, told.code) == (4, "no_quorum")
    assert "pool_full" in told.others


def test_fault_a_pool_into_which_more_comes_than_blocks_take(hospitals: Consortium) -> None:
    hand_in_many(hospitals, hospitals.members[0])

    told = wait_told(hospitals.members[0], "pool_full")

    assert (told.status, told.code) == (4, "pool_full")
    assert "The pool of hospital-a was full" in told.sentence


def hand_in_many(consortium: Consortium, member: Member) -> None:
    """Hand in more transactions at once than the pool of one node takes, of four accounts."""
    trust = make_trust(load_genesis(consortium.genesis))
    items = []
    for number in range(POOL_MAX):
        keys = find_keys(consortium.wallet, f"admin-{consortium.members[number % 4].org}")
        payload = AccessRevoke(pseudonym=keys.account, grant=Digest(trust.chain_id))
        items.append(sign_payload(trust, keys, "access.revoke", payload))
    answers = hand_in_signed(member, [one.item.signed for one in items])
    assert "pool.full" in {one.get("code") for one in answers}, answers[-1]


def test_fault_a_primary_that_is_silent(hospitals: Consortium) -> None:
    overview = ask(hospitals.members[0], "/v1/consensus")
    primary = hospitals.members[overview["primary"]]
    witness = next(member for member in hospitals.members if member is not primary)
    os.kill(pid_of(primary), signal.SIGSTOP)
    try:
        sentence = wait_code(witness, "primary_silent", "view_changing")
        told = examine(primary)
    finally:
        os.kill(pid_of(primary), signal.SIGCONT)

    assert primary.org in sentence
    assert (told.status, told.code) == (4, "process_stopped")
    assert f"Process {pid_of(primary)} " in told.sentence


def test_fault_a_fence_for_a_lost_journal_that_cannot_fall(hospitals: Consortium) -> None:
    one, _, third, fourth = hospitals.members
    stop_one(fourth)
    stop_one(third)
    journal = check_layout(fourth.directory).journal
    for path in tuple(journal.iterdir()):
        path.unlink()
    told_before = examine(fourth)
    start_one(hospitals, fourth)
    wait_told(fourth, "fenced")
    wait_until(lambda: "hospital-d is fenced" in asked(one)["sentence"], "the others know it")

    told, told_at_one = wait_told(fourth, "fenced"), wait_told(one, "no_quorum")

    assert (told_before.status, told_before.code) == (4, "journal_missing")
    assert (told.status, told.code) == (4, "fenced")
    assert "hospital-d is fenced and signs nothing" in told.sentence
    assert told_at_one.code == "no_quorum"
    assert "hospital-c has been silent" in told_at_one.sentence
    start_one(hospitals, third)
    wait_code(fourth, "ok", "idle")


def test_fault_a_killed_node_and_one_that_was_told_to_stop(hospitals: Consortium) -> None:
    kill(hospitals.members[1])
    stop_one(hospitals.members[2])

    killed, stopped = examine(hospitals.members[1]), examine(hospitals.members[2])

    assert (killed.status, killed.code) == (4, "killed")
    assert (stopped.status, stopped.code) == (4, "not_running")
    assert "told to stop" in stopped.sentence


def test_fault_a_wrong_passphrase(hospitals: Consortium, tmp_path: Path) -> None:
    member = hospitals.members[3]
    stop_one(member)
    wrong = tmp_path / "wrong"
    wrong.write_text("no word of it\n", encoding="utf-8")
    wrong.chmod(0o600)
    run("node", "start", member.directory, "--passphrase-file", wrong)

    told = examine(member)

    assert (told.status, told.code) == (4, "ended")
    assert "[keystore." in told.sentence
    assert "passphrase" in told.sentence


def test_fault_a_second_process_on_one_directory_does_not_take_the_words(
    hospitals: Consortium,
) -> None:
    member = hospitals.members[3]
    refused = start_and_see(hospitals, member)

    told = wait_told(member, "idle")

    assert refused.code == "node.running"
    assert told.status == 0


def test_fault_a_damaged_journal_and_a_damaged_ledger(hospitals: Consortium) -> None:
    member = hospitals.members[3]
    kill(member)
    layout = check_layout(member.directory)
    journal = max(layout.journal.iterdir(), key=lambda path: path.stat().st_size)

    with flipped(journal, journal.stat().st_size // 3):
        start_and_see(hospitals, member)
        of_journal = examine(member)
    manifest = next(layout.ledger.glob("MANIFEST-*"))
    with flipped(manifest, manifest.stat().st_size // 2):
        of_ledger = examine(member)

    assert (of_journal.status, of_journal.code) == (4, "journal_damaged")
    assert str(layout.journal) in of_journal.sentence
    assert (of_ledger.status, of_ledger.code) == (4, "ledger_damaged")
    assert str(layout.ledger) in of_ledger.sentence


def test_fault_an_api_elsewhere_than_the_configuration_says(hospitals: Consortium) -> None:
    one, other = hospitals.members[:2]
    own = load_config(one.directory / "node.toml").api
    try:
        configure(one, api=Endpoint(port=free_ports(1)[0]))
        nobody = examine(one)
        configure(one, api=load_config(other.directory / "node.toml").api)
        stranger = examine(one)
    finally:
        configure(one, api=own)

    assert (nobody.status, nobody.code) == (4, "api_unreachable")
    assert f"Process {pid_of(one)} " in nobody.sentence
    assert (stranger.status, stranger.code) == (4, "other_node")
    assert "node 1 (hospital-b)" in stranger.sentence


async def test_fault_somebody_else_at_a_members_address(hospitals: Consortium) -> None:
    one, fourth = hospitals.members[0], hospitals.members[3]
    await asyncio.to_thread(stop_one, fourth)
    async with impostor_of(fourth, hospitals):
        told = await asyncio.to_thread(wait_told, one, "wrong_key")

    assert (told.status, told.code) == (4, "wrong_key")
    assert "hospital-d does not show the key" in told.sentence


@asynccontextmanager
async def impostor_of(member: Member, consortium: Consortium) -> AsyncIterator[None]:
    """Listen at a member's address with a key that the ledger does not know."""
    config = load_config(member.directory / "node.toml")
    peers = [
        PeerAddress(
            peer_id=index,
            host="127.0.0.1",
            port=load_config(one.directory / "node.toml").p2p.port,
            pin=identity_of(load_node_keys(one.directory / "keys", passphrase_of(one))).pin,
        )
        for index, one in enumerate(consortium.members)
        if one is not member
    ]
    network = Network(
        NetworkConfig(host="127.0.0.1", port=config.p2p.port, kinds=KIND_RULES),
        identity_of(make_node_keys()),
        self_id=config.node_index,
        peers=peers,
        on_frame=lambda _peer, _kind, _body: None,
    )
    await network.start()
    try:
        yield
    finally:
        await network.close()


async def test_fault_an_event_loop_that_was_held(hospitals: Consortium) -> None:
    member = hospitals.members[3]
    await asyncio.to_thread(stop_one, member)
    async with in_this_process(hospitals, member):
        await asyncio.to_thread(wait_height, [member], height_of(hospitals.members[0]))
        time.sleep(2.0)  # noqa: ASYNC251 - holding the loop is the fault.
        told = await asyncio.to_thread(wait_told, member, "loop_lag")

    assert (told.status, told.code) == (4, "loop_lag")
    assert "hospital-d itself was not running for" in told.sentence


@asynccontextmanager
async def in_this_process(
    consortium: Consortium, member: Member, *, clock: Clock | None = None
) -> AsyncIterator[Node]:
    """Run one node on the loop of the test, where its parts can be reached."""
    config: NodeConfig = load_config(member.directory / "node.toml")
    async with running_node(config, passphrase_of(member), clock=clock) as node:
        yield node


async def test_fault_a_clock_that_is_off(make_consortium: MakeConsortium) -> None:
    four = make_consortium(4, parameters=TURNING, is_started=False)
    first, second = four.members[:2]
    async with in_this_process(four, first, clock=Clock(offset_ms=SKEW_MS)):
        for member in four.members[1:]:
            start_one(four, member)
        told = await asyncio.to_thread(wait_told, first, "clock_off")
        told_at_second = await asyncio.to_thread(wait_told, second, "proposal_refused")

    assert (told.status, told.code) == (4, "clock_off")
    assert "The clock of hospital-a is 90 s ahead of" in told.sentence
    assert "that hospital-a proposed" in told_at_second.sentence
    assert "block.time_future" in told_at_second.sentence
    assert "member_clock_off" in told_at_second.others


async def test_fault_a_primary_that_withholds_transactions(
    make_consortium: MakeConsortium,
) -> None:
    four = make_consortium(4, parameters=TURNING, is_started=False)
    first, second = four.members[:2]
    for member in four.members[1:]:
        start_one(four, member)
    async with in_this_process(four, first) as node:
        await asyncio.to_thread(wait_height, four.members[1:], 2)
        withhold(node)
        await asyncio.to_thread(hand_in_one, four, first)
        told = await asyncio.to_thread(wait_told, second, "bodies_missing")

    assert "hospital-a proposed block" in told.sentence
    assert (told.status, told.code) == (4, "bodies_missing")


def withhold(node: Node) -> None:
    """Have a node keep to itself whatever is handed in, and propose it nevertheless."""

    async def answer_nothing(_peer_id: int, _body: bytes) -> bytes:
        return b""

    (gossip,) = [chore for chore in node.chores if chore.get_name() == "gossip"]
    gossip.cancel()  # It would pass on what waits, a second later.
    node.intake.on_added = lambda _entries, _is_gossip: update_backlog(node.replica)
    node.network.serve(Kind.FIND_TRANSACTIONS, answer_nothing)


def hand_in_one(consortium: Consortium, member: Member) -> None:
    trust = make_trust(load_genesis(consortium.genesis))
    keys = find_keys(consortium.wallet, "admin-hospital-a")
    payload = AccessRevoke(pseudonym=keys.account, grant=Digest(trust.chain_id))
    hand_in_signed(member, [sign_payload(trust, keys, "access.revoke", payload).item.signed])


def hand_in_signed(member: Member, signed: Sequence[bytes]) -> list[dict[str, Any]]:
    """Hand in a batch of signed transactions; return the node's answers."""
    items = [{"signed": base64.b64encode(one).decode(), "sidecars": []} for one in signed]
    answers = post_json(member.url, "/v1/transactions", {"transactions": items})
    assert isinstance(answers, list)
    return answers


@needs_root
def test_fault_a_full_disk(make_consortium: MakeConsortium) -> None:
    four = make_consortium(4, is_started=False)
    member = four.members[3]
    with small_disk(four, member.directory, NODE_BYTES):
        start_all(four)
        fill(member.directory / "ledger")
        wait_until(lambda: not is_up(member), "the node on the full disk ends")

        told = examine(member)

    assert (told.status, told.code) == (4, "disk_full")
    assert str(member.directory) in told.sentence


def test_fault_a_wrong_address() -> None:
    ended = run("doctor", "--node", f"http://127.0.0.1:{free_ports(1)[0]}")

    assert (ended.returncode, ended.code) == (3, "node.unreachable")
