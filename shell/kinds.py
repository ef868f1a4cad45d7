"""The kinds of frames that nodes exchange, what each may weigh and the lane it travels in."""

from enum import IntEnum
from typing import Final

from consensus.messages import MESSAGE_KINDS, Blocks, Proposal
from p2p.config import KindRule
from p2p.frames import SHARED_BYTES_MAX
from p2p.lanes import Lane


class Kind(IntEnum):
    """What a frame, request or upload is about."""

    CONSENSUS = 32  # message: an encoded consensus message, blocks apart
    TRANSACTIONS = 33  # message: a SubmitBatch, gossiped once
    TRANSACTIONS_LARGE = 34  # push: a SubmitBatch too long for one frame
    BLOCKS = 35  # push: an encoded Blocks or Proposal
    FIND_TRANSACTIONS = 36  # request: signed hashes -> SubmitBatch of those that are here
    FIND_SIDECARS = 37  # request: digests -> contents
    BLOB_INDEX = 38  # request: cid -> leaf index
    BLOB_READ = 39  # request, streamed: a run of leaves
    BLOB_STORE = 40  # push: cid and size, then bytes -> storage receipt
    FIND_BLOCK = 41  # request: height -> a certified block, to mend a damaged one
    OFFER_SNAPSHOT = 42  # request: nothing -> what heights of blocks and states are here
    FIND_EPOCH = 43  # request: epoch -> its last header and the set of the next
    FIND_HEADERS = 44  # request: heights -> headers with their certificates
    FIND_ENTRIES = 45  # request: height and state keys -> proofs
    STATE_CHUNK = 46  # request: height and key hash -> a chunk of the state
    FIND_RECEIPTS = 47  # request: height -> the receipts of a block


_CONSENSUS_BYTES_MAX: Final = max(
    kind.WIRE_BYTES_MAX for kind in MESSAGE_KINDS if kind not in (Blocks, Proposal)
)

KIND_RULES: Final[dict[int, KindRule]] = {
    Kind.CONSENSUS: KindRule(bytes_max=_CONSENSUS_BYTES_MAX, lane=Lane.CONSENSUS),
    Kind.TRANSACTIONS: KindRule(bytes_max=SHARED_BYTES_MAX, lane=Lane.GOSSIP),
    Kind.TRANSACTIONS_LARGE: KindRule(bytes_max=64, lane=Lane.SYNC),
    Kind.BLOCKS: KindRule(bytes_max=64, lane=Lane.SYNC),
    Kind.FIND_TRANSACTIONS: KindRule(bytes_max=SHARED_BYTES_MAX, lane=Lane.SYNC),
    Kind.FIND_SIDECARS: KindRule(bytes_max=SHARED_BYTES_MAX, lane=Lane.SYNC),
    Kind.BLOB_INDEX: KindRule(bytes_max=256, lane=Lane.SYNC),
    Kind.BLOB_READ: KindRule(bytes_max=256, lane=Lane.BULK),
    Kind.BLOB_STORE: KindRule(bytes_max=256, lane=Lane.BULK),
    Kind.FIND_BLOCK: KindRule(bytes_max=64, lane=Lane.BULK),
    Kind.OFFER_SNAPSHOT: KindRule(bytes_max=64, lane=Lane.SYNC),
    Kind.FIND_EPOCH: KindRule(bytes_max=64, lane=Lane.SYNC),
    Kind.FIND_HEADERS: KindRule(bytes_max=64, lane=Lane.SYNC),
    Kind.FIND_ENTRIES: KindRule(bytes_max=8 << 10, lane=Lane.SYNC),
    Kind.STATE_CHUNK: KindRule(bytes_max=64, lane=Lane.BULK),
    Kind.FIND_RECEIPTS: KindRule(bytes_max=64, lane=Lane.BULK),
}
