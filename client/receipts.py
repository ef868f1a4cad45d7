"""Receipts that need no node: what became of a transaction, provable to anybody with the genesis.

A receipt file holds the transaction, its receipt, the ways of both to the roots in two headers, the
certificate of the second one, and the last header of each epoch on the way there from the founders.
It holds for ever: no node has to keep the block, or to be there.
"""

from dataclasses import dataclass
from pathlib import Path

from client.connection import Client
from client.epochs import take_known_link, take_link
from client.errors import AnswerRejected, ProofRejected
from client.http import get_bytes
from client.seen import load_seen_epochs
from client.trust import Trust, check_header, make_trust
from crypto.errors import DecodeError, InvalidProof
from crypto.hashing import Digest, Domain, digest
from crypto.merkle import check_inclusion
from crypto.schema import decode, encode
from crypto.validators import set_number
from genesis.document import GenesisDocument
from ledger.blocks import header_digest
from ledger.errors import InvalidTransaction
from ledger.exchange import EpochLink, EpochLinks, ReceiptFile, ReceiptProof
from ledger.receipts import Receipt
from ledger.transactions import Transaction, decode_transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenReceipt:
    """What a receipt file proves: the block's time, the transaction, and what became of it."""

    time_ms: int
    transaction: Transaction
    receipt: Receipt


async def export_receipt(client: Client, tx_id: Digest) -> ReceiptFile:
    """Return a checked receipt file of a transaction that this account may see.

    Raises `Untrusted`, or `Refused` as the node does.
    """
    node = client.node
    path = f"/v1/transactions/{tx_id.hex()}/proof"
    body = await get_bytes(node, path, bytes_max=ReceiptProof.WIRE_BYTES_MAX)
    try:
        proof = decode(ReceiptProof, body)
    except DecodeError as problem:
        raise AnswerRejected(f"{path}: not a proof of a receipt: {problem}") from problem
    links = await _links_to(client, set_number(proof.above.header.epoch))
    file = ReceiptFile(links=links, proof=proof)
    proven = check_receipt(make_trust(client.founding), file)
    if proven.transaction.tx_id != tx_id:
        raise ProofRejected("the node proves another transaction than the one asked for")
    return file


def verify_receipt(
    document: GenesisDocument, encoded: bytes, *, home: Path | None = None
) -> ProvenReceipt:
    """Return what a receipt file proves under a founding document; raise `Untrusted`.

    With `home`, nothing is believed against the validators that this home has seen: keys of former
    ones, stolen since, prove nothing above the end of their epoch. Below it they still do.
    """
    trust = make_trust(document)
    if home is not None:
        load_seen_epochs(home, trust)
    try:
        file = decode(ReceiptFile, encoded)
    except DecodeError as problem:
        raise ProofRejected(f"this is not a receipt file: {problem}") from problem
    return check_receipt(trust, file)


def check_receipt(trust: Trust, file: ReceiptFile) -> ProvenReceipt:
    """Return what a receipt file proves to who trusts the founders; raise `Untrusted`."""
    for link in file.links:
        take_known_link(trust, link)
    proof = file.proof
    header, above = proof.header, check_header(trust, proof.above)
    if (above.height, above.parent) != (header.height + 1, header_digest(header)):
        raise ProofRejected("the two headers do not follow one another")
    receipt = proof.receipt
    try:
        transaction = decode_transaction(proof.signed, trust.chain_id)
        check_inclusion(
            header.tx_root, transaction.signed_hash, receipt.index, header.tx_count, proof.tx_path
        )
        leaf = digest(Domain.RECEIPT, trust.chain_id, encode(receipt))
        check_inclusion(
            above.receipts_root, leaf, receipt.index, header.tx_count, proof.receipt_path
        )
    except (InvalidProof, InvalidTransaction) as problem:
        raise ProofRejected(f"the receipt does not belong to its block: {problem}") from problem
    if (receipt.tx_id, receipt.height) != (transaction.tx_id, header.height):
        raise ProofRejected("the receipt is about another transaction")
    return ProvenReceipt(time_ms=header.time_ms, transaction=transaction, receipt=receipt)


async def _links_to(client: Client, number: int) -> tuple[EpochLink, ...]:
    """Return the changes of the validators from the founders to a set, each as it is proven.

    Nothing is gathered that does not hold: the node alone says how many there are to be.
    """
    trust, links = make_trust(client.founding), list[EpochLink]()
    while len(links) < number:
        path, after = "/v1/epochs", {"after": str(len(links))}
        body = await get_bytes(client.node, path, after, bytes_max=EpochLinks.WIRE_BYTES_MAX)
        try:
            found = decode(EpochLinks, body).links
        except DecodeError as problem:
            raise AnswerRejected(f"{path}: not a list of epochs: {problem}") from problem
        if not found:
            raise AnswerRejected(f"the node cannot prove who votes in epoch {number}")
        for link in found:
            take_link(trust, link)
            links.append(link)
    return tuple(links[:number])
