"""The first word on a new link: where this replica stands, and which start of it speaks.

Heartbeats would say so too, but whoever listens after a start waits to be answered.
"""

from dataclasses import replace

from consensus.messages import encode_message
from consensus.state import make_status
from shell.kinds import Kind
from shell.replica import Replica


def greet(replica: Replica, peer_id: int, *, is_up: bool) -> None:
    """Send our status to a peer whose link has just opened."""
    if is_up and not replica.is_stopped:
        status = make_status(replica.state, with_proof=False)
        stamped = replace(status, clock_ms=replica.clock.now_ms())
        replica.network.send(peer_id, Kind.CONSENSUS, encode_message(stamped))
