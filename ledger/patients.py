"""Pseudonyms: the patient accounts that records and rights belong to."""

from crypto.record_ids import AccountId
from ledger.accounts import Account, Role, get_account, is_active
from ledger.errors import Refused
from ledger.state import StateView


def check_patient(view: StateView, pseudonym: AccountId) -> Account:
    """Return the pseudonym's account; raise `Refused` unless it is a patient's and may act."""
    account = get_account(view, pseudonym)
    if account is None or account.role is not Role.PATIENT:
        raise Refused(
            "patient.unknown", f"{pseudonym.hex()[:16]} is no patient; check the pseudonym"
        )
    if not is_active(view, account):
        raise Refused(
            "patient.suspended",
            f"patient {pseudonym.hex()[:16]} is suspended; {account.org} can restore the account",
        )
    return account
