"""Answers the lines of a batch that have no stored end yet, as many at a time as its tenant has places."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

from tierline_gateway.batches.batch import Batch
from tierline_gateway.batches.input_lines import InputLine
from tierline_gateway.batches.output_lines import LINE, answered_line, is_answered, line_record, refused_line
from tierline_gateway.batches.places import Places
from tierline_gateway.deferred.patient import PatientClient
from tierline_gateway.deferred.store import NEVER, RecordStore, StoreUnavailable
from tierline_gateway.front.api_errors import ApiError, failed
from tierline_gateway.front.intake import ENDPOINTS
from tierline_gateway.front.openai_requests import decode_request

log = logging.getLogger(__name__)

LINES_KEPT_S = 2 * 24 * 3600.0
"""After the window, against what nobody finished."""


@dataclass(slots=True)
class Tally:
    """Lines with stored ends."""

    completed: int = 0
    failed: int = 0

    def count(self, *, answered: bool) -> None:
        if answered:
            self.completed += 1
        else:
            self.failed += 1


class LineRunner:
    """One pass over a batch's lines. A line counts in `tally` once its end is durable."""

    def __init__(self, batch: Batch, store: RecordStore, client: PatientClient, places: Places) -> None:
        self._batch = batch
        self._store = store
        self._client = client
        self._places = places
        self._ended: frozenset[int] = frozenset()
        self.tally = Tally()

    async def resume(self) -> None:
        """Learn which lines have ended before."""
        ended = await self._store.find(LINE, f"{self._batch.id}/")
        for record in ended:
            self.tally.count(answered=is_answered(record))
        self._ended = frozenset(int(record.id.rpartition("/")[2]) for record in ended)

    async def run(self, lines: AsyncIterator[tuple[int, bytes]]) -> None:
        """Answer what is left; when cancelled, requests that run are cancelled and their lines stay without end."""
        try:
            async with asyncio.TaskGroup() as group:
                async for number, raw in lines:
                    if number not in self._ended:
                        release = await self._places.take(self._batch.tenant)
                        task = group.create_task(self._answer(number, raw))
                        # A task that is cancelled before it began runs no code of its own.
                        task.add_done_callback(partial(_give_back, release))
        except* StoreUnavailable as errors:
            raise StoreUnavailable(str(errors.exceptions[0])) from errors

    async def _answer(self, number: int, raw: bytes) -> None:
        line = decode_request(InputLine, raw)
        content, answered = await self._end_of(number, line)
        expires_s = self._batch.expires_s + LINES_KEPT_S
        record = line_record(self._batch.id, number, self._batch.tenant, content, expires_s, answered=answered)
        if await self._store.add(record):
            self.tally.count(answered=answered)

    async def _end_of(self, number: int, line: InputLine) -> tuple[bytes, bool]:
        """Return the line of an answer, or of what a waiting client would have been refused for good."""
        batch, request_id = self._batch, f"{self._batch.id}-{number}"
        try:
            response = await self._client.answer(
                ENDPOINTS[batch.endpoint],
                bytes(line.body),
                tenant=batch.tenant,
                tier=batch.tier,
                request_id=request_id,
                until_s=NEVER,
            )
        except ApiError as error:
            return refused_line(batch.id, number, line.custom_id, request_id, error), False
        except Exception:
            log.exception("line %d of %s cannot be answered", number, batch.id)
            defect = failed("The gateway could not answer this request; send it again.")
            return refused_line(batch.id, number, line.custom_id, request_id, defect), False
        return answered_line(batch.id, number, line.custom_id, request_id, response), True


def _give_back(release: Callable[[], None], _: asyncio.Task[None]) -> None:
    release()
