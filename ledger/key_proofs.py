"""Proofs that belong to a key: that its holder agrees to an account, and which seal key it owns.

A **possession** is a new sign key's signature over the account it is to serve: organisation and
role are part of it, so nobody can register somebody else's key under another hat. It is bound to
the chain; a founder, who signs before the chain exists, binds it to the invitation instead.

A **seal binding** is a sign key's signature over the account's seal key. Who seals to a key checks
it, so that a node that lies about one entry gets no record. It names the account, whose id is a
digest of a key, and is the same on every chain (its chain id is zeros).
"""

from dataclasses import dataclass
from typing import ClassVar, Final

from crypto.envelopes import SealKey
from crypto.hashing import ChainId, Domain
from crypto.record_ids import AccountId
from crypto.schema import encode
from crypto.signatures import (
    PublicKey,
    SignatureJob,
    SigningKey,
    public_key,
    sign,
    signature_preimage,
)
from ledger.accounts import OrgId, Role

ANY_CHAIN: Final = ChainId(bytes(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationClaim:
    """The account that a key agrees to become the first key of."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_TAG: ClassVar[int] = 1

    org: OrgId
    role: Role
    sign_key: PublicKey
    seal_key: SealKey


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationClaim:
    """The account that a key agrees to serve from now on."""

    WIRE_VERSION: ClassVar[int] = 1
    WIRE_TAG: ClassVar[int] = 2

    account_id: AccountId
    sign_key: PublicKey


@dataclass(frozen=True, slots=True, kw_only=True)
class SealBinding:
    """The seal key that an account's sign key vouches for."""

    WIRE_VERSION: ClassVar[int] = 1

    account_id: AccountId
    seal_key: SealKey


def sign_registration(
    key: SigningKey, *, chain_id: ChainId, org: OrgId, role: Role, seal_key: SealKey
) -> bytes:
    """Return the possession that a registration carries."""
    claim = RegistrationClaim(org=org, role=role, sign_key=public_key(key), seal_key=seal_key)
    return sign(key, Domain.KEY_POSSESSION, chain_id, encode(claim))


def sign_rotation(key: SigningKey, *, chain_id: ChainId, account_id: AccountId) -> bytes:
    """Return the possession that a rotation to `key` carries."""
    claim = RotationClaim(account_id=account_id, sign_key=public_key(key))
    return sign(key, Domain.KEY_POSSESSION, chain_id, encode(claim))


def sign_seal_binding(key: SigningKey, *, account_id: AccountId, seal_key: SealKey) -> bytes:
    """Return the account's statement about its seal key."""
    binding = SealBinding(account_id=account_id, seal_key=seal_key)
    return sign(key, Domain.KEY_BINDING, ANY_CHAIN, encode(binding))


def registration_job(
    sign_key: PublicKey,
    possession: bytes,
    *,
    chain_id: ChainId,
    org: OrgId,
    role: Role,
    seal_key: SealKey,
) -> SignatureJob:
    """Return the check of a registration's possession."""
    claim = RegistrationClaim(org=org, role=role, sign_key=sign_key, seal_key=seal_key)
    return _job(sign_key, possession, Domain.KEY_POSSESSION, chain_id, encode(claim))


def rotation_job(
    sign_key: PublicKey, possession: bytes, *, chain_id: ChainId, account_id: AccountId
) -> SignatureJob:
    """Return the check of a rotation's possession."""
    claim = RotationClaim(account_id=account_id, sign_key=sign_key)
    return _job(sign_key, possession, Domain.KEY_POSSESSION, chain_id, encode(claim))


def seal_binding_job(
    sign_key: PublicKey, signature: bytes, *, account_id: AccountId, seal_key: SealKey
) -> SignatureJob:
    """Return the check of a seal binding."""
    binding = SealBinding(account_id=account_id, seal_key=seal_key)
    return _job(sign_key, signature, Domain.KEY_BINDING, ANY_CHAIN, encode(binding))


def _job(
    key: PublicKey, signature: bytes, domain: Domain, chain_id: ChainId, payload: bytes
) -> SignatureJob:
    preimage = signature_preimage(domain, chain_id, payload)
    return SignatureJob(key.scheme, key.data, signature, preimage)
