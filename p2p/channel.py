"""A channel: an open link, the conversations it carries and the routes of its frames."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from p2p import requests, serving
from p2p.codes import decode_code
from p2p.config import KindRule
from p2p.errors import PeerUnreachable, ProtocolViolation
from p2p.frames import HEADER_BYTES, KIND_COUNT, Control
from p2p.heartbeat import on_pong
from p2p.lanes import Lane
from p2p.link import Link, Route
from p2p.requests import Asking
from p2p.serving import Serving

OnFrame: TypeAlias = Callable[[int, int, bytes], None]
"""Takes (peer, kind, body) of a single message, in the order of arrival."""

T = TypeVar("T", Asking, Serving)

GOODBYE_PREFIX: Final = "peer."
"""Opens every reason for an end that the other side has given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """An open link and both sides of its conversations."""

    link: Link
    asking: Asking
    serving: Serving


def open_channel(
    link: Link, serving_: Serving, kinds: Mapping[int, KindRule], on_frame: OnFrame
) -> Channel:
    """Join a link with fresh conversations; from now on its frames go where they belong."""
    channel = Channel(link=link, asking=Asking(), serving=serving_)
    routes: list[Route] = [on_unexpected] * KIND_COUNT
    for control, route in _control_routes(channel).items():
        routes[control] = route
    for kind, rule in kinds.items():
        is_message = rule.is_message
        routes[kind] = (
            _message_route(on_frame, rule.lane) if is_message else _request_route(serving_)
        )
    link.routes = tuple(routes)
    return channel


def end_channel(channel: Channel) -> list[asyncio.Task[None]]:
    """End the conversations of a link that is gone; return the handlers that are still ending."""
    requests.end_all(channel.asking, PeerUnreachable(channel.link.reason))
    return serving.cancel_all(channel.serving)


def closed_routes(on_welcome: Route) -> tuple[Route, ...]:
    """Return the routes of a link whose other side has not agreed to talk yet."""
    routes: list[Route] = [on_unexpected] * KIND_COUNT
    routes[Control.WELCOME] = on_welcome
    routes[Control.GOODBYE] = _on_goodbye
    return tuple(routes)


def on_unexpected(_link: Link, _kind: int, _request_id: int, _body: bytes) -> None:
    raise ProtocolViolation("unexpected_frame")


def _message_route(on_frame: OnFrame, lane: Lane) -> Route:
    def on_message(link: Link, kind: int, request_id: int, body: bytes) -> None:
        link.traffic.bytes_in[lane] += HEADER_BYTES + len(body)
        if request_id:
            raise ProtocolViolation("message_with_id")
        assert link.peer_id is not None, "an open link has a peer"
        on_frame(link.peer_id, kind, body)

    return on_message


def _request_route(serving_: Serving) -> Route:
    def on_request(link: Link, kind: int, request_id: int, body: bytes) -> None:
        serving.on_request(link, serving_, kind, request_id, body)

    return on_request


def _control_routes(channel: Channel) -> Mapping[Control, Route]:
    asking, answering = channel.asking, channel.serving
    return {
        Control.PING: _on_ping,
        Control.PONG: _on_pong,
        Control.GOODBYE: _on_goodbye,
        Control.REPLY: _bind(requests.on_reply, asking),
        Control.REPLY_PART: _bind(requests.on_reply_part, asking),
        Control.FAILED: _bind(requests.on_failed, asking),
        Control.STREAM_CHUNK: _bind(requests.on_stream_chunk, asking),
        Control.STREAM_END: _bind(requests.on_stream_end, asking),
        Control.PUSH_WINDOW: _bind(requests.on_push_window, asking),
        Control.CANCEL: _bind(serving.on_cancel, answering),
        Control.STREAM_WINDOW: _bind(serving.on_stream_window, answering),
        Control.PUSH_CHUNK: _bind(serving.on_push_chunk, answering),
        Control.PUSH_END: _bind(serving.on_push_end, answering),
    }


def _bind(handler: Callable[[Link, T, int, bytes], None], conversations: T) -> Route:
    def on_control(link: Link, _kind: int, request_id: int, body: bytes) -> None:
        handler(link, conversations, request_id, body)

    return on_control


def _on_ping(link: Link, _kind: int, _request_id: int, body: bytes) -> None:
    link.traffic.bytes_in[Lane.CONTROL] += HEADER_BYTES + len(body)
    link.send_control(Control.PONG, 0, body)


def _on_pong(link: Link, _kind: int, _request_id: int, body: bytes) -> None:
    link.traffic.bytes_in[Lane.CONTROL] += HEADER_BYTES + len(body)
    on_pong(link.heartbeat, body, time.monotonic())


def _on_goodbye(link: Link, _kind: int, _request_id: int, body: bytes) -> None:
    link.close(GOODBYE_PREFIX + decode_code(body), says_goodbye=False)
