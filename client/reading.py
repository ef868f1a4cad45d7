"""Reading: a read entry first, then envelope and bytes, and a file once everything was verified.

Plaintext gets its name when address, tags, commitment and the author's signature have all been
found right; whatever fails, nothing of it stays behind.
"""

import asyncio
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from typing import Final

from client.connection import Client, act, acting_as, later_heights
from client.errors import ClientError, KeyPending, NotFound, Refused
from client.lookup import FoundVersion, find_version
from client.recipients import open_own
from client.transfers import Progress, download_blob, fetch_sidecar
from client.wallet import Keys, all_keys
from client.workplace import check_free, sealed_file, show_file, unshown_file
from crypto.hashing import Digest
from crypto.record_ids import RecordId, VersionId
from crypto.sealed import open_stream
from crypto.sealed_format import RecordMetadata, SealSecrets
from ledger.purposes import TREAT
from ledger.records_payloads import EnvelopeRef, RecordRead

NOT_ENTITLED: Final = "state.not_entitled"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedFile:
    """A record that was read and verified: where it is, and what its author said about it."""

    path: Path
    metadata: RecordMetadata
    found: FoundVersion
    read: Digest


async def get_record(
    client: Client,
    record_id: RecordId,
    folder: Path,
    *,
    version_id: VersionId | None = None,
    purpose: str = TREAT,
    file_name: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> OpenedFile:
    """Read a version (the latest unless named) into `folder`, verified whole.

    The read is entered into the patient's log first. The file is named as its author named it, or
    as `file_name` says. Raises `Refused`, `KeyPending`, `Untrusted`, a `SealedError` of
    `crypto.errors` for a record that does not hold what the ledger says, `LocalError`.
    """
    found, keys, ref = await _find_openable(client, record_id, version_id)
    if file_name is not None:
        check_free(folder / file_name, overwrite=overwrite)
    read = await enter_read(client, found, purpose)
    inside = await open_envelope_of(client, found, keys, ref, read=read)
    with sealed_file(client.wallet) as (_, sealed):
        seal = found.seal
        await download_blob(
            client.node, seal.cid, seal.size_bytes, sealed, read=read, progress=progress
        )
        path, metadata = await asyncio.to_thread(
            _open_to_file, client, found, inside, sealed, folder, file_name, overwrite
        )
    return OpenedFile(path=path, metadata=metadata, found=found, read=read)


async def enter_read(client: Client, found: FoundVersion, purpose: str) -> Digest:
    """Enter a read of the seal in force, to be served by this node; return the entry's id."""
    payload = RecordRead(
        record_id=found.version.record_id,
        version_id=found.version.version_id,
        seal_id=found.seal.seal_id,
        purpose=purpose,
        serving_node=client.node_index,
    )
    return (await act(client, "records.read", payload)).tx_id


async def open_envelope_of(
    client: Client, found: FoundVersion, keys: Keys, ref: EnvelopeRef, *, read: Digest | None = None
) -> SealSecrets:
    """Fetch an envelope and open it with the keys it is addressed to.

    One that is addressed to a key agent in the same wallet is fetched in the agent's name.
    """
    if keys.account == client.actor.account:
        wrapped = await fetch_sidecar(client.node, ref.sidecar, read=read)
    else:
        async with acting_as(client, keys) as node:
            wrapped = await fetch_sidecar(node, ref.sidecar)
    return open_own(keys, ref, wrapped, found.pseudonym, found.context(client.chain_id))


def find_envelope(client: Client, found: FoundVersion) -> tuple[Keys, EnvelopeRef] | None:
    """Return an envelope that a key of this wallet opens, the actor's own first."""
    actor = client.actor
    others = (keys for keys in all_keys(client.wallet) if keys.account != actor.account)
    for keys in (actor, *others):
        ref = found.envelope_for(keys.account)
        if ref is not None:
            return keys, ref
    return None


async def _find_openable(
    client: Client, record_id: RecordId, version_id: VersionId | None
) -> tuple[FoundVersion, Keys, EnvelopeRef]:
    """Return a version with an envelope for this wallet; look again before giving up.

    A record or an envelope may be a block younger than what this node has certified.
    """
    missing: ClientError | None = None
    async for height in later_heights(client):
        try:
            found = await find_version(client, record_id, version_id, at_least_height=height)
        except NotFound as problem:
            missing = problem
            continue
        except Refused as refusal:
            if refusal.code != NOT_ENTITLED:
                raise
            raise Refused(
                "access.denied",
                f"no right lets {client.actor.label} know of record {record_id.hex()}; "
                "ask the patient for one",
                status=refusal.status,
            ) from refusal
        openable = find_envelope(client, found)
        if openable is not None:
            return found, *openable
        missing = KeyPending(
            f"no key of {client.actor.label} opens record {record_id.hex()}: if `access explain` "
            "says it is permitted, the patient or the hospital's key agent has to hand a key on"
        )
    assert missing is not None, "at least one state was looked at"
    raise missing


def _open_to_file(
    client: Client,
    found: FoundVersion,
    inside: SealSecrets,
    sealed: BufferedRandom,
    folder: Path,
    file_name: str | None,
    overwrite: bool,
) -> tuple[Path, RecordMetadata]:
    """Open into a private file and give it its name once everything was verified."""
    sealed.seek(0)
    with unshown_file(folder) as (hidden, plain):
        opened = open_stream(
            sealed,
            plain,
            context=found.context(client.chain_id),
            keys=inside,
            cid=found.seal.cid,
            commitment=found.version.commitment,
        )
        named = _shown_name(opened.metadata.file_name)
        name = file_name or named or found.version.record_id.hex()
        target = folder / name
        show_file(hidden, plain, target, overwrite=overwrite)
    return target, opened.metadata


def _shown_name(authors_name: str) -> str:
    """Return a name that is nothing but a name: the author must not write start-up files here.

    A leading dot hides a file and makes programs read it, a dash or a tilde means something to a
    shell.
    """
    bare = authors_name.strip()
    return f"_{bare}" if bare.startswith((".", "-", "~")) else bare
