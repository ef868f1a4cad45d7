"""Where the blob store keeps what, and the names of its files.

    ab/<cid>                     content of a whole, verified blob
    ab/<cid>.leaves              its leaf index, for blobs of more than one leaf
    partial/<cid>.<id>.upload    content of an upload under way or broken off
    partial/<cid>.fetch          content of a fetch under way or broken off, with holes
    partial/*.digests, *.leaves  what belongs to the file of the same name without the suffix
    aside/<cid>                  content that was found damaged, kept to be mended
    erased/ab/<cid>              tombstone: never taken again

`ab` is the first byte of the content address's digest.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from crypto.cid import Cid, cid_digest, decode_cid_text, encode_cid_text
from crypto.errors import InvalidCid

LEAVES_SUFFIX: Final = ".leaves"
UPLOAD_SUFFIX: Final = ".upload"
FETCH_SUFFIX: Final = ".fetch"
DIGESTS_SUFFIX: Final = ".digests"

PARTIAL: Final = "partial"
ASIDE: Final = "aside"
ERASED: Final = "erased"


def blob_path(directory: Path, cid: Cid) -> Path:
    return directory / _fan_out(cid) / encode_cid_text(cid)


def leaves_path(directory: Path, cid: Cid) -> Path:
    return with_suffix(blob_path(directory, cid), LEAVES_SUFFIX)


def aside_path(directory: Path, cid: Cid) -> Path:
    return directory / ASIDE / encode_cid_text(cid)


def tombstone_path(directory: Path, cid: Cid) -> Path:
    return directory / ERASED / _fan_out(cid) / encode_cid_text(cid)


def upload_path(directory: Path, cid: Cid, token: str) -> Path:
    return directory / PARTIAL / f"{encode_cid_text(cid)}.{token}{UPLOAD_SUFFIX}"


def fetch_path(directory: Path, cid: Cid) -> Path:
    return directory / PARTIAL / (encode_cid_text(cid) + FETCH_SUFFIX)


def with_suffix(path: Path, suffix: str) -> Path:
    """Return the file that belongs to `path`."""
    return path.with_name(path.name + suffix)


def partial_contents(directory: Path, cid: Cid | None = None) -> list[Path]:
    """Return the contents of uploads and fetches of one blob, or of all."""
    pattern = "*" if cid is None else encode_cid_text(cid) + ".*"
    return sorted(
        path
        for path in (directory / PARTIAL).glob(pattern)
        if path.name.endswith((UPLOAD_SUFFIX, FETCH_SUFFIX))
    )


def partial_files(content: Path) -> tuple[Path, Path, Path]:
    """Return a partial content and what belongs to it."""
    return content, with_suffix(content, DIGESTS_SUFFIX), with_suffix(content, LEAVES_SUFFIX)


def whole_paths(directory: Path) -> Iterator[Path]:
    """Yield the files under their final names, contents and leaf indexes, in order."""
    for fan_out in sorted(directory.iterdir()):
        if len(fan_out.name) == 2 and fan_out.is_dir():
            for path in sorted(fan_out.iterdir()):
                if _has_cid_name(path):
                    yield path


def cid_of(path: Path) -> Cid:
    """Return the content address that a file's name starts with; raise `InvalidCid`."""
    return decode_cid_text(path.name.partition(".")[0])


def arrived_ms(path: Path) -> int:
    """Return when a blob came, or a partial content last grew, in milliseconds."""
    return path.stat().st_mtime_ns // 1_000_000


def _fan_out(cid: Cid) -> str:
    return cid_digest(cid)[:1].hex()


def _has_cid_name(path: Path) -> bool:
    try:
        cid_of(path)
    except InvalidCid:
        return False
    return True
