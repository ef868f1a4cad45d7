"""Writes the golden vectors of the ledger: transactions, blocks, accounts, identity, genesis.

Run `python -m tests.vectors.make_ledger_vectors` after a deliberate change of a format, never to
make a test pass: a vector that changes means that nodes of two versions no longer agree. It needs
a new version of that type and a line in CHANGELOG.md. Keys and digests follow from labels.
"""

import json
from pathlib import Path
from typing import Any

from crypto.envelopes import seal_key_id
from crypto.hashing import Digest
from crypto.schema import encode
from crypto.signatures import Scheme, account_id, key_id, public_key
from crypto.validators import Epoch, ReplicaId
from crypto.votes import NO_DIGEST, Height, View
from genesis.document import chain_id_of, invitation_digest
from genesis.files import dump_genesis
from genesis.state import founding_validators
from ledger.accounts import (
    DirectoryEntry,
    Role,
    directory_key,
    get_account,
    get_key,
    get_organisation,
)
from ledger.blocks import (
    BlockBodies,
    Header,
    genesis_header_digest,
    header_digest,
    receipts_root,
    tx_root,
)
from ledger.identity_payloads import DirectoryNote, Register, Restore, ShareDirectory, Suspend
from ledger.key_proofs import RegistrationClaim, RotationClaim, SealBinding
from ledger.nodes import get_nodes
from ledger.parameters import Parameters
from ledger.receipts import Event, Receipt
from ledger.transactions import (
    decode_transaction,
    make_transaction,
    sign_transaction,
)
from tests.unit.ledger.small_consortium import (
    CREATED_MS,
    NORTH,
    Consortium,
    account_of,
    genesis,
    invitation,
    registration,
    rotation,
    seal_key_of,
    seed,
    signing_key,
    statement,
)

FILE = Path(__file__).with_name("ledger.json")
ABOUT = "Wire types of the ledger's core, keys and digests from labels; see make_ledger_vectors.py."
ADMIN = "first admin of north"


def vectors() -> dict[str, Any]:
    """Every vector: `wire` maps names to encoded instances, `digests` to digests."""
    consortium = Consortium()
    return {
        "about": ABOUT,
        "keys": key_vectors(),
        "wire": {name: encode(value).hex() for name, value in wire_values(consortium).items()},
        "transactions": transaction_vectors(consortium),
        "digests": digest_vectors(consortium),
        "genesis_json_lines": dump_genesis(genesis()).decode().splitlines()[:6],
    }


def key_vectors() -> list[dict[str, str]]:
    """One key of each scheme, with what its public half is called."""
    found = []
    for scheme in Scheme:
        key = signing_key("vector", scheme)
        public = public_key(key)
        found.append(
            {
                "scheme": scheme.name,
                "secret": key.secret.hex(),
                "public_key": encode(public).hex(),
                "account_id": account_id(public).hex(),
                "key_id": key_id(public).hex(),
            }
        )
    return found


def wire_values(consortium: Consortium) -> dict[str, Any]:
    """One instance of every wire type of the ledger's core, optional fields both ways."""
    return {
        **state_values(consortium),
        **identity_values(consortium),
        **block_values(consortium),
        "Invitation": invitation(),
        "FoundingStatement": statement(NORTH, (0, 1)),
        "GenesisDocument": genesis(),
    }


def state_values(consortium: Consortium) -> dict[str, Any]:
    admin = get_account(consortium.state, account_of(ADMIN))
    assert admin is not None, "genesis made the admin"
    assert admin.seal_key_id is not None, "people have seal keys"
    return {
        "Parameters": Parameters(),
        "ValidatorSet": founding_validators(genesis()),
        "NodeEntry": next(iter(get_nodes(consortium.state))),
        "Organisation": get_organisation(consortium.state, NORTH),
        "Account": admin,
        "KeyRecord, sign": get_key(consortium.state, admin.account_id, admin.sign_key_id),
        "KeyRecord, seal": get_key(consortium.state, admin.account_id, admin.seal_key_id),
        "DirectoryEntry": DirectoryEntry(
            about=account_of("patient"),
            recipient=admin.account_id,
            key_id=admin.seal_key_id,
            note=Digest(seed("note")),
            height=7,
        ),
    }


def identity_values(consortium: Consortium) -> dict[str, Any]:
    patient = account_of("patient")
    note = DirectoryNote(
        recipient=account_of(ADMIN),
        key_id=seal_key_id(seal_key_of(ADMIN)),
        note=Digest(seed("note")),
    )
    return {
        "Register, patient": patient_registration(consortium, [note]),
        "Register, doctor": registration(
            consortium.chain_id, NORTH, "doctor", Role.DOCTOR, scheme=Scheme.ED25519
        ),
        "Suspend": Suspend(account_id=patient, reason="left"),
        "Restore": Restore(account_id=patient, reason=""),
        "RotateKey, both": rotation(
            consortium.chain_id, "patient", next_key=signing_key("next"), next_seal="next"
        ),
        "RotateKey, seal": rotation(consortium.chain_id, "patient", next_seal="next"),
        "ShareDirectory": ShareDirectory(about=patient, notes=(note,)),
        "RegistrationClaim": RegistrationClaim(
            org=NORTH,
            role=Role.PATIENT,
            sign_key=public_key(signing_key("patient")),
            seal_key=seal_key_of("patient"),
        ),
        "RotationClaim": RotationClaim(
            account_id=patient, sign_key=public_key(signing_key("next"))
        ),
        "SealBinding": SealBinding(account_id=patient, seal_key=seal_key_of("patient")),
    }


