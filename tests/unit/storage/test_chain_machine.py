"""The chain store against a model in memory: whatever order of blocks, restarts and old readers."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from typing_extensions import override

from ledger.state import MemoryState
from ledger.tree.proofs import check_proof
from storage.blocks import get_block, prove_state, state_root_after
from storage.chain import (
    Chain,
    commit_block,
    create_chain,
    open_chain,
    publish_commit,
    stage_block,
    write_commit,
)
from storage.database import create_database, open_database
from storage.receipts import get_receipts, read_log
from storage.slices import run_to_end
from storage.world import WorldLimits, WorldView
from tests.unit.storage.chain_samples import CHAIN_ID, GENESIS_MS, Sample, sample, subject

KEYS = tuple(b"%s/%02d" % (table, number) for table in (b"a", b"ab", b"b") for number in range(6))
WRITES = st.dictionaries(
    st.sampled_from(KEYS), st.none() | st.binary(min_size=1, max_size=40), max_size=8
)
SUBJECTS = st.lists(st.lists(st.integers(0, 2), max_size=2), max_size=3)
PROOF_HEIGHTS = 4


class ChainMachine(RuleBasedStateMachine):
    """`states[h]` is the state after height h, `samples` are the committed blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.samples: list[Sample] = []
        self.states: list[dict[bytes, bytes]] = []
        self.views: list[WorldView] = []
        self.chain: Chain

    @initialize(writes=WRITES)
    def begin(self, writes: dict[bytes, bytes | None]) -> None:
        genesis = {key: value for key, value in writes.items() if value is not None}
        database = create_database(self.directory / "ledger")
        self.chain = create_chain(
            database, CHAIN_ID, genesis, time_ms=GENESIS_MS, limits=self.limits()
        )
        self.states.append(genesis)

    @rule(writes=WRITES, subjects=SUBJECTS, is_sliced=st.booleans())
    def commit(
        self, writes: dict[bytes, bytes | None], subjects: list[list[int]], is_sliced: bool
    ) -> None:
        one = sample(self.chain, writes, subjects=subjects)
        if is_sliced:
            commit = run_to_end(stage_block(self.chain, one.block, one.result))
            write_commit(self.chain, commit)
            publish_commit(self.chain, commit)
        else:
            commit_block(self.chain, one.block, one.result)
        self.remember(one, writes)

    @rule(writes=WRITES)
    def stage_and_forget(self, writes: dict[bytes, bytes | None]) -> None:
        one = sample(self.chain, writes)
        run_to_end(stage_block(self.chain, one.block, one.result))

    @rule(writes=WRITES)
    def die_before_publishing(self, writes: dict[bytes, bytes | None]) -> None:
        one = sample(self.chain, writes, subjects=[(1,)])
        write_commit(self.chain, run_to_end(stage_block(self.chain, one.block, one.result)))
        self.remember(one, writes)
        self.restart()

    @rule()
    def restart(self) -> None:
        self.views.clear()
        self.chain.database.close()
        self.chain = open_chain(
            open_database(self.directory / "ledger"), CHAIN_ID, limits=self.limits()
        )

    @rule()
    def keep_a_view(self) -> None:
        self.views.append(self.chain.world.view)

    @rule(key=st.sampled_from(KEYS), back=st.integers(0, PROOF_HEIGHTS - 1))
    def prove(self, key: bytes, back: int) -> None:
        height = max(0, self.chain.tip.height - back)
        proof = prove_state(self.chain, height, key)
        found = check_proof(state_root_after(self.chain, height), key, proof)
        assert found == self.states[height].get(key)

    @rule(number=st.integers(0, 2))
    def read_a_log(self, number: int) -> None:
        places = [entry.place for entry in read_log(self.chain, subject(number), limit=1_000)]
        assert places == sorted(places)
        assert len(places) == sum(
            event.subject == subject(number)
            for one in self.samples
            for receipt in one.result.receipts
            for event in receipt.events
        )

    @rule(data=st.data())
    def read_a_block(self, data: st.DataObject) -> None:
        height = data.draw(st.integers(0, len(self.samples) + 1))
        if 1 <= height <= len(self.samples):
            assert get_block(self.chain, height) == self.samples[height - 1].stored
            assert get_receipts(self.chain, height) == self.samples[height - 1].result.receipts
        else:
            assert get_block(self.chain, height) is None

    @rule(
        prefix=st.sampled_from([b"", b"a", b"a/", b"ab/", b"b", b"c"]),
        start=st.sampled_from((b"", *KEYS)),
        limit=st.integers(0, 12),
    )
    def scan(self, prefix: bytes, start: bytes, limit: int) -> None:
        for view in (self.chain.world.view, *self.views):
            expected = MemoryState(self.states[view.height])
            assert list(view.scan(prefix, start=start, limit=limit)) == list(
                expected.scan(prefix, start=start, limit=limit)
            )

    @invariant()
    def every_view_shows_its_own_height(self) -> None:
        if not self.states:
            return
        assert self.chain.tip.height == len(self.samples)
        for view in (self.chain.world.view, self.chain.world.certified, *self.views):
            if view is not None:
                for key in KEYS:
                    assert view.get(key) == self.states[view.height].get(key)

    def remember(self, one: Sample, writes: dict[bytes, bytes | None]) -> None:
        self.samples.append(one)
        state = {**self.states[-1], **writes}
        self.states.append({key: value for key, value in state.items() if value is not None})

    def limits(self) -> WorldLimits:
        # Caches so small that they are always full.
        return WorldLimits(proof_heights=PROOF_HEIGHTS, nodes_max=3, values_bytes_max=1_500)

    @override
    def teardown(self) -> None:
        if self.states:
            self.chain.database.close()
        shutil.rmtree(self.directory)


TestChainMachine = ChainMachine.TestCase
TestChainMachine.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
