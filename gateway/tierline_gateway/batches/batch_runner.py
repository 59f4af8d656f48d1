"""Brings one batch from whatever status it has to its end; whoever dies in the middle is succeeded by another."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from tierline_gateway.batches.batch import Batch, BatchStatus, FilePair, Unanswered
from tierline_gateway.batches.files import FileGone, Files
from tierline_gateway.batches.input_lines import InputCheck, LineTooLong
from tierline_gateway.batches.line_runner import LineRunner
from tierline_gateway.batches.output_lines import LINE
from tierline_gateway.batches.places import Places
from tierline_gateway.batches.registry import BatchRegistry
from tierline_gateway.batches.result_files import ResultFiles
from tierline_gateway.batches.storage_room import has_room
from tierline_gateway.batches.stored_file import StoredFile
from tierline_gateway.batches.transitions import Accepted, Counted, LinesDone, Refused, WritingFiles
from tierline_gateway.deferred.patient import PatientClient
from tierline_gateway.deferred.store import Record, RecordStore

COUNT_S = 1.0
"""So often counts are stored, and so soon a cancellation, the window's end or a full store is seen."""


class BatchRunner:
    """Runs the batches that this process holds."""

    def __init__(self, store: RecordStore, files: Files, registry: BatchRegistry, client: PatientClient) -> None:
        self._store = store
        self._files = files
        self._registry = registry
        self._client = client
        self._places = Places()
        self._steps: Mapping[BatchStatus, Callable[[Batch], Awaitable[Batch | None]]] = {
            BatchStatus.VALIDATING: self._validate,
            BatchStatus.IN_PROGRESS: self._answer,
            BatchStatus.FINALIZING: self._finish,
            BatchStatus.CANCELLING: self._finish,
        }

    async def run(self, held: Record) -> None:
        """Bring a batch to its end, and forget what only its way there needed."""
        batch = await self._registry.find(held.id)
        while batch is not None and not batch.over:
            batch = await self._steps[batch.status](batch)
        await self._store.delete(LINE, f"{held.id}/")

    async def _validate(self, batch: Batch) -> Batch | None:
        check = InputCheck(batch.endpoint)
        try:
            async for number, raw in self._files.lines(await self._source(batch)):
                check.read(number, raw)
                if check.given_up:
                    break
        except LineTooLong as error:
            check.too_long(error.args[0])
        problems = check.ended()
        event = Refused(problems) if problems else Accepted(check.lines, check.model)
        return await self._registry.try_apply(batch.id, event)

    async def _answer(self, batch: Batch) -> Batch | None:
        lines = LineRunner(batch, self._store, self._client, self._places)
        await lines.resume()
        source = await self._source(batch)
        answering = asyncio.create_task(lines.run(self._files.lines(source)), name=f"{batch.id} lines")
        try:
            return await self._watched(batch, lines, answering)
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def _watched(self, batch: Batch, lines: LineRunner, answering: asyncio.Task[None]) -> Batch | None:
        """Store counts until the lines are done, or no more of them are wanted."""
        while True:
            await asyncio.wait({answering}, timeout=max(0.0, min(COUNT_S, batch.expires_s - time.time())))
            if answering.done():
                answering.result()
                return await self._registry.try_apply(batch.id, LinesDone())
            if time.time() >= batch.expires_s:
                return await self._registry.try_apply(batch.id, LinesDone(Unanswered.EXPIRED))
            if not await has_room(self._store, self._files.limits, batch.tenant):
                return await self._registry.try_apply(batch.id, LinesDone(Unanswered.STORAGE))
            now = await self._registry.try_apply(batch.id, Counted(lines.tally.completed, lines.tally.failed))
            if now is None or now.status is not BatchStatus.IN_PROGRESS:
                return now

    async def _finish(self, batch: Batch) -> Batch | None:
        """Write the files; those that an earlier attempt left behind go first."""
        await self._drop(batch.writing)
        results = await ResultFiles.begin(batch, self._files)
        mine = results.begun
        begun = await self._registry.try_apply(batch.id, WritingFiles(mine))
        if begun is None or begun.writing != mine:
            await self._drop(mine)
            return begun
        try:
            source = await self._source(batch) if batch.counts.total else None
            await results.write(source, self._files, self._store)
            written = await results.finish(self._files)
        except FileGone:
            await self._drop(mine)
            return await self._registry.find(batch.id)
        ended = await self._registry.try_apply(batch.id, written)
        if ended is None or ended.files != written.files:
            await self._drop(mine)
        return ended

    async def _drop(self, pair: FilePair) -> None:
        for file_id in (pair.output, pair.error):
            if file_id:
                await self._files.delete(file_id)

    async def _source(self, batch: Batch) -> StoredFile | None:
        """Return the input; it is kept longer than the window, and nobody can delete it while the batch is open."""
        return await self._files.find(batch.tenant, batch.input_file_id)
