"""Storage receipts: validators' signed promises to keep a blob, which make a record safe.

A receipt is Ed25519, by the validator's vote key, in domain `STORAGE_RECEIPT` on this chain, over

    cid (36) || size in bytes, u64 big-endian (8) || validator index, u16 big-endian (2)

so it speaks of one blob and one validator, and of nothing else. With f + 1 of them at least one
correct validator keeps the bytes. A promise made under a key of the epoch before is still one, so
that a change of the set refuses nobody's record; who is no validator any more makes nothing safe.
"""

from collections.abc import Sequence

from crypto.cid import CID_BYTES, Cid
from crypto.errors import InvalidKey, InvalidSignature
from crypto.hashing import ChainId, Domain
from crypto.signatures import Scheme, SignatureJob, check_job, signature_preimage
from crypto.validators import ValidatorSet
from ledger.errors import Refused
from ledger.records_payloads import StorageReceipt


def storage_receipt_payload(cid: Cid, size_bytes: int, validator: int) -> bytes:
    """Return what a validator signs in domain `STORAGE_RECEIPT`; 46 bytes."""
    assert len(cid) == CID_BYTES, "a content address has its fixed length"
    return cid + size_bytes.to_bytes(8, "big") + validator.to_bytes(2, "big")


def check_storage_receipts(
    receipts: Sequence[StorageReceipt],
    *,
    cid: Cid,
    size_bytes: int,
    validators: ValidatorSet,
    former: ValidatorSet | None,
    chain_id: ChainId,
) -> bool:
    """Return whether the receipts make the blob safe; each of them must be valid.

    `former` is the set of the epoch before. Raises `Refused` (`storage.receipt_invalid`) at the
    first that is no validator's of either over exactly this blob: a transaction never costs more
    than two signature checks in vain.
    """
    kept_by = 0
    for receipt in receipts:
        jobs = [
            storage_receipt_job(
                receipt, cid=cid, size_bytes=size_bytes, validators=one, chain_id=chain_id
            )
            for one in (validators, former)
            if one is not None
        ]
        _check_any(receipt, [job for job in dict.fromkeys(jobs) if job is not None])
        kept_by += jobs[0] is not None
    return kept_by >= validators.quorum.weak


def storage_receipt_job(
    receipt: StorageReceipt,
    *,
    cid: Cid,
    size_bytes: int,
    validators: ValidatorSet,
    chain_id: ChainId,
) -> SignatureJob | None:
    """Return the check of one receipt; None if no current validator is named."""
    member = validators.member(receipt.validator)
    if member is None:
        return None
    payload = storage_receipt_payload(cid, size_bytes, receipt.validator)
    preimage = signature_preimage(Domain.STORAGE_RECEIPT, chain_id, payload)
    return SignatureJob(Scheme.ED25519, member.vote_key, receipt.signature, preimage)


def _check_any(receipt: StorageReceipt, jobs: Sequence[SignatureJob]) -> None:
    """Raise `Refused` unless one of the checks holds: a validator may have changed its key."""
    why = "there is no such validator"
    for job in jobs:
        try:
            check_job(job)
        except (InvalidSignature, InvalidKey) as problem:
            why = str(problem)
        else:
            return
    raise _invalid(receipt, why)


def _invalid(receipt: StorageReceipt, why: str) -> Refused:
    return Refused(
        "storage.receipt_invalid",
        f"the storage receipt of validator {receipt.validator} does not hold: {why}; "
        "ask its node for a new one",
        (("validator", receipt.validator),),
    )
