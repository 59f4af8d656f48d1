"""Gets adapters into a running worker: resolves a source, reads it, and hands it to the engine."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from tierline.artifacts import AdapterSourceError, WeightsStore, resolve_adapter
from tierline_worker.adapters.pages import PagedAdapter, paginate
from tierline_worker.adapters.peft import read_peft
from tierline_worker.engine.messages import AdapterOffered, AdaptersAsked, AdapterStanding, AdapterWithdrawn, Message
from tierline_worker.errors import AdapterError
from tierline_worker.model.config import ModelConfig

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
ENGINE_PATIENCE_S = 60.0

A = TypeVar("A")


class AdapterRefused(Exception):
    """An adapter that is not served; `status` is the HTTP status that says why, the message is for a person."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class AdapterFormat:
    """What a worker's adapters must fit: its model, and pages of `page_numbers` numbers of `dtype` in its arena."""

    model: ModelConfig
    page_numbers: int
    dtype: torch.dtype
    max_rank: int

    def read(self, folder: Path) -> PagedAdapter:
        """Return the adapter in a PEFT folder; raises `AdapterError`."""
        return paginate(read_peft(folder, self.model, self.max_rank), self.model, self.page_numbers, self.dtype)


class AdapterLoader:
    """Loads and unloads at run time. One adapter is read at a time, so that many calls do not fill the memory.

    `allowed` are the sources that callers may name; `taken` are names that no adapter may have, as the model's.
    """

    def __init__(
        self,
        fits: AdapterFormat,
        post: Callable[[Message], None],
        store: WeightsStore,
        allowed: Sequence[str],
        *,
        taken: str,
    ) -> None:
        self._format = fits
        self._post = post
        self._store = store
        self._allowed = allowed
        self._taken = taken
        self._reading = asyncio.Lock()
        self._source_of: dict[str, str] = {}

    async def load(self, name: str, source: str, replace: bool) -> None:
        """Serve the adapter at `source` as `name`; raises `AdapterRefused`."""
        if problem := name_problem(name, self._taken):
            raise AdapterRefused(problem)
        async with self._reading:
            try:
                adapter = await asyncio.to_thread(self._read, source)
            except (AdapterSourceError, AdapterError) as error:
                raise AdapterRefused(f"{error}") from error

        def offered(reply: Callable[[str], None]) -> Message:
            return AdapterOffered(name, adapter, replace, reply)

        if problem := await self._ask(offered):
            raise AdapterRefused(problem)
        self._source_of[name] = source

    async def unload(self, name: str) -> None:
        """Take no new requests for `name`; raises `AdapterRefused`."""

        def withdrawn(reply: Callable[[str], None]) -> Message:
            return AdapterWithdrawn(name, reply)

        if problem := await self._ask(withdrawn):
            raise AdapterRefused(problem, 404)
        self._source_of.pop(name, None)

    async def served(self) -> tuple[tuple[AdapterStanding, str], ...]:
        """Return every adapter with its source, which is empty for those of the environment."""
        standings = await self._ask(AdaptersAsked)
        return tuple((it, self._source_of.get(it.name, "")) for it in standings)

    def _read(self, source: str) -> PagedAdapter:
        with contextlib.closing(resolve_adapter(source, self._store, self._allowed)) as opened:
            return self._format.read(opened.path)

    async def _ask(self, message: Callable[[Callable[[A], None]], Message]) -> A:
        """Hand a message to the engine and return its answer."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A] = loop.create_future()

        def settle(told: A) -> None:
            if not answer.done():
                answer.set_result(told)

        def reply(told: A) -> None:
            # The worker may end meanwhile, and its event loop with it.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, told)

        self._post(message(reply))
        try:
            async with asyncio.timeout(ENGINE_PATIENCE_S):
                return await answer
        except TimeoutError as error:
            raise AdapterRefused(f"The engine gave no answer for {ENGINE_PATIENCE_S:g} s; try again.", 503) from error


def name_problem(name: str, taken: str) -> str:
    """Return why no adapter may be called `name`, empty when it may."""
    if not _NAME.fullmatch(name):
        return f"lora_name is {name!r}: use up to 128 letters, digits, '.', '_' and '-', a letter or digit first."
    return f"lora_name is {name!r}, which is the model's own name: use another one." if name == taken else ""
