"""Bugs put in on purpose: a simulator that cannot find them shows nothing.

Each is switched on for one test only, and must be found within the stated number of seeds by the
invariant named here; the same seeds pass without it.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from consensus import core, normal_case, restore, soundness, view_change, votes
from consensus.effects import Effect, Persist
from consensus.messages import NewView
from consensus.records import PreparedRecord, VoteRecord
from consensus.state import ReplicaState
from crypto.quorum import QuorumSystem
from crypto.votes import PreparedCertificate, VoteType
from tests.simulation import host as hosts
from tests.simulation.byzantine import Equivocator, Forgetter
from tests.simulation.cluster import Cluster, Faults, start_cluster
from tests.simulation.histories import draw_cluster
from tests.simulation.monitor import Violation

Patch = pytest.MonkeyPatch
