"""A worker process that checks batches of signatures: frames in on stdin, bitmaps out on stdout.

One frame is a u32 big-endian length and that many bytes: `crypto.signatures.encode_jobs` inwards,
one byte per job (1 valid, 0 not) outwards. The worker holds no secret and keeps no state but its
cache of loaded keys; it ends when its input closes.
"""

import contextlib
import os
import signal
import sys

from crypto.signatures import decode_jobs, is_valid_many

FRAME_BYTES_MAX = 8 << 20


def main() -> None:
    """Serve batches until the parent closes the pipe, or is killed, which breaks it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # The parent's to handle: it closes the pipe.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        _serve()


def _serve() -> None:
    while True:
        head = _read_exactly(4)
        if head is None:
            return
        length = int.from_bytes(head, "big")
        assert length <= FRAME_BYTES_MAX, "the parent keeps to the frame limit"
        frame = _read_exactly(length)
        if frame is None:
            return
        answer = bytes(is_valid_many(decode_jobs(frame)))
        os.write(1, len(answer).to_bytes(4, "big") + answer)


def _read_exactly(count: int) -> bytes | None:
    parts = sys.stdin.buffer.read(count)
    return parts if len(parts) == count else None


if __name__ == "__main__":
    main()
