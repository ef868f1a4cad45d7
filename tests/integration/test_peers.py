"""Other systems take the workload: small loads at real nodes, where npm and etcd are there."""

import shutil
from dataclasses import replace

import pytest

from benchmarks.peers.installing import default_directory
from benchmarks.peers.running import ETCD, GANACHE, HARDHAT, Peer, Places, begin_peers, run_peers

PATIENTS = 3
HAS_NPM = shutil.which("npm") is not None
HAS_ETCD = shutil.which("etcd") is not None and shutil.which("node") is not None


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "peer",
    [
        pytest.param(HARDHAT, marks=pytest.mark.skipif(not HAS_NPM, reason="no npm here")),
        pytest.param(GANACHE, marks=pytest.mark.skipif(not HAS_NPM, reason="no npm here")),
        pytest.param(ETCD, marks=pytest.mark.skipif(not HAS_ETCD, reason="no etcd here")),
    ],
    ids=lambda peer: peer.name,
)
def test_every_transaction_that_a_peer_is_offered_is_read_back(peer: Peer) -> None:
    small = replace(peer, patients=PATIENTS, clients=2)
    results = begin_peers()

    run_peers(results, Places(packages=default_directory()), 1, lambda _: None, [small])

    assert results["missing"] == []
    (row,) = results["runs"]
    assert (row["committed"], row["failed"]) == (6 * PATIENTS, 0)
    assert row["tps"] > 0
