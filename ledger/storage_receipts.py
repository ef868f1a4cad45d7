"""Storage receipts: validators' signed promises to keep a blob, which make a record safe.

A receipt is Ed25519, by the validator's vote key, in domain `STORAGE_RECEIPT` on this chain, over

    cid (36) || size in bytes, u64 big-endian (8) || validator index, u16 big-endian (2)

so it speaks of one blob and one validator, and of nothing else. With f + 1 of them at least one
correct validator keeps the bytes.
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
    chain_id: ChainId,
) -> bool:
    """Return whether the receipts make the blob safe; each of them must be valid.

    Raises `Refused` (`storage.receipt_invalid`) at the first that is not a current validator's
    over exactly this blob: a transaction never costs more than one signature check in vain.
    """
    for receipt in receipts:
        job = storage_receipt_job(
            receipt, cid=cid, size_bytes=size_bytes, validators=validators, chain_id=chain_id
        )
        if job is None:
            raise _invalid(receipt, "there is no such validator")
        try:
            check_job(job)
        except (InvalidSignature, InvalidKey) as problem:
            raise _invalid(receipt, str(problem)) from problem
    return len(receipts) >= validators.quorum.weak


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


def _invalid(receipt: StorageReceipt, why: str) -> Refused:
    return Refused(
        "storage.receipt_invalid",
        f"the storage receipt of validator {receipt.validator} does not hold: {why}; "
        "ask its node for a new one",
        (("validator", receipt.validator),),
    )
