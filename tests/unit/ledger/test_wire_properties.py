from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto.errors import DecodeError
from crypto.schema import decode, encode
from scripts.wire_tables import wire_types
from tests.unit.ledger.wire_strategies import instances

MODULES = (
    "crypto.signatures",
    "genesis.document",
    "ledger.access_payloads",
    "ledger.access_state",
    "ledger.accounts",
    "ledger.blocks",
    "ledger.contracts.governance",
    "ledger.identity_payloads",
    "ledger.key_proofs",
    "ledger.parameters",
    "ledger.receipts",
    "ledger.records_payloads",
    "ledger.records_state",
    "ledger.transactions",
)
TYPES = [kind for module in MODULES for kind in wire_types(module)]
BYTES_MAX = 1 << 20

every_type = pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
drawn = settings(max_examples=20, suppress_health_check=list(HealthCheck))


def test_the_types_are_found() -> None:
    assert len(TYPES) > 25


@every_type
def test_an_instance_comes_back_as_it_went(kind: Any) -> None:
    @drawn
    @given(instances(kind))
    def comes_back(wire: Any) -> None:
        assert decode(kind, encode(wire), bytes_max=BYTES_MAX) == wire

    comes_back()


@every_type
def test_accepted_bytes_reencode_to_themselves(kind: Any) -> None:
    @drawn
    @given(instances(kind), st.integers(0), st.integers(1, 255))
    def reencodes(wire: Any, at: int, change: int) -> None:
        changed = bytearray(encode(wire))
        changed[at % len(changed)] ^= change
        try:
            decoded = decode(kind, bytes(changed), bytes_max=BYTES_MAX)
        except DecodeError:
            return
        assert encode(decoded) == changed

    reencodes()


@every_type
def test_garbage_is_refused_by_name(kind: Any) -> None:
    @drawn
    @given(st.binary(max_size=200) | st.binary(max_size=30).map(lambda tail: b"\x92\x01" + tail))
    def refuses(garbage: bytes) -> None:
        with pytest.raises(DecodeError):
            decode(kind, garbage, bytes_max=BYTES_MAX)

    refuses()


@pytest.mark.parametrize(
    "kind",
    [kind for kind in TYPES if "WIRE_BYTES_MAX" in vars(kind)],
    ids=lambda kind: kind.__name__,
)
def test_more_bytes_than_its_limit_are_not_parsed(kind: Any) -> None:
    with pytest.raises(DecodeError, match="bytes where at most"):
        decode(kind, bytes(vars(kind)["WIRE_BYTES_MAX"] + 1))
