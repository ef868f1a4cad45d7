"""What a peer answers is taken apart in time that grows with the answer, not with its square."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from crypto.envelopes import make_sidecar
from crypto.hashing import Digest
from crypto.schema import encode
from shell.bodies import HASHES_MAX, Bodies, FoundSidecars, find_sidecars
from shell.kinds import Kind
from tests.unit.ledger.small_consortium import seed

SALT = bytes(32)


@dataclass(slots=True)
class OnePeer:
    """A peer that answers every question for sidecars with the same contents."""

    contents: tuple[bytes, ...]

    def connected(self) -> Sequence[int]:
        return (2,)

    async def request(self, _peer_id: int, _kind: Kind, _body: bytes, _timeout_ms: int) -> bytes:
        return encode(FoundSidecars(contents=self.contents))


def asking(*contents: bytes) -> Bodies:
    unused = cast("Any", None)
    return Bodies(
        chain=unused,
        pool=unused,
        verifier=unused,
        network=cast("Any", OnePeer(contents)),
        recall=unused,
        get_sidecar=unused,
    )


async def test_a_thousand_wrong_sidecars_do_not_hold_the_node_up() -> None:
    junk = tuple(number.to_bytes(32, "big") + bytes(7_000) for number in range(HASHES_MAX))
    wanted = [Digest(seed(f"wanted {number}")) for number in range(HASHES_MAX)]
    started_s = time.process_time()

    found = await find_sidecars(asking(*junk), wanted, ())

    assert found == {}
    assert time.process_time() - started_s < 1.0


async def test_what_was_asked_for_is_found_among_junk() -> None:
    one, other = make_sidecar(b"one", SALT), make_sidecar(b"other", SALT)

    found = await find_sidecars(asking(bytes(40), other.content), [one.digest, other.digest], ())

    assert found == {other.digest: other.content}
