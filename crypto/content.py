"""What a record says, independent of how it is sealed: the content root and the commitment.

The content root is the RFC 6962 tree head over SHA-256 digests: entry 0 of the metadata block, then
one per 1 MiB of the original bytes. It is built while the bytes stream by, keeping one hash per set
bit of the entry count. The root itself never reaches the chain: clinical text can be guessed. The
chain holds the commitment, which also hashes 32 secret bytes (the opening) that live in envelopes
only. A new seal changes neither the commitment nor the author's signature over it.
"""

import hashlib

from crypto.hashing import ChainId, Digest, Domain, digest
from crypto.record_ids import AccountId, RecordId, VersionId
from crypto.signatures import signature_preimage
from crypto.streams import Buffer
from crypto.unixfs import LeafHasher


class RootHasher:
    """RFC 6962 tree head over entries that come one by one (§2.1), in logarithmic memory."""

    __slots__ = ("_count", "_peaks")

    def __init__(self) -> None:
        self._peaks: list[bytes] = []  # Heads of full subtrees, largest first.
        self._count = 0

    def add(self, entry: bytes) -> None:
        """Append one entry."""
        head = hashlib.sha256(b"\x00" + entry).digest()
        self._count += 1
        carry = self._count
        while carry & 1 == 0:
            head = _inner(self._peaks.pop(), head)
            carry >>= 1
        self._peaks.append(head)

    def finish(self) -> bytes:
        """Return the tree head of at least one entry."""
        assert self._peaks, "a tree head has at least one entry here"
        peaks = list(self._peaks)
        head = peaks.pop()
        while peaks:
            head = _inner(peaks.pop(), head)
        return head


class ContentHasher:
    """The content root of a record: its metadata block first, then its bytes as they stream by."""

    __slots__ = ("_leaves", "_root")

    def __init__(self, metadata_block: bytes) -> None:
        self._root = RootHasher()
        self._root.add(hashlib.sha256(metadata_block).digest())
        self._leaves = LeafHasher(self._on_leaf)

    @property
    def content_bytes(self) -> int:
        """Bytes of content taken so far."""
        return self._leaves.size_bytes

    def update(self, piece: Buffer) -> None:
        """Take the next bytes of the original content."""
        self._leaves.update(piece)

    def finish(self) -> bytes:
        """Return the content root; call once."""
        self._leaves.finish()
        return self._root.finish()

    def _on_leaf(self, sha256: bytes, size_bytes: int) -> None:
        assert size_bytes > 0, "a leaf holds content"
        self._root.add(sha256)


def make_commitment(
    *,
    chain_id: ChainId,
    record_id: RecordId,
    version_id: VersionId,
    opening: bytes,
    content_root: bytes,
) -> Digest:
    """Return what the chain holds of a version's content; all parts have a fixed length."""
    assert len(opening) == 32, "an opening has 32 bytes"
    assert len(content_root) == 32, "a content root has 32 bytes"
    parts = (chain_id, record_id, version_id, opening, content_root)
    return digest(Domain.RECORD_COMMITMENT, *parts)


def author_payload(
    *,
    pseudonym: AccountId,
    record_id: RecordId,
    version_id: VersionId,
    author: AccountId,
    commitment: Digest,
) -> bytes:
    """Return what an author signs, in domain `RECORD_AUTHOR` on the record's chain.

    The signed preimage is domain || chain_id || these 128 bytes: pseudonym, record id, version id,
    author's account, commitment.
    """
    payload = b"".join((pseudonym, record_id, version_id, author, commitment))
    assert len(payload) == 128, "every part of an author's statement has its fixed length"
    return payload


def author_preimage(chain_id: ChainId, payload: bytes) -> bytes:
    """Return the very bytes under the author's signature, for whoever checks many at once."""
    return signature_preimage(Domain.RECORD_AUTHOR, chain_id, payload)


def _inner(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
