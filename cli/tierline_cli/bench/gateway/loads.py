"""What the client does: requests at a steady rate, or many streams at once."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tierline_cli.bench.gateway.http_client import ClientConnection, Exchange, request_message
from tierline_cli.bench.gateway.mock_answers import KEY, request_body

PATIENCE_S: Final = 60.0
"""An answer that takes so much longer than it should counts as dropped."""
ONCE_S: Final = 5.0
RAMP_PER_SECOND: Final = 400


@dataclass(frozen=True, slots=True)
class SteadyLoad:
    """Requests of `tokens` tokens at random times, on average `per_second`, whatever becomes of earlier ones."""

    per_second: float
    seconds: float
    tokens: int
    stream: bool
    seed: int = 1


class _Connections:
    """Connections kept open between requests, as clients do."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: deque[ClientConnection] = deque()
        self._all: list[ClientConnection] = []

    async def take(self) -> ClientConnection:
        while self._idle:
            found = self._idle.pop()
            if found.usable:
                return found
        _, made = await asyncio.get_running_loop().create_connection(ClientConnection, "127.0.0.1", self._port)
        self._all.append(made)
        return made

    def give_back(self, connection: ClientConnection) -> None:
        if connection.usable:
            self._idle.append(connection)

    def close(self) -> None:
        for connection in self._all:
            connection.close()


async def run_steady(port: int, load: SteadyLoad) -> list[Exchange]:
    """Send the load's requests to `port`; returns what came of them, in the order they were sent."""
    connections, loop, dice = _Connections(port), asyncio.get_running_loop(), random.Random(load.seed)  # noqa: S311
    exchanges: list[Exchange] = []
    due_s, end_s = loop.time(), loop.time() + load.seconds
    async with asyncio.TaskGroup() as tasks:
        while (due_s := due_s + dice.expovariate(load.per_second)) < end_s:
            await asyncio.sleep(max(due_s - loop.time(), 0))
            exchange = Exchange(due_s)
            number = dice.randrange(10**9)
            message = request_message(port, KEY, request_body(stream=load.stream, tokens=load.tokens, number=number))
            exchanges.append(exchange)
            tasks.create_task(_exchange(connections, message, exchange))
    connections.close()
    return exchanges


async def run_streams(
    port: int, streams: int, tokens: int, seconds: float, on_all_open: Callable[[], None]
) -> list[Exchange]:
    """Open `streams` streams of `tokens` tokens, a few hundred a second, and wait for all ends.

    `seconds` is how long one should take; `on_all_open` is called when each has got its first event.
    """
    connections, loop = _Connections(port), asyncio.get_running_loop()
    message = request_message(port, KEY, request_body(stream=True, tokens=tokens))
    exchanges: list[Exchange] = []
    begin_s = loop.time()
    async with asyncio.TaskGroup() as tasks:
        for number in range(streams):
            await asyncio.sleep(max(begin_s + number / RAMP_PER_SECOND - loop.time(), 0))
            exchange = Exchange(loop.time())
            exchanges.append(exchange)
            tasks.create_task(_exchange(connections, message, exchange, seconds + PATIENCE_S))
        while any(not (exchange.first_event_s or exchange.problem) for exchange in exchanges):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        on_all_open()
    connections.close()
    return exchanges


async def run_once(port: int) -> Exchange:
    """Ask for one token; returns what came of it."""
    connections, exchange = _Connections(port), Exchange(asyncio.get_running_loop().time())
    await _exchange(connections, request_message(port, KEY, request_body(stream=False, tokens=1)), exchange, ONCE_S)
    connections.close()
    return exchange


async def _exchange(
    connections: _Connections, message: bytes, exchange: Exchange, patience_s: float = PATIENCE_S
) -> None:
    try:
        async with asyncio.timeout(patience_s):
            connection = await connections.take()
            await connection.ask(message, exchange)
            connections.give_back(connection)
    except (OSError, TimeoutError) as error:
        exchange.ok, exchange.problem = False, f"{type(error).__name__}: {error}"
