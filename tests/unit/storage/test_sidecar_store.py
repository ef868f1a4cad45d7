"""Sidecars are durable before a vote, proven when read, and leave nothing when erased."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.envelopes import Sidecar, make_sidecar
from crypto.errors import SidecarMismatch
from crypto.hashing import Digest
from storage.errors import DiskFull, SidecarCorrupt, SidecarMissing, SidecarsFull
from storage.packs import PackDamaged, encode_pack, read_table
from storage.sidecars import (
    UNSYNCED_PACKS_MAX,
    SidecarStore,
    check_sidecars,
    close_sidecars,
    drop_sidecars,
    get_sidecar,
    get_sidecar_or_none,
    has_sidecar,
    iterate_sidecars,
    missing_sidecars,
    open_sidecars,
    put_sidecars,
    sweep_sidecars,
)
from storage.slices import run_to_end
from tests.unit.storage.faulty_files import DISK_FULL, Crash, FaultyFiles


def sidecar(number: int) -> Sidecar:
    return make_sidecar(b"envelope %d" % number, salt=number.to_bytes(32, "big"))


def put(store: SidecarStore, *sidecars: Sidecar) -> None:
    put_sidecars(store, [(one.digest, one.content) for one in sidecars])


def pack_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("packs/*/*"))


def contains(directory: Path, content: bytes) -> bool:
    """Whether any file of the directory has the bytes."""
    return any(content in path.read_bytes() for path in directory.rglob("*") if path.is_file())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SidecarStore]:
    opened = open_sidecars(tmp_path, reserve_bytes=0)
    yield opened
    close_sidecars(opened)


def test_a_batch_is_one_pack_and_every_sidecar_of_it_is_found(store: SidecarStore) -> None:
    batch = [sidecar(number) for number in range(300)]

    put(store, *batch)

    assert [get_sidecar(store, one.digest) for one in batch] == [one.content for one in batch]
    assert len(pack_files(store.directory)) == 1
    assert list(iterate_sidecars(store)) == [one.digest for one in batch]


def test_sidecars_are_there_after_a_restart(store: SidecarStore) -> None:
    put(store, sidecar(1), sidecar(2))
    put(store, sidecar(3))
    close_sidecars(store)

    again = open_sidecars(store.directory)

    assert get_sidecar(again, sidecar(1).digest) == sidecar(1).content
    assert get_sidecar(again, sidecar(3).digest) == sidecar(3).content
    assert again.size_bytes == store.size_bytes > 0
    close_sidecars(again)


def test_a_content_that_is_not_the_digest_is_refused_with_its_whole_batch(
    store: SidecarStore,
) -> None:
    with pytest.raises(SidecarMismatch):
        put_sidecars(
            store,
            [(sidecar(1).digest, sidecar(1).content), (sidecar(2).digest, sidecar(3).content)],
        )

    assert missing_sidecars(store, [sidecar(1).digest, sidecar(2).digest]) == [
        sidecar(1).digest,
        sidecar(2).digest,
    ]
    assert pack_files(store.directory) == []


def test_what_is_here_already_is_not_written_again(store: SidecarStore) -> None:
    put(store, sidecar(1), sidecar(1))
    size_bytes = store.size_bytes

    put(store, sidecar(1))

    assert store.size_bytes == size_bytes
    assert len(pack_files(store.directory)) == 1


def test_an_unknown_sidecar_is_missing(store: SidecarStore) -> None:
    assert not has_sidecar(store, sidecar(1).digest)
    assert get_sidecar_or_none(store, sidecar(1).digest) is None
    with pytest.raises(SidecarMissing, match=sidecar(1).digest.hex()):
        get_sidecar(store, sidecar(1).digest)


def test_an_erased_sidecar_leaves_no_byte_and_its_neighbours_stay(store: SidecarStore) -> None:
    put(store, *[sidecar(number) for number in range(10)])

    drop_sidecars(store, [sidecar(3).digest, sidecar(7).digest])
    drop_sidecars(store, [sidecar(3).digest])

    assert missing_sidecars(store, [sidecar(number).digest for number in range(10)]) == [
        sidecar(3).digest,
        sidecar(7).digest,
    ]
    assert not contains(store.directory, sidecar(3).content)
    assert not contains(store.directory, sidecar(3).content[32:])
    assert get_sidecar(store, sidecar(4).digest) == sidecar(4).content
    assert store.size_bytes == sum(path.stat().st_size for path in pack_files(store.directory))


def test_a_pack_whose_last_sidecar_is_erased_goes_too(store: SidecarStore) -> None:
    put(store, sidecar(1), sidecar(2))

    drop_sidecars(store, [sidecar(1).digest, sidecar(2).digest])

    assert pack_files(store.directory) == []
    assert store.size_bytes == 0


def test_an_erased_sidecar_may_be_put_again(store: SidecarStore) -> None:
    put(store, sidecar(1), sidecar(2))
    drop_sidecars(store, [sidecar(1).digest])

    put(store, sidecar(1))

    assert get_sidecar(store, sidecar(1).digest) == sidecar(1).content
    assert get_sidecar(store, sidecar(2).digest) == sidecar(2).content


def test_a_flipped_byte_is_said_once_then_missing_and_mended_by_a_copy(
    store: SidecarStore,
) -> None:
    put(store, sidecar(1), sidecar(2))
    (path,) = pack_files(store.directory)
    content = path.read_bytes()
    place = content.index(sidecar(1).content)
    path.write_bytes(content[: place + 40] + b"\xff" + content[place + 41 :])

    assert get_sidecar(store, sidecar(2).digest) == sidecar(2).content
    with pytest.raises(SidecarCorrupt, match=str(path)):
        get_sidecar(store, sidecar(1).digest)
    with pytest.raises(SidecarMissing):
        get_sidecar(store, sidecar(1).digest)
    assert len(store.damaged) == 1

    put(store, sidecar(1))
    assert get_sidecar(store, sidecar(1).digest) == sidecar(1).content
    assert get_sidecar(store, sidecar(2).digest) == sidecar(2).content


def test_a_damaged_table_drops_its_pack_and_says_so(store: SidecarStore) -> None:
    put(store, sidecar(1), sidecar(2))
    put(store, sidecar(3))
    damaged, _ = pack_files(store.directory)
    content = bytearray(damaged.read_bytes())
    content[20] ^= 1
    damaged.write_bytes(content)
    store.tables.drop(0)

    with pytest.raises(SidecarCorrupt, match=str(damaged)):
        get_sidecar(store, sidecar(1).digest)

    assert not damaged.exists()
    assert missing_sidecars(store, [sidecar(n).digest for n in (1, 2, 3)]) == [
        sidecar(1).digest,
        sidecar(2).digest,
    ]
    put(store, sidecar(1), sidecar(2))
    assert get_sidecar(store, sidecar(2).digest) == sidecar(2).content


def test_asking_erasing_and_putting_survive_a_damaged_table(store: SidecarStore) -> None:
    acts: tuple[Callable[[Sidecar], object], ...] = (
        lambda one: has_sidecar(store, one.digest),
        lambda one: drop_sidecars(store, [one.digest]),
        lambda one: list(iterate_sidecars(store)),
    )
    for number, act in enumerate(acts):
        put(store, sidecar(number))
        (path,) = pack_files(store.directory)
        path.write_bytes(path.read_bytes()[:-1])
        store.tables.drop(store.next_pack - 1)

        act(sidecar(number))

        assert pack_files(store.directory) == []
        assert not has_sidecar(store, sidecar(number).digest)
    assert len(store.damaged) == 3


@given(st.data())
def test_one_flipped_bit_of_a_pack_never_passes(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("pack") / "0.pack"
    batch = {sidecar(number).digest: sidecar(number).content for number in range(3)}
    content = bytearray(encode_pack(batch))
    table_bytes = len(content) - sum(len(one) for one in batch.values())
    content[data.draw(st.integers(0, table_bytes - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)

    with pytest.raises(PackDamaged):
        read_table(path)


def test_a_check_names_everything_that_is_damaged(store: SidecarStore) -> None:
    put(store, sidecar(1), sidecar(2))
    put(store, sidecar(3))
    put(store, sidecar(4))
    first, second, third = pack_files(store.directory)
    first.write_bytes(first.read_bytes()[:-1] + b"\xff")
    second.write_bytes(b"nothing like a pack")
    store.tables.drop(1)

    problems = run_to_end(check_sidecars(store))

    assert len(problems) == 2
    assert str(first) in problems[0]
    assert str(second) in problems[1]
    assert third.exists()
    assert run_to_end(check_sidecars(store)) == ()
    assert list(store.damaged) == list(problems)


def test_a_sweep_erases_what_is_old_and_not_live(store: SidecarStore) -> None:
    put(store, sidecar(1), sidecar(2))
    put(store, sidecar(3))
    live = {sidecar(2).digest}
    newest_ms = max(path.stat().st_mtime_ns for path in pack_files(store.directory)) // 1_000_000

    assert run_to_end(sweep_sidecars(store, live.__contains__, before_ms=0)) == 0
    erased = run_to_end(sweep_sidecars(store, live.__contains__, before_ms=newest_ms + 1))

    assert erased == 2
    assert list(iterate_sidecars(store)) == [sidecar(2).digest]


def test_limits_are_said_and_nothing_is_stored(tmp_path: Path) -> None:
    small = open_sidecars(tmp_path, bytes_max=400, reserve_bytes=0)
    put(small, sidecar(1))

    with pytest.raises(SidecarsFull, match="of 400 bytes"):
        put(small, *[sidecar(number) for number in range(2, 9)])
    small.bytes_max, small.reserve_bytes = 1 << 20, 1 << 60
    with pytest.raises(DiskFull):
        put(small, sidecar(9))

    assert list(iterate_sidecars(small)) == [sidecar(1).digest]
    close_sidecars(small)


def test_a_disk_that_fills_up_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    files = FaultyFiles()
    store = open_sidecars(tmp_path, files=files, reserve_bytes=0)
    put(store, sidecar(1))
    files.write_error = DISK_FULL

    with pytest.raises(DiskFull):
        put(store, sidecar(2))

    files.write_error = None
    assert not has_sidecar(store, sidecar(2).digest)
    put(store, sidecar(2))
    assert get_sidecar(store, sidecar(2).digest) == sidecar(2).content
    close_sidecars(store)


@pytest.mark.parametrize("damage", ["removed", "emptied", "garbled"])
def test_a_lost_index_is_made_up_from_the_packs(store: SidecarStore, damage: str) -> None:
    put(store, sidecar(1), sidecar(2))
    put(store, sidecar(3))
    close_sidecars(store)
    index = store.directory / "index"
    if damage == "removed":
        shutil.rmtree(index)
    elif damage == "emptied":
        (index / "CURRENT").unlink()
    else:
        for path in index.glob("MANIFEST*"):
            path.write_bytes(bytes(100))

    again = open_sidecars(store.directory)

    assert missing_sidecars(again, [sidecar(number).digest for number in (1, 2, 3)]) == []
    close_sidecars(again)


def test_an_index_that_lost_its_unsynced_end_is_made_up(store: SidecarStore) -> None:
    for number in range(UNSYNCED_PACKS_MAX + 10):
        put(store, sidecar(number))
    assert store.watermark == UNSYNCED_PACKS_MAX
    for number in range(UNSYNCED_PACKS_MAX, UNSYNCED_PACKS_MAX + 10):
        store.index.delete(b"d" + sidecar(number).digest)
    close_sidecars(store)

    again = open_sidecars(store.directory)

    everything = [sidecar(number).digest for number in range(UNSYNCED_PACKS_MAX + 10)]
    assert missing_sidecars(again, everything) == []
    close_sidecars(again)


def run_some_batches(directory: Path, files: FaultyFiles, done: dict[Digest, bool]) -> None:
    """Put and erase; `done` says of each sidecar whether it was acknowledged as here or gone."""
    store = open_sidecars(directory, files=files, reserve_bytes=0)
    try:
        put(store, sidecar(1), sidecar(2))
        done |= {sidecar(1).digest: True, sidecar(2).digest: True}
        put(store, sidecar(3))
        done[sidecar(3).digest] = True
        del done[sidecar(1).digest]
        drop_sidecars(store, [sidecar(1).digest])
        done[sidecar(1).digest] = False
        del done[sidecar(3).digest]
        drop_sidecars(store, [sidecar(3).digest])
        done[sidecar(3).digest] = False
        put(store, sidecar(4))
        done[sidecar(4).digest] = True
    finally:
        close_sidecars(store)


@pytest.mark.parametrize("ending", ["killed", "power cut", "power cut after removals"])
def test_no_crash_loses_a_stored_sidecar_or_keeps_an_erased_one(
    tmp_path: Path, ending: str
) -> None:
    crashes = 0
    for crash_at in range(1_000):
        directory = tmp_path / str(crash_at)
        directory.mkdir()
        files, done = FaultyFiles(crash_at=crash_at), dict[Digest, bool]()
        try:
            run_some_batches(directory, files, done)
        except Crash:
            crashes += 1
        else:
            break
        if ending != "killed":
            files.lose_unsynced(keeps_removals=ending == "power cut after removals")

        store = open_sidecars(directory, reserve_bytes=0)

        where = f"crash at {files.calls[-1]} ({crash_at})"
        assert run_to_end(check_sidecars(store)) == (), where
        assert {path.suffix for path in pack_files(directory)} <= {".pack"}, where
        for digest, is_here in done.items():
            assert has_sidecar(store, digest) == is_here, where
        for number in (1, 3):
            if done.get(sidecar(number).digest) is False:
                assert not contains(directory, sidecar(number).content), where
        close_sidecars(store)
    assert crashes > 25, "every call was a crash once"


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "drop", "restart"]), st.sets(st.integers(0, 12))),
        max_size=25,
    )
)
def test_the_store_agrees_with_a_set(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, set[int]]]
) -> None:
    store = open_sidecars(tmp_path_factory.mktemp("sidecars"), reserve_bytes=0)
    expected: set[int] = set()
    for act, numbers in steps:
        if act == "put":
            put(store, *[sidecar(number) for number in sorted(numbers)])
            expected |= numbers
        elif act == "drop":
            drop_sidecars(store, [sidecar(number).digest for number in sorted(numbers)])
            expected -= numbers
        else:
            close_sidecars(store)
            store = open_sidecars(store.directory, reserve_bytes=0)

        here = {number for number in range(13) if has_sidecar(store, sidecar(number).digest)}
        assert here == expected
        assert set(iterate_sidecars(store)) == {sidecar(number).digest for number in expected}
    close_sidecars(store)
