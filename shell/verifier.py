"""Signature checks beside the event loop: worker processes whose pipes the loop itself serves.

Threads and process pools starve beside a busy loop because their feeders need the interpreter
lock (measured: design page `performance`). Here the loop writes a batch to a worker's socket and
reads a bitmap back, with no helper thread in between. With no workers configured the batch is
checked inline, in slices that give the loop back in between.
"""

import asyncio
import logging
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from typing_extensions import override

from crypto.signatures import SignatureJob, encode_jobs, is_valid_many

log = logging.getLogger("medledger.verifier")

BATCH_JOBS_MAX = 64
INLINE_SLICE_JOBS = 50


@dataclass(slots=True)
class Batch:
    """Jobs that travel together, with the future that their answers resolve."""

    jobs: tuple[SignatureJob, ...]
    answer: asyncio.Future[list[bool]]


@dataclass(slots=True, eq=False)
class Worker(asyncio.Protocol):
    """One worker process: batches written to it and not yet answered, oldest first."""

    verifier: "Verifier"
    process: subprocess.Popen[bytes]
    transport: asyncio.Transport | None = None
    waiting: deque[Batch] = field(default_factory=deque)
    received: bytearray = field(default_factory=bytearray)

    @override
    def data_received(self, data: bytes) -> None:
        self.received += data
        while len(self.received) >= 4:
            length = int.from_bytes(self.received[:4], "big")
            if len(self.received) < 4 + length:
                return
            bitmap = bytes(self.received[4 : 4 + length])
            del self.received[: 4 + length]
            batch = self.waiting.popleft()
            assert len(bitmap) == len(batch.jobs), "a worker answers every job"
            if not batch.answer.done():
                batch.answer.set_result([bit == 1 for bit in bitmap])

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.verifier.on_worker_lost(self)

    def submit(self, batch: Batch) -> None:
        assert self.transport is not None, "a worker is connected before it gets work"
        self.waiting.append(batch)
        frame = encode_jobs(batch.jobs)
        self.transport.write(len(frame).to_bytes(4, "big") + frame)


class Verifier:
    """Checks batches of signatures in `worker_count` processes (0: inline, in slices)."""

    def __init__(self, worker_count: int) -> None:
        self.worker_count = worker_count
        self.workers: list[Worker] = []
        self.queued_jobs = 0
        self._closing = False
        self._restarts: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for _ in range(self.worker_count):
            await self._start_worker()

    async def close(self) -> None:
        """Stop the workers; batches still open are cancelled."""
        self._closing = True
        for worker in list(self.workers):
            if worker.transport is not None:
                worker.transport.abort()
            for batch in worker.waiting:
                batch.answer.cancel()
            worker.process.kill()
            worker.process.wait()
        self.workers.clear()
        await asyncio.sleep(0)

    async def is_valid(self, jobs: Sequence[SignatureJob]) -> list[bool]:
        """Return one answer per job, in order."""
        self.queued_jobs += len(jobs)
        try:
            if not self.workers:
                return await self._check_inline(jobs)
            slices = [
                tuple(jobs[start : start + BATCH_JOBS_MAX])
                for start in range(0, len(jobs), BATCH_JOBS_MAX)
            ]
            answers = await asyncio.gather(*(self._dispatch(one) for one in slices))
            return [valid for answer in answers for valid in answer]
        finally:
            self.queued_jobs -= len(jobs)

    def on_worker_lost(self, worker: Worker) -> None:
        """Start a worker in place of one that died, and check what it still held."""
        if self._closing or worker not in self.workers:
            return
        self.workers.remove(worker)
        worker.process.kill()
        worker.process.wait()
        log.warning("a signature worker ended; starting another", extra={"pid": worker.process.pid})
        task = asyncio.get_running_loop().create_task(self._replace(tuple(worker.waiting)))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def _replace(self, orphans: Sequence[Batch]) -> None:
        for batch in orphans:
            if not batch.answer.done():
                batch.answer.set_result(await self._check_inline(batch.jobs))
        try:
            await self._start_worker()
        except OSError as problem:  # No memory or no process left: the others, or the loop, serve.
            log.warning("no new signature worker", extra={"reason": str(problem)})

    async def _start_worker(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220 - a few milliseconds, at start only
                [sys.executable, "-m", "shell.verify_worker"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
            )
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        worker = Worker(self, process)
        transport, _ = await loop.create_connection(lambda: worker, sock=ours)
        worker.transport = transport
        self.workers.append(worker)

    async def _dispatch(self, jobs: tuple[SignatureJob, ...]) -> list[bool]:
        if not self.workers:  # The last one ended since the caller looked.
            return await self._check_inline(jobs)
        batch = Batch(jobs, asyncio.get_running_loop().create_future())
        min(self.workers, key=lambda worker: len(worker.waiting)).submit(batch)
        return await batch.answer

    async def _check_inline(self, jobs: Sequence[SignatureJob]) -> list[bool]:
        answers: list[bool] = []
        for start in range(0, len(jobs), INLINE_SLICE_JOBS):
            answers += is_valid_many(jobs[start : start + INLINE_SLICE_JOBS])
            await asyncio.sleep(0)
        return answers
