"""Members that change in drawn histories, by governance and while everything else goes wrong."""

from collections import Counter
from pathlib import Path

from tests.simulation.cluster import Cluster, start_cluster
from tests.simulation.histories import draw_history, run_history
from tests.simulation.keystores import make_keys
from tests.simulation.ledger_application import ledger_of
from tests.simulation.members import ADD, KINDS, REKEY, REMOVE, Change, begin_changes
from tests.simulation.run import load_history, run_one, save_history

DRAWN = 600
RUNS = 9
RUN_MS = 4_000


def changed_cluster(*changes: Change) -> Cluster:
    """Five founders on a quiet network; run until what was wanted is in force."""
    cluster = start_cluster(replicas=5, seed=1)
    begin_changes(cluster, changes)
    cluster.load(every_ms=60, until_ms=RUN_MS)
    cluster.run(until_ms=RUN_MS)
    cluster.heal()
    cluster.run_until_level()
    return cluster


def test_about_a_third_of_all_histories_change_their_members() -> None:
    changing = [seed for seed in range(DRAWN) if draw_history(seed).changes]

    assert 0.28 < len(changing) / DRAWN < 0.39


def test_members_change_in_every_way_while_everything_else_goes_wrong() -> None:
    drawn = (draw_history(seed) for seed in range(3_000_000, 3_000_300))
    changing = [one for one in drawn if one.changes and one.replicas <= 6]

    clusters = [run_history(history) for history in changing[:RUNS]]

    counts: Counter[str] = Counter()
    for cluster in clusters:
        counts.update(cluster.counts)
    assert all(counts[kind] for kind in KINDS)
    assert max(epoch for one in clusters for epoch, _ in one.monitor.sets.values()) > 1


def test_a_removed_validator_votes_no_more_and_goes_on_learning_by_visits() -> None:
    cluster = changed_cluster(Change(kind=REMOVE, index=1, at_ms=300))

    first = min(height for height, (epoch, _) in cluster.monitor.sets.items() if epoch == 1)
    voted = [slot for slot in cluster.monitor.votes if slot[0] == 1]
    assert voted
    assert all(height < first for _, _, height, _, _ in voted)
    assert cluster.links[1].self_id is None
    assert cluster.hosts[1].application.height > first + 2


def test_a_learner_visits_catches_up_and_votes_by_its_own_word() -> None:
    cluster = changed_cluster(Change(kind=ADD, index=5, at_ms=300))

    assert cluster.counts[ADD] == 1
    assert any(slot[0] == 5 for slot in cluster.monitor.votes)
    assert [one.replica for one in cluster.obliged()] == [0, 1, 2, 3, 4, 5]


def test_a_re_keyed_validator_votes_under_its_next_key_and_destroys_the_former() -> None:
    cluster = changed_cluster(Change(kind=REKEY, index=2, at_ms=300, keeps_tls=False))

    store = ledger_of(cluster.hosts[2]).keystore
    assert store is not None
    assert (store.present, store.following) == (make_keys(2, 1, 1), None)
    assert any(slot[:2] == (2, 1) for slot in cluster.monitor.votes), "it votes in epoch 1"


def test_a_history_whose_members_change_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    history = next(one for one in map(draw_history, range(DRAWN)) if one.changes)

    save_history(history, run_one(history), tmp_path / "kept.json")

    assert load_history(tmp_path / "kept.json")[0] == history
