"""The whole ledger of one simulated node behind the `Application` protocol.

Nothing of it is a model: chain, pool, proposals, execution, journal and restart are the rooms'
own, over a database and files in memory. Only what waits (network, clock, workers) is the
simulator's: bodies are asked for by `host`, and a coroutine that only breathes is run to its end.
"""

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, TypeVar, cast

from consensus.blocks import Block, CertifiedBlock
from consensus.effects import CheckProposal, Decide, Effect, RequestProposal
from consensus.events import BlockExecuted
from consensus.records import JournalStarted, ProposalRecord, Record, decode_record
from consensus.state import Config, ReplicaState
from crypto.errors import DecodeError
from crypto.hashing import ChainId, Digest
from crypto.schema import decode, encode
from crypto.validators import Epoch, ReplicaId, ValidatorSet
from crypto.votes import View
from ledger.blocks import Header, header_digest
from ledger.contracts.governance import get_validators
from ledger.errors import InvalidBlock, InvalidTransaction, PoolError
from ledger.pool import Pool, PoolLimits
from ledger.transactions import Transaction, decode_transaction, signature_job
from ledger.validation import check_admission, check_header
from p2p.network import Network
from shell import chain as live_chain
from shell import proposals as proposing
from shell.blocks import check_consistent
from shell.bodies import Body
from shell.clock import Clock
from shell.execution import execute
from shell.gossip import find_due
from shell.journal import (
    BODIES_TAG,
    BodiesRecord,
    VoteJournal,
    append_votes,
    forget_votes,
    make_bodies_record,
)
from shell.membership import Following, Invited, check_own_keys, follow_set, is_mute, make_following
from shell.own_keys import OwnKeys, sign_at
from shell.proposals import Checked, Proposals, payload_hashes, recall, remember
from shell.restart import restart_from
from storage import blocks as stored_blocks
from storage.chain import create_chain, has_chain, open_chain
from storage.check import check_start, findings
from storage.database import Database
from storage.errors import BlockCorrupt, DatabaseCorrupt, JournalCorrupt, JournalMissing
from storage.journal import create_journal
from storage.sidecars import SidecarStore
from storage.world import WorldLimits
from tests.simulation.application import Verdict
from tests.simulation.founding import Founding
from tests.simulation.host import Host
from tests.simulation.ideal import is_signed
from tests.simulation.keystores import Keystore, open_keys, shown_by
from tests.simulation.memory_database import DiskState, MemoryDatabase
from tests.simulation.memory_files import MemoryFiles, MemoryPath

T = TypeVar("T")
POOL_LIMITS = PoolLimits(transactions_max=400, bytes_max=1 << 20, account_transactions_max=100)
WORLD_LIMITS = WorldLimits(proof_heights=12, nodes_max=5_000, values_bytes_max=1 << 18)
REPEAT_MAX = 64


@dataclass(slots=True)
class Watch:
    """The node's clock, as `shell.clock.Clock`; a liar's may run ahead when it proposes."""

    founding: Founding
    now: int = 0
    pushed_ms: int = 0

    def now_ms(self) -> int:
        return self.founding.created_ms + self.now + self.pushed_ms


