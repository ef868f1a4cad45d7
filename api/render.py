"""The ledger's nouns as JSON for people, named as in the wire types.

Ids, digests, keys and opaque bytes are lower-case hex, times are milliseconds since 1970.
"""

from typing import assert_never

from api.ports import LogEntry, StoredBlock, Tip, TransactionStatus
from crypto.cid import encode_cid_text
from crypto.hashing import Digest
from ledger.access_payloads import (
    AllRecords,
    Categories,
    Grantee,
    Person,
    RecordList,
    RoleAt,
    Scope,
    Terms,
    WholeOrganisation,
)
from ledger.access_state import EndedGrant, Grant, Request
from ledger.accounts import Account, Organisation, seal_key_in_force
from ledger.blocks import Header, header_digest
from ledger.decision import Decision
from ledger.explain import Explanation
from ledger.log import sentence
from ledger.receipts import Event, Receipt
from ledger.records_state import Record, Seal, Version
from ledger.state import StateView

Json = dict[str, object]


def render_event(event: Event) -> Json:
    return {
        "kind": event.kind,
        "subject": None if event.subject is None else event.subject.hex(),
        "fields": [
            [name, value.hex() if isinstance(value, bytes) else value]
            for name, value in event.fields
        ],
    }


def render_receipt(receipt: Receipt, *, are_events_shown: bool) -> Json:
    """Return a receipt; what it says about people only to who may see it."""
    found: Json = {
        "tx_id": receipt.tx_id.hex(),
        "height": receipt.height,
        "index": receipt.index,
        "accepted": receipt.accepted,
        "code": receipt.code,
        "event_count": len(receipt.events),
    }
    if are_events_shown:
        found["events"] = [render_event(event) for event in receipt.events]
    return found


def render_status(status: TransactionStatus, *, are_events_shown: bool) -> Json:
    found: Json = {"tx_id": status.tx_id.hex(), "state": status.state.value}
    if status.receipt is not None:
        found["receipt"] = render_receipt(status.receipt, are_events_shown=are_events_shown)
    if status.pruned_height is not None:
        found["height"] = status.pruned_height
    return found


def render_tip(tip: Tip) -> Json:
    return {
        "height": tip.height,
        "digest": tip.digest.hex(),
        "time_ms": tip.time_ms,
        "epoch": tip.epoch,
    }


def render_header(header: Header) -> Json:
    return {
        "chain_id": header.chain_id.hex(),
        "epoch": header.epoch,
        "height": header.height,
        "view": header.view,
        "proposer": header.proposer,
        "parent": header.parent.hex(),
        "parent_certificate": header.parent_certificate.hex(),
        "time_ms": header.time_ms,
        "tx_root": header.tx_root.hex(),
        "tx_count": header.tx_count,
        "state_root": header.state_root.hex(),
        "receipts_root": header.receipts_root.hex(),
        "validators": header.validators.hex(),
        "next_validators": header.next_validators.hex(),
    }


def render_block(block: StoredBlock, tx_ids: list[Digest], *, first: int) -> Json:
    """Return a block's header, who certified it, and a page of its transactions' ids."""
    header, certificate = block.sealed_header.header, block.sealed_header.certificate
    return {
        "digest": header_digest(header).hex(),
        "header": render_header(header),
        "certificate": {
            "epoch": certificate.epoch,
            "view": certificate.view,
            "signers": [signer for signer, _ in certificate.signatures],
        },
        "first": first,
        "transactions": [one.hex() for one in tx_ids],
    }


def render_account(account: Account) -> Json:
    seal = seal_key_in_force(account)
    return {
        "account": account.account_id.hex(),
        "org": account.org,
        "role": account.role.value,
        "status": account.status.value,
        "sign_key": account.sign_key.data.hex(),
        "sign_scheme": account.sign_key.scheme.name,
        "sign_key_id": account.sign_key_id.hex(),
        "seal_key": None if seal is None else seal.key.data.hex(),
        "seal_scheme": None if seal is None else seal.key.scheme.name,
        "seal_key_id": None if seal is None else seal.key_id.hex(),
        "registered_height": account.registered_height,
        "specialty": account.specialty,
        "licence": None if account.licence is None else account.licence.hex(),
        "categories": [one.hex() for one in account.categories],
        "in_custody": account.in_custody,
    }


