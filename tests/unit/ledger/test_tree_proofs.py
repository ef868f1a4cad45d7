import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import DecodeError, InvalidProof
from crypto.hashing import Digest
from crypto.schema import decode, encode
from ledger.tree.hashing import EMPTY, bit_at, hash_key, hash_leaf, hash_value
from ledger.tree.proofs import (
    OtherLeaf,
    StateProof,
    StateProofs,
    check_many,
    check_proof,
    prove,
    prove_many,
)
from tests.unit.ledger.state_tree_samples import (
    StoredTree,
    close_keys,
    keys,
    make_tree,
    numbered_state,
    states,
    values,
)

TREE = make_tree(numbered_state(500))


@given(states, keys)
def test_proof_shows_what_a_key_holds(state: dict[bytes, bytes], key: bytes) -> None:
    tree = make_tree(state)

    proof = prove(tree.nodes, 1, key)

    assert check_proof(tree.root, key, proof) == state.get(key)


@given(states, st.dictionaries(keys, st.none() | values, max_size=10), keys)
def test_old_root_stays_provable_after_a_change(
    state: dict[bytes, bytes], changes: dict[bytes, bytes | None], key: bytes
) -> None:
    tree = make_tree(state)
    old_root = tree.root
    tree.change(changes)

    proof = prove(tree.nodes, 1, key)

    assert check_proof(old_root, key, proof) == state.get(key)


@given(states, keys, st.data())
def test_flipping_any_bit_of_a_proof_is_refused(
    state: dict[bytes, bytes], key: bytes, data: st.DataObject
) -> None:
    tree = make_tree(state)
    encoded = bytearray(encode(prove(tree.nodes, 1, key)))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8

    with pytest.raises((DecodeError, InvalidProof)):
        check_proof(tree.root, key, decode(StateProof, bytes(encoded)))


def test_flipping_every_bit_of_every_kind_of_proof_is_refused() -> None:
    absent = absent_keys()
    for key in (b"key 7", absent["other"], absent["empty"]):
        encoded = encode(prove(TREE.nodes, 1, key))

        for bit in range(8 * len(encoded)):
            flipped = bytearray(encoded)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises((DecodeError, InvalidProof)):
                check_proof(TREE.root, key, decode(StateProof, bytes(flipped)))


def absent_keys() -> dict[str, bytes]:
    """One absent key whose place another leaf has, one whose place is empty."""
    found: dict[str, bytes] = {}
    for number in range(1_000):
        key = b"absent %d" % number
        proof = prove(TREE.nodes, 1, key)
        assert proof.value is None
        found.setdefault("empty" if proof.other is None else "other", key)
    assert set(found) == {"empty", "other"}
    return found


def test_absence_shows_the_other_leaf_by_its_hashes_alone() -> None:
    key = absent_keys()["other"]

    other = prove(TREE.nodes, 1, key).other

    assert other is not None
    holders = {hash_key(one): value for one, value in TREE.state.items()}
    assert other.value_hash == hash_value(holders[other.key_hash])


@pytest.mark.parametrize("key", [b"key 7", b"absent 1", b"absent 2", b"absent 3"])
def test_proof_of_one_key_proves_no_other(key: bytes) -> None:
    proof = prove(TREE.nodes, 1, key)

    for other in (b"key 8", b"absent 9", b"absent 10", b"absent 11"):
        with pytest.raises(InvalidProof):
            check_proof(TREE.root, other, proof)


def test_present_key_cannot_be_proven_absent_by_its_own_leaf() -> None:
    proof = prove(TREE.nodes, 1, b"key 7")
    own = OtherLeaf(key_hash=hash_key(b"key 7"), value_hash=hash_value(b"value 7"))
    forged = dataclasses.replace(proof, value=None, other=own)

    with pytest.raises(InvalidProof, match="place"):
        check_proof(TREE.root, b"key 7", forged)


def test_leaf_elsewhere_proves_no_absence() -> None:
    root = TREE.root
    proof = prove(TREE.nodes, 1, b"key 7")
    elsewhere = OtherLeaf(key_hash=hash_key(b"key 7"), value_hash=hash_value(b"value 7"))
    forged = dataclasses.replace(proof, value=None, other=elsewhere)

    with pytest.raises(InvalidProof, match="place"):
        check_proof(root, b"key 8", forged)


@pytest.mark.parametrize("key", [b"key 7", b"absent 1", b"absent 2"])
def test_trailing_and_missing_siblings_are_refused(key: bytes) -> None:
    proof = prove(TREE.nodes, 1, key)

    for siblings in (
        (*proof.siblings, EMPTY),
        (EMPTY, *proof.siblings),
        proof.siblings[:-1],
        proof.siblings[1:],
        (),
    ):
        with pytest.raises(InvalidProof):
            check_proof(TREE.root, key, dataclasses.replace(proof, siblings=siblings))


