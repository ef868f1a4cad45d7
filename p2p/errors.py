"""Everything that can go wrong between two nodes, each with a stable code."""

from typing import ClassVar

from p2p.codes import is_code


class P2pError(Exception):
    """Root of the room's errors; `code` is stable and may be shown to an operator or a peer."""

    code: ClassVar[str] = "p2p.error"


class InvalidIdentity(P2pError):
    """A TLS private key that is not a P-256 key in PEM."""

    code = "identity.invalid"


class UnidentifiedPeer(P2pError):
    """The other side of a finished handshake showed no P-256 certificate to pin."""

    code = "identity.unreadable"


class InvalidPeerAddress(P2pError):
    """A host, port or pin that no connection can be made to."""

    code = "peer.invalid_address"


class FrameError(P2pError):
    """Bytes that are not frames of ours; the connection that carried them is closed."""

    code = "frame.invalid"


class UnknownKind(FrameError):
    """A frame of a kind that this node has no limit for."""

    code = "frame.unknown_kind"


class FrameTooLarge(FrameError):
    """A frame that announces more bytes than its kind may have; nothing of it was kept."""

    code = "frame.too_large"


class ProtocolViolation(P2pError):
    """Well-formed frames in an order or number that no correct peer sends."""

    code = "peer.violation"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PeerUnreachable(P2pError):
    """No connection to the peer, or it ended before the answer came."""

    code = "peer.unreachable"


class NotWelcome(PeerUnreachable):
    """The other side is there, and answers nobody under our key."""

    code = "peer.not_welcome"


class RequestTimeout(P2pError):
    """The peer made no progress within the time allowed; the outcome is unknown."""

    code = "request.timeout"


class PeerRefused(P2pError):
    """The peer answered with a refusal; `refusal` is its code."""

    code = "request.refused"

    def __init__(self, refusal: str) -> None:
        super().__init__(refusal)
        self.refusal = refusal


class ReplyTooLarge(P2pError):
    """The peer sent a longer reply than was asked for; the connection is closed."""

    code = "request.reply_too_large"


class RequestRefused(P2pError):
    """Raised by a handler to answer a request with a refusal instead of a reply.

    `refusal` is a short code of `a-z 0-9 . _ -`, which the peer gets as `PeerRefused.refusal`.
    """

    code = "request.refused_here"

    def __init__(self, refusal: str) -> None:
        assert is_code(refusal.encode()), "a refusal is a code"
        super().__init__(refusal)
        self.refusal = refusal
