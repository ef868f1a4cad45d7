"""The client room: the user's side - wallet, sealing and opening records, proofs, HTTP."""

from client.access import (
    approve_request,
    deny_request,
    explain_access,
    grant_access,
    list_grants,
    list_requests,
    read_log,
    request_access,
    revoke_access,
)
from client.connection import Client, open_client, pin_genesis
from client.directories import category_scope, share_directory
from client.enrolment import make_enrolment, register_person
from client.handing_on import hand_on_keys, reseal_records
from client.lookup import find_version, find_versions, list_records
from client.people import find_person, restore_person, rotate_keys, suspend_person
from client.records import get_record, put_record, put_version
from client.wallet import (
    Wallet,
    add_contact,
    create_wallet,
    find_account,
    find_keys,
    make_keys,
    open_wallet,
)

__all__ = [
    "Client",
    "Wallet",
    "add_contact",
    "approve_request",
    "category_scope",
    "create_wallet",
    "deny_request",
    "explain_access",
    "find_account",
    "find_keys",
    "find_person",
    "find_version",
    "find_versions",
    "get_record",
    "grant_access",
    "hand_on_keys",
    "list_grants",
    "list_records",
    "list_requests",
    "make_enrolment",
    "make_keys",
    "open_client",
    "open_wallet",
    "pin_genesis",
    "put_record",
    "put_version",
    "read_log",
    "register_person",
    "request_access",
    "reseal_records",
    "restore_person",
    "revoke_access",
    "rotate_keys",
    "share_directory",
    "suspend_person",
]
