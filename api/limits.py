"""What one client may ask of a node: rates, shares and numbers at a time, all in bounded tables.

A rate is a token bucket: it holds at most `burst` and regains `per_s`. A table that is full
forgets first whose bucket has been still the longest, which is the one most likely full again.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from api.errors import ApiError

BUCKETS_MAX: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Requests (or bytes) per second, and how many at once."""

    per_s: float
    burst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """What this node grants; rates are generous for one hospital, not for a flood.

    `upload_bytes` is an account's share of upload: it regains `per_s` and saves up to `burst`.
    `untaken` are transactions of one client that are under way or were turned away for good, each
    of which cost a signature check; those that were taken cost nothing. `large_reads_share` of the
    node's time goes to whole blocks, proofs of receipts and changes of validators, whoever asks.
    """

    connections_max: int = 1_024
    connections_per_address_max: int = 256
    address: Rate = Rate(per_s=4_000, burst=8_000)
    account: Rate = Rate(per_s=500, burst=1_000)
    sessions: Rate = Rate(per_s=50, burst=200)
    untaken: Rate = Rate(per_s=100, burst=20_000)
    upload_bytes: Rate = Rate(per_s=4 << 20, burst=64 << 30)
    uploads_max: int = 16
    uploads_per_account_max: int = 8
    large_bodies_max: int = 64
    large_bodies_per_address_max: int = 32
    large_reads_max: int = 256
    large_reads_per_client_max: int = 16
    large_reads_share: float = 0.25
    downloads_max: int = 64
    downloads_per_account_max: int = 8
    waiting_max: int = 2_000
    subscribers_max: int = 256
    subscribers_per_client_max: int = 16
    wait_ms_max: int = 30_000


@dataclass(slots=True)
class Bucket:
    """What is left, as of `at_s` on a steady clock."""

    left: float
    at_s: float


@dataclass(slots=True, kw_only=True)
class Buckets:
    """One bucket for each key, at most `BUCKETS_MAX` of them; the stillest is forgotten first."""

    rate: Rate
    clock_s: Callable[[], float]
    known: OrderedDict[Hashable, Bucket] = field(default_factory=OrderedDict)


@dataclass(slots=True, kw_only=True)
class Slots:
    """How many of something are open, in all and for each key."""

    total_max: int
    each_max: int
    open: dict[Hashable, int] = field(default_factory=dict)
    total: int = 0


def take(buckets: Buckets, key: Hashable, amount: float = 1.0) -> float:
    """Take from a bucket; return 0, or the seconds until there will be enough."""
    now_s = buckets.clock_s()
    bucket = buckets.known.get(key)
    if bucket is None:
        bucket = buckets.known[key] = Bucket(buckets.rate.burst, now_s)
        if len(buckets.known) > BUCKETS_MAX:
            buckets.known.popitem(last=False)
    buckets.known.move_to_end(key)
    gained = (now_s - bucket.at_s) * buckets.rate.per_s
    bucket.left = min(buckets.rate.burst, bucket.left + gained)
    bucket.at_s = now_s
    if bucket.left < amount:
        return (amount - bucket.left) / buckets.rate.per_s
    bucket.left -= amount
    return 0.0


def charge(buckets: Buckets, key: Hashable, amount: float) -> None:
    """Take `amount` although there is less, and owe it; a negative amount is given back."""
    take(buckets, key, 0.0)
    bucket = buckets.known[key]
    bucket.left = min(buckets.rate.burst, bucket.left - amount)


def check_rate(buckets: Buckets, key: Hashable, code: str, text: str, amount: float = 1.0) -> None:
    """Raise the limit's error unless the bucket gives `amount`."""
    wait_s = take(buckets, key, amount)
    if wait_s > 0:
        raise ApiError(code, text, retry_after_s=min(ceil(wait_s), 3_600))


@contextmanager
def occupied(slots: Slots, key: Hashable, text: str) -> Iterator[None]:
    """Hold one of the slots; raise `limit.busy` if all are taken."""
    if slots.total >= slots.total_max or slots.open.get(key, 0) >= slots.each_max:
        raise ApiError("limit.busy", text, retry_after_s=1)
    slots.total += 1
    slots.open[key] = slots.open.get(key, 0) + 1
    try:
        yield
    finally:
        slots.total -= 1
        slots.open[key] -= 1
        if not slots.open[key]:
            del slots.open[key]
