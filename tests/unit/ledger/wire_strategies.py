"""Hypothesis strategies for wire types, derived from the same annotations as their codec."""

import dataclasses
import enum
import types
import typing
from functools import cache
from typing import Annotated, Any, Union

from hypothesis import reject
from hypothesis import strategies as st

from crypto.cid import DAG_PB, RAW, make_cid
from crypto.envelopes import SealKey
from crypto.schema import Count, Range, Size
from crypto.signatures import PublicKey, Scheme, public_key
from genesis.document import StatementBody
from tests.unit.ledger.small_consortium import genesis, seal_key_of, signing_key

LABELS = ("a", "b", "c")
ITEMS_MAX = 2

SAMPLED: dict[Any, st.SearchStrategy[Any]] = {
    PublicKey: st.sampled_from(
        [public_key(signing_key(label, scheme)) for label in LABELS for scheme in Scheme]
    ),
    SealKey: st.sampled_from([seal_key_of(label) for label in LABELS]),
    StatementBody: st.sampled_from([statement.body for statement in genesis().statements]),
}
"""Types that random bytes hardly ever make."""

NAMED: dict[str, st.SearchStrategy[Any]] = {
    "org": st.sampled_from(["north", "south-2", "a"]),
    "p2p_address": st.sampled_from(["127.0.0.1:7000", "[::1]:1", "host.example:65535"]),
    "cid": st.sampled_from([make_cid(RAW, b"\x01" * 32), make_cid(DAG_PB, b"\x02" * 32)]),
    "purposes": st.sampled_from([("TREAT",), ("HPAYMT", "TREAT"), ("a|b",)]),
}
"""Fields whose text has a form that no annotation says."""

texts = st.text(st.sampled_from("aZ0-_. äß界\U0001f489"), max_size=6)


@cache
def instances(kind: Any) -> st.SearchStrategy[Any]:
    """Instances of a wire type; what its own rules refuse is drawn again."""
    if kind in SAMPLED:
        return SAMPLED[kind]
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {
        field.name: NAMED[field.name] if field.name in NAMED else values(hints[field.name])
        for field in dataclasses.fields(kind)
        if field.init
    }

    def build(drawn: dict[str, Any]) -> Any:
        try:
            return kind(**drawn)
        except ValueError:
            reject()

    return st.fixed_dictionaries(fields).map(build)


def values(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of one annotation, within its bounds."""
    if isinstance(annotation, typing.NewType):
        return values(annotation.__supertype__)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return bounded(arguments[0], arguments[1])
    if origin in (Union, types.UnionType):
        return st.one_of([st.none() if one is type(None) else values(one) for one in arguments])
    if origin is tuple:
        return st.tuples(*[values(one) for one in arguments])
    if annotation is bool:
        return st.booleans()
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return st.sampled_from(annotation)
    return instances(annotation)


def bounded(inner: Any, bound: Range | Size | Count) -> st.SearchStrategy[Any]:
    match bound:
        case Range():
            edges = st.sampled_from([bound.low, bound.high])
            return edges | st.integers(bound.low, bound.high)
        case Size() if inner is bytes:
            return st.binary(min_size=bound.low, max_size=min(bound.high, bound.low + 40))
        case Size():
            fitting = texts.filter(lambda text: bound.low <= len(text.encode()) <= bound.high)
            return fitting | st.just("x" * bound.low)
        case Count():
            item = values(typing.get_args(inner)[0])
            high = min(bound.high, max(bound.low, ITEMS_MAX))
            return st.lists(item, min_size=bound.low, max_size=high).map(tuple)
