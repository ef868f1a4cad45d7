import asyncio
import datetime
import socket
import ssl
from contextlib import suppress
from dataclasses import replace
from struct import pack
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from p2p.config import PeerAddress
from p2p.errors import InvalidPeerAddress
from p2p.frames import Control, encode_frame
from p2p.identity import _AUTHORITY_NAME, _authority_key
from p2p.statistics import PeerState
from tests.unit.p2p.loopback import (
    ASK,
    NEWS,
    PATIENCE_S,
    VOTE,
    Node,
    consortium,
    introduce,
    new_identity,
    raw_peer,
    read_or_end,
    running,
    until,
)

RAW_ID = 3


def expect_raw(node: Node, pin: bytes) -> None:
    """Make the owner of a pin a member with a lower index, so that the node does not dial it."""
    raw = PeerAddress(peer_id=RAW_ID, host="127.0.0.1", port=1, pin=pin)
    node.network.set_peers([raw], self_id=node.self_id)


async def test_members_connect_and_exchange_messages_in_order() -> None:
    async with consortium(3) as nodes:
        for number in range(100):
            nodes[0].network.send(2, VOTE, b"%d" % number)
        nodes[1].network.broadcast(NEWS, b"to all")

        await until(lambda: len(nodes[2].received) == 101 and len(nodes[0].received) == 1)

        votes = [body for peer, kind, body in nodes[2].received if (peer, kind) == (0, VOTE)]
        assert votes == [b"%d" % number for number in range(100)]
        assert nodes[0].received == [(1, NEWS, b"to all")]
        assert (1, NEWS, b"to all") in nodes[2].received


async def test_one_connection_serves_a_pair_and_both_are_told() -> None:
    async with consortium(2) as (one, other):
        assert one.links == [(1, True)]
        assert other.links == [(0, True)]
        assert one.peer(1).state is PeerState.CONNECTED
        assert one.peer(1).reconnects == other.peer(0).reconnects == 0


async def test_an_abrupt_end_is_healed() -> None:
    async with consortium(2) as (one, other):
        channel = one.network._table.by_id[1].channel
        assert channel is not None

        channel.link.abort("test")
        await until(lambda: len(one.links) == 3 and len(other.links) == 3)
        one.network.send(1, VOTE, b"again")
        await until(lambda: bool(other.received))

        assert one.links == [(1, True), (1, False), (1, True)]
        assert one.peer(1).reconnects == 1


async def test_a_member_that_was_restarted_is_found_again() -> None:
    async with running(0) as one:
        identity = new_identity()
        async with running(1, identity=identity) as first:
            port = first.network.port
            introduce(one, first)
            await until(lambda: one.network.connected() == (1,))
        await until(lambda: one.network.connected() == ())
        assert one.peer(1).reason == "peer.closing"

        async with running(1, identity=identity) as second:
            introduce(one, second)
            await until(lambda: one.network.connected() == (1,))

            assert second.network.port != port
            assert one.peer(1).reconnects == 1


async def test_a_server_with_another_key_is_refused_by_the_dialer() -> None:
    async with running(0) as one, running(1) as impostor:
        real = new_identity()
        address = PeerAddress(peer_id=1, host="127.0.0.1", port=impostor.network.port, pin=real.pin)
        impostor.network.set_peers([one.address], self_id=1)

        one.network.set_peers([address], self_id=0)
        await until(lambda: one.peer(1).reason == "wrong_pin")

        assert one.peer(1).state is PeerState.REFUSED
        assert one.refused["wrong_pin"] > 0
        assert one.network.connected() == ()
        assert not one.links


async def test_a_caller_with_an_unknown_key_is_refused_and_hears_why() -> None:
    async with running(0) as one, running(1) as other:
        other.network.set_peers([], self_id=1)

        one.network.set_peers([other.address], self_id=0)
        await until(lambda: one.peer(1).reason == "peer.unknown_pin")

        assert other.refused["unknown_pin"] > 0
        assert one.peer(1).state is PeerState.REFUSED
        assert not one.links
        assert not other.links


