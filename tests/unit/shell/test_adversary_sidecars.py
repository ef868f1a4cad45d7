"""Whoever once saw a sidecar must not be able to have it destroyed everywhere."""

from dataclasses import replace

from crypto.envelopes import make_sidecar
from crypto.hashing import Digest
from ledger.identity_payloads import DirectoryNote, ShareDirectory
from ledger.records_payloads import RecordPut
from storage.sidecars import has_sidecar
from tests.unit.ledger.record_samples import DOCTOR, PATIENT, SOUTH_DOCTOR
from tests.unit.ledger.small_consortium import account_of
from tests.unit.shell.live_chain import LiveChain


def put_with_envelopes(live: LiveChain) -> RecordPut:
    """A put whose envelopes have contents."""
    put = live.hospitals.make_put(DOCTOR, PATIENT)
    return replace(put, seal=replace(put.seal, envelopes=live.with_contents(put.seal.envelopes)))


def sharing(digest: Digest) -> ShareDirectory:
    """Names a known sidecar in somebody else's affairs: the ledger refuses it."""
    note = DirectoryNote(recipient=account_of(SOUTH_DOCTOR), key_id=bytes(16), note=digest)
    return ShareDirectory(about=account_of(PATIENT), notes=(note,))


async def test_a_refused_transaction_does_not_destroy_the_envelopes_of_a_record(
    live: LiveChain,
) -> None:
    put = put_with_envelopes(live)
    written = await live.submit("records.put", put, DOCTOR)
    envelope = put.seal.envelopes[0].sidecar

    refused = await live.submit(
        "identity.share_directory", sharing(envelope), SOUTH_DOCTOR, sidecars=(envelope,)
    )

    assert written.accepted, written.code
    assert not refused.accepted
    assert has_sidecar(live.sidecars, envelope)


async def test_what_only_a_refused_transaction_brought_is_dropped(live: LiveChain) -> None:
    sidecar = make_sidecar(b"junk")
    live.contents[sidecar.digest] = sidecar.content

    refused = await live.submit(
        "identity.share_directory",
        sharing(sidecar.digest),
        SOUTH_DOCTOR,
        sidecars=(sidecar.digest,),
    )

    assert not refused.accepted
    assert not has_sidecar(live.sidecars, sidecar.digest)
