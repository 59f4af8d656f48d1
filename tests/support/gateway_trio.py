"""Three gateway processes before one shared worker and a store, with clients that ask again as soon as they may."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from redis_testing import RedisServer
from shared_worker import SharedWorker

from tierline_cli.bench.gateway.http_client import ClientConnection, Exchange

TOKENS = 8
PROMPT_TOKENS = 2
WEIGHTS = ("acme=4", "zeta=1")
MOST_ON_THEIR_WAY = 4
HANGS_SECONDS = 60.0
"""What takes so long hangs: nothing is measured by it."""


@dataclass
class Gateway:
    process: asyncio.subprocess.Process
    http_port: int
    admin_port: int

    async def admin(self, path: str) -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.admin_port}/{path}") as answer,
        ):
            return await answer.text()

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


@dataclass
class Fleet:
    store: RedisServer
    worker: SharedWorker
    gateways: list[Gateway] = field(default_factory=list)
    clients: list[asyncio.Task[None]] = field(default_factory=list)
    names: int = 0
    refused: int = 0
    taken: int = 0
    asking: Counter[str] = field(default_factory=Counter)

    async def add_gateway(self, *tenants: str) -> Gateway:
        self.names += 1
        name = f"demo/gw-{self.names}"
        command = [
            sys.executable,
            str(Path(__file__).with_name("gateway_process.py")),
            name,
            self.store.url,
            str(self.worker.port),
        ]
        process = await asyncio.create_subprocess_exec(*command, *tenants, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        http_port, admin_port = (await process.stdout.readline()).split()
        self.gateways.append(Gateway(process, int(http_port), int(admin_port)))
        return self.gateways[-1]

    def keep_asking(self, gateway: Gateway, tenant: str, clients: int) -> None:
        """As soon as one of these clients has its answer, it asks again."""
        for _ in range(clients):
            self.clients.append(asyncio.create_task(self._ask_for_ever(gateway, tenant)))

    async def _ask_for_ever(self, gateway: Gateway, tenant: str) -> None:
        body = b'{"model": "m", "prompt": "hi", "max_tokens": %d}' % TOKENS
        head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-{tenant}\r\n"
        message = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        loop = asyncio.get_running_loop()
        while gateway.process.returncode is None:
            with suppress(OSError):
                _, connection = await loop.create_connection(ClientConnection, "127.0.0.1", gateway.http_port)
                while connection.usable:
                    exchange = Exchange(0.0)
                    self.asking[tenant] += 1
                    try:
                        await connection.ask(message, exchange)
                    finally:
                        self.asking[tenant] -= 1
                    self.taken, self.refused = self.taken + exchange.ok, self.refused + (not exchange.ok)
                    if not exchange.ok:
                        connection.close()
            await asyncio.sleep(0.02)

    def all_wait(self) -> bool:
        """Whether every tenant has asked for more than runs, and not just about: a request may be on its way."""
        running = self.worker.running()
        return all(asking - running[tenant] >= MOST_ON_THEIR_WAY for tenant, asking in self.asking.items())

    async def served_within(self, tokens: int, seconds: float = 180) -> Counter[str]:
        """What tenants get while the worker gives `tokens` more and all of them wait; who gets nothing counts 0."""
        before = self.worker.contested.copy()
        await until(lambda: self.worker.contested.total() >= before.total() + tokens, seconds)
        return self.worker.contested - before

    async def close(self) -> None:
        for client in self.clients:
            client.cancel()
        await asyncio.gather(*self.clients, return_exceptions=True)
        for gateway in self.gateways:
            await gateway.kill()
        await self.worker.stop()


async def until(condition: Callable[[], bool], seconds: float = HANGS_SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the worker tells nobody
            await asyncio.sleep(0.01)


async def three(fleet: Fleet, *tenants: str) -> list[Gateway]:
    return list(await asyncio.gather(*(fleet.add_gateway(*tenants) for _ in range(3))))


async def skewed(fleet: Fleet) -> list[Gateway]:
    """One tenant comes in at one gateway, the other at two; both always wait."""
    first, second, third = await three(fleet, *WEIGHTS)
    fleet.worker.all_wait = fleet.all_wait
    fleet.keep_asking(first, "acme", 16)
    fleet.keep_asking(second, "zeta", 8)
    fleet.keep_asking(third, "zeta", 8)
    gateways = [first, second, third]
    for gateway in gateways:
        await shares_with(gateway, 3)
    await fleet.served_within(100 * TOKENS)
    return gateways


def series(metrics: str, name: str) -> float:
    """The sum of a metric's series, 0 where there is none."""
    lines = (line for line in metrics.splitlines() if line.startswith(name))
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def shares_with(gateway: Gateway, gateways: int) -> None:
    async with asyncio.timeout(HANGS_SECONDS):
        while series(await gateway.admin("metrics"), "tierline_gateway_sharing_gateways") != gateways:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