async def test_nothing_that_an_unknown_caller_sends_is_looked_at() -> None:
    async with running(5) as node:
        async with raw_peer(node, new_identity()) as raw:
            for _ in range(100):
                raw.send(VOTE, 0, bytes(1000))
            await raw.wait_hung_up()

        assert not node.received
        assert node.refused["unknown_pin"] == 1


async def test_a_client_without_a_certificate_gets_nothing() -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.verify_mode = ssl.CERT_NONE
    async with running(5) as node:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", node.network.port, ssl=bare, server_hostname=""
        )

        received = await read_or_end(reader)
        writer.transport.abort()
        await until(lambda: node.refused["handshake"] == 1)

        assert received == b""


async def test_a_peer_that_speaks_another_protocol_is_refused() -> None:
    identity = new_identity()
    async with running(5) as node:
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            assert (await raw.next_frame(Control.WELCOME))[2] == b"\x01"

        async with raw_peer(node, identity, protocol="medledger-p2p/2") as raw:
            farewell = await raw.next_frame(Control.GOODBYE)

        assert farewell[2] == b"other_protocol"
        assert node.refused["other_protocol"] == 1


@pytest.mark.parametrize("name", ["8202fffe", "8602fffe", "a4023000", "870401020304", "8203610062"])
async def test_a_certificate_with_an_odd_name_troubles_nobody(name: str) -> None:
    identity = new_identity()
    names = bytes.fromhex(name)
    subject_alternative_name = x509.UnrecognizedExtension(
        x509.ObjectIdentifier("2.5.29.17"), b"\x30" + bytes([len(names)]) + names
    )
    authority = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _AUTHORITY_NAME)])
    odd = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(authority)
        .public_key(identity.private_key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC))
        .add_extension(subject_alternative_name, critical=True)
        .sign(_authority_key(), SHA256())
    )
    troubles: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: troubles.append(what))
    async with running(5) as node:
        async with raw_peer(node, identity, certificate=odd) as raw:
            await raw.wait_hung_up()
        await until(lambda: node.network.statistics().unauthenticated == 0)

        assert sum(node.refused.values()) == 1
    assert not troubles


async def test_garbage_against_the_port_is_counted_and_forgotten() -> None:
    async with consortium(2) as (one, other):
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(5000), b"\x16\x03\x01\xff\xff" * 100):
            reader, writer = await asyncio.open_connection("127.0.0.1", one.network.port)
            writer.write(garbage)
            await read_or_end(reader)
            writer.transport.abort()

        await until(lambda: one.refused["handshake"] == 3)
        other.network.send(0, VOTE, b"still here")
        await until(lambda: bool(one.received))

        assert one.network.statistics().unauthenticated == 0


async def test_who_never_finishes_the_handshake_is_cut_off() -> None:
    async with running(5, handshake_timeout_ms=100) as node:
        silent = [await asyncio.open_connection("127.0.0.1", node.network.port) for _ in range(3)]
        await until(lambda: node.network.statistics().unauthenticated == 3)

        ends = [await read_or_end(reader) for reader, _ in silent]
        await until(lambda: node.network.statistics().unauthenticated == 0)

        assert ends == [b""] * 3
        assert node.refused["handshake"] == 3
        for _, writer in silent:
            writer.transport.abort()


async def test_one_source_holds_few_unfinished_handshakes() -> None:
    async with running(5, sources_max=4) as node:
        callers = [await asyncio.open_connection("127.0.0.1", node.network.port) for _ in range(10)]

        await until(lambda: node.refused["source_busy"] == 6)

        assert node.network.statistics().unauthenticated == 4
        for _, writer in callers:
            writer.transport.abort()
        await until(lambda: node.network.statistics().unauthenticated == 0)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (pack(">IBI", 2**20 + 1, VOTE, 0), "frame.too_large"),
        (pack(">IBI", 2**32 - 1, NEWS, 0), "frame.too_large"),
        (pack(">IBI", 0, 255, 0), "frame.unknown_kind"),
        (pack(">IBI", 0, 0, 0), "frame.unknown_kind"),
        (encode_frame(VOTE, 7, b"x"), "message_with_id"),
        (encode_frame(ASK, 0, b"x"), "request_without_id"),
        (encode_frame(Control.WELCOME, 0, b"\x01"), "unexpected_frame"),
        (encode_frame(Control.STREAM_WINDOW, 1, b"123"), "unexpected_grant"),
    ],
)
async def test_a_member_that_breaks_the_rules_is_counted_and_disconnected(
    sent: bytes, reason: str
) -> None:
    identity = new_identity()
    async with running(5) as node:
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            await raw.next_frame(Control.WELCOME)
            raw.send(VOTE, 0, b"good")

            raw.writer.write(sent)
            farewell = await raw.next_frame(Control.GOODBYE)
            await raw.wait_hung_up()

        assert farewell[2].decode() == reason
        assert node.peer(RAW_ID).invalid == {reason: 1}
        assert node.received == [(RAW_ID, VOTE, b"good")]