def render_organisation(organisation: Organisation) -> Json:
    return {
        "org": organisation.org,
        "name": organisation.name,
        "status": organisation.status.value,
        "agent": organisation.agent.hex(),
        "admins": [one.hex() for one in organisation.admins],
    }


def render_record(record: Record, version: Version, seal: Seal) -> Json:
    facts = record.facts
    return {
        "record_id": facts.record_id.hex(),
        "pseudonym": facts.pseudonym.hex(),
        "category": facts.category.hex(),
        "tags": [one.hex() for one in facts.tags],
        "level": facts.level.value,
        "author": facts.author.hex(),
        "author_org": facts.author_org,
        "version_count": record.version_count,
        "tx_id": record.tx_id.hex(),
        "height": record.height,
        "time_ms": record.time_ms,
        "latest": render_version(version, seal),
    }


def render_version(version: Version, seal: Seal) -> Json:
    return {
        "version_id": version.version_id.hex(),
        "ordinal": version.ordinal,
        "previous": None if version.previous is None else version.previous.hex(),
        "author": version.author.hex(),
        "author_org": version.author_org,
        "author_key_id": version.author_key_id.hex(),
        "commitment": version.commitment.hex(),
        "tx_id": version.tx_id.hex(),
        "height": version.height,
        "time_ms": version.time_ms,
        "seal": {
            "seal_id": seal.seal_id.hex(),
            "cid": encode_cid_text(seal.cid),
            "size_bytes": seal.size_bytes,
            "recipients": len(seal.envelopes),
            "stored_by": list(seal.stored_by),
            "is_safe": seal.is_safe,
            "time_ms": seal.time_ms,
        },
    }


def render_terms(terms: Terms) -> Json:
    return {
        "grantee": _grantee(terms.grantee),
        "scope": _scope(terms.scope),
        "level": terms.level.name.lower(),
        "purposes": list(terms.purposes),
        "from_ms": terms.from_ms,
        "until_ms": terms.until_ms,
    }


def render_grant(grant: Grant) -> Json:
    return {
        "grant_id": grant.grant_id.hex(),
        "terms": render_terms(grant.terms),
        "request_id": None if grant.request_id is None else grant.request_id.hex(),
        "height": grant.height,
        "time_ms": grant.time_ms,
    }


def render_ended_grant(ended: EndedGrant) -> Json:
    return {
        **render_grant(ended.grant),
        "ending": ended.ending.value,
        "ended_ms": ended.ended_ms,
        "ended_by": ended.ended_by.hex(),
    }


def render_request(request: Request) -> Json:
    return {
        "request_id": request.request_id.hex(),
        "requester": request.requester.hex(),
        "wanted": render_terms(request.wanted),
        "expires_ms": request.expires_ms,
        "height": request.height,
        "time_ms": request.time_ms,
    }


def render_log_entry(entry: LogEntry, view: StateView) -> Json:
    """Return one event of a log, with its sentence and the cursor that follows it."""
    event = entry.receipt.events[entry.number]
    return {
        "cursor": render_cursor(entry),
        "height": entry.height,
        "index": entry.index,
        "number": entry.number,
        "time_ms": entry.time_ms,
        "tx_id": entry.receipt.tx_id.hex(),
        "sender": entry.sender.hex(),
        **render_event(event),
        "sentence": sentence(view, event),
    }


def render_cursor(entry: LogEntry) -> str:
    return f"{entry.height}.{entry.index}.{entry.number}"


def render_decision(decision: Decision) -> Json:
    return {"permitted": decision.permitted, "rule": decision.rule, "code": decision.code}


def render_explanation(explanation: Explanation) -> Json:
    return {
        **render_decision(explanation.decision),
        "because": [one.hex() for one in explanation.because],
        "sentences": list(explanation.sentences),
        "key": explanation.key.value,
        "kept_by": explanation.kept_by.value,
    }


def _grantee(grantee: Grantee) -> Json:
    match grantee:
        case Person():
            return {"account": grantee.account.hex()}
        case WholeOrganisation():
            return {"org": grantee.org}
        case RoleAt():
            return {"org": grantee.org, "role": grantee.role.value}
        case _:
            assert_never(grantee)


def _scope(scope: Scope) -> Json:
    match scope:
        case AllRecords():
            return {"all": True}
        case Categories():
            return {"categories": [one.hex() for one in scope.categories]}
        case RecordList():
            return {"records": [one.hex() for one in scope.records]}
        case _:
            assert_never(scope)
