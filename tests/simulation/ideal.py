"""Ideal signatures: a table of keys instead of curves, so that a run spends its time on protocol.

A signature is a keyed hash; only whoever holds the table can make or check one. Faulty replicas
are handed their own signing function and nothing else.
"""

import hashlib
from collections.abc import Callable

from crypto.hashing import ChainId
from crypto.signatures import SignatureJob
from crypto.validators import ReplicaId, Validator, ValidatorSet

CHAIN = ChainId(hashlib.sha256(b"the simulated chain").digest())


def vote_key(replica: int) -> bytes:
    return hashlib.sha256(b"vote key %d" % replica).digest()


def make_signer(replica: int) -> Callable[[bytes], bytes]:
    key = vote_key(replica)

    def sign(preimage: bytes) -> bytes:
        return hashlib.blake2b(preimage, digest_size=64, key=key).digest()

    return sign


def is_signed(job: SignatureJob) -> bool:
    expected = hashlib.blake2b(job.preimage, digest_size=64, key=job.key).digest()
    return expected == job.signature


def make_validators(replicas: int) -> ValidatorSet:
    return ValidatorSet(
        members=tuple(
            Validator(
                index=ReplicaId(index),
                org=f"hospital-{index}",
                vote_key=vote_key(index),
                tls_pin=bytes(32),
            )
            for index in range(replicas)
        )
    )
