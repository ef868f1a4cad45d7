"""AES-GCM and HKDF-SHA256 against Wycheproof's vectors, called the way the room calls them."""

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from crypto.kdf import hkdf_expand, hkdf_extract


def vectors(folder: Path, name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    groups = json.loads((folder / "wycheproof" / name).read_text())["testGroups"]
    return [(group, test) for group in groups for test in group["tests"]]


def test_aes_256_gcm_accepts_and_refuses_what_wycheproof_says(shared_data: Path) -> None:
    ran = {"valid": 0, "invalid": 0}

    for group, test in vectors(shared_data, "aes_gcm_test.json"):
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue  # Other sizes never occur here.
        key, nonce, aad, message, ciphertext, tag = (
            bytes.fromhex(test[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")
        )
        aead, sealed = AESGCM(key), ciphertext + tag
        opened = bytearray(len(message))
        ran[test["result"]] += 1
        if test["result"] == "valid":
            written = bytearray(len(sealed))
            aead.encrypt_into(nonce, message, aad, written)
            aead.decrypt_into(nonce, sealed, aad, opened)
            assert bytes(written) == sealed == aead.encrypt(nonce, message, aad), test["tcId"]
            assert bytes(opened) == message == aead.decrypt(nonce, sealed, aad), test["tcId"]
        else:
            with pytest.raises(InvalidTag):
                aead.decrypt(nonce, sealed, aad)
            with pytest.raises(InvalidTag):
                aead.decrypt_into(nonce, sealed, aad, opened)

    assert ran == {"valid": 39, "invalid": 27}


def test_hkdf_sha256_makes_what_wycheproof_says(shared_data: Path) -> None:
    ran = {"valid": 0, "invalid": 0}

    for _, test in vectors(shared_data, "hkdf_sha256_test.json"):
        material, salt, info, expected = (
            bytes.fromhex(test[name]) for name in ("ikm", "salt", "info", "okm")
        )
        ran[test["result"]] += 1
        pseudorandom_key = hkdf_extract(salt, material)
        if test["result"] == "valid":
            assert hkdf_expand(pseudorandom_key, info, test["size"]) == expected, test["tcId"]
        else:
            with pytest.raises(ValueError, match="larger than 8160"):
                hkdf_expand(pseudorandom_key, info, test["size"])

    assert ran == {"valid": 83, "invalid": 3}
