"""Attack 14 in simulation: a primary whose proposals and votes reach a few replicas only."""

import pytest
from typing_extensions import override

from crypto.validators import ReplicaId
from tests.simulation.byzantine import Behaviour
from tests.simulation.cluster import start_cluster
from tests.simulation.host import Host, Parcel
from tests.simulation.report import reported

RUN_MS = 8_000


class ToOthersOnly(Behaviour):
    """Shows its proposals to everybody but one, which it never tells anything."""

    def __init__(self, left_out: int) -> None:
        self.left_out = left_out

    @override
    def rewrite(self, _host: Host, to: ReplicaId, parcel: Parcel) -> list[Parcel]:
        return [] if to == self.left_out else [parcel]


@pytest.mark.parametrize("left_out", [1, 2, 3])
def test_who_is_shown_no_proposal_decides_with_the_others(left_out: int) -> None:
    cluster = start_cluster(replicas=4, seed=1, behaviours={0: ToOthersOnly(left_out)})
    cluster.load(every_ms=100, until_ms=RUN_MS)

    with reported(cluster):
        cluster.run(until_ms=RUN_MS)

    heights = [host.application.height for host in cluster.hosts]
    assert min(heights) >= max(heights) - 2, f"{heights}"
    assert max(heights) > 20
