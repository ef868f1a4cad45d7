"""Reading decided blocks, each checked as it is read; what a disk has changed is never served."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from crypto.errors import DecodeError
from crypto.hashing import Digest
from crypto.schema import decode
from crypto.votes import Height
from ledger.blocks import Header, tx_root
from ledger.transactions import hash_signed
from ledger.tree.proofs import StateProof, StateProofs
from storage.chain import Chain, StoredHeader, read_stored_header
from storage.errors import BlockCorrupt, DatabaseCorrupt, HistoryPruned, StateCorrupt
from storage.keys import (
    Place,
    before_key,
    decode_place,
    header_key,
    sidecar_height_of,
    sidecar_prefix,
    transaction_key,
    transactions_prefix,
    tx_index_key,
)
from storage.rows import RowDamaged, open_row, read_run
from storage.world import prove_entries, prove_entry

_TX_ID_BYTES: Final = 32
_TX_HEAD_BYTES: Final = _TX_ID_BYTES + 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlock:
    """A decided block as the bytes that were hashed and signed; transactions in order."""

    header: bytes
    certificate: bytes
    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayEntries:
    """What the replay window learns from one block: (tx id, valid_until_ms) of each transaction."""

    height: Height
    time_ms: int
    ids: tuple[tuple[Digest, int], ...]


def get_stored_header(chain: Chain, height: int) -> StoredHeader | None:
    """Return header and certificate as bytes, or None above the tip and where none is kept.

    Raises `BlockCorrupt`.
    """
    if not 1 <= height <= chain.tip.height:
        return None
    if height < chain.history.headers_from and chain.database.get(header_key(height)) is None:
        return None
    return read_stored_header(chain, height)


def get_header(chain: Chain, height: int) -> Header | None:
    """Return a header, or None above the tip and where none is kept; raise `BlockCorrupt`."""
    header = chain.headers.get(height)
    if header is None:
        stored = get_stored_header(chain, height)
        if stored is None:
            return None
        header = _decoded_header(chain, height, stored)
        chain.headers.put(height, header)
    return header


def get_block(chain: Chain, height: int) -> StoredBlock | None:
    """Return a whole block, verified against its header; None above the tip and where pruned.

    Raises `BlockCorrupt`.
    """
    stored = get_stored_header(chain, height)
    if stored is None or height < chain.history.whole_from:
        return None
    header = _decoded_header(chain, height, stored)
    signed = tuple(one[_TX_HEAD_BYTES:] for one in _transactions(chain, header))
    if tx_root(_signed_hashes(chain, signed)) != header.tx_root:
        raise BlockCorrupt(height, chain.database.path, "the transactions are not the header's")
    return StoredBlock(header=stored.header, certificate=stored.certificate, transactions=signed)


def find_transaction(chain: Chain, tx_id: Digest) -> Place | None:
    """Return where a decided transaction stands, if it is one."""
    found = chain.database.get(tx_index_key(tx_id))
    return None if found is None else decode_place(found)


def get_transaction(chain: Chain, place: Place) -> bytes:
    """Return the signed transaction at a place that exists.

    Raises `BlockCorrupt`, or `HistoryPruned` below what is kept.
    """
    check_kept(chain, place.height)
    path, key = chain.database.path, transaction_key(place.height, place.index)
    try:
        stored = chain.database.get(key)
        if stored is None:
            raise BlockCorrupt(place.height, path, f"transaction {place.index} is missing")
        return open_row(key, stored)[_TX_HEAD_BYTES:]
    except (DatabaseCorrupt, RowDamaged) as problem:
        raise BlockCorrupt(place.height, path, str(problem)) from problem


def check_kept(chain: Chain, height: int) -> None:
    """Raise `HistoryPruned` unless transactions and receipts of this height are kept here."""
    if height < chain.history.whole_from:
        raise HistoryPruned(height, chain.history.whole_from)


def state_root_after(chain: Chain, height: int) -> Digest:
    """Return the state root after an executed block: the next header's, or the tip's."""
    following = get_header(chain, height + 1)
    return chain.tip.state_root if following is None else following.state_root


def entry_after(chain: Chain, height: int, key: bytes) -> bytes | None:
    """Return a state entry after `height`: proven here, or noted when a snapshot was taken.

    Raises what `prove_state` raises.
    """
    if height < chain.world.oldest_provable:
        row_key = before_key(height, key)
        stored = chain.database.get(row_key)
        if stored is not None:
            try:
                return open_row(row_key, stored)
            except RowDamaged as problem:
                raise StateCorrupt(f"the database {chain.database.path}: {problem}") from problem
    return prove_state(chain, height, key).value


def prove_state(chain: Chain, height: int, key: bytes) -> StateProof:
    """Prove what a state key holds after `height`, under the root that header height + 1 carries.

    On the thread that stages blocks. Raises `HeightPruned`, `StateCorrupt` or `BlockCorrupt`.
    """
    return prove_entry(chain.world, height, state_root_after(chain, height), key)


def prove_states(chain: Chain, height: int, keys: Sequence[bytes]) -> StateProofs:
    """Prove several keys together; as `prove_state` does one."""
    return prove_entries(chain.world, height, state_root_after(chain, height), keys)


def sidecar_places(chain: Chain, sidecar: Digest) -> tuple[tuple[Height, bytes], ...]:
    """Return the (height, state key) pairs under which a sidecar was committed, oldest first.

    It may be stored and served while the entry at one of these keys holds its digest.
    """
    rows = chain.database.scan(sidecar_prefix(sidecar))
    return tuple((Height(sidecar_height_of(key)), place) for key, place in rows)


def replay_entries(chain: Chain, above_ms: int) -> Iterator[ReplayEntries]:
    """Yield what the replay window needs of every block with a time above `above_ms`, ascending.

    Raises `BlockCorrupt`.
    """
    for height in range(first_height_above(chain, above_ms), chain.tip.height + 1):
        header = _known_header(chain, height)
        ids = tuple(
            (
                Digest(one[:_TX_ID_BYTES]),
                int.from_bytes(one[_TX_ID_BYTES:_TX_HEAD_BYTES], "big"),
            )
            for one in _transactions(chain, header)
        )
        yield ReplayEntries(height=Height(height), time_ms=header.time_ms, ids=ids)


def first_height_above(chain: Chain, time_ms: int) -> int:
    """Return the first whole block's height with a time above `time_ms`, or that after the tip."""
    low, high = chain.history.whole_from, chain.tip.height + 1
    while low < high:
        middle = (low + high) // 2
        if _known_header(chain, middle).time_ms > time_ms:
            high = middle
        else:
            low = middle + 1
    return low


def _known_header(chain: Chain, height: int) -> Header:
    header = get_header(chain, height)
    assert header is not None, "heights up to the tip have headers"
    return header


def _decoded_header(chain: Chain, height: int, stored: StoredHeader) -> Header:
    try:
        header = decode(Header, stored.header)
    except DecodeError as problem:
        raise BlockCorrupt(height, chain.database.path, str(problem)) from problem
    if header.height != height:
        raise BlockCorrupt(height, chain.database.path, f"it is block {header.height}")
    return header


def _transactions(chain: Chain, header: Header) -> list[bytes]:
    """Return the stored transactions of a block: tx id, valid_until_ms and signed bytes each."""
    height = header.height
    keys = [transaction_key(height, index) for index in range(header.tx_count)]
    try:
        return read_run(chain.database, transactions_prefix(height), keys)
    except (DatabaseCorrupt, RowDamaged) as problem:
        raise BlockCorrupt(height, chain.database.path, str(problem)) from problem


def _signed_hashes(chain: Chain, signed: Sequence[bytes]) -> list[Digest]:
    return [hash_signed(one, chain.chain_id) for one in signed]
