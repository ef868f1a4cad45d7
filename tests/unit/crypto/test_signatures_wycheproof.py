import json
from pathlib import Path
from typing import Any

from crypto.signatures import P256_ORDER, Scheme, SignatureJob, is_valid_many


def vectors(shared_data: Path, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    document = json.loads((shared_data / "wycheproof" / name).read_text(encoding="utf-8"))
    pairs = [(group, test) for group in document["testGroups"] for test in group["tests"]]
    assert len(pairs) == document["numberOfTests"]
    return pairs


def answers(jobs: list[SignatureJob]) -> list[bool]:
    return is_valid_many(jobs)


def has_high_s(signature: bytes) -> bool:
    return len(signature) == 64 and int.from_bytes(signature[32:], "big") > P256_ORDER // 2


def test_p256_agrees_with_wycheproof_but_for_mirrored_signatures(shared_data: Path) -> None:
    pairs = vectors(shared_data, "ecdsa_secp256r1_sha256_p1363_test.json")
    jobs = [
        SignatureJob(
            Scheme.P256,
            bytes.fromhex(group["publicKey"]["uncompressed"]),
            bytes.fromhex(test["sig"]),
            bytes.fromhex(test["msg"]),
        )
        for group, test in pairs
    ]

    found = answers(jobs)

    mirrored = 0
    for (_, test), job, valid in zip(pairs, jobs, found, strict=True):
        if test["result"] == "valid" and has_high_s(job.signature):
            mirrored += 1
            assert not valid, test
            low = P256_ORDER - int.from_bytes(job.signature[32:], "big")
            repaired = job._replace(signature=job.signature[:32] + low.to_bytes(32, "big"))
            assert answers([repaired]) == [True], test
        else:
            assert valid == (test["result"] == "valid"), test
    assert len(pairs) == 262
    assert (mirrored, sum(found)) == (70, 103)


def test_ed25519_agrees_with_wycheproof(shared_data: Path) -> None:
    pairs = vectors(shared_data, "ed25519_test.json")
    jobs = [
        SignatureJob(
            Scheme.ED25519,
            bytes.fromhex(group["publicKey"]["pk"]),
            bytes.fromhex(test["sig"]),
            bytes.fromhex(test["msg"]),
        )
        for group, test in pairs
    ]

    found = answers(jobs)

    for (_, test), valid in zip(pairs, found, strict=True):
        assert valid == (test["result"] == "valid"), test
    assert len(pairs) == 151
    assert sum(found) == 88