async def test_after_a_violation_the_peer_waits_before_it_is_let_in_again() -> None:
    identity = new_identity()
    async with running(5, penalty_ms=150) as node:
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            raw.send(255)
            await raw.wait_hung_up()

        async with raw_peer(node, identity) as raw:
            assert (await raw.next_frame(Control.GOODBYE))[2] == b"penalty"
        async with asyncio.timeout(10):
            while node.network.connected() == ():
                async with raw_peer(node, identity) as raw:
                    await raw.next_frame(Control.WELCOME, Control.GOODBYE)

        assert node.refused["penalty"] > 0


async def test_a_newer_connection_of_the_same_key_replaces_the_older() -> None:
    identity = new_identity()
    async with running(5) as node:
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as older:
            await older.next_frame(Control.WELCOME)
            async with raw_peer(node, identity) as newer:
                await newer.next_frame(Control.WELCOME)
                farewell = await older.next_frame(Control.GOODBYE)
                await older.wait_hung_up()

                node.network.send(RAW_ID, VOTE, b"to the newer")
                frame = await newer.next_frame(VOTE)

                assert farewell[2] == b"replaced"
                assert frame[2] == b"to the newer"
                assert node.network.connected() == (RAW_ID,)


async def test_a_silent_connection_is_ended() -> None:
    """Half open: the other side is gone, but its kernel (here: its process) says nothing."""
    identity = new_identity()
    async with running(5, heartbeat_ms=20, idle_timeout_ms=60) as node:
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            await raw.next_frame(Control.WELCOME)

            await until(lambda: node.network.connected() == ())

            assert node.peer(RAW_ID).reason == "idle"


async def test_a_peer_that_takes_nothing_is_left() -> None:
    identity = new_identity()
    async with running(
        5, heartbeat_ms=20, idle_timeout_ms=1000, write_stall_timeout_ms=100
    ) as node:
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            await raw.next_frame(Control.WELCOME)
            raw.stop_reading()
            while node.network.connected() == (RAW_ID,):
                node.network.send(RAW_ID, VOTE, bytes(2**20))
                raw.send(Control.PING, 0, bytes(8))  # Alive, it says.
                await asyncio.sleep(0)

            assert node.peer(RAW_ID).reason in ("write_stalled", "control_overflow")


async def test_heartbeats_keep_an_idle_pair_together_and_measure_it() -> None:
    async with consortium(2, heartbeat_ms=10, idle_timeout_ms=200) as (one, other):
        await until(lambda: one.peer(1).rtt_ms is not None and other.peer(0).rtt_ms is not None)

        assert one.links == [(1, True)]
        assert 0 < (one.peer(1).rtt_ms or 0) < 10_000


async def test_members_can_be_replaced_while_running() -> None:
    async with running(0) as one, running(1) as other, running(2) as third:
        introduce(one, other)
        await until(lambda: one.network.connected() == (1,))

        introduce(one, other, third)
        await until(lambda: one.network.connected() == (1, 2))
        introduce(one, third)
        await until(lambda: one.network.connected() == (2,))

        assert (1, False) in one.links
        assert one.links.count((2, True)) == 1
        assert [peer.peer_id for peer in one.network.statistics().peers] == [2]


