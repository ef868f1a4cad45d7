"""Who must be able to open a record, proven, and sealing its key to exactly them."""

from collections.abc import Sequence
from dataclasses import dataclass

from client.connection import Client, ask_view
from client.errors import KeyRejected, NotFound
from client.trust import ProvenView
from client.wallet import Keys
from crypto.envelopes import (
    EnvelopeInfo,
    EnvelopeKind,
    make_sidecar,
    open_envelope,
    seal_envelope,
)
from crypto.errors import InvalidEnvelope, InvalidKey, InvalidSignature
from crypto.hashing import Digest
from crypto.record_ids import AccountId, SealContext
from crypto.sealed_format import SealSecrets
from crypto.signatures import check_job
from ledger.access_state import grants_key
from ledger.accounts import (
    Account,
    account_key,
    get_account,
    organisation_key,
    seal_key_in_force,
)
from ledger.key_proofs import seal_binding_job
from ledger.recipients import Recipient, recipients
from ledger.records_payloads import EnvelopeRef
from ledger.records_state import RecordFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelopes:
    """Envelopes as a payload names them, and the sidecars (digest, content) they travel in."""

    refs: tuple[EnvelopeRef, ...]
    sidecars: tuple[tuple[Digest, bytes], ...]


async def wanted_recipients(client: Client, facts: RecordFacts) -> tuple[Recipient, ...]:
    """Return who must be able to open a record, each key vouched for by its owner's sign key."""

    def question(view: ProvenView) -> tuple[Recipient, ...]:
        found = recipients(view, facts, time_ms=view.time_ms)
        check_recipient_keys(view, found)
        return found

    keys = base_keys(facts.pseudonym, facts.author_org)
    answer, _ = await ask_view(client, question, keys)
    return answer


def base_keys(pseudonym: AccountId, author_org: str) -> tuple[bytes, ...]:
    """Return the entries that every question about a patient's recipients starts from."""
    return account_key(pseudonym), grants_key(pseudonym), organisation_key(author_org)


def check_recipient_keys(view: ProvenView, found: Sequence[Recipient]) -> None:
    """Raise `KeyRejected` unless every recipient's sign key vouches for the seal key."""
    for recipient in found:
        account = get_account(view, recipient.account)
        assert account is not None, "a recipient is registered"
        check_seal_key(account)


def check_seal_key(account: Account) -> None:
    """Raise `KeyRejected` unless the account's sign key vouches for its seal key."""
    seal = seal_key_in_force(account)
    if seal is None:
        raise KeyRejected(
            f"account {account.account_id.hex()[:16]} is a node's: nobody seals to it"
        )
    job = seal_binding_job(
        account.sign_key,
        seal.binding,
        account_id=account.account_id,
        seal_key=seal.key,
    )
    try:
        check_job(job)
    except (InvalidSignature, InvalidKey) as problem:
        raise KeyRejected(
            f"account {account.account_id.hex()[:16]} does not vouch for its seal key: {problem}"
        ) from problem


def seal_to(
    wanted: Sequence[Recipient], secrets: SealSecrets, pseudonym: AccountId, context: SealContext
) -> Envelopes:
    """Return one envelope for each recipient, in the order a payload wants them."""
    refs, sidecars = [], []
    for recipient in sorted(wanted, key=lambda one: (one.account, one.key_id)):
        info = envelope_info(pseudonym, context, recipient.account, recipient.key_id)
        sidecar = make_sidecar(seal_envelope(recipient.seal_key, secrets, info))
        sidecars.append((sidecar.digest, sidecar.content))
        refs.append(
            EnvelopeRef(
                recipient=recipient.account, key_id=recipient.key_id, sidecar=sidecar.digest
            )
        )
    return Envelopes(refs=tuple(refs), sidecars=tuple(sidecars))


def open_own(
    keys: Keys, ref: EnvelopeRef, wrapped: bytes, pseudonym: AccountId, context: SealContext
) -> SealSecrets:
    """Open an envelope addressed to `keys`; raise `NotFound` if the key is not here any more."""
    private = keys.seal_key_named(ref.key_id)
    if private is None:
        raise NotFound(
            f"the envelope is for seal key {ref.key_id.hex()} of {keys.label}, which is not here",
            code="key.missing",
        )
    info = envelope_info(pseudonym, context, ref.recipient, ref.key_id)
    try:
        return open_envelope(private, wrapped, info)
    except InvalidEnvelope as problem:
        raise KeyRejected(
            f"the envelope for {keys.label} does not open: {problem}; ask who sealed the record "
            "to hand its key on again",
            code="envelope.invalid",
        ) from problem


def envelope_info(
    pseudonym: AccountId, context: SealContext, recipient: AccountId, key_id: bytes
) -> EnvelopeInfo:
    """Return everything that an envelope of a record is bound to."""
    return EnvelopeInfo(
        chain_id=context.chain_id,
        kind=EnvelopeKind.RECORD,
        pseudonym=pseudonym,
        record_id=context.record_id,
        version_id=context.version_id,
        seal_id=context.seal_id,
        recipient=recipient,
        recipient_key_id=key_id,
    )
