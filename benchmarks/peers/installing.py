"""Where the packages of the peers are: in a directory of the user's, put there by npm.

Nothing of ours needs them. Their versions are exact (`package.json`); no lock file is written, for
it would hold the addresses of whatever registry the user's npm asks.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from benchmarks.errors import PeerMissing

HERE: Final = Path(__file__).resolve().parent
FILES: Final = (
    "package.json",
    "hardhat.config.js",
    "access_control.sol",
    "drive.js",
    "drive_etcd.js",
)
DONE: Final = ".installed"
INSTALL_S: Final = 900
NODE_MISSING: Final = "Node.js 20 and npm are needed; on Debian: apt install nodejs npm"


def default_directory() -> Path:
    """Return a directory in the user's cache that belongs to these versions of the packages."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    digest = hashlib.sha256((HERE / "package.json").read_bytes()).hexdigest()
    return Path(cache) / "medledger" / f"peers-{digest[:12]}"


def copy_drivers(directory: Path) -> None:
    """Put the drivers, the contract and what npm is to install into `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copyfile(HERE / name, directory / name)


def find_program(name: str, why: str) -> Path:
    """Return where a program is; raise `PeerMissing` with `why`."""
    found = shutil.which(name)
    if found is None:
        raise PeerMissing(why)
    return Path(found)


def install(directory: Path) -> None:
    """Install the packages, unless they are there; raise `PeerMissing` if that cannot be done."""
    node, npm = (find_program(name, NODE_MISSING) for name in ("node", "npm"))
    copy_drivers(directory)
    wanted = (directory / "package.json").read_text(encoding="utf-8")
    done = directory / DONE
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return
    words = [str(npm), "install", "--no-package-lock", "--no-audit", "--no-fund"]
    try:
        ended = subprocess.run(
            [*words, "--loglevel=error"],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=INSTALL_S,
            check=False,
            env={**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"},
        )
    except subprocess.TimeoutExpired as problem:
        raise PeerMissing(f"npm did not end within {INSTALL_S} s in {directory}") from problem
    if ended.returncode != 0:
        last = (ended.stderr.strip() or "no message").splitlines()[-1]
        raise PeerMissing(f"npm could not install the peers into {directory}: {last}")
    done.write_text(wanted, encoding="utf-8")
