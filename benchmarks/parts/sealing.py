"""What sealing, opening, wrapping and unlocking cost on one core; medians of several runs.

Run `python -m benchmarks.parts.sealing`, or with `--mib 2048` for the largest records; `--folder`
chooses the disk. The process pins itself to one core. Streams go from file to file, with the
content root and the content address hashed on the way. MiB/s are given twice: per second of
processor time (what a shared machine cannot blur, and what the bar of 500 MiB/s is about) and per
second on the clock.
"""

import functools
import io
import json
import os
import platform
import resource
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click

from crypto.envelopes import (
    EnvelopeInfo,
    EnvelopeKind,
    SealScheme,
    make_seal_private_key,
    open_envelope,
    seal_envelope,
    seal_key_id,
    seal_public_key,
)
from crypto.hashing import ChainId
from crypto.keystore import (
    KDF_BROWSER,
    KDF_DEFAULT,
    KeystoreContent,
    lock_keystore,
    unlock_keystore,
)
from crypto.record_ids import (
    AccountId,
    SealContext,
    make_record_id,
    make_seal_id,
    make_version_id,
)
from crypto.sealed import (
    ContentDescription,
    SealedRecord,
    open_stream,
    reseal_stream,
    seal_stream,
)
from crypto.sealed_format import SealSecrets, make_seal_secrets
from crypto.streams import SeekableReadable, Writable
from crypto.unixfs import cid_of_stream

MIB = 1 << 20
CHAIN = ChainId(b"c" * 32)
AUTHOR = AccountId(b"a" * 32)
IMAGE = ContentDescription(content_type="application/dicom", file_name="ct.dcm", authored_ms=0)
BUNDLE = replace(IMAGE, content_type="application/fhir+json", file_name="bundle.json")

Timing = tuple[float, float]
"""Processor seconds and seconds on the clock of one run."""


def measure(action: Callable[[], object], rounds: int) -> Timing:
    """Return the medians of `rounds` runs, after one that is not counted."""
    processor, clock = [], []
    action()
    for _ in range(rounds):
        start = time.process_time(), time.perf_counter()
        action()
        processor.append(time.process_time() - start[0])
        clock.append(time.perf_counter() - start[1])
    return statistics.median(processor), statistics.median(clock)


class Nowhere:
    """A sink that keeps nothing."""

    def write(self, piece: memoryview) -> int:
        return len(piece)


class Sealing:
    """One content file with its sealed form beside it, and what belongs to them."""

    def __init__(self, folder: Path, description: ContentDescription) -> None:
        self.content, self.sealed = folder / "content", folder / "sealed"
        self.output = folder / "output"
        self.description = description
        self.keys: SealSecrets = make_seal_secrets()
        self.context = SealContext(
            chain_id=CHAIN,
            record_id=make_record_id(CHAIN, AUTHOR),
            version_id=make_version_id(),
            seal_id=make_seal_id(),
        )
        self.record: SealedRecord | None = None

    def seal(self) -> None:
        with self.content.open("rb") as source, self.sealed.open("wb") as sink:
            self.seal_from(source, sink)

    def open(self) -> None:
        with self.sealed.open("rb") as source, self.output.open("wb") as sink:
            self.open_from(source, sink)

    def seal_from(self, source: SeekableReadable, sink: Writable) -> None:
        source.seek(0)
        self.record = seal_stream(
            source, sink, description=self.description, context=self.context, keys=self.keys
        )

    def open_from(self, source: SeekableReadable, sink: Writable) -> None:
        assert self.record is not None, "what is opened was sealed before"
        source.seek(0)
        open_stream(
            source,
            sink,
            context=self.context,
            keys=self.keys,
            cid=self.record.cid,
            commitment=self.record.commitment,
        )

    def reseal(self) -> None:
        assert self.record is not None, "what is sealed again was sealed before"
        with self.sealed.open("rb") as source, self.output.open("wb") as sink:
            reseal_stream(
                source,
                sink,
                context=self.context,
                keys=self.keys,
                cid=self.record.cid,
                commitment=self.record.commitment,
                new_context=replace(self.context, seal_id=make_seal_id()),
                new_keys=make_seal_secrets(self.keys.opening),
            )

    def address(self) -> None:
        with self.sealed.open("rb") as source:
            cid_of_stream(source)


def write_noise(path: Path, size_bytes: int) -> None:
    with path.open("wb") as stream:
        for start in range(0, size_bytes, MIB):
            stream.write(secrets.token_bytes(min(MIB, size_bytes - start)))


