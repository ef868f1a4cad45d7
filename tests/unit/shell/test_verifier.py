"""Signature workers: right answers, in order, also when a worker dies under them."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from crypto.signatures import (
    Scheme,
    SignatureJob,
    SigningKey,
    make_signing_key,
    public_key,
    sign_preimage,
)
from shell.verifier import Verifier
from tests.unit.p2p.loopback import until

KEYS = [make_signing_key(Scheme.P256), make_signing_key(Scheme.ED25519)]


def make_job(key: SigningKey, preimage: bytes, *, valid: bool) -> SignatureJob:
    signature = sign_preimage(key, preimage if valid else preimage + b"!")
    return SignatureJob(key.scheme, public_key(key).data, signature, preimage)


def make_jobs(count: int) -> tuple[list[SignatureJob], list[bool]]:
    expected = [index % 3 != 1 for index in range(count)]
    jobs = [
        make_job(KEYS[index % 2], b"preimage %d" % index, valid=valid)
        for index, valid in enumerate(expected)
    ]
    return jobs, expected


@asynccontextmanager
async def running(worker_count: int) -> AsyncIterator[Verifier]:
    verifier = Verifier(worker_count)
    await verifier.start()
    try:
        yield verifier
    finally:
        await verifier.close()


@pytest.mark.parametrize("worker_count", [0, 1, 2])
async def test_answers_come_back_in_the_order_of_the_jobs(worker_count: int) -> None:
    jobs, expected = make_jobs(200)

    async with running(worker_count) as verifier:
        answers = await verifier.is_valid(jobs)

    assert answers == expected


async def test_callers_at_the_same_time_get_their_own_answers() -> None:
    jobs, expected = make_jobs(90)

    async with running(2) as verifier:
        answers = await asyncio.gather(*(verifier.is_valid([job]) for job in jobs))

    assert [answer[0] for answer in answers] == expected


async def test_a_killed_worker_loses_no_job_and_is_replaced() -> None:
    jobs, expected = make_jobs(300)

    async with running(1) as verifier:
        first = verifier.workers[0].process
        asked = asyncio.ensure_future(verifier.is_valid(jobs))
        await asyncio.sleep(0)
        os.kill(first.pid, signal.SIGKILL)
        answers = await asked
        again = await verifier.is_valid(jobs[:10])
        second = verifier.workers[0].process

    assert answers == expected
    assert again == expected[:10]
    assert second.pid != first.pid


async def test_a_worker_that_ends_before_it_is_given_a_batch_fails_nobody() -> None:
    """Whoever asks for a proposal's signatures would end the node with it."""
    jobs, expected = make_jobs(100)

    async with running(1) as verifier:
        asked = asyncio.ensure_future(verifier.is_valid(jobs))
        await asyncio.sleep(0)
        verifier.on_worker_lost(verifier.workers[0])
        answers = await asked
        await until(lambda: bool(verifier.workers))

    assert answers == expected


async def test_nothing_waits_after_the_answers_are_in() -> None:
    jobs, _ = make_jobs(70)

    async with running(1) as verifier:
        await verifier.is_valid(jobs)

        assert verifier.queued_jobs == 0
        assert not verifier.workers[0].waiting
