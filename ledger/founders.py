"""Accounts that an organisation brings when it becomes a member: its key agent and its admins.

Nobody vouches for them but their own keys, on the first day as later: each proves that it agrees
to this account at this organisation (`ledger.key_proofs`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from crypto.envelopes import SealKey, seal_key_id
from crypto.hashing import ChainId
from crypto.schema import Bytes64
from crypto.signatures import PublicKey, SignatureJob, account_id, key_id
from ledger.accounts import (
    Account,
    Organisation,
    OrgId,
    Role,
    Status,
    add_account,
    put_organisation,
)
from ledger.key_proofs import registration_job, seal_binding_job
from ledger.state import Overlay

ADMINS_AT_FOUNDING_MAX: Final = 16

_ADMIN_ROLES: Final = (Role.HOSPITAL_ADMIN, Role.CONSORTIUM_ADMIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundingAccount:
    """An account from its organisation's first day, with its key's proofs (`ledger.key_proofs`)."""

    role: Role
    sign_key: PublicKey
    seal_key: SealKey
    seal_binding: Bytes64
    possession: Bytes64


def check_founders(agent: FoundingAccount, admins: Sequence[FoundingAccount]) -> None:
    """Raise `ValueError` unless the roles are those that a member begins with."""
    if agent.role is not Role.KEY_AGENT:
        raise ValueError("the agent's role is key_agent")
    if admins[0].role is not Role.HOSPITAL_ADMIN:
        raise ValueError("the first admin is a hospital_admin, and signs")
    if any(one.role not in _ADMIN_ROLES for one in admins):
        raise ValueError("admins are hospital or consortium admins")


def founder_jobs(
    founder: FoundingAccount, *, org: OrgId, chain_id: ChainId
) -> Iterator[tuple[str, SignatureJob]]:
    """Yield the two proofs that a founder's key makes, with what each is."""
    title = f"{founder.role.value} {account_id(founder.sign_key).hex()[:16]}"
    yield (
        f"possession of {title}",
        registration_job(
            founder.sign_key,
            founder.possession,
            chain_id=chain_id,
            org=org,
            role=founder.role,
            seal_key=founder.seal_key,
        ),
    )
    yield (
        f"seal key of {title}",
        seal_binding_job(
            founder.sign_key,
            founder.seal_binding,
            account_id=account_id(founder.sign_key),
            seal_key=founder.seal_key,
        ),
    )


def add_member(
    state: Overlay,
    *,
    org: OrgId,
    name: str,
    agent: FoundingAccount,
    admins: Sequence[FoundingAccount],
    height: int,
) -> None:
    """Write a new member with its accounts; nobody has any of them yet."""
    hospital_admins = [
        account_id(one.sign_key) for one in admins if one.role is Role.HOSPITAL_ADMIN
    ]
    put_organisation(
        state,
        Organisation(
            org=org,
            name=name,
            status=Status.ACTIVE,
            agent=account_id(agent.sign_key),
            admins=tuple(sorted(hospital_admins)),
        ),
    )
    for founder in (agent, *admins):
        add_account(state, _account(org, founder, height))


def _account(org: OrgId, founder: FoundingAccount, height: int) -> Account:
    return Account(
        account_id=account_id(founder.sign_key),
        org=org,
        role=founder.role,
        status=Status.ACTIVE,
        sign_key=founder.sign_key,
        sign_key_id=key_id(founder.sign_key),
        seal_key=founder.seal_key,
        seal_key_id=seal_key_id(founder.seal_key),
        seal_binding=founder.seal_binding,
        registered_height=height,
        specialty="",
        licence=None,
        categories=(),
        in_custody=False,
    )
