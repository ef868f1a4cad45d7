"""Bugs put in on purpose: a simulator that cannot find them shows nothing.

Each is switched on for one test only and must be found within the stated number of seeds, by the
invariants that are named beside it; the same seeds pass without it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import pytest

from consensus import core, normal_case, restore, soundness, view_change
from consensus.effects import Broadcast, Effect, Persist
from consensus.mailbox import votes_at
from consensus.messages import Commit, NewView, Prepare
from consensus.records import Record, ViewChangeRecord, VoteRecord
from consensus.state import ReplicaState, may_vote, primary_at
from consensus.votes import keep_own, make_commit, vote_record
from crypto.quorum import QuorumSystem
from crypto.votes import PreparedCertificate, View
from tests.simulation import disk, host
from tests.simulation.byzantine import Equivocator, Forgetter
from tests.simulation.cluster import Cluster, Faults, start_cluster
from tests.simulation.host import Parcel

Patch = pytest.MonkeyPatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A bug: how it gets in, which clusters may find it, in how many seeds, by what."""

    plant: Callable[[Patch], None]
    draw: Callable[[int], Cluster]
    seeds: int
    found_by: Collection[str]


def split_cluster(replicas: int) -> Callable[[int], Cluster]:
    """Two halves that cannot talk, with clients on both sides."""

    def draw(seed: int) -> Cluster:
        cluster = start_cluster(replicas=replicas, seed=seed)
        cluster.load(every_ms=50, until_ms=12_000)
        members = list(range(replicas))
        half = replicas // 2
        cluster.at(300, "split", lambda: cluster.partition(members[:half], members[half:]))
        return cluster

    return draw


def dying_cluster(seed: int) -> Cluster:
    """Replicas that die at effect boundaries, over and over."""
    cluster = start_cluster(replicas=4, seed=seed, faults=Faults(loss=0.05, delay_max_ms=60))
    cluster.load(every_ms=30, until_ms=8_000)
    for _ in range(40):
        boundaries = cluster.kill_at.setdefault(cluster.random.randrange(4), {})
        boundaries[cluster.random.randrange(900)] = None
    return cluster


def changing_cluster(seed: int) -> Cluster:
    """Primaries that vanish at awkward moments on a network that loses a quarter of everything."""
    faults = Faults(loss=0.25, delay_max_ms=250, stragglers=0.1)
    cluster = start_cluster(replicas=4, seed=seed, faults=faults)
    cluster.load(every_ms=40, until_ms=15_000)
    for time in range(500, 15_000, 400):
        cluster.at(time, "outage", lambda: isolate(cluster))
    return cluster


def isolate(cluster: Cluster) -> None:
    """Cut one drawn replica off for a while."""
    cut_off(cluster, cluster.random.randrange(len(cluster.hosts)), for_ms=700)


def lonely_cluster(liar: int | None = None) -> Callable[[int], Cluster]:
    """One replica alone gathers the commits of a block, and is then cut off with its decision.

    The network loses commits to all others, and prepares to one of them, so that nobody else
    decides and few have prepared; it mends before the next view decides (attack 4).
    """

    def draw(seed: int) -> Cluster:
        behaviours = {} if liar is None else {liar: Forgetter()}
        cluster = start_cluster(replicas=4, seed=seed, behaviours=behaviours)
        cluster.load(every_ms=40, until_ms=9_000)
        lucky, unprepared = cluster.random.sample([one for one in (0, 2, 3) if one != liar], 2)

        def is_lost(_: int, to: int, parcel: Parcel) -> bool:
            return (isinstance(parcel, Commit) and to != lucky) or (
                isinstance(parcel, Prepare) and to == unprepared
            )

        def on_decision(replica: int, height: int) -> None:
            if replica == lucky and cluster.is_lost is not None:
                cut_off(cluster, lucky, for_ms=6_000)

        def begin() -> None:
            cluster.is_lost, cluster.on_decision = is_lost, on_decision

        def end() -> None:
            cluster.is_lost = None

        begins = cluster.random.randint(300, 1_000)
        cluster.at(begins, "lose commits", begin)
        cluster.at(begins + 900, "lose no more", end)
        return cluster

    return draw


def cut_off(cluster: Cluster, victim: int, *, for_ms: int) -> None:
    """Isolate one replica for a while."""
    others = [one for one in range(len(cluster.hosts)) if one != victim]
    links = [(victim, one) for one in others] + [(one, victim) for one in others]
    cluster.cut(links)
    cluster.at(for_ms, "mend", lambda: cluster.mend(links))


def equivocating_cluster(seed: int) -> Cluster:
    cluster = start_cluster(replicas=4, seed=seed, behaviours={0: Equivocator()})
    cluster.load(every_ms=50, until_ms=6_000)
    return cluster


def set_quorum(patch: Patch, strong: Callable[[QuorumSystem], int]) -> None:
    patch.setattr(QuorumSystem, "__post_init__", lambda system: None)
    patch.setattr(QuorumSystem, "strong", property(strong))


def quorum_of_2f_plus_1(patch: Patch) -> None:
    set_quorum(patch, lambda system: 2 * system.f + 1)


def quorum_of_2f(patch: Patch) -> None:
    set_quorum(patch, lambda system: max(1, 2 * system.f))


def skip_records(patch: Patch, kind: type[Record]) -> None:
    """The disk forgets one kind of record; the watch over durability itself is switched off."""

    def append(one: disk.Disk, record: Record) -> None:
        if not isinstance(record, kind):
            disk.append(one, record)

    patch.setattr(host, "append", append)


