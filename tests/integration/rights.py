"""Terms of rights that tests give."""

import time

from crypto.record_ids import AccountId
from ledger.access_payloads import AccessLevel, AllRecords, Person, Terms
from ledger.purposes import TREAT


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def terms_for(account: AccountId, *, until_ms: int | None = None) -> Terms:
    """Read everything to treat, from a minute ago on, for ten minutes unless told otherwise."""
    start_ms = now_ms() - 60_000
    return Terms(
        grantee=Person(account=account),
        scope=AllRecords(),
        level=AccessLevel.READ,
        purposes=(TREAT,),
        from_ms=start_ms,
        until_ms=until_ms or start_ms + 660_000,
    )