@pytest.mark.parametrize("sibling", [b"", bytes(31), bytes(33), bytes(64)])
def test_sibling_that_is_no_hash_is_refused(sibling: bytes) -> None:
    proof = prove(TREE.nodes, 1, b"key 7")
    siblings = (*proof.siblings[:-1], Digest(sibling))

    with pytest.raises(InvalidProof, match="no state tree has"):
        check_proof(TREE.root, b"key 7", dataclasses.replace(proof, siblings=siblings))


def test_path_longer_than_a_key_hash_is_refused() -> None:
    proof = StateProof(value=b"1", other=None, siblings=(EMPTY,) * 257)

    with pytest.raises(InvalidProof, match="no state tree has"):
        check_proof(TREE.root, b"key", proof)


def test_inner_node_does_not_pass_for_a_leaf() -> None:
    proof = prove(TREE.nodes, 1, b"key 7")
    key_hash = hash_key(b"key 7")
    beside = proof.siblings[-1]
    own = hash_leaf(key_hash, hash_value(b"value 7"))
    pair = (beside, own) if bit_at(key_hash, len(proof.siblings) - 1) else (own, beside)
    forged = StateProof(
        value=None,
        other=OtherLeaf(key_hash=pair[0], value_hash=pair[1]),
        siblings=proof.siblings[:-1],
    )

    with pytest.raises(InvalidProof):
        check_proof(TREE.root, b"key 7", forged)


def test_empty_tree_proves_every_key_absent() -> None:
    tree = make_tree({})

    proof = prove(tree.nodes, 1, b"anything")

    assert proof == StateProof(value=None, other=None, siblings=())
    assert check_proof(tree.root, b"anything", proof) is None


def test_empty_value_is_not_absence() -> None:
    tree = make_tree({b"key": b""})

    proof = prove(tree.nodes, 1, b"key")

    assert check_proof(tree.root, b"key", proof) == b""
    absent = dataclasses.replace(proof, value=None)
    with pytest.raises(InvalidProof):
        check_proof(tree.root, b"key", absent)


def test_keys_that_share_many_bits_have_long_proofs() -> None:
    one, other = close_keys(20, 2)
    tree = make_tree({one: b"1", other: b"2"})

    proof = prove(tree.nodes, 1, one)

    assert len(proof.siblings) > 20
    assert set(proof.siblings[:-1]) == {EMPTY}
    assert check_proof(tree.root, one, proof) == b"1"


def test_proof_that_says_present_and_absent_does_not_decode() -> None:
    other = OtherLeaf(key_hash=EMPTY, value_hash=EMPTY)

    with pytest.raises(ValueError, match="present and absent"):
        StateProof(value=b"1", other=other, siblings=())


@given(states, st.lists(keys, max_size=12))
def test_keys_are_proven_together(state: dict[bytes, bytes], wanted: list[bytes]) -> None:
    tree = make_tree(state)

    together = prove_many(tree.nodes, 1, wanted)

    decoded = decode(StateProofs, encode(together))
    assert check_many(tree.root, wanted, decoded) == {key: state.get(key) for key in wanted}


@given(states, st.lists(keys, min_size=1, max_size=6), st.data())
def test_flipping_any_bit_of_proofs_together_is_refused(
    state: dict[bytes, bytes], wanted: list[bytes], data: st.DataObject
) -> None:
    tree = make_tree(state)
    encoded = bytearray(encode(prove_many(tree.nodes, 1, wanted)))
    bit = data.draw(st.integers(0, 8 * len(encoded) - 1))
    encoded[bit // 8] ^= 1 << bit % 8

    with pytest.raises((DecodeError, InvalidProof)):
        check_many(tree.root, wanted, decode(StateProofs, bytes(encoded)))


def test_proofs_together_leave_out_shared_siblings() -> None:
    wanted = [b"key %d" % number for number in range(20)]

    together = prove_many(TREE.nodes, 1, wanted)

    apart = sum(len(encode(prove(TREE.nodes, 1, key))) for key in wanted)
    assert len(encode(together)) < 0.75 * apart


def test_proofs_of_other_keys_than_asked_are_refused() -> None:
    together = prove_many(TREE.nodes, 1, [b"key 1", b"key 2"])

    for wanted in ([b"key 1"], [b"key 1", b"key 3"], [b"key 1", b"key 2", b"key 3"], []):
        with pytest.raises(InvalidProof):
            check_many(TREE.root, wanted, together)


def test_proof_under_another_root_is_refused() -> None:
    tree = StoredTree()
    tree.change(numbered_state(10))
    proof = prove(tree.nodes, 1, b"key 1")
    tree.change({b"key 2": b"changed"})

    with pytest.raises(InvalidProof, match="state root"):
        check_proof(tree.root, b"key 1", proof)