async def test_a_link_survives_a_new_address_of_the_same_key() -> None:
    async with consortium(2) as (one, other):
        moved = PeerAddress(peer_id=1, host="moved.invalid", port=9, pin=other.identity.pin)

        one.network.set_peers([moved], self_id=0)
        one.network.send(1, VOTE, b"as before")
        await until(lambda: bool(other.received))

        assert one.links == [(1, True)]


async def test_a_second_key_is_accepted_while_one_replaces_the_other() -> None:
    old, new = new_identity(), new_identity()
    async with running(5) as node:
        both = PeerAddress(peer_id=RAW_ID, host="127.0.0.1", port=1, pin=new.pin, other_pin=old.pin)
        node.network.set_peers([both], self_id=5)

        for identity in (old, new):
            async with raw_peer(node, identity) as raw:
                assert (await raw.next_frame(Control.WELCOME))[2] == b"\x01"

        expect_raw(node, new.pin)
        async with raw_peer(node, old) as raw:
            assert (await raw.next_frame(Control.GOODBYE))[2] == b"unknown_pin"


async def test_of_two_members_with_one_key_the_lower_keeps_it() -> None:
    identity = new_identity()
    async with running(5) as node:
        members = [
            PeerAddress(peer_id=peer_id, host="127.0.0.1", port=1, pin=identity.pin)
            for peer_id in (4, RAW_ID)
        ]
        node.network.set_peers(members, self_id=5)

        async with raw_peer(node, identity) as raw:
            await raw.next_frame(Control.WELCOME)

            assert node.network.connected() == (RAW_ID,)
            assert node.peer(4).reason == "shared_pin"


async def test_two_that_dial_each_other_keep_one_connection() -> None:
    async with running(None) as one, running(None) as other:
        addresses = [
            PeerAddress(
                peer_id=index, host="127.0.0.1", port=node.network.port, pin=node.identity.pin
            )
            for index, node in enumerate((one, other))
        ]

        one.network.set_peers([addresses[1]], self_id=None)
        other.network.set_peers([addresses[0]], self_id=None)
        await until(lambda: one.network.connected() == (1,) and other.network.connected() == (0,))
        while not (one.received and other.received):  # The connection that goes may take some.
            one.network.send(1, VOTE, b"one")
            other.network.send(0, VOTE, b"other")
            await asyncio.sleep(0)
        settled = [list(one.links), list(other.links)]
        for _ in range(2000):
            await asyncio.sleep(0)

        assert [one.links, other.links] == settled
        assert one.peer(1).reconnects <= 1
        assert other.peer(0).reconnects <= 1


async def test_of_two_connections_in_opposite_directions_the_lower_pin_decides() -> None:
    async with consortium(2) as (dialer, other), raw_peer(dialer, other.identity) as caller:
        kind, _, body = await caller.next_frame(Control.WELCOME, Control.GOODBYE)
        if dialer.identity.pin < other.identity.pin:
            assert (kind, body) == (Control.GOODBYE, b"duplicate")
            assert dialer.links == [(1, True)]
        else:
            assert kind == Control.WELCOME
            assert dialer.links == [(1, True), (1, False), (1, True)]


async def test_a_caller_with_our_own_key_is_refused() -> None:
    async with running(5, guest_policy=lambda _pin: frozenset({ASK})) as node:
        async with raw_peer(node, node.identity) as raw:
            farewell = await raw.next_frame(Control.GOODBYE, Control.WELCOME)

        assert farewell[2] == b"own_key"


