"""Loads the tokenizer of every served fleet as soon as its model is known, and again when its source changes."""

import asyncio
import logging
from functools import partial
from pathlib import Path
from typing import Final

from tierline.api.policy import ModelPolicy
from tierline.artifacts import ModelSourceError, resolve
from tierline.text.load import load_tokenizer
from tierline.text.tokenizer import Tokenizer, TokenizerError
from tierline_gateway.served.fleet import ServedFleet
from tierline_gateway.service import GatewayService

log = logging.getLogger(__name__)

RETRY_S = 5.0
LOOK_S: Final = 0.1


class TokenizerLoader:
    """Fleets load beside each other: one whose model comes slowly, or not at all, keeps none waiting."""

    def __init__(self, service: GatewayService, cache_dir: Path) -> None:
        self._service = service
        self._cache_dir = cache_dir
        self._loaded: dict[str, str] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Follow the policy until cancelled."""
        try:
            while True:
                self._look()
                await asyncio.sleep(LOOK_S)
        finally:
            for task in tuple(self._loading.values()):
                task.cancel()

    def _look(self) -> None:
        snapshot = self._service.policy_source.current
        for model in snapshot.policy.models.values() if snapshot is not None else ():
            fleet = self._service.fleets.of(model)
            if fleet.tokenizer is None:
                # It has joined again: what was loaded went with it.
                self._loaded.pop(model.fleet, None)
            if model.fleet not in self._loading and self._loaded.get(model.fleet) != model.source:
                task = asyncio.create_task(self._load(fleet, model), name=f"tokenizer-of-{model.fleet}")
                self._loading[model.fleet] = task
                task.add_done_callback(partial(self._done, model.fleet))

    def _done(self, fleet: str, _: asyncio.Task[None]) -> None:
        del self._loading[fleet]

    async def _load(self, fleet: ServedFleet, model: ModelPolicy) -> None:
        try:
            fleet.tokenizer = await self._read(model)
            fleet.problem, self._loaded[model.fleet] = "", model.source
            return
        except (ModelSourceError, TokenizerError, OSError) as error:
            fleet.problem = f"its tokenizer cannot be loaded ({error})"
            log.error("fleet %s: %s, trying again in %g s", model.fleet, fleet.problem, RETRY_S)
        except Exception as error:
            # A model's files are foreign: what they break in a loader must not end a gateway with open streams.
            fleet.problem = f"its tokenizer cannot be loaded ({type(error).__name__})"
            log.exception("fleet %s: %s, trying again in %g s", model.fleet, fleet.problem, RETRY_S)
        await asyncio.sleep(RETRY_S)

    async def _read(self, model: ModelPolicy) -> Tokenizer:
        path = await asyncio.to_thread(resolve, model.source, self._cache_dir)
        return await asyncio.to_thread(load_tokenizer, path)
