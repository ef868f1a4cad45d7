"""What one signature check costs on this machine: the unit in which throughput is judged."""

import statistics
import time
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

ROUNDS: Final = 40
CHECKS: Final = 25
PREIMAGE_BYTES: Final = 100
"""Domain, chain id and transaction id: what a transaction's signature is over."""


def verify_us() -> float:
    """Return what one ECDSA P-256 check takes on an idle core, in microseconds.

    The library's own call with the key object at hand: nothing of ours is in it, so it is the least
    that any node of this design can spend on a transaction. Median over rounds.
    """
    key, scheme = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256())
    public, rounds = key.public_key(), []
    for number in range(ROUNDS):
        texts = [bytes([number, check]) * (PREIMAGE_BYTES // 2) for check in range(CHECKS)]
        signed = [(key.sign(text, scheme), text) for text in texts]
        started_s = time.perf_counter()
        for signature, text in signed:
            public.verify(signature, text, scheme)
        rounds.append((time.perf_counter() - started_s) / CHECKS)
    return round(1e6 * statistics.median(rounds), 2)