async def test_an_address_where_nobody_shakes_hands_times_out() -> None:
    async with running(0, handshake_timeout_ms=50) as node:
        silent = socket.create_server(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        absent = PeerAddress(peer_id=1, host="127.0.0.1", port=port, pin=bytes(32))

        node.network.set_peers([absent], self_id=0)
        await until(lambda: node.peer(1).reason == "timeout")

        assert node.peer(1).state is PeerState.CONNECTING
        silent.close()


async def test_an_address_that_speaks_no_tls_is_reported_so() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n")
        await read_or_end(reader)
        writer.transport.abort()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with running(0) as node:
        port = server.sockets[0].getsockname()[1]
        absent = PeerAddress(peer_id=1, host="127.0.0.1", port=port, pin=bytes(32))

        node.network.set_peers([absent], self_id=0)
        await until(lambda: node.peer(1).reason == "handshake")

        assert not node.faults
    server.close()
    await server.wait_closed()


async def test_closing_ends_an_attempt_to_connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with running(0) as node:
            port = silent.getsockname()[1]
            absent = PeerAddress(peer_id=1, host="127.0.0.1", port=port, pin=bytes(32))
            node.network.set_peers([absent], self_id=0)
            silent.settimeout(0)
            accepted = None
            while accepted is None:
                with suppress(BlockingIOError):
                    accepted, _ = silent.accept()
                await asyncio.sleep(0)

            await node.network.close()

            assert node.network.connected() == ()
            accepted.close()


async def test_a_fault_of_a_callback_is_reported_and_ends_only_that_link() -> None:
    async with consortium(2) as (one, other):
        mishap = other.mishap = KeyError("a mistake of ours")

        one.network.send(1, VOTE, b"innocent")
        await until(lambda: bool(other.faults))
        await until(lambda: other.links.count((0, True)) == 2)

        assert other.faults == [mishap]
        assert not other.peer(0).invalid


async def test_closing_says_goodbye_and_frees_the_port() -> None:
    async with running(0) as one:
        async with running(1) as other:
            introduce(one, other)
            await until(lambda: one.network.connected() == (1,))
            port = other.network.port

        await until(lambda: one.network.connected() == ())

        assert one.peer(1).reason == "peer.closing"
        with socket.create_server(("127.0.0.1", port)):
            pass


async def test_a_message_to_nobody_is_counted_as_unsent() -> None:
    async with running(0) as one:
        absent = PeerAddress(peer_id=1, host="127.0.0.1", port=1, pin=bytes(32))
        one.network.set_peers([absent], self_id=0)

        one.network.send(1, VOTE, b"lost")
        one.network.broadcast(NEWS, b"lost too")
        await until(lambda: one.peer(1).reason == "unreachable")

        assert one.peer(1).frames_unsent == 2
        assert one.peer(1).state is PeerState.CONNECTING


@pytest.mark.parametrize(
    "changes",
    [
        {"host": ""},
        {"host": "a b"},
        {"host": "x" * 254},
        {"host": "nul\0"},
        {"port": 0},
        {"port": 65536},
        {"pin": bytes(31)},
        {"other_pin": b""},
        {"peer_id": -1},
    ],
)
def test_an_address_that_cannot_be_dialed_is_refused(changes: dict[str, Any]) -> None:
    sound = PeerAddress(peer_id=1, host="node.example", port=1, pin=bytes(32))

    with pytest.raises(InvalidPeerAddress):
        replace(sound, **changes)


async def test_a_host_that_no_resolver_takes_is_only_unreachable() -> None:
    async with running(0) as one:
        absurd = PeerAddress(peer_id=1, host="x" * 70 + ".invalid", port=1, pin=bytes(32))

        one.network.set_peers([absurd], self_id=0)
        await until(lambda: one.peer(1).reason == "unreachable")

        assert not one.faults


@pytest.mark.parametrize("size_bytes", [200, 2**20], ids=["small frames", "large frames"])
async def test_closing_with_a_full_outbox_leaves_no_connection(size_bytes: int) -> None:
    """The peer takes nothing: what it was to be sent is given up, and both sides know."""
    identity = new_identity()
    async with running(5, shutdown_timeout_ms=200) as node:
        expect_raw(node, identity.pin)
        async with raw_peer(node, identity) as raw:
            await raw.next_frame(Control.WELCOME)
            raw.stop_reading()
            for number in range(2**25 // size_bytes):
                node.network.send(RAW_ID, VOTE, bytes(size_bytes))
                if number % 64 == 0:
                    await asyncio.sleep(0)
            await asyncio.sleep(0)

            await asyncio.wait_for(node.network.close(), timeout=PATIENCE_S)

            assert node.links == [(RAW_ID, True), (RAW_ID, False)]
            assert node.peer(RAW_ID).state is not PeerState.CONNECTED
