"""People with wallets at a small node: enrolled, registered, ready to act."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from client.connection import Client, open_client
from client.enrolment import make_enrolment, register_person
from client.http import Patience
from client.proving import now_ms
from client.wallet import Keys, Wallet, find_keys
from crypto.keystore import KDF_CHEAPEST, KeystoreContent, make_account_entry
from crypto.record_ids import AccountId
from ledger.accounts import OrgId, Role
from tests.unit.client.small_node import SmallNode
from tests.unit.ledger.small_consortium import (
    NORTH,
    SOUTH,
    account_of,
    genesis,
    seal_private_key,
    signing_key,
)

PASSPHRASE = "a long enough passphrase"
QUICK = Patience(attempts=2, pause_s=0.001, connect_timeout_s=5, read_timeout_s=20)


@dataclass(slots=True)
class Town:
    """A node, its address, and one wallet per person in a folder of their own."""

    node: SmallNode
    url: str
    folder: Path
    wallets: dict[str, Wallet] = field(default_factory=dict)

    def wallet(self, name: str) -> Wallet:
        """A wallet that is written when keys are first made in it: locking a file is slow."""
        if name not in self.wallets:
            home = self.folder / name
            home.mkdir(parents=True)
            content = KeystoreContent(accounts=())
            self.wallets[name] = Wallet(
                home=home, passphrase=PASSPHRASE, content=content, kdf=KDF_CHEAPEST
            )
        return self.wallets[name]

    def keep(self, name: str, label: str) -> None:
        """Give somebody the keys that follow from a label of the small consortium."""
        entry = make_account_entry(
            label=name,
            account_id=account_of(label),
            sign_key=signing_key(label),
            seal_keys=(seal_private_key(label),),
            created_ms=now_ms(),
        )
        self.wallet(name).content = KeystoreContent(accounts=(entry,))

    def keys(self, name: str) -> Keys:
        return find_keys(self.wallets[name], name)

    def account(self, name: str) -> AccountId:
        return self.keys(name).account

    @asynccontextmanager
    async def acting(self, name: str, *, url: str | None = None) -> AsyncIterator[Client]:
        async with open_client(
            url or self.url, genesis(), self.wallet(name), actor=name, patience=QUICK
        ) as client:
            yield client

    async def enrol(
        self, name: str, role: Role, org: OrgId = NORTH, *, writers: tuple[AccountId, ...] = ()
    ) -> AccountId:
        """Enrol on the person's own device, register by the hospital's admin."""
        admin = f"admin-{org}"
        self.keep(admin, f"first admin of {org}")
        async with self.acting(admin) as desk:
            desk.wallet = self.wallet(name)  # The device stands at the hospital's desk.
            enrolment = await make_enrolment(desk, name, org=org, role=role, writers=writers)
            await register_person(desk, enrolment, org=org)
        return enrolment.account


async def make_town(node: SmallNode, url: str, folder: Path) -> Town:
    """Doctors of two hospitals, and a patient of the first whose directory its doctor reads."""
    town = Town(node, url, folder)
    doctor = await town.enrol("doctor", Role.DOCTOR)
    await town.enrol("south-doctor", Role.DOCTOR, SOUTH)
    await town.enrol("ada", Role.PATIENT, writers=(doctor,))
    town.keep("agent", "agent of north")
    return town
