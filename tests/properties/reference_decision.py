"""The access decision a second time: written from the design page, over plain values.

It shares nothing with `ledger.decision`: no state, no keys, no types. A history goes in as what
happened; an answer comes out as (permitted, rule, grants that could have been named). Where
the page is silent, docs/decisions/0028 says what both do.
"""

from dataclasses import dataclass, field

STAFF_EXCLUDES = {"patient", "guardian", "key_agent"}

PURPOSES_BY_ROLE = {
    "patient": {"TREAT", "PATRQT", "FAMRQT"},
    "guardian": {"TREAT", "FAMRQT"},
    "doctor": {"TREAT", "HPAYMT", "HOPERAT", "HRESCH", "system|code"},
    "nurse": {"TREAT", "HPAYMT", "HOPERAT"},
    "device": {"TREAT"},
    "hospital_admin": {"HPAYMT", "HOPERAT"},
    "consortium_admin": set(),
    "auditor": {"HOPERAT"},
    "researcher": {"HRESCH", "system|code"},
    "public_health": {"PUBHLTH"},
    "insurer": {"HPAYMT"},
    "key_agent": {"TREAT", "HPAYMT", "HOPERAT", "HRESCH", "system|code"},
}


@dataclass
class PlainGrant:
    grant_id: bytes
    patient: str
    grantee: tuple[str, ...]  # ("person", name) | ("org", org) | ("role", org, role)
    scope: tuple[str, frozenset[bytes]]  # ("all" | "categories" | "records", ids)
    writes: bool
    purposes: frozenset[str]
    begins: int
    ends: int
    revoked: bool = False


@dataclass
class PlainWorld:
    """`people` maps a name to (organisation, role); `agents` an organisation to its agent."""

    people: dict[str, tuple[str, str]]
    agents: dict[str, str]
    suspended: set[str] = field(default_factory=set)  # Names and organisations.
    grants: list[PlainGrant] = field(default_factory=list)


@dataclass(frozen=True)
class PlainRecord:
    record_id: bytes
    patient: str
    category: bytes
    author_org: str


def answer(
    world: PlainWorld, who: str, record: PlainRecord, action: str, purpose: str, now: int
) -> tuple[bool, str, set[bytes]]:
    """Permitted or not, by which rule, and the ids of the grants that allow it."""
    if who not in world.people or who in world.suspended:
        return False, "inactive", set()
    org, role = world.people[who]
    if org in world.suspended:
        return False, "inactive", set()
    named = "system|code" if "|" in purpose else purpose
    if named not in PURPOSES_BY_ROLE[role]:
        return False, "purpose", set()
    if who == record.patient:
        return True, "patient", set()
    allowing = {
        grant.grant_id
        for grant in world.grants
        if allows(world, grant, who, record, action, purpose, now)
    }
    if allowing:
        return True, "grant", allowing
    home = world.people[record.patient][0]
    if purpose == "TREAT" and org == record.author_org:
        is_agent = world.agents[org] == who
        reads = role in {"doctor", "nurse"} or is_agent
        writes = role in {"doctor", "nurse", "device"} and home == org
        wanted = {"read": reads, "write": writes, "metadata": reads or writes, "log": False}
        if wanted[action]:
            return True, "treatment", set()
    if role == "auditor" and org == home and action in {"metadata", "log"}:
        return True, "audit", set()
    return False, "default", set()


def allows(
    world: PlainWorld,
    grant: PlainGrant,
    who: str,
    record: PlainRecord,
    action: str,
    purpose: str,
    now: int,
) -> bool:
    if grant.revoked or grant.patient != record.patient or not grant.begins <= now < grant.ends:
        return False
    if purpose not in grant.purposes or action == "log" or (action == "write" and not grant.writes):
        return False
    kind, ids = grant.scope
    if kind == "categories" and record.category not in ids:
        return False
    if kind == "records" and record.record_id not in ids:
        return False
    org, role = world.people[who]
    if grant.grantee[0] == "person":
        return grant.grantee[1] == who
    if grant.grantee[1] != org:
        return False
    if action == "metadata" and world.agents[org] == who:
        return True
    if grant.grantee[0] == "org":
        return role not in STAFF_EXCLUDES
    return grant.grantee[2] == role