def patient_registration(consortium: Consortium, notes: list[DirectoryNote]) -> Register:
    categories = [seed(f"category {number}")[:16] for number in range(2)]
    return registration(
        consortium.chain_id,
        NORTH,
        "patient",
        Role.PATIENT,
        notes=notes,
        categories=categories,
    )


def block_values(consortium: Consortium) -> dict[str, Any]:
    event = Event(
        kind="identity.registered",
        subject=account_of("patient"),
        fields=(("org", "north"), ("count", 2), ("by", account_of(ADMIN))),
    )
    signed = example_transaction(consortium)
    transaction = decode_transaction(signed, consortium.chain_id)
    accepted = Receipt(
        tx_id=transaction.tx_id, height=1, index=0, accepted=True, code="ok", events=(event,)
    )
    return {
        "Receipt, accepted": accepted,
        "Receipt, refused": Receipt(
            tx_id=transaction.tx_id,
            height=1,
            index=1,
            accepted=False,
            code="identity.exists",
            events=(Event(kind="transaction.refused", subject=None, fields=()),),
        ),
        "Header": example_header(consortium),
        "BlockBodies": BlockBodies(transactions=(signed,)),
    }


def example_transaction(consortium: Consortium, scheme: Scheme = Scheme.P256) -> bytes:
    """A suspension with two sidecars, which only its form is for."""
    key = signing_key(ADMIN, scheme)
    body = make_transaction(
        chain_id=consortium.chain_id,
        sender=account_id(public_key(key)),
        kind="identity.suspend",
        payload=Suspend(account_id=account_of("patient"), reason="left"),
        valid_from_ms=CREATED_MS,
        valid_until_ms=CREATED_MS + 60_000,
        nonce=seed("nonce")[:16],
        on_behalf_of=account_of("guardian") if scheme is Scheme.P256 else None,
        sidecars=[Digest(seed("b")), Digest(seed("a"))],
    )
    return sign_transaction(body, key)


def example_header(consortium: Consortium) -> Header:
    transaction = decode_transaction(example_transaction(consortium), consortium.chain_id)
    validators = founding_validators(genesis()).digest()
    return Header(
        chain_id=consortium.chain_id,
        epoch=Epoch(0),
        height=Height(1),
        view=View(0),
        proposer=ReplicaId(0),
        parent=genesis_header_digest(consortium.chain_id),
        parent_certificate=NO_DIGEST,
        time_ms=CREATED_MS + 1_000,
        tx_root=tx_root([transaction.signed_hash]),
        tx_count=1,
        state_root=Digest(seed("state root")),
        receipts_root=receipts_root(consortium.chain_id, ()),
        validators=validators,
        next_validators=validators,
    )


def transaction_vectors(consortium: Consortium) -> list[dict[str, str]]:
    found = []
    for scheme in Scheme:
        signed = example_transaction(consortium, scheme)
        transaction = decode_transaction(signed, consortium.chain_id)
        found.append(
            {
                "scheme": scheme.name,
                "body": encode(transaction.body).hex(),
                "payload": transaction.body.payload.hex(),
                "signed": signed.hex(),
                "tx_id": transaction.tx_id.hex(),
                "signed_hash": transaction.signed_hash.hex(),
            }
        )
    return found


def digest_vectors(consortium: Consortium) -> dict[str, str]:
    state = block_values(consortium)
    receipts = (state["Receipt, accepted"], state["Receipt, refused"])
    return {
        "chain id": chain_id_of(genesis()).hex(),
        "invitation": invitation_digest(invitation()).hex(),
        "header of the genesis state": genesis_header_digest(consortium.chain_id).hex(),
        "header": header_digest(example_header(consortium)).hex(),
        "validator set": founding_validators(genesis()).digest().hex(),
        "tx root of three": tx_root([Digest(seed(label)) for label in "abc"]).hex(),
        "receipts root": receipts_root(consortium.chain_id, receipts).hex(),
        "receipts root of nothing": receipts_root(consortium.chain_id, ()).hex(),
        "seal key id, P-256": seal_key_id(seal_key_of("patient")).hex(),
        "directory key": directory_key(account_of("patient"), account_of(ADMIN)).hex(),
    }


def main() -> None:
    FILE.write_text(json.dumps(vectors(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