def write_bundle(path: Path, size_bytes: int) -> None:
    """Write JSON that repeats itself about as much as a FHIR bundle does."""
    with path.open("wb") as stream:
        while stream.tell() < size_bytes:
            entry = {
                "resourceType": "Observation",
                "id": secrets.token_hex(16),
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "8302-2"}]},
                "valueQuantity": {"value": secrets.randbelow(2000) / 10, "unit": "cm"},
            }
            stream.write(json.dumps(entry, indent=2).encode())


def stream_rows(folder: Path, mib: int, rounds: int) -> list[tuple[str, str, str]]:
    """Measure long streams; one row per direction."""
    rows = []
    image = Sealing(folder, IMAGE)
    write_noise(image.content, mib * MIB)
    actions = {
        "seal, incompressible": image.seal,
        "open, incompressible": image.open,
        "seal again under a fresh key": image.reseal,
        "content address alone": image.address,
    }
    for name, action in actions.items():
        rows.append(_speed(name, mib, measure(action, rounds)))
    bundle, bundle_mib = Sealing(folder, BUNDLE), max(1, mib // 16)
    write_bundle(bundle.content, bundle_mib * MIB)
    for name, action in {
        "seal, JSON (gzip)": bundle.seal,
        "open, JSON (gzip)": bundle.open,
    }.items():
        rows.append(_speed(name, bundle_mib, measure(action, rounds)))
    return rows


def memory_rows(folder: Path, rounds: int) -> list[tuple[str, str, str]]:
    """Measure the same without the disk: what the cryptography itself costs."""
    mib = 128
    image, content, sealed = Sealing(folder, IMAGE), io.BytesIO(), io.BytesIO()
    content.write(secrets.token_bytes(mib * MIB))
    image.seal_from(content, sealed)
    seal = functools.partial(image.seal_from, content, Nowhere())
    opening = measure(functools.partial(image.open_from, sealed, Nowhere()), rounds)
    return [
        _speed("seal, incompressible, memory only", mib, measure(seal, rounds)),
        _speed("open, incompressible, memory only", mib, opening),
    ]


def small_rows(folder: Path, rounds: int) -> list[tuple[str, str, str]]:
    """Measure what is paid per record, per recipient and per login."""
    rows = []
    note = Sealing(folder, IMAGE)
    write_noise(note.content, 1_000)
    for name, action in {"seal 1 kB": note.seal, "open 1 kB": note.open}.items():
        rows.append(_duration(name, measure(action, rounds * 20)))
    for scheme in SealScheme:
        private = make_seal_private_key(scheme)
        public = seal_public_key(private)
        info = EnvelopeInfo(
            chain_id=CHAIN,
            kind=EnvelopeKind.RECORD,
            pseudonym=AUTHOR,
            record_id=note.context.record_id,
            version_id=note.context.version_id,
            seal_id=note.context.seal_id,
            recipient=AUTHOR,
            recipient_key_id=seal_key_id(public),
        )
        envelope = seal_envelope(public, note.keys, info)
        seal_one = functools.partial(seal_envelope, public, note.keys, info)
        open_one = functools.partial(open_envelope, private, envelope, info)
        acts: dict[str, Callable[[], object]] = {"seal": seal_one, "open": open_one}
        for verb, act in acts.items():
            name = f"{verb} an envelope, {scheme.name}, {len(envelope)} bytes"
            rows.append(_duration(name, measure(act, rounds * 20)))
    for kdf in (KDF_DEFAULT, KDF_BROWSER):
        file = lock_keystore(KeystoreContent(accounts=()), "twelve characters", kdf=kdf)
        unlock = functools.partial(unlock_keystore, file, "twelve characters", name="keys")
        rows.append(_duration(f"unlock a keystore, {kdf}", measure(unlock, rounds)))
    return rows


def _speed(name: str, mib: int, timing: Timing) -> tuple[str, str, str]:
    return name, f"{mib / timing[0]:,.0f} MiB/s", f"{mib / timing[1]:,.0f} MiB/s"


def _duration(name: str, timing: Timing) -> tuple[str, str, str]:
    return name, f"{timing[0] * 1e6:,.0f} us", f"{timing[1] * 1e6:,.0f} us"


@click.command(help=__doc__)
@click.option("--mib", type=click.IntRange(1), default=256, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(mib: int, rounds: int, folder: Path | None) -> None:
    """Measure on one core and print one table."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        rows = stream_rows(Path(temporary), mib, rounds)
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows += memory_rows(Path(temporary), rounds)
        rows += small_rows(Path(temporary), rounds)
    click.echo(f"Python {platform.python_version()}, {platform.machine()}, one core, {mib} MiB\n")
    click.echo("| | processor | clock |\n|---|---|---|")
    for row in rows:
        click.echo(f"| {' | '.join(row)} |")
    click.echo(f"\nMemory at its peak while streaming: {peak_mib:,.0f} MiB.")


if __name__ == "__main__":
    main()
