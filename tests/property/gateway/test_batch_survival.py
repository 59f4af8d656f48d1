"""Batches under any order of deaths, rivals, cancellations and ends of the window: each custom_id has exactly one end.

Processes die at any call of the store, before or after it took effect. Two may believe at the same time that they hold
the batch; what they say of a line must still be said once.
"""

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from unittest.mock import patch

from batch_samples import new_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_records import MemoryRecords

from tierline_gateway.batches import batch_runner
from tierline_gateway.batches.batch import KIND, Batch, BatchStatus
from tierline_gateway.batches.batch_runner import BatchRunner
from tierline_gateway.batches.files import Files
from tierline_gateway.batches.output_lines import LINE, line_id
from tierline_gateway.batches.registry import BatchRegistry
from tierline_gateway.batches.storage_limits import StorageLimits
from tierline_gateway.batches.transitions import CancelAsked
from tierline_gateway.front.api_errors import invalid

ENDPOINT = "/v1/completions"
FAR_S = 4e9


class Death(BaseException):
    """The process is gone."""


class Mortal:
    """A process's view of the store: at its `dies_at`th call it dies, and so does every later call."""

    def __init__(self, store: MemoryRecords, dies_at: int, takes_effect: bool) -> None:
        self._store = store
        self._left = dies_at
        self._takes_effect = takes_effect

    def __getattr__(self, name: str):
        call = getattr(self._store, name)

        async def mortal(*args, **kwargs):
            await asyncio.sleep(0)
            self._left -= 1
            if self._left > 0:
                return await call(*args, **kwargs)
            if self._left == 0 and self._takes_effect:
                await call(*args, **kwargs)
            raise Death

        return mortal


class Answers:
    """Answers after some turns of the event loop; one line in five is refused for good."""

    def __init__(self, store: MemoryRecords, turns: int, asked_again: list[str]) -> None:
        self._store = store
        self._turns = turns
        self._asked_again = asked_again

    async def answer(self, endpoint, body, *, request_id, **_) -> bytes:
        batch_id, _, number = request_id.rpartition("-")
        if (LINE, line_id(batch_id, int(number))) in self._store.records:
            self._asked_again.append(number)
        for _ in range(self._turns + hash(body) % 3):
            await asyncio.sleep(0)
        if json.loads(body)["prompt"] % 5 == 4:
            raise invalid("prompt", "no")
        return b'{"object": "text_completion"}'


async def life_of(store: MemoryRecords, view, story: "Story") -> None:
    """Run the batch until it is over or the process dies."""
    held = (await store.find(KIND))[0]
    client = Answers(store, story.turns, story.asked_again)
    runner = BatchRunner(view, Files(view, StorageLimits()), BatchRegistry(view), client)
    try:
        await runner.run(held)
    except (Death, BaseExceptionGroup):
        return


async def written(store: MemoryRecords, lines: int, expires_s: float) -> str:
    files = Files(store, StorageLimits())
    writer = await files.begin("acme", "in.jsonl", "batch")
    for at in range(lines):
        body = {"model": "m", "prompt": at}
        line = {"custom_id": f"q{at}", "method": "POST", "url": ENDPOINT, "body": body}
        await writer.write(json.dumps(line).encode() + b"\n")
    source = await writer.finish(FAR_S)
    batch = new_batch(endpoint=ENDPOINT, input_file_id=source.id, expires_s=expires_s)
    await store.put(batch.record(0.0))
    return batch.id


async def cancelled_after(store: MemoryRecords, batch_id: str, turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
    await BatchRegistry(store).try_apply(batch_id, CancelAsked())


async def ids_in(store: MemoryRecords, file_id: str) -> list[str]:
    files = Files(store, StorageLimits())
    file = await files.find("acme", file_id) if file_id else None
    assert (file is not None) == bool(file_id)
    return [json.loads(line)["custom_id"] async for _, line in files.lines(file)]


@dataclass(frozen=True)
class Story:
    """What happens to a batch of so many lines; `deaths` are the calls at which processes die, one after the other.

    With `rivals` they all live at the same time, with one that does not die.
    """

    lines: int
    deaths: list[tuple[int, bool]]
    rivals: bool
    cancel_turns: int | None
    window_ends: bool
    turns: int
    asked_again: list[str] = field(default_factory=list)

    async def told(self) -> None:
        store = MemoryRecords()
        batch_id = await written(store, self.lines, 1.0 if self.window_ends else FAR_S)
        mortals = [life_of(store, Mortal(store, *death), self) for death in self.deaths]
        cancelling = [] if self.cancel_turns is None else [cancelled_after(store, batch_id, self.cancel_turns)]
        if self.rivals:
            await asyncio.gather(*mortals, life_of(store, store, self), *cancelling)
        else:
            canceller = asyncio.gather(*cancelling)
            for mortal in mortals:
                await mortal
            await life_of(store, store, self)
            await canceller
        await life_of(store, store, self)
        batch = await BatchRegistry(store).find(batch_id)
        await self.check(store, batch)

    async def check(self, store: MemoryRecords, batch: Batch) -> None:
        assert batch.over
        assert self.rivals or not self.asked_again, "what has a stored end is not asked for again"
        assert await store.find(LINE) == []
        shown = {batch.input_file_id, batch.files.output, batch.files.error} - {""}
        assert self.rivals or {file.id for file in await Files(store, StorageLimits()).owned("acme")} == shown
        if batch.status is BatchStatus.CANCELLED and not batch.counts.total:
            return
        output, error = await ids_in(store, batch.files.output), await ids_in(store, batch.files.error)
        assert Counter(output + error) == Counter(f"q{at}" for at in range(self.lines))
        assert (batch.counts.completed, batch.counts.failed) == (len(output), len(error))
        if batch.status is BatchStatus.COMPLETED:
            assert output == [f"q{at}" for at in range(self.lines) if at % 5 != 4]


STORIES = st.builds(
    Story,
    lines=st.integers(1, 12),
    deaths=st.lists(st.tuples(st.integers(1, 60), st.booleans()), max_size=3),
    rivals=st.booleans(),
    cancel_turns=st.none() | st.integers(0, 150),
    window_ends=st.booleans(),
    turns=st.integers(0, 4),
    asked_again=st.builds(list),
)


@settings(max_examples=60, deadline=None)
@given(story=STORIES)
def test_each_custom_id_has_exactly_one_end(story) -> None:
    with patch.object(batch_runner, "COUNT_S", 0.001):
        asyncio.run(story.told())
