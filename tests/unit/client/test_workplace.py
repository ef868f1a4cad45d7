"""Nothing outlives its purpose: sealed bytes go, plaintext is shown whole or not at all."""

import resource
from pathlib import Path

import pytest

from client.errors import LocalError
from client.wallet import Wallet
from client.workplace import check_free, sealed_file, show_file, unshown_file
from crypto.keystore import KeystoreContent


@pytest.fixture
def wallet(tmp_path: Path) -> Wallet:
    return Wallet(home=tmp_path, passphrase="", content=KeystoreContent(accounts=()))


def test_sealed_bytes_are_private_and_go(wallet: Wallet) -> None:
    with sealed_file(wallet) as (path, stream):
        stream.write(b"sealed")
        stream.flush()
        assert path.stat().st_mode & 0o077 == 0
        assert path.read_bytes() == b"sealed"

    assert not path.exists()


def test_plaintext_that_fails_is_never_named(tmp_path: Path) -> None:
    def fail() -> None:
        with unshown_file(tmp_path / "out") as (_, stream):
            stream.write(b"plain")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert list((tmp_path / "out").iterdir()) == []


def test_plaintext_is_shown_once_and_privately(tmp_path: Path) -> None:
    target = tmp_path / "note.txt"

    with unshown_file(tmp_path) as (hidden, stream):
        stream.write(b"plain")
        show_file(hidden, stream, target, overwrite=False)

    assert target.read_bytes() == b"plain"
    assert target.stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_file_that_came_in_between_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "note.txt"
    check_free(target, overwrite=False)

    with unshown_file(tmp_path) as (hidden, stream):
        target.write_bytes(b"somebody's")
        with pytest.raises(LocalError, match="exists"):
            show_file(hidden, stream, target, overwrite=False)

    assert target.read_bytes() == b"somebody's"


def test_a_file_is_replaced_only_when_told_to(tmp_path: Path) -> None:
    target = tmp_path / "note.txt"
    target.write_bytes(b"before")

    with pytest.raises(LocalError):
        check_free(target, overwrite=False)
    check_free(target, overwrite=True)
    with unshown_file(tmp_path) as (hidden, stream):
        stream.write(b"after")
        show_file(hidden, stream, target, overwrite=True)

    assert target.read_bytes() == b"after"


def test_a_disk_that_takes_no_more_is_named(wallet: Wallet) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    written: list[Path] = []

    def fill() -> None:
        with sealed_file(wallet) as (path, stream):
            written.append(path)
            stream.write(bytes(1 << 20))

    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(LocalError) as refusal:
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert refusal.value.code == "file.disk"
    assert str(written[0]) in str(refusal.value)
    assert not written[0].exists()
