"""What this side believes and why: pinned founders, checked headers, state entries with proofs.

The founding document is pinned by its digest, the chain id. From it follow the first validators,
and from them those of later epochs (`client.epochs`); from a commit certificate of a quorum follows
a header; from the header's state root, by proof,
follows every entry. A certificate older than ten minutes proves nothing about keys: a node could
show the state from before a theft. Nothing else a node says decides about keys or rights.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from client.errors import CertificateRejected, NotProven, ProofRejected, Stale, WrongChain
from crypto.errors import InvalidCertificate, InvalidProof
from crypto.hashing import ChainId
from crypto.validators import Epoch, ValidatorSet, set_number
from crypto.votes import check_commit_certificate
from genesis.document import GenesisDocument, chain_id_of
from genesis.state import founding_validators
from ledger.blocks import Header, header_digest
from ledger.exchange import EpochLink, SealedHeader, Witness
from ledger.tree.proofs import check_many

FRESH_MS: Final = 600_000
"""How old a certified block's time may be, and how far ahead of this side's clock."""

FOUNDING_EPOCH: Final = Epoch(0)


@dataclass(slots=True, kw_only=True)
class Trust:
    """What is pinned and what was proven from it.

    `sets` are the validators of every epoch up to `epoch`, the newest that is known; `ends` the
    first height behind each but that, and `links` what proved it, the oldest first; `height` is the
    newest certified height seen: the chain never goes back.
    """

    chain_id: ChainId
    sets: dict[Epoch, ValidatorSet]
    epoch: Epoch = FOUNDING_EPOCH
    height: int = 0
    ends: dict[Epoch, int] = field(default_factory=dict)
    links: list[EpochLink] = field(default_factory=list)

    @property
    def validators(self) -> ValidatorSet:
        """The validators of the newest epoch that is known."""
        return self.sets[self.epoch]

    @property
    def former_validators(self) -> ValidatorSet | None:
        """The validators of the epoch before; None while only the founders are known."""
        return self.sets[Epoch(self.epoch - 1)] if self.epoch else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenView:
    """State entries proven under one root: a `StateView` that answers only what it can prove.

    `entries` maps a key to its value, None if the key is proven absent. It is the state after block
    `height`; `time_ms` is the time of the block that certifies it. Prefixes in `scanned` may be
    walked: each entry found there is proven, that none was left out is not.
    """

    entries: Mapping[bytes, bytes | None]
    height: int
    time_ms: int
    scanned: frozenset[bytes] = field(default_factory=frozenset)

    def get(self, key: bytes) -> bytes | None:
        """Return the entry; raise `NotProven` for a key nobody has proven."""
        if key not in self.entries:
            raise NotProven(key)
        return self.entries[key]

    def scan(
        self, prefix: bytes, *, start: bytes = b"", limit: int
    ) -> Iterator[tuple[bytes, bytes]]:
        if not any(prefix.startswith(one) for one in self.scanned):
            raise NotProven(prefix, is_prefix=True)
        found = sorted(
            (key, value)
            for key, value in self.entries.items()
            if value is not None and key.startswith(prefix) and key >= start
        )
        return iter(found[:limit])


def make_trust(document: GenesisDocument) -> Trust:
    """Return the trust that a checked founding document stands for."""
    founders = founding_validators(document)
    return Trust(chain_id=chain_id_of(document), sets={FOUNDING_EPOCH: founders})


def check_header(trust: Trust, sealed: SealedHeader) -> Header:
    """Return the header if a quorum of its epoch's validators decided it; raise `Untrusted`."""
    header, certificate = sealed.header, sealed.certificate
    if header.chain_id != trust.chain_id:
        raise WrongChain(
            f"the node is of chain {header.chain_id.hex()[:16]}, pinned is "
            f"{trust.chain_id.hex()[:16]}; check the address"
        )
    number = set_number(header.epoch)
    validators = trust.sets.get(number)
    if validators is None or header.validators != validators.digest():
        raise CertificateRejected(
            f"block {header.height} names other validators than those of epoch {header.epoch} that "
            "follow from the founding document; ask another node"
        )
    if header.height >= trust.ends.get(number, header.height + 1):
        raise CertificateRejected(
            f"block {header.height} is decided by validators whose epoch had ended; "
            "ask another node"
        )
    if certificate.height != header.height or certificate.digest != header_digest(header):
        raise CertificateRejected(
            f"the certificate beside block {header.height} is about another block"
        )
    try:
        check_commit_certificate(certificate, validators, trust.chain_id, epoch=header.epoch)
    except InvalidCertificate as problem:
        raise CertificateRejected(f"block {header.height} is not certified: {problem}") from problem
    return header


def check_fresh(trust: Trust, header: Header, *, now_ms: int, at_least_height: int) -> None:
    """Raise `Stale` unless the header shows the state after `at_least_height` or later, now."""
    if header.height <= at_least_height:
        raise Stale(
            f"the node proves the state after block {header.height - 1}, block {at_least_height} "
            "was asked for; try again or ask another node"
        )
    age_ms = now_ms - header.time_ms
    if age_ms > FRESH_MS:
        raise Stale(
            f"the node's newest certified block is {age_ms // 1_000} s old; at most "
            f"{FRESH_MS // 1_000} s are believed: ask another node"
        )
    if age_ms < -FRESH_MS:
        raise Stale(
            f"the chain's time is {-age_ms // 1_000} s ahead of this computer's: set its clock"
        )


def check_witness(
    trust: Trust,
    witness: Witness,
    *,
    now_ms: int,
    at_least_height: int = 0,
    asked: Sequence[bytes] | None = None,
) -> ProvenView:
    """Return the entries that a witness proves; raise `Untrusted`.

    With `asked`, exactly those keys must be answered.
    """
    if asked is not None and sorted(set(witness.keys)) != sorted(set(asked)):
        raise ProofRejected("the node proves other entries than those asked for; ask another node")
    header = check_header(trust, witness.sealed_header)
    check_fresh(trust, header, now_ms=now_ms, at_least_height=at_least_height)
    try:
        entries = check_many(header.state_root, witness.keys, witness.proofs)
    except InvalidProof as problem:
        raise ProofRejected(f"the node's proof of state does not hold: {problem}") from problem
    trust.height = max(trust.height, header.height)
    return ProvenView(entries=entries, height=header.height - 1, time_ms=header.time_ms)
