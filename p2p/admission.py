"""Who may begin a handshake: bounds on connections that have not proved who they are.

A handshake costs a signature and a slot until it ends or times out, so a stranger's are few and
not too frequent. Addresses from which a known peer has come (or is configured to) do not compete
with strangers: a port under attack still takes back its peers. Times are monotonic seconds.
"""

import ipaddress
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

_SITE_BITS: Final = 64
"""One IPv6 subscriber has at least so much of the address to himself."""


@dataclass(slots=True, kw_only=True)
class Admission:
    """Unauthenticated connections by source address, and the tokens left for new strangers."""

    strangers_max: int
    sources_max: int
    per_second: int
    tokens: float = 0.0
    refilled_at: float = 0.0
    open_by_source: Counter[str] = field(default_factory=Counter)
    strangers: int = 0


def make_admission(
    *, strangers_max: int, sources_max: int, per_second: int, now: float
) -> Admission:
    return Admission(
        strangers_max=strangers_max,
        sources_max=sources_max,
        per_second=per_second,
        tokens=float(per_second),
        refilled_at=now,
    )


def admit(admission: Admission, source: str, *, is_known: bool, now: float) -> str | None:
    """Count a new connection in and return None, or return the reason to refuse it.

    Every admitted connection is given back with `discharge` and the same `is_known`.
    """
    if admission.open_by_source[source] >= admission.sources_max:
        return "source_busy"
    if not is_known:
        if admission.strangers >= admission.strangers_max:
            return "strangers_busy"
        if not _take_token(admission, now):
            return "strangers_rate"
        admission.strangers += 1
    admission.open_by_source[source] += 1
    return None


def discharge(admission: Admission, source: str, *, is_known: bool) -> None:
    """Count a connection out: it has proved who it is, or it is gone."""
    admission.open_by_source[source] -= 1
    assert admission.open_by_source[source] >= 0, "no connection is discharged twice"
    if not admission.open_by_source[source]:
        del admission.open_by_source[source]
    if not is_known:
        admission.strangers -= 1


def source_of(host: str) -> str | None:
    """Return under which name connections of an IP address are counted; None if it is not one."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    number = int(address) >> (128 - _SITE_BITS) << (128 - _SITE_BITS)
    return f"{ipaddress.IPv6Address(number)}/{_SITE_BITS}"


def _take_token(admission: Admission, now: float) -> bool:
    elapsed = max(0.0, now - admission.refilled_at)
    admission.refilled_at = now
    limit = float(admission.per_second)
    admission.tokens = min(limit, admission.tokens + elapsed * limit)
    if admission.tokens < 1.0:
        return False
    admission.tokens -= 1.0
    return True
