"""How a TCP socket is set up so that urgent frames need not wait in it."""

import socket
from typing import Final

UNSENT_BYTES_MAX: Final = 128 * 1024
"""What may wait unsent in the kernel: else megabytes of bulk do, and consensus behind them."""


def tune_socket(connection: socket.socket, *, receive_bytes: int) -> None:
    """Send small frames at once, and let little wait in the kernel on either side.

    `receive_bytes` (0 = as the system likes) bounds what a peer may send ahead of our reading; it
    also bounds a link to about twice as many bytes per round trip. An option that the system does
    not know costs only latency. The event loop sets the first only on sockets whose protocol is
    named, which an accepted one's is not.
    """
    _set(connection, socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    unsent = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if unsent is not None:
        _set(connection, socket.IPPROTO_TCP, unsent, UNSENT_BYTES_MAX)
    if receive_bytes:
        _set(connection, socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)


def _set(connection: socket.socket, level: int, option: int, number: int) -> None:
    try:
        connection.setsockopt(level, option, number)
    except OSError:
        return
