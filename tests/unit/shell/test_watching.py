"""The watch inside a running node: where its numbers come from, and what follows from them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from consensus.messages import Suspicion
from crypto.evidence import Fault, make_evidence
from crypto.validators import ReplicaId
from crypto.votes import Height, View, VoteType
from ledger.pool import Entry
from shell.evidence import keep_report
from shell.intake import submit
from shell.watch import PASSED_OVER_MIN
from shell.watching import is_near, look_now
from tests.unit.crypto.test_evidence import ONE, OTHER, sign
from tests.unit.p2p.loopback import until
from tests.unit.shell.one_of_four import PEER, running_one

SHORT_MS = 200


async def test_what_has_waited_for_half_the_bound_is_sent_again_once(tmp_path: Path) -> None:
    async with running_one(tmp_path / "node") as one:
        sent: list[Sequence[Entry]] = []
        one.node.watching.resend = sent.append
        one.node.watching.watch.bound_ms = SHORT_MS
        signed = one.signed()

        await submit(one.node.intake, [(signed, ())])
        await until(lambda: any(sent))

        found = [entry.transaction.signed for entries in sent for entry in entries]
        assert found == [signed]


async def test_links_are_near_as_the_others_pings_say_not_as_the_primarys(tmp_path: Path) -> None:
    """A primary that answers pings late does not look far thereby."""
    async with running_one(tmp_path / "node") as one:
        watching = one.node.watching
        watching.watch.timeout_ms = 60_000  # So that no load of this machine is an absence.

        await until(lambda: is_near(watching, ReplicaId(2)))

        assert not is_near(watching, ReplicaId(PEER)), "nobody else is linked"
        watching.watch.timeout_ms = 0
        assert not is_near(watching, ReplicaId(2))


async def test_a_primary_does_not_complain_about_itself(tmp_path: Path) -> None:
    async with running_one(tmp_path / "node") as one:
        watch = one.node.watching.watch
        await submit(one.node.intake, [(one.signed(), ())])
        await until(lambda: watch.base is not None)  # The first look begins the count anew.
        watch.bound_ms, watch.passed_over = SHORT_MS, PASSED_OVER_MIN

        await until(lambda: watch.unhelped is Suspicion.CENSORING)

        assert one.node.replica.state.complaints == {}


async def test_a_base_that_is_proven_to_have_voted_twice_is_complained_about_at_once(
    tmp_path: Path,
) -> None:
    async with running_one(tmp_path / "node") as one:
        replica = one.node.replica
        state = replica.state
        state.tip = replace(state.tip, proposer=ReplicaId(PEER))  # It is base from now on.
        slot = Fault(ReplicaId(PEER), state.members.epoch, Height(1), View(0), VoteType.PRE_PREPARE)
        proof = make_evidence(sign(slot, ONE), sign(slot, OTHER))
        assert proof is not None

        keep_report(replica.reports, proof, now_ms=0)
        look_now(one.node.watching)

        complaint = state.complaints[ReplicaId(0)]
        assert (complaint.primary, complaint.reason) == (PEER, Suspicion.EQUIVOCATING)
