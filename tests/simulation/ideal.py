"""Ideal signatures: a table of keys instead of curves, so that a run spends its time on protocol.

A signature is a keyed hash under the public key; only whoever holds the table can make or check
one. Faulty replicas are handed their own signing function and nothing else. Signatures have the
form of real ones, so that the real checks of form pass them. The first half is free: one key
makes as many valid signatures of one message as it likes, as real ones do.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from crypto import signatures
from crypto.hashing import ChainId
from crypto.signatures import SignatureJob, SigningKey
from crypto.validators import Epoch, ReplicaId, Validator, ValidatorSet
from shell import journal as votes_journal
from shell import own_keys
from storage import journal
from tests.simulation.keystores import keep_keys_in_memory, known_public_key

CHAIN = ChainId(hashlib.sha256(b"the simulated chain").digest())
ROTATE_BYTES = 48 << 10
Check = Callable[[bytes, bytes, bytes], None]
FIRST_VARIANT = hashlib.sha256(b"first variant").digest()


def vote_key(replica: int) -> bytes:
    return hashlib.sha256(b"vote key %d" % replica).digest()


def make_signer(replica: int) -> Callable[[bytes], bytes]:
    return signer_of(vote_key(replica))


def signer_of(key: bytes) -> Callable[[bytes], bytes]:
    """Return what signs for the holder of a public key."""

    def sign(preimage: bytes) -> bytes:
        return signature(key, preimage)

    return sign


def at_every_epoch(sign: Callable[[bytes], bytes]) -> Callable[[Epoch, bytes], bytes]:
    """Return what a replica signs with whose key never changes."""
    return lambda _epoch, preimage: sign(preimage)


def signature(key: bytes, preimage: bytes, variant: bytes = FIRST_VARIANT) -> bytes:
    """Return one of the valid signatures; `variant` (32 bytes) says which."""
    first = _small(variant)
    return first + _small(hashlib.blake2b(first + preimage, digest_size=32, key=key[-64:]).digest())


def is_signed(job: SignatureJob) -> bool:
    return job.signature == signature(job.key, job.preimage, job.signature[:32])


@contextmanager
def ideal_world() -> Iterator[None]:
    """Let the real checks of signatures ask the table instead of the curves, count ids of journals
    instead of drawing them, and let journals grow less before they are written anew."""

    def or_ideal(curve: Check) -> Check:
        """Founding documents are signed for real."""

        def check(key: bytes, signed: bytes, preimage: bytes) -> None:
            if signed != signature(key, preimage, signed[:32]):
                curve(key, signed, preimage)

        return check

    ids = itertools.count(1)

    def next_id(length: int) -> bytes:
        return next(ids).to_bytes(length, "big")

    with pytest.MonkeyPatch.context() as patch:
        for name in ("_check_p256", "_check_ed25519"):
            patch.setattr(signatures, name, or_ideal(getattr(signatures, name)))
        patch.setattr(journal, "secrets", SimpleNamespace(token_bytes=next_id))
        patch.setattr(votes_journal, "ROTATE_BYTES", ROTATE_BYTES)
        keep_keys_in_memory(patch)
        patch.setattr(own_keys, "sign_preimage", sign_ideally)
        yield


def sign_ideally(key: SigningKey, preimage: bytes) -> bytes:
    return signature(known_public_key(key).data, preimage)


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


def _small(number: bytes) -> bytes:
    """A number below the order of either group, whatever the byte order."""
    return bytes((number[0] & 0x0F,)) + number[1:31] + bytes((number[31] & 0x0F,))