def votes_not_journaled(patch: Patch) -> None:
    skip_records(patch, VoteRecord)


def view_not_journaled(patch: Patch) -> None:
    skip_records(patch, ViewChangeRecord)


def sent_before_durable(patch: Patch) -> None:
    """Every persist moves behind the message that it should have preceded."""

    def handle(state: ReplicaState, event: object) -> list[Effect]:
        effects = core.handle(state, event)  # type: ignore[arg-type]
        late = [effect for effect in effects if isinstance(effect, Persist)]
        return [effect for effect in effects if not isinstance(effect, Persist)] + late

    patch.setattr(host, "handle", handle)


def commit_after_view_change(patch: Patch) -> None:
    """Rule 4 forgotten: a certificate that arrives late is committed to in the view it is of."""

    def commit_if_prepared(state: ReplicaState) -> list[Effect] | None:
        normal_case.note_prepared(state)
        instance = state.instance
        prepared, commit = instance.prepared, instance.own.commit
        if prepared is None or not may_vote(state):
            return None
        if commit is not None and commit.view >= prepared.view:
            return None
        view, instance.view = instance.view, prepared.view
        message = make_commit(state, prepared.digest)
        keep_own(state, message)
        instance.view = view
        return [Persist(records=(vote_record(message),)), Broadcast(message=message)]

    steps = tuple(
        commit_if_prepared if step is normal_case.commit_if_prepared else step
        for step in core.STEPS
    )
    patch.setattr(core, "STEPS", steps)


def prepared_certificates_ignored(patch: Patch) -> None:
    """The new primary proposes what it likes, and everybody thinks that this is right."""
    for module in (soundness, view_change, restore):
        patch.setattr(module, "choose", lambda _: None)


def choice_not_recomputed(patch: Patch) -> None:
    """A backup believes the new primary's choice; the new primary is a liar."""

    def new_view_fault(state: ReplicaState, message: NewView) -> str | None:
        return None if message.signer == primary_at(state, message.view) else "another primary"

    patch.setattr(view_change, "new_view_fault", new_view_fault)


def prepares_counted_without_their_digest(patch: Patch) -> None:
    real = normal_case._prepared_at

    def prepared_at(state: ReplicaState, view: View) -> PreparedCertificate | None:
        proposal = normal_case._primary_vote(state, view)
        prepares = votes_at(state.instance.mailbox, Prepare, view)
        needed = state.members.quorum.strong - 1
        others = sorted(signer for signer in prepares if proposal and signer != proposal.signer)
        if proposal is None or len(others) < needed:
            return real(state, view)
        return PreparedCertificate(
            epoch=proposal.epoch,
            height=proposal.height,
            view=view,
            digest=proposal.digest,
            primary=proposal.signer,
            primary_signature=proposal.signature,
            signatures=tuple((one, prepares[one].signature) for one in others[:needed]),
        )

    patch.setattr(normal_case, "_prepared_at", prepared_at)


BUGS = {
    "quorum 2f+1 at n = 6": Planted(
        plant=quorum_of_2f_plus_1, draw=split_cluster(6), seeds=1, found_by=("S1", "S5")
    ),
    "quorum 2f": Planted(plant=quorum_of_2f, draw=split_cluster(4), seeds=1, found_by=("S1", "S5")),
    "votes not journaled": Planted(
        plant=votes_not_journaled, draw=dying_cluster, seeds=30, found_by=("S1", "S2")
    ),
    "view not journaled": Planted(
        plant=view_not_journaled, draw=dying_cluster, seeds=60, found_by=("S2", "R4")
    ),
    "sent before durable": Planted(
        plant=sent_before_durable, draw=dying_cluster, seeds=60, found_by=("S1", "S2", "R4")
    ),
    "commit after view-change": Planted(
        plant=commit_after_view_change, draw=changing_cluster, seeds=20, found_by=("R4",)
    ),
    "prepared certificates ignored": Planted(
        plant=prepared_certificates_ignored,
        draw=lonely_cluster(),
        seeds=10,
        found_by=("S1", "S5"),
    ),
    "choice not recomputed": Planted(
        plant=choice_not_recomputed, draw=lonely_cluster(1), seeds=30, found_by=("S1", "S5")
    ),
    "prepares counted without their digest": Planted(
        plant=prepares_counted_without_their_digest,
        draw=equivocating_cluster,
        seeds=20,
        found_by=("S1", "L1"),
    ),
}


def first_violation(planted: Planted) -> tuple[int, str] | None:
    """Return the first seed that breaks something, and what; the durable-before-sent watch sleeps,
    so that the harm itself has to be seen."""
    for seed in range(planted.seeds):
        cluster = planted.draw(seed)
        cluster.monitor.checks_durability = False
        try:
            cluster.run(until_ms=16_000)
            cluster.heal()
            cluster.run_until_level()
        except AssertionError as violation:
            return seed, str(violation)
    return None


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = BUGS[name]
    planted.plant(monkeypatch)

    found = first_violation(planted)

    assert found is not None, f"{name}: not found in {planted.seeds} seeds"
    seed, violation = found
    print(f"\n{name}: seed {seed}: {violation}")
    assert violation.startswith(tuple(planted.found_by)), violation


@pytest.mark.parametrize("name", BUGS)
def test_without_the_bug_the_same_clusters_keep_every_invariant(name: str) -> None:
    planted = BUGS[name]

    for seed in range(3):
        cluster = planted.draw(seed)
        cluster.run(until_ms=16_000)
        cluster.heal()
        cluster.run_until_level()
