"""The engine's thread: messages in between iterations, an iteration whenever there is work."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import NoReturn

from tierline_worker.engine.engine import Engine
from tierline_worker.engine.messages import Message, Outgoing

_LOG = logging.getLogger(__name__)


class EngineLoop:
    """Drives an `Engine` in a daemon thread, so that a stuck kernel cannot keep the process from ending."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def start(self, emit: Callable[[list[Outgoing]], None], on_drained: Callable[[], None]) -> None:
        """Begin. `emit` gets the frames of each turn, `on_drained` is called once nothing is left after a drain
        began; both are called on the engine's thread."""
        threading.Thread(target=self._run, args=(emit, on_drained), name="engine", daemon=True).start()

    def post(self, message: Message) -> None:
        """Hand a message to the engine; never blocks, from any thread."""
        self._inbox.put(message)

    def _run(self, emit: Callable[[list[Outgoing]], None], on_drained: Callable[[], None]) -> None:
        try:
            self._turns(emit, on_drained)
        except Exception:  # noqa: BLE001 whatever ends it, the kubelet must hear of it
            # Without its thread the process would answer probes for ever, and nothing else.
            _LOG.critical("the engine's thread ends", exc_info=True)
            self._engine.give_up()

    def _turns(self, emit: Callable[[list[Outgoing]], None], on_drained: Callable[[], None]) -> NoReturn:
        told_drained = False
        while True:
            outgoing = self._turn()
            if outgoing:
                emit(outgoing)
            if self._engine.drained and not told_drained:
                told_drained = True
                on_drained()

    def _turn(self) -> list[Outgoing]:
        outgoing: list[Outgoing] = []
        if not self._engine.busy:
            outgoing += self._handle(self._inbox.get())
        while not self._inbox.empty():
            outgoing += self._handle(self._inbox.get_nowait())
        return outgoing + (self._engine.step() if self._engine.busy else self._engine.publish({}))

    def _handle(self, message: Message) -> list[Outgoing]:
        try:
            return self._engine.handle(message)
        except Exception:  # noqa: BLE001 one bad message must not end the engine
            _LOG.exception("could not handle %s", type(message).__name__)
            return []
