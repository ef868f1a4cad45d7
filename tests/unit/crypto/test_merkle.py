import time
from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import InvalidProof
from crypto.hashing import Digest
from crypto.merkle import (
    EMPTY_ROOT,
    check_consistency,
    check_inclusion,
    make_consistency_proof,
    make_inclusion_proof,
    merkle_root,
)

# The eight leaves and the roots of their beginnings that Certificate Transparency's own tests use.
CT_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

lists = st.lists(st.binary(max_size=8), max_size=40)
filled_lists = st.lists(st.binary(max_size=8), min_size=1, max_size=40)


def leaf_hash(leaf: bytes) -> Digest:
    return Digest(sha256(b"\x00" + leaf).digest())


def inner_hash(left: bytes, right: bytes) -> Digest:
    return Digest(sha256(b"\x01" + left + right).digest())


def defined_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word by word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return inner_hash(defined_root(leaves[:split]), defined_root(leaves[split:]))


def defined_path(leaves: list[bytes], index: int) -> list[bytes]:
    """RFC 6962 §2.1.1, word by word."""
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*defined_path(leaves[:split], index), defined_root(leaves[split:])]
    return [*defined_path(leaves[split:], index - split), defined_root(leaves[:split])]


def defined_consistency(count: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """RFC 6962 §2.1.2, word by word."""
    if count == len(leaves):
        return [] if whole else [defined_root(leaves)]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if count <= split:
        left = defined_consistency(count, leaves[:split], whole=whole)
        return [*left, defined_root(leaves[split:])]
    right = defined_consistency(count - split, leaves[split:], whole=False)
    return [*right, defined_root(leaves[:split])]


@pytest.mark.parametrize("count", range(9))
def test_roots_are_those_of_certificate_transparency(count: int) -> None:
    assert merkle_root(CT_LEAVES[:count]).hex() == CT_ROOTS[count]


@pytest.mark.parametrize(
    ("index", "count", "path"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
        (
            1,
            5,
            [
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_paths_are_those_of_certificate_transparency(
    index: int, count: int, path: list[str]
) -> None:
    made = make_inclusion_proof(CT_LEAVES[:count], index)

    assert [one.hex() for one in made] == path
    check_inclusion(merkle_root(CT_LEAVES[:count]), CT_LEAVES[index], index, count, made)


@pytest.mark.parametrize(
    ("old_count", "count", "proof"),
    [
        (1, 1, []),
        (
            1,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_consistency_proofs_are_those_of_certificate_transparency(
    old_count: int, count: int, proof: list[str]
) -> None:
    made = make_consistency_proof(CT_LEAVES[:count], old_count)

    assert [one.hex() for one in made] == proof
    old_root, root = merkle_root(CT_LEAVES[:old_count]), merkle_root(CT_LEAVES[:count])
    check_consistency(old_root, old_count, root, count, made)


@given(lists)
def test_root_is_that_of_the_definition(leaves: list[bytes]) -> None:
    before = list(leaves)

    root = merkle_root(leaves)

    assert root == defined_root(leaves)
    assert leaves == before, "the caller's list is left alone"


@given(filled_lists, st.data())
def test_paths_are_those_of_the_definition_and_check(
    leaves: list[bytes], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))

    path = make_inclusion_proof(leaves, index)

    assert list(path) == defined_path(leaves, index)
    check_inclusion(merkle_root(leaves), leaves[index], index, len(leaves), path)


@given(lists, st.data())
def test_consistency_proofs_are_those_of_the_definition_and_check(
    leaves: list[bytes], data: st.DataObject
) -> None:
    old_count = data.draw(st.integers(0, len(leaves)))

    proof = make_consistency_proof(leaves, old_count)

    if old_count:
        assert list(proof) == defined_consistency(old_count, leaves)
    old_root = merkle_root(leaves[:old_count])
    check_consistency(old_root, old_count, merkle_root(leaves), len(leaves), proof)


def test_every_place_of_every_small_list_checks_at_that_place_and_count_alone() -> None:
    leaves = [b"%d" % number for number in range(17)]
    for count in range(1, 18):
        root = merkle_root(leaves[:count])
        for index in range(count):
            path = make_inclusion_proof(leaves[:count], index)
            for claimed in range(18):
                if claimed == index:
                    check_inclusion(root, leaves[index], claimed, count, path)
                    continue
                with pytest.raises(InvalidProof):
                    check_inclusion(root, leaves[index], claimed, count, path)


def test_another_count_changes_the_path_or_is_refused() -> None:
    leaves = [b"%d" % number for number in range(9)]
    root = merkle_root(leaves)
    path = make_inclusion_proof(leaves, 8)

    for count in (1, 2, 8, 10, 16, 17):
        with pytest.raises(InvalidProof):
            check_inclusion(root, leaves[8], 8, count, path)


def test_repeated_last_leaf_has_another_root() -> None:
    """CVE-2012-2459: nothing is duplicated to fill a level."""
    assert merkle_root([b"a", b"b", b"c"]) != merkle_root([b"a", b"b", b"c", b"c"])
    assert merkle_root([b"a"]) != merkle_root([b"a", b"a"])
    assert merkle_root([b"a", b"b", b"c", b"d", b"e", b"f"]) != merkle_root(
        [b"a", b"b", b"c", b"d", b"e", b"f", b"e", b"f"]
    )


def test_inner_node_is_no_leaf() -> None:
    leaves = [b"a", b"b", b"c", b"d"]
    pairs = [leaf_hash(b"a") + leaf_hash(b"b"), leaf_hash(b"c") + leaf_hash(b"d")]

    right = inner_hash(leaf_hash(b"c"), leaf_hash(b"d"))

    assert merkle_root(pairs) != merkle_root(leaves)
    with pytest.raises(InvalidProof, match="lead"):
        check_inclusion(merkle_root(leaves), pairs[0], 0, 2, (right,))


def test_empty_tree_has_no_leaves_to_prove() -> None:
    assert sha256(b"").digest() == EMPTY_ROOT
    with pytest.raises(InvalidProof, match="leaf 0 of 0"):
        check_inclusion(EMPTY_ROOT, b"", 0, 0, ())


@given(filled_lists, st.data())
def test_changed_leaf_path_or_root_is_refused(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, leaf = merkle_root(leaves), leaves[index]
    path = make_inclusion_proof(leaves, index)
    parts = [root, *path]
    part = data.draw(st.integers(0, len(parts) - 1))
    parts[part] = flipped(parts[part], data.draw(st.integers(0, 255)))

    with pytest.raises(InvalidProof):
        check_inclusion(parts[0], leaf, index, len(leaves), parts[1:])
    with pytest.raises(InvalidProof):
        check_inclusion(root, leaf + b"!", index, len(leaves), path)


def flipped(digest: bytes, bit: int) -> Digest:
    changed = bytearray(digest)
    changed[bit // 8] ^= 1 << bit % 8
    return Digest(bytes(changed))


@given(filled_lists, st.data())
def test_path_of_another_length_is_refused(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root = merkle_root(leaves)
    path = make_inclusion_proof(leaves, index)

    with pytest.raises(InvalidProof):
        check_inclusion(root, leaves[index], index, len(leaves), (*path, EMPTY_ROOT))
    if path:
        with pytest.raises(InvalidProof):
            check_inclusion(root, leaves[index], index, len(leaves), path[:-1])


def test_lengths_of_proofs_are_exact_in_words() -> None:
    leaves = [b"a", b"b", b"c"]
    root = merkle_root(leaves)
    path = make_inclusion_proof(leaves, 0)
    proof = make_consistency_proof(leaves, 2)
    old_root = merkle_root(leaves[:2])

    with pytest.raises(InvalidProof, match="too many"):
        check_inclusion(root, b"a", 0, 3, (*path, EMPTY_ROOT))
    with pytest.raises(InvalidProof, match="too few"):
        check_inclusion(root, b"a", 0, 3, path[:-1])
    with pytest.raises(InvalidProof, match="too many"):
        check_consistency(old_root, 2, root, 3, (*proof, EMPTY_ROOT))
    with pytest.raises(InvalidProof, match="too few"):
        check_consistency(old_root, 2, root, 3, ())
    with pytest.raises(InvalidProof, match="too few"):
        check_consistency(root, 3, merkle_root([*leaves, b"d"]), 4, ())


@pytest.mark.parametrize("sibling", [b"", bytes(31), bytes(33)])
def test_hash_of_another_length_is_refused(sibling: bytes) -> None:
    with pytest.raises(InvalidProof, match="32 bytes"):
        check_inclusion(EMPTY_ROOT, b"a", 0, 2, (sibling,))
    with pytest.raises(InvalidProof, match="32 bytes"):
        check_consistency(EMPTY_ROOT, 1, EMPTY_ROOT, 2, (sibling,))


@pytest.mark.parametrize(("index", "count"), [(-1, 3), (3, 3), (0, 0), (0, -1), (2**64, 3)])
def test_place_outside_the_list_is_refused(index: int, count: int) -> None:
    with pytest.raises(InvalidProof):
        check_inclusion(EMPTY_ROOT, b"", index, count, ())


@given(filled_lists, st.data())
def test_changed_consistency_proof_is_refused(leaves: list[bytes], data: st.DataObject) -> None:
    old_count = data.draw(st.integers(1, len(leaves)))
    parts = [merkle_root(leaves[:old_count]), merkle_root(leaves)]
    parts += make_consistency_proof(leaves, old_count)
    part = data.draw(st.integers(0, len(parts) - 1))
    parts[part] = flipped(parts[part], data.draw(st.integers(0, 255)))

    with pytest.raises(InvalidProof):
        check_consistency(parts[0], old_count, parts[1], len(leaves), parts[2:])


@given(filled_lists, st.data())
def test_consistency_proof_of_another_length_is_refused(
    leaves: list[bytes], data: st.DataObject
) -> None:
    old_count = data.draw(st.integers(1, len(leaves)))
    old_root, root = merkle_root(leaves[:old_count]), merkle_root(leaves)
    proof = make_consistency_proof(leaves, old_count)

    with pytest.raises(InvalidProof):
        check_consistency(old_root, old_count, root, len(leaves), (*proof, EMPTY_ROOT))
    if proof:
        with pytest.raises(InvalidProof):
            check_consistency(old_root, old_count, root, len(leaves), proof[:-1])


@given(filled_lists, st.data())
def test_list_that_was_rewritten_is_no_extension(leaves: list[bytes], data: st.DataObject) -> None:
    old_count = data.draw(st.integers(1, len(leaves)))
    changed = data.draw(st.integers(0, old_count - 1))
    old_root = merkle_root(leaves[:old_count])
    rewritten = [*leaves[:changed], leaves[changed] + b"!", *leaves[changed + 1 :]]

    proof = make_consistency_proof(rewritten, old_count)

    with pytest.raises(InvalidProof):
        check_consistency(old_root, old_count, merkle_root(rewritten), len(leaves), proof)


def test_every_list_extends_the_empty_one_and_itself() -> None:
    root = merkle_root([b"a", b"b"])

    check_consistency(EMPTY_ROOT, 0, root, 2, ())
    check_consistency(root, 2, root, 2, ())
    check_consistency(EMPTY_ROOT, 0, EMPTY_ROOT, 0, ())

    for old_root, old_count, new_root, count in (
        (root, 0, root, 2),
        (EMPTY_ROOT, 2, root, 2),
        (root, 0, root, 0),
        (EMPTY_ROOT, 0, root, 0),
        (root, 3, root, 2),
        (root, -1, root, 2),
    ):
        with pytest.raises(InvalidProof):
            check_consistency(old_root, old_count, new_root, count, ())
    with pytest.raises(InvalidProof):
        check_consistency(EMPTY_ROOT, 0, root, 2, (EMPTY_ROOT,))


def test_thousand_leaves_take_about_a_millisecond() -> None:
    leaves = [bytes(32)] * 1_000
    baseline = fastest(lambda: [sha256(bytes(65)).digest() for _ in range(2_000)])

    took = fastest(lambda: merkle_root(leaves))

    assert took < 4 * baseline


def fastest(work: Callable[[], object]) -> float:
    times = []
    for _ in range(10):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)
