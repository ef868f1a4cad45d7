"""What cryptography costs on this machine; one signature check is the unit of throughput.

In processor time: what else runs must not make a check look dear, and a node efficient by that.
"""

import hashlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.envelopes import (
    EnvelopeInfo,
    EnvelopeKind,
    SealScheme,
    make_seal_private_key,
    seal_public_key,
    unwrap,
    wrap,
)
from crypto.hashing import ChainId, Domain
from crypto.merkle import check_inclusion, make_inclusion_proof, merkle_root
from crypto.record_ids import AccountId, RecordId, SealId, VersionId
from crypto.signatures import (
    Scheme,
    SignatureJob,
    check_job,
    make_signing_key,
    public_key,
    sign,
    signature_preimage,
)

ROUNDS: Final = 80
CHECKS: Final = 25
LEAVES: Final = 1_000
PREIMAGE_BYTES: Final = 100
"""Domain, chain id and transaction id: what a transaction's signature is over."""


def verify_us() -> float:
    """Return what one ECDSA P-256 check takes, in microseconds of processor time.

    All cores check at once, each in a process, since that is how a network would spend them: two
    that share a unit of the processor are slower together than one alone. Mean over the cores.
    """
    command = (sys.executable, "-m", "benchmarks.unit_costs")
    checking = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in range(os.cpu_count() or 1)
    ]
    told = [float(one.communicate()[0]) for one in checking]
    return round(statistics.fmean(told), 2)


def verify_here_us() -> float:
    """Return what one check takes in this process, in microseconds of processor time.

    The library's own call with the key object at hand: nothing of ours is in it, so it is the least
    that any node of this design can spend on a transaction. Median over rounds.
    """
    key, scheme = ec.generate_private_key(ec.SECP256R1()), ec.ECDSA(hashes.SHA256())
    public, rounds = key.public_key(), []
    for number in range(ROUNDS):
        texts = [bytes([number, check]) * (PREIMAGE_BYTES // 2) for check in range(CHECKS)]
        signed = [(key.sign(text, scheme), text) for text in texts]
        started_s = time.thread_time()
        for signature, text in signed:
            public.verify(signature, text, scheme)
        rounds.append((time.thread_time() - started_s) / CHECKS)
    return round(1e6 * statistics.median(rounds), 2)


def crypto_us() -> dict[str, float]:
    """Return the processor time of each cryptographic operation, through our own code."""
    return {name: _median_us(operation) for name, operation in _operations().items()}


def _operations() -> dict[str, Callable[[], object]]:
    chain, text = ChainId(bytes(32)), bytes(PREIMAGE_BYTES)
    found: dict[str, Callable[[], object]] = {}
    for scheme, name in ((Scheme.P256, "ecdsa_p256"), (Scheme.ED25519, "ed25519")):
        key = make_signing_key(scheme)
        signature = sign(key, Domain.TRANSACTION_SIGNATURE, chain, text)
        preimage = signature_preimage(Domain.TRANSACTION_SIGNATURE, chain, text)
        job = SignatureJob(scheme, public_key(key).data, signature, preimage)
        found[f"{name}_sign"] = partial(sign, key, Domain.TRANSACTION_SIGNATURE, chain, text)
        found[f"{name}_verify"] = partial(check_job, job)
    info = EnvelopeInfo(
        chain_id=chain,
        kind=EnvelopeKind.RECORD,
        pseudonym=AccountId(bytes(32)),
        record_id=RecordId(bytes(16)),
        version_id=VersionId(bytes(16)),
        seal_id=SealId(bytes(16)),
        recipient=AccountId(bytes(32)),
        recipient_key_id=bytes(16),
    )
    for seal_scheme, name in (
        (SealScheme.P256, "hpke_p256"),
        (SealScheme.RSA_3072, "rsa_3072_oaep"),
    ):
        seal_key = make_seal_private_key(seal_scheme)
        seal_to = seal_public_key(seal_key)
        envelope = wrap(seal_to, bytes(64), info)
        found[f"{name}_wrap"] = partial(wrap, seal_to, bytes(64), info)
        found[f"{name}_unwrap"] = partial(unwrap, seal_key, envelope, info)
    return found | _bulk_operations() | _tree_operations()


def _bulk_operations() -> dict[str, Callable[[], object]]:
    aead, mebibyte, nonce = AESGCM(bytes(32)), bytes(1 << 20), bytes(12)
    sealed = aead.encrypt(nonce, mebibyte, None)
    return {
        "sha256_200_bytes": lambda: hashlib.sha256(bytes(200)).digest(),
        "sha256_1_mib": lambda: hashlib.sha256(mebibyte).digest(),
        "aes_256_gcm_seal_1_mib": partial(aead.encrypt, nonce, mebibyte, None),
        "aes_256_gcm_open_1_mib": partial(aead.decrypt, nonce, sealed, None),
    }


def _tree_operations() -> dict[str, Callable[[], object]]:
    """Proofs that a transaction is one of the thousand of its block."""
    leaves = [hashlib.sha256(number.to_bytes(4, "big")).digest() for number in range(LEAVES)]
    root, path = merkle_root(leaves), make_inclusion_proof(leaves, 1)
    return {
        "merkle_prove_1_of_1000": partial(make_inclusion_proof, leaves, 1),
        "merkle_check_1_of_1000": partial(check_inclusion, root, leaves[1], 1, LEAVES, path),
    }


def _median_us(operation: Callable[[], object]) -> float:
    operation()
    rounds = []
    for _ in range(ROUNDS // 2):
        started_s = time.thread_time()
        for _ in range(CHECKS // 5):
            operation()
        rounds.append((time.thread_time() - started_s) / (CHECKS // 5))
    return round(1e6 * statistics.median(rounds), 2)


if __name__ == "__main__":
    sys.stdout.write(f"{verify_here_us()}\n")