@dataclass(slots=True, kw_only=True)
class Running:
    """What a node has in memory."""

    chain: live_chain.Chain
    pool: Pool
    proposals: Proposals
    votes: VoteJournal
    arrived: dict[Digest, Body] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class LedgerApplication:
    """A node's disk and, while it runs, its memory.

    `written` repeats the journal, decoded, for those who watch; `censored` is the account from
    which a liar takes nothing; `refused` counts why offered transactions were not pooled.
    `keystore` and `network` are there where members change: then keys and links follow the ledger.
    `invited` is whom the invite of a node that joined names, `has_run` that it was started before.
    """

    founding: Founding
    replica: ReplicaId
    disk: DiskState = field(default_factory=DiskState)
    database: MemoryDatabase = field(init=False)
    files: MemoryFiles = field(init=False)
    watch: Watch = field(init=False)
    memory: Running | None = None
    written: list[Record] = field(default_factory=list)
    censored: bytes | None = None
    keystore: Keystore | None = None
    network: Network | None = None
    following: Following | None = None
    invited: Invited | None = None
    has_run: bool = False
    refused: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.database = MemoryDatabase(disk=self.disk)
        self.files = MemoryFiles(disk=self.disk)
        self.watch = Watch(self.founding)

    @property
    def height(self) -> int:
        return 0 if self.memory is None else self.memory.chain.tip.height

    @property
    def running(self) -> Running:
        assert self.memory is not None, "a node that is down is asked nothing"
        return self.memory

    # Starting and stopping.

    def begin(self, config: Config) -> None:
        """What `init` leaves: a journal that says that nothing was ever signed."""
        votes = VoteJournal(journal=create_journal(self.directory, files=self.files))
        started = JournalStarted(chain_id=config.chain_id, replica=config.replica)
        append_votes(votes, [started])
        self.written.append(started)

    @property
    def directory(self) -> Any:
        return MemoryPath(self.files)

    def start(self, config: Config, now_ms: int) -> tuple[ReplicaState, Sequence[Effect]]:
        """Open what is on the disk; raises what the storage room raises about it."""
        self.watch.now = now_ms
        database = cast("Database", self.database)  # All of it that a chain asks for.
        stored = (
            open_chain(database, self.founding.chain_id, limits=WORLD_LIMITS)
            if has_chain(database)
            else create_chain(
                database,
                self.founding.chain_id,
                self.founding.writes,
                time_ms=self.founding.created_ms,
                limits=WORLD_LIMITS,
            )
        )
        if self.disk.is_suspect:
            self._check(stored)
        pool = Pool(POOL_LIMITS)
        chain = live_chain.open_live_chain(stored, b"", pool)
        self._begin_following(chain)
        proposals = Proposals(
            chain=chain,
            pool=pool,
            clock=cast("Clock", self.watch),
            replica=self.replica,
        )
        restarted = restart_from(
            chain,
            config,
            self.directory,
            proposals,
            lambda _: None,
            is_mute=partial(self._is_mute, chain),
            find_copy=lambda _: None,
            files=self.files,
        )
        self.memory = Running(chain=chain, pool=pool, proposals=proposals, votes=restarted.votes)
        kept = [encoded for _, encoded in restarted.votes.live if encoded[1] != BODIES_TAG]
        self.written = [decode_record(encoded) for encoded in kept]
        return restarted.state, restarted.effects

    def _check(self, stored: Any) -> None:
        """Look at what a start relies on, as the shell does; raise for what peers cannot mend."""
        for finding in findings(check_start(stored, self.directory)):
            if finding.code == JournalCorrupt.code:
                raise JournalCorrupt(finding.text)
            if finding.code not in (BlockCorrupt.code, JournalMissing.code):
                raise DatabaseCorrupt(finding.text)

    def _begin_following(self, chain: live_chain.Chain) -> None:
        """Open the keys, and let keys and links follow the ledger, as `node` does."""
        if self.keystore is None or self.network is None:
            return
        keys = open_keys(self.keystore, self.replica)
        is_new = self.invited is None and not self.has_run
        check_own_keys(chain, keys, is_new=is_new)
        self.has_run = True
        self.following = make_following(chain, self.network, keys, self.invited)
        self.network.set_identity(shown_by(keys.present))
        self.network.set_peers(self.following.peers, self_id=self.following.self_id)

    @property
    def keys(self) -> OwnKeys:
        assert self.following is not None, "keys are opened at a start, where members change"
        return self.following.keys

    def _is_mute(self, chain: live_chain.Chain, validators: ValidatorSet) -> bool:
        return self.following is not None and is_mute(chain, self.following.keys, validators)

    def sign(self, epoch: Epoch, preimage: bytes) -> bytes:
        """Sign with the key that the set of an epoch names, as `node` does."""
        assert self.following is not None, "a node signs from its start on"
        return sign_at(self.following.keys, self.following.chain.sets, epoch, preimage)

    def crash(self) -> None:
        self.memory = self.following = None

    def persist(self, records: Sequence[Record]) -> None:
        """Make records durable with the bodies they speak of, as `shell.replica` does."""
        running = self.running
        durable: list[Record | BodiesRecord] = []
        for record in records:
            if isinstance(record, ProposalRecord):
                checked = running.proposals.checked[record.block.digest]
                signed = [body.transaction.signed for body in checked.bodies]
                block = record.block
                durable.append(make_bodies_record(block.height, block.digest, signed))
            durable.append(record)
        append_votes(running.votes, durable)
        self.written = [*self.written[-200:], *records]

    # The pool.

    def offer(self, signed: bytes, now_ms: int) -> bool:
        """Take a transaction as `shell.intake` does; False if it is not new and sound."""
        self.watch.now = now_ms
        running = self.running
        try:
            transaction = checked_transaction(signed, self.founding.chain_id)
            if transaction is None or transaction.body.sender == self.censored:
                return False
            if running.pool.find(transaction.tx_id) is not None:
                return False
            check_admission(
                transaction,
                (),
                view=running.chain.view(),
                replay=running.chain.replay,
                parameters=running.chain.parameters(),
                now_ms=max(self.watch.now_ms(), running.chain.tip.time_ms),
            )
            running.pool.add(transaction, (), self.watch.now_ms())
        except (InvalidTransaction, PoolError) as problem:
            self.refused[problem.code] = self.refused.get(problem.code, 0) + 1
            return False
        return True

    def has_backlog(self, now_ms: int) -> bool:
        self.watch.now = now_ms
        time_ms = max(self.watch.now_ms(), self.running.chain.tip.time_ms + 1)
        return self.running.pool.has_admissible(time_ms)

    def tidy(self, now_ms: int) -> None:
        """Forget what expired, as the shell does four times a second."""
        self.running.pool.expire(self.running.chain.tip.time_ms)

    def to_repeat(self, now_ms: int) -> list[bytes]:
        """What has waited for 1, 2, 4, 8... seconds and is sent once more."""
        self.watch.now = now_ms
        due = find_due(self.running.pool, self.watch.now_ms(), limit=REPEAT_MAX)
        return [one.transaction.signed for one in due]

    def waiting(self, from_ms: int, until_ms: int) -> list[bytes]:
        """The ids in the pool that are valid all the time between two virtual times."""
        begin, end = self.founding.created_ms + from_ms, self.founding.created_ms + until_ms
        entries = self.running.pool.entries()
        bodies = [(one.transaction.tx_id, one.transaction.body) for one in entries]
        return [
            tx_id
            for tx_id, body in bodies
            if body.valid_from_ms <= begin and end < body.valid_until_ms
        ]

    # Proposals.

    def propose(self, request: RequestProposal, now_ms: int) -> Block | None:
        self.watch.now = now_ms
        return proposing.make_proposal(self.running.proposals, request)

    def note_heard(self, block: Block, now_ms: int) -> None:
        self.watch.now = now_ms
        proposing.note_heard(self.running.proposals, block.digest)

    def is_consistent(self, block: Block) -> bool:
        try:
            proposing.decode_header(block)
        except InvalidBlock:
            return False
        return True

    def is_sound_upload(self, message: Any) -> bool:
        """What is demanded of blocks and proposals that come as uploads."""
        try:
            check_consistent(message, self.founding.chain_id)
        except (DecodeError, InvalidBlock):
            return False
        return True

    def check(self, request: CheckProposal, now_ms: int) -> Verdict:
        """One attempt of `shell.proposals.check`: what it waits for, the host waits for."""
        self.watch.now = now_ms
        running, block = self.running, request.block
        if block.digest in running.proposals.checked:
            return Verdict()
        try:
            header = proposing.decode_header(block)
            parameters = running.chain.parameters()
            check_header(header, proposing._parent_of(running.chain, block))
            proposing._check_count(header, parameters)
            wait_ms = 0
            if request.is_fresh:
                heard_ms = running.proposals.heard.get(block.digest)
                now_ms = self.watch.now_ms()
                wait_ms = proposing._wait_ms(header, now_ms, parameters, heard_ms=heard_ms)
            hashes = _distinct_hashes(block)
            found = {one: self._body(one) for one in hashes}
            missing = tuple(one for one, body in found.items() if body is None)
            if missing:
                return Verdict(missing=missing)
            if wait_ms > 0:
                return Verdict(wait_ms=wait_ms)
            bodies = tuple(body for body in found.values() if body is not None)
            proposing._check_block(running.chain, block, header, bodies)
        except (InvalidBlock, InvalidTransaction) as problem:
            return Verdict(refusal=problem.code)
        remember(running.proposals, Checked(block=block, header=header, bodies=bodies))
        return Verdict()

    def retain(self, height: int, digests: Sequence[Digest]) -> None:
        proposing.retain(self.running.proposals, height, digests)

    def body(self, signed_hash: bytes) -> bytes | None:
        found = self._body(Digest(signed_hash))
        return None if found is None else found.transaction.signed

    def take_body(self, signed: bytes) -> None:
        """Keep a body that was asked for, once its signature is found valid."""
        try:
            transaction = checked_transaction(signed, self.founding.chain_id)
        except InvalidTransaction:
            return
        if transaction is not None:
            body = Body(transaction=transaction, sidecars=())
            self.running.arrived[transaction.signed_hash] = body

    def proposal(self, digest: Digest) -> tuple[Block, bytes] | None:
        """An undecided block that was checked here, and the bodies that travel with it: none."""
        checked = self.running.proposals.checked.get(digest)
        return None if checked is None else (checked.block, b"")

    def vary(
        self, block: Block, *, view: View | None = None, proposer: ReplicaId | None = None
    ) -> Block:
        """Another valid block on the same parent: a millisecond later, and possibly ours."""
        header = decode(Header, block.header)
        header = replace(header, time_ms=header.time_ms + 1)
        if view is not None and proposer is not None:
            header = replace(header, view=view, proposer=proposer)
        return self._with_header(block, header)

    def misstate(self, block: Block) -> Block:
        """A block that states another root of the state before it."""
        header = decode(Header, block.header)
        return self._with_header(block, replace(header, state_root=header.tx_root))

    def _with_header(self, block: Block, header: Header) -> Block:
        return replace(
            block,
            view=header.view,
            proposer=header.proposer,
            digest=header_digest(header),
            header=encode(header),
        )

    # Decided blocks.

    def execute(self, decided: Decide) -> BlockExecuted:
        running = self.running
        sidecars = cast("SidecarStore", None)  # No simulated transaction has any.
        run_to_end(execute(running.chain, running.proposals, sidecars, decided))
        if self.following is not None:
            follow_set(self.following)
        height = decided.block.height
        proposing.forget(running.proposals, height)
        forget_votes(running.votes, height)
        running.arrived.clear()
        return BlockExecuted(
            height=height,
            digest=decided.block.digest,
            validators=running.chain.later_set,
            pace=running.chain.later_pace,
            is_mute=self._is_mute(running.chain, running.chain.later_set),
        )

    def certified(self, height: int) -> CertifiedBlock | None:
        return self.running.chain.certified_block(height)

    def validator_sets(self) -> Mapping[Epoch, ValidatorSet]:
        return self.running.chain.validator_sets()

    def set_after_tip(self) -> ValidatorSet:
        """The set in the state after the tip: that of the height after the next."""
        return get_validators(self.running.chain.view())

    def state_digest(self) -> bytes:
        tip = self.running.chain.tip
        return tip.digest + tip.state_root + tip.receipts_root

    def time_ms(self) -> int:
        """The tip's time, virtual."""
        return self.running.chain.tip.time_ms - self.founding.created_ms

    def decided_at(self, height: int) -> list[bytes]:
        """The ids of a block's transactions."""
        block = stored_blocks.get_block(self.running.chain.stored, height)
        assert block is not None, "heights up to the tip have blocks"
        chain_id = self.founding.chain_id
        return [decoded(signed, chain_id).tx_id for signed in block.transactions]

    def height_of(self, tx_id: bytes) -> int | None:
        """The height at which a transaction was executed."""
        place = stored_blocks.find_transaction(self.running.chain.stored, Digest(tx_id))
        return None if place is None else place.height

    def _body(self, signed_hash: Digest) -> Body | None:
        running = self.running
        entry = running.pool.get(signed_hash)
        if entry is not None:
            return Body(transaction=entry.transaction, sidecars=())
        return recall(running.proposals, signed_hash) or running.arrived.get(signed_hash)


def ledger_of(host: Host) -> LedgerApplication:
    """The ledger of a host of a simulated cluster, where every one has the whole of it."""
    application = host.application
    assert isinstance(application, LedgerApplication)
    return application


def _distinct_hashes(block: Block) -> tuple[Digest, ...]:
    hashes = payload_hashes(block.payload)
    if len(set(hashes)) != len(hashes):
        raise InvalidBlock("transaction.duplicate", "a transaction is listed twice")
    return hashes


@lru_cache(maxsize=4_096)
def decoded(signed: bytes, chain_id: ChainId) -> Transaction:
    """What `signed` stands for: decoded once, whichever nodes see it."""
    return decode_transaction(signed, chain_id)


def checked_transaction(signed: bytes, chain_id: ChainId) -> Transaction | None:
    """The transaction, if it is signed; raises `InvalidTransaction` for no transaction at all."""
    transaction = decoded(signed, chain_id)
    return transaction if is_signed(signature_job(transaction)) else None


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that only breathes."""
    while True:
        try:
            work.send(None)
        except StopIteration as done:
            value: T = done.value
            return value
