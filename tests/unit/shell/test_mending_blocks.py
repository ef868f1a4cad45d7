"""A block that the disk changed is replaced by a peer's copy, and by nothing else it may say."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from consensus.blocks import CertifiedBlock
from crypto.schema import decode, encode
from crypto.validators import Epoch, ReplicaId
from genesis.document import chain_id_of
from genesis.files import dump_genesis
from ledger.blocks import BlockBodies
from ledger.identity_payloads import Suspend
from ledger.pool import Pool, PoolLimits
from ledger.transactions import decode_transaction
from p2p.config import NetworkConfig, PeerAddress
from p2p.errors import RequestRefused
from p2p.network import Network
from shell.chain import Chain, open_live_chain
from shell.kinds import KIND_RULES, Kind
from shell.mending import (
    CERTIFIED_BYTES_MAX,
    BlockCopy,
    Mending,
    StorageDamaged,
    answer_copy,
    check_storage,
    keep_mending,
    mend_block,
    report_damage,
)
from storage.chain import open_chain
from storage.database import open_database
from storage.errors import BlockCorrupt
from storage.journal import close_journal, create_journal
from storage.keys import HEADERS, TRANSACTIONS, height_of
from storage.sidecars import close_sidecars
from tests.unit.ledger.record_samples import DOCTOR
from tests.unit.ledger.small_consortium import account_of, genesis
from tests.unit.p2p.loopback import new_identity, until
from tests.unit.shell.live_chain import make_live_chain

BLOCKS = 3
DAMAGED = 2


@dataclass(slots=True, kw_only=True)
class Member:
    """A node's chain and its network."""

    chain: Chain
    network: Network


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ledger of three decided blocks, closed."""
    folder = tmp_path_factory.mktemp("decided")
    live = make_live_chain(folder)

    async def decide() -> None:
        for _ in range(BLOCKS):
            payload = Suspend(account_id=account_of(DOCTOR), reason="test")
            signed = live.hospitals.chain.signed(
                "identity.suspend", payload, "first admin of north"
            )
            await live.decide(decode_transaction(signed, live.chain.chain_id))

    asyncio.run(decide())
    close_sidecars(live.sidecars)
    live.chain.stored.database.close()
    return folder / "ledger"


@pytest.fixture
async def members(ledger: Path, tmp_path: Path) -> AsyncIterator[tuple[Member, Member]]:
    """Two connected nodes with the same chain."""
    async with AsyncExitStack() as stack:
        found = []
        addresses = []
        for number in range(2):
            directory = Path(shutil.copytree(ledger, tmp_path / str(number)))
            chain = reopened(directory)
            stack.callback(chain.stored.database.close)
            identity = new_identity()
            network = Network(
                NetworkConfig(host="127.0.0.1", port=0, kinds=KIND_RULES),
                identity,
                self_id=number,
                peers=(),
                on_frame=lambda _peer, _kind, _body: None,
            )
            await network.start()
            stack.push_async_callback(network.close)
            addresses.append(
                PeerAddress(peer_id=number, host="127.0.0.1", port=network.port, pin=identity.pin)
            )
            found.append(Member(chain=chain, network=network))
        for number, member in enumerate(found):
            member.network.set_peers(addresses, self_id=number)
        await until(lambda: all(one.network.connected() for one in found))
        yield found[0], found[1]


def reopened(directory: Path) -> Chain:
    document = genesis()
    pool = Pool(PoolLimits(transactions_max=9, bytes_max=1 << 20, account_transactions_max=9))
    database = open_database(directory)
    stored = open_chain(database, chain_id_of(document))
    return open_live_chain(stored, dump_genesis(document), pool)


def damage(chain: Chain, family: bytes, height: int = DAMAGED) -> None:
    """Change one byte of a block on the disk."""
    database = chain.stored.database
    key, stored = next(
        (key, stored) for key, stored in database.scan(family) if height_of(key) == height
    )
    flipped = bytearray(stored)
    flipped[len(flipped) // 2] ^= 1
    database.put(key, bytes(flipped), sync=True)


def serve(
    member: Member, change: Callable[[CertifiedBlock], CertifiedBlock] = lambda copy: copy
) -> list[CertifiedBlock]:
    """Answer with copies, changed as a liar would; return those it had, once asked."""
    told: list[CertifiedBlock] = []

    async def answer(peer_id: int, body: bytes) -> bytes:
        whole = await answer_copy(member.chain, peer_id, body)
        copy = decode(CertifiedBlock, whole, bytes_max=CERTIFIED_BYTES_MAX)
        told.append(copy)
        return encode(change(copy))

    member.network.serve(Kind.FIND_BLOCK, answer)
    return told


@pytest.mark.parametrize("family", [HEADERS, TRANSACTIONS])
async def test_a_damaged_block_is_replaced_by_a_peers_copy(
    members: tuple[Member, Member], family: bytes
) -> None:
    ours, theirs = members
    whole = ours.chain.certified_block(DAMAGED)
    damage(ours.chain, family)
    with pytest.raises(BlockCorrupt):
        ours.chain.certified_block(DAMAGED)
    serve(theirs)

    is_mended = await mend_block(ours.chain, ours.network, DAMAGED)

    assert is_mended
    assert ours.chain.certified_block(DAMAGED) == whole


def other_bodies(copy: CertifiedBlock) -> CertifiedBlock:
    return replace(copy, bodies=encode(BlockBodies(transactions=(b"forged",))))


def no_bodies(copy: CertifiedBlock) -> CertifiedBlock:
    return replace(copy, bodies=encode(BlockBodies(transactions=())))


def no_quorum(copy: CertifiedBlock) -> CertifiedBlock:
    signatures = copy.certificate.signatures[:1]
    return replace(copy, certificate=replace(copy.certificate, signatures=signatures))


def other_signatures(copy: CertifiedBlock) -> CertifiedBlock:
    signatures = tuple((signer, bytes(64)) for signer, _ in copy.certificate.signatures)
    return replace(copy, certificate=replace(copy.certificate, signatures=signatures))


def unknown_epoch(copy: CertifiedBlock) -> CertifiedBlock:
    """Nobody could check a certificate of an epoch that is not known here."""
    certificate = replace(other_signatures(copy).certificate, epoch=Epoch(7))
    return replace(copy, certificate=certificate)


LIES = [other_bodies, no_bodies, no_quorum, other_signatures, unknown_epoch]


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("family", [HEADERS, TRANSACTIONS])
async def test_a_forged_copy_is_not_taken(
    members: tuple[Member, Member],
    family: bytes,
    lie: Callable[[CertifiedBlock], CertifiedBlock],
) -> None:
    ours, theirs = members
    damage(ours.chain, family)
    told = serve(theirs, lie)

    is_mended = await mend_block(ours.chain, ours.network, DAMAGED)

    assert not is_mended
    assert told, "the liar was asked"
    with pytest.raises(BlockCorrupt):
        ours.chain.certified_block(DAMAGED)


async def test_a_copy_of_another_block_is_not_taken(members: tuple[Member, Member]) -> None:
    ours, theirs = members
    damage(ours.chain, TRANSACTIONS)
    other = encode(BlockCopy(height=DAMAGED + 1))

    async def answer(peer_id: int, _body: bytes) -> bytes:
        return await answer_copy(theirs.chain, peer_id, other)

    theirs.network.serve(Kind.FIND_BLOCK, answer)

    assert not await mend_block(ours.chain, ours.network, DAMAGED)


@pytest.mark.parametrize("junk", [b"", b"junk", bytes(1_000)])
async def test_junk_mends_nothing(members: tuple[Member, Member], junk: bytes) -> None:
    ours, theirs = members
    damage(ours.chain, TRANSACTIONS)

    async def answer(_peer_id: int, _body: bytes) -> bytes:
        return junk

    theirs.network.serve(Kind.FIND_BLOCK, answer)

    assert not await mend_block(ours.chain, ours.network, DAMAGED)


async def test_a_node_that_cannot_be_helped_tries_again(members: tuple[Member, Member]) -> None:
    ours, theirs = members
    damage(ours.chain, TRANSACTIONS)
    asked = asyncio.Event()

    async def cannot(_peer_id: int, _body: bytes) -> bytes:
        asked.set()
        serve_again()
        raise RequestRefused("not_here")

    def serve_again() -> None:
        theirs.network.serve(
            Kind.FIND_BLOCK, lambda peer, body: answer_copy(theirs.chain, peer, body)
        )

    theirs.network.serve(Kind.FIND_BLOCK, cannot)
    mending = Mending(chain=ours.chain, network=ours.network)
    chore = asyncio.create_task(keep_mending(mending, pause_s=0.001))

    report_damage(mending, DAMAGED)
    async with asyncio.timeout(20):
        await asked.wait()
    await until(lambda: not mending.damaged)
    chore.cancel()

    assert ours.chain.certified_block(DAMAGED) is not None


async def test_a_damaged_block_is_found_at_the_start_and_does_not_prevent_it(
    members: tuple[Member, Member], tmp_path: Path
) -> None:
    ours, _ = members
    (tmp_path / "journal").mkdir()
    close_journal(create_journal(tmp_path / "journal"))
    damage(ours.chain, TRANSACTIONS, BLOCKS)
    mending = Mending(chain=ours.chain, network=ours.network)

    check_storage(mending, tmp_path / "journal")

    assert list(mending.damaged) == [BLOCKS]
    assert mending.wake.is_set()


async def test_what_no_peer_can_mend_prevents_the_start(
    members: tuple[Member, Member], tmp_path: Path
) -> None:
    ours, _ = members
    mending = Mending(chain=ours.chain, network=ours.network)

    with pytest.raises(StorageDamaged) as refusal:
        check_storage(mending, tmp_path / "no journal")

    assert refusal.value.code == "storage.damaged"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"junk", "malformed"),
        (encode(BlockCopy(height=99)), "not_here"),
        (encode(BlockCopy(height=DAMAGED)), "block.corrupt"),
    ],
)
async def test_who_asks_for_what_is_not_here_is_told(
    members: tuple[Member, Member], body: bytes, code: str
) -> None:
    ours, _ = members
    damage(ours.chain, TRANSACTIONS)

    with pytest.raises(RequestRefused, match=code):
        await answer_copy(ours.chain, ReplicaId(1), body)
