"""Visits: a caller that knows no keys is a guest, and takes only what proves itself."""

from collections.abc import AsyncIterator

import pytest

from p2p.config import PeerAddress
from p2p.errors import NotWelcome, PeerRefused, PeerUnreachable
from p2p.frames import Control
from tests.unit.p2p.loopback import (
    ASK,
    FETCH,
    VOTE,
    Node,
    consortium,
    new_identity,
    raw_peer,
    running,
    until,
)


def serving(node: Node) -> Node:
    async def answer(peer_id: int, _body: bytes) -> bytes | AsyncIterator[bytes]:
        return b"guest" if peer_id < 0 else b"member"

    node.network.serve(ASK, answer)
    node.network.serve(FETCH, answer)
    return node


async def test_a_visitor_is_answered_by_whatever_key_listens_there() -> None:
    async with (
        running(1, guest_policy=lambda _pin: frozenset({ASK})) as member,
        running(None) as sleeper,
    ):
        serving(member)

        async with sleeper.network.visit("127.0.0.1", member.network.port) as visit:
            reply = await visit.request(ASK, b"", 5_000, reply_bytes_max=100)
            with pytest.raises(PeerRefused, match="members_only"):
                await visit.request(FETCH, b"", 5_000, reply_bytes_max=100)

        assert reply == b"guest"
        assert visit.pin == member.identity.pin
        assert not sleeper.links
        await until(lambda: member.network.statistics().guests == 0)


async def test_a_visit_to_somebody_who_takes_no_farewell_leaves_no_connection() -> None:
    """A node that stops then would leave it to the loop, which stops too."""
    async with (
        running(1, guest_policy=lambda _pin: frozenset({ASK})) as member,
        running(None, shutdown_timeout_ms=100) as sleeper,
    ):
        async with sleeper.network.visit("127.0.0.1", member.network.port) as visit:
            link = visit._open_channel().link
            (at_the_member,) = member.network._registry._links
            at_the_member.pause_reading()

        assert link.lost.done()


async def test_a_member_that_visits_is_a_guest_and_keeps_its_link() -> None:
    async with consortium(2, guest_policy=lambda _pin: frozenset({ASK})) as (one, other):
        serving(one)

        async with other.network.visit("127.0.0.1", one.network.port) as visit:
            reply = await visit.request(ASK, b"", 5_000, reply_bytes_max=100)

        assert reply == b"guest"
        assert one.network.connected() == (1,)
        assert one.links == [(1, True)]


async def test_a_visit_where_guests_are_turned_away_says_so() -> None:
    async with running(1) as member, running(None) as sleeper:
        with pytest.raises(NotWelcome, match="unknown_pin"):
            async with sleeper.network.visit("127.0.0.1", member.network.port):
                pass


async def test_a_visit_to_nobody_and_one_to_oneself_fail() -> None:
    async with running(1, guest_policy=lambda _pin: frozenset({ASK})) as node:
        with pytest.raises(PeerUnreachable, match="own_key"):
            async with node.network.visit("127.0.0.1", node.network.port):
                pass
        with pytest.raises(PeerUnreachable, match="unreachable"):
            async with node.network.visit("127.0.0.1", 1):
                pass


async def test_whoever_is_visited_is_asked_and_never_listened_to() -> None:
    async with running(1, guest_policy=lambda _pin: frozenset({ASK})) as member, running(2) as node:
        async with node.network.visit("127.0.0.1", member.network.port):
            (guest,) = member.network._registry.table.guests.values()
            transport = guest.link.outbox.transport
            assert transport is not None
            transport.write(b"\x00\x00\x00\x01" + bytes([VOTE]) + bytes(4) + b"x")
            await until(lambda: member.network.statistics().guests == 0)

        assert not node.received


async def test_a_guest_that_had_its_time_makes_room_for_the_next() -> None:
    async with (
        running(
            5, guest_policy=lambda _pin: frozenset({ASK}), guests_max=1, guest_stay_ms=0
        ) as node,
        raw_peer(node, new_identity()) as first,
    ):
        await first.next_frame(Control.WELCOME)
        async with raw_peer(node, new_identity()) as second:
            welcome = await second.next_frame(Control.WELCOME)
            farewell = await first.next_frame(Control.GOODBYE)

        assert welcome[2] == b"\x00"
        assert farewell[2] == b"too_many_guests"


async def test_a_key_is_a_guest_twice_at_the_most() -> None:
    identity = new_identity()
    async with (
        running(5, guest_policy=lambda _pin: frozenset({ASK})) as node,
        raw_peer(node, identity) as first,
        raw_peer(node, identity) as second,
    ):
        await first.next_frame(Control.WELCOME)
        await second.next_frame(Control.WELCOME)
        async with raw_peer(node, identity) as third:
            await third.next_frame(Control.WELCOME)
            farewell = await first.next_frame(Control.GOODBYE)

            assert farewell[2] == b"replaced"
            await until(lambda: node.network.statistics().guests == 2)


async def test_a_node_that_shows_another_key_is_connected_again_under_it() -> None:
    renewed = new_identity()
    async with consortium(2) as (one, other):
        expected = PeerAddress(
            peer_id=0,
            host="127.0.0.1",
            port=one.network.port,
            pin=renewed.pin,
            other_pin=one.identity.pin,
        )
        other.network.set_peers([expected, other.address], self_id=1)
        assert other.network.connected() == (0,)

        one.network.set_identity(renewed)
        await until(lambda: len(other.links) == 3 and len(one.links) == 3)

        assert other.network._registry.table.by_id[0].channel is not None
        assert other.network._registry.table.by_id[0].channel.link.pin == renewed.pin
        assert one.network.connected() == (1,)
