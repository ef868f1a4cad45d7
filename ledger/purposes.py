"""Why somebody looks at a record, and which role may say so.

A purpose is a code of HL7 v3 ActReason, or `system|code` for anything named elsewhere: a research
project is one. The table below is part of the agreed rules (rule 2 of `ledger.decision`): a role
that may not claim a purpose is denied whatever has been granted.
"""

from typing import Annotated, Final

from crypto.schema import Size
from ledger.accounts import Role

Purpose = Annotated[str, Size(1, 64)]
"""A known code, or `system|code`; 1..64 bytes."""

TREAT: Final = "TREAT"
"""Treatment: what a plain grant covers."""

HPAYMT: Final = "HPAYMT"
"""Payment for care."""

HOPERAT: Final = "HOPERAT"
"""Running the hospital: administration, quality, audit."""

HRESCH: Final = "HRESCH"
"""Research in general; one project is `system|code`."""

PUBHLTH: Final = "PUBHLTH"
"""Public health."""

PATRQT: Final = "PATRQT"
"""The patient asks, for themselves."""

FAMRQT: Final = "FAMRQT"
"""Somebody near to the patient asks."""

KNOWN_PURPOSES: Final = (FAMRQT, HOPERAT, HPAYMT, HRESCH, PATRQT, PUBHLTH, TREAT)

_NAMED_ELSEWHERE: Final = "system|code"

_ADMITTED: Final[dict[Role, tuple[str, ...]]] = {
    Role.PATIENT: (FAMRQT, PATRQT, TREAT),
    Role.DOCTOR: (HOPERAT, HPAYMT, HRESCH, TREAT, _NAMED_ELSEWHERE),
    Role.NURSE: (HOPERAT, HPAYMT, TREAT),
    Role.HOSPITAL_ADMIN: (HOPERAT, HPAYMT),
    Role.CONSORTIUM_ADMIN: (),
    Role.AUDITOR: (HOPERAT,),
    Role.RESEARCHER: (HRESCH, _NAMED_ELSEWHERE),
    Role.PUBLIC_HEALTH: (PUBHLTH,),
    Role.INSURER: (HPAYMT,),
    Role.GUARDIAN: (FAMRQT, TREAT),
    Role.DEVICE: (TREAT,),
    Role.KEY_AGENT: (HOPERAT, HPAYMT, HRESCH, TREAT, _NAMED_ELSEWHERE),
    Role.NODE: (),
}


def is_admitted(role: Role, purpose: str) -> bool:
    """Whether a holder of `role` may claim `purpose` at all."""
    return (_NAMED_ELSEWHERE if "|" in purpose else purpose) in _ADMITTED[role]


def check_purpose(purpose: str) -> None:
    """Raise `ValueError` unless `purpose` is a known code or has the form `system|code`."""
    system, bar, code = purpose.partition("|")
    if bar and system and code:
        return
    if purpose not in KNOWN_PURPOSES:
        known = ", ".join(KNOWN_PURPOSES)
        raise ValueError(f"purpose {purpose!r} is neither one of {known} nor system|code")
