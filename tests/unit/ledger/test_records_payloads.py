"""Payloads and entries have one spelling: what is out of order or no address is none."""

from dataclasses import replace

import pytest

from crypto.encoding import pack
from crypto.errors import DecodeError
from crypto.schema import decode, to_plain
from ledger.access_state import GrantsInForce, PendingRequests, RequestsMade
from ledger.records_payloads import RecordPut
from tests.unit.ledger.record_samples import Hospitals
from tests.vectors.make_contract_vectors import access_entries


@pytest.fixture
def put() -> RecordPut:
    return Hospitals().make_put(tags=(b"\x01" * 16, b"\x02" * 16))


def test_tags_ascend(put: RecordPut) -> None:
    with pytest.raises(ValueError, match="tags do not ascend"):
        replace(put, tags=put.tags[::-1])


def test_envelopes_ascend_by_recipient_and_key(put: RecordPut) -> None:
    one, two = put.seal.envelopes
    second_key = replace(one, key_id=b"\xff" * 16)

    with pytest.raises(ValueError, match="envelopes do not ascend"):
        replace(put.seal, envelopes=(two, one))
    with pytest.raises(ValueError, match="envelopes do not ascend"):
        replace(put.seal, envelopes=(one, one))
    assert replace(put.seal, envelopes=(one, second_key, two)).envelopes[1] == second_key


def test_storage_receipts_ascend_by_validator(put: RecordPut) -> None:
    receipts = put.seal.storage_receipts

    with pytest.raises(ValueError, match="storage receipts do not ascend"):
        replace(put.seal, storage_receipts=receipts[::-1])


def test_a_content_address_is_one(put: RecordPut) -> None:
    plain = list(to_plain(put))
    seal = list(plain[-1])
    seal[1] = b"\x02" + seal[1][1:]
    plain[-1] = tuple(seal)

    with pytest.raises(DecodeError, match="not version 1"):
        decode(RecordPut, pack(tuple(plain)))


@pytest.mark.parametrize("kind", [GrantsInForce, PendingRequests, RequestsMade])
def test_entries_of_a_list_ascend(kind: type) -> None:
    value = access_entries()[kind.__name__]
    name = "requests" if kind is RequestsMade else "encoded"
    items = getattr(value, name)

    with pytest.raises(ValueError, match="do not ascend"):
        replace(value, **{name: (*items, items[0])})
