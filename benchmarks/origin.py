"""Where numbers come from: the machine, the versions of what ran on it, the commit of this code."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.backends.openssl.backend import backend as openssl

import benchmarks

PACKAGES: Final = ("aiohttp", "cryptography", "msgpack", "plyvel", "pynacl", "uvloop")
GIT_S: Final = 10


def machine() -> dict[str, Any]:
    """Return the hardware and the system; what the system does not tell is None."""
    return {
        "cores": cores(),
        "processor": _of_proc("cpuinfo", "model name") or platform.machine(),
        "memory_mb": _memory_mb(),
        "system": platform.platform(),
    }


def cores() -> int:
    """Return how many processors this process may use: where every node of a local network runs."""
    return len(os.sched_getaffinity(0))


def versions() -> dict[str, str]:
    """Return the versions that matter for speed."""
    return {
        "medledger": metadata.version("medledger"),
        "python": platform.python_version(),
        "openssl": openssl.openssl_version_text(),
        **{name: metadata.version(name) for name in PACKAGES},
    }


def commit() -> tuple[str | None, bool | None]:
    """Return the commit of this checkout and whether it was changed since; None, None elsewhere."""
    top = Path(benchmarks.__file__).resolve().parent.parent
    if not (top / ".git").exists():
        return None, None
    known = _git(top, "rev-parse", "HEAD")
    changed = _git(top, "status", "--porcelain", "--untracked-files=no")
    return known, None if changed is None else bool(changed)


def _git(top: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(top), *words],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            timeout=GIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _memory_mb() -> int | None:
    told = _of_proc("meminfo", "MemTotal")
    return None if told is None else int(told.split()[0]) // 1024


def _of_proc(file: str, key: str) -> str | None:
    try:
        lines = Path("/proc", file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in found if name.strip() == key), None)
