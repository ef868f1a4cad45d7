"""`medledger fsck`: look through a stopped node's directory for what its disk has changed."""

from pathlib import Path

import click

from commands.node_directory import OFFLINE_ERRORS, OpenDirectory, offline
from commands.output import Exit, fail, failures, say, settings, show
from commands.progress import counter
from crypto.errors import InvalidCertificate
from crypto.validators import set_number
from crypto.votes import CommitCertificate, check_commit_certificate
from ledger.blocks import Header
from ledger.contracts.governance import get_epoch
from shell.limits import blob_limits
from storage.blobs import open_blobs
from storage.chain import Chain
from storage.check import (
    CheckCertificate,
    Finding,
    Progress,
    Report,
    check_everything,
    check_start,
)
from storage.sidecars import close_sidecars, open_sidecars


@click.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--deep", is_flag=True, help="Every block, state entry, blob and sidecar.")
def fsck(directory: Path, *, deep: bool) -> None:
    """Check the DIRECTORY of a stopped node: its vote journal, its ledger, what lies beside them.

    Without --deep it looks at what a start looks at: the journal, the last blocks, the roots of the
    state. One line for each finding says which file, what is wrong, and the way out. Exit status 0
    when nothing was found, 4 otherwise.

    \b
    Example:
      medledger fsck /var/lib/medledger --deep
    """
    with failures(OFFLINE_ERRORS), offline(directory) as opened:
        findings = _deep(opened) if deep else _quick(opened)
        tip = int(opened.chain.tip.height)
    told = [{"code": one.code, "text": one.text} for one in findings]
    if findings:
        count = "one finding" if len(findings) == 1 else f"{len(findings)} findings"
        fail(
            Exit.LOCAL,
            "storage.damaged",
            f"{count} in {directory}; each says the way out",
            found={"tip": tip, "findings": told},
        )
    extent = "everything in" if deep else "what a start relies on in"
    show({"tip": tip, "findings": told}, f"{extent} {directory} is whole, up to block {tip}")


def _quick(opened: OpenDirectory) -> list[Finding]:
    certified = _certificate_check(opened.chain)
    return _told(check_start(opened.chain, _journal(opened), check_certificate=certified))


def _deep(opened: OpenDirectory) -> list[Finding]:
    blobs = open_blobs(opened.layout.blobs, limits=blob_limits(opened.config.limits))
    sidecars = open_sidecars(opened.layout.sidecars)
    try:
        certified = _certificate_check(opened.chain)
        return _told(
            check_everything(
                opened.chain, _journal(opened), blobs, sidecars, check_certificate=certified
            )
        )
    finally:
        close_sidecars(sidecars)


def _certificate_check(chain: Chain) -> CheckCertificate:
    """Return what verifies a certificate under the set that the state keeps for its epoch."""

    def check(header: Header, certificate: CommitCertificate) -> None:
        entry = get_epoch(chain.world.view, set_number(header.epoch))
        if entry is None:
            raise InvalidCertificate(f"the state knows no set of epoch {header.epoch}")
        check_commit_certificate(certificate, entry.validators, chain.chain_id, epoch=header.epoch)

    return check


def _told(report: Report) -> list[Finding]:
    """Run a check to its end, saying what it finds as it is found."""
    found: list[Finding] = []
    with counter("checking") as count:
        for one in report:
            match one:
                case Finding():
                    found.append(one)
                    if not settings().as_json:
                        say(f"{one.text} [{one.code}]")
                case Progress():
                    count(one.done)
    return found


def _journal(opened: OpenDirectory) -> Path:
    return opened.layout.journal
