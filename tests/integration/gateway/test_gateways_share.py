"""Three gateway processes, one worker, a real Redis: shares hold wherever requests come in and whatever dies."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
from redis_testing import RedisServer
from shared_worker import SharedWorker

from tierline_cli.bench.gateway.http_client import ClientConnection, Exchange

SUPPORT = Path(__file__).parents[2] / "support"
TOKENS = 8
PROMPT_TOKENS = 2
WEIGHTS = ("acme=4", "zeta=1")
ALLOWED = 500
"""Of a counter's tokens: requests on their way, and what the gateways serve between two exchanges."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RedisServer]:
    made = RedisServer(tmp_path)
    made.start()
    yield made
    made.kill()


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

    async def add_gateway(self, *tenants: str) -> Gateway:
        self.names += 1
        name = f"demo/gw-{self.names}"
        command = [sys.executable, str(SUPPORT / "gateway_process.py"), name, self.store.url, str(self.worker.port)]
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
                    await connection.ask(message, exchange)
                    self.taken, self.refused = self.taken + exchange.ok, self.refused + (not exchange.ok)
                    if not exchange.ok:
                        connection.close()
            await asyncio.sleep(0.02)

    async def served_within(self, tokens: int) -> dict[str, int]:
        """What tenants get while the worker gives `tokens` more."""
        before = dict(self.worker.served)
        await until(lambda: self.worker.served.total() >= sum(before.values()) + tokens, 60)
        return {tenant: count - before.get(tenant, 0) for tenant, count in self.worker.served.items()}

    async def close(self) -> None:
        for client in self.clients:
            client.cancel()
        await asyncio.gather(*self.clients, return_exceptions=True)
        for gateway in self.gateways:
            await gateway.kill()
        await self.worker.stop()


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the worker tells nobody
            await asyncio.sleep(0.01)


@pytest.fixture
async def fleet(store: RedisServer) -> AsyncIterator[Fleet]:
    worker = SharedWorker()
    await worker.start()
    made = Fleet(store, worker)
    yield made
    await made.close()


async def three(fleet: Fleet, *tenants: str) -> list[Gateway]:
    return list(await asyncio.gather(*(fleet.add_gateway(*tenants) for _ in range(3))))


async def skewed(fleet: Fleet) -> list[Gateway]:
    """One tenant comes in at one gateway, the other at two; both always wait."""
    first, second, third = await three(fleet, *WEIGHTS)
    fleet.keep_asking(first, "acme", 16)
    fleet.keep_asking(second, "zeta", 8)
    fleet.keep_asking(third, "zeta", 8)
    await fleet.served_within(100 * TOKENS)
    return [first, second, third]


def series(metrics: str, name: str) -> float:
    """The sum of a metric's series, 0 where there is none."""
    lines = (line for line in metrics.splitlines() if line.startswith(name))
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def shares_with(gateway: Gateway, gateways: int) -> None:
    async with asyncio.timeout(20):
        while series(await gateway.admin("metrics"), "tierline_gateway_sharing_gateways") != gateways:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def counted(gateway: Gateway) -> float:
    return series(await gateway.admin("metrics"), "tierline_tenant_service_tokens")


async def test_weights_hold_wherever_requests_come_in_and_whatever_dies(fleet: Fleet) -> None:
    first, second, third = await skewed(fleet)
    for gateway in (first, second, third):
        await shares_with(gateway, 3)
    busy, iterations = fleet.worker.busy_slots, fleet.worker.iterations
    served = await fleet.served_within(300 * TOKENS)
    assert served["acme"] / served["zeta"] == pytest.approx(4, rel=0.1)
    used = (fleet.worker.busy_slots - busy) / (fleet.worker.iterations - iterations) / fleet.worker.slots
    assert used > 0.7

    before = await counted(first)
    fleet.store.kill()
    await shares_with(first, 0)
    assert "the shared store does not answer" in await first.admin("readyz")
    alone = await fleet.served_within(50 * TOKENS)
    assert min(alone.values()) > 0

    fleet.store.start()
    await shares_with(first, 3)
    served = await fleet.served_within(150 * TOKENS)
    assert served["acme"] > 2 * served["zeta"]
    # A new store was told what each gateway knew: counters went on from there, and nothing was counted twice. Whoever
    # for a moment does not wait is lifted to the other's counter, so no counter is above the higher one.
    cost = PROMPT_TOKENS + 2 * TOKENS
    service = max(fleet.worker.started["acme"] * cost / 4, fleet.worker.started["zeta"] * cost)
    assert before < await counted(first) < 1.1 * service + ALLOWED

    assert fleet.refused == 0
    await third.kill()
    await shares_with(first, 2)
    # Its share was used up while nobody knew of the others; then it is its turn again.
    seen = fleet.worker.started["zeta"]
    await until(lambda: fleet.worker.started["zeta"] >= seen + 5)


async def test_a_quota_is_enforced_once_by_all_gateways(fleet: Fleet) -> None:
    """Each of three gateways alone would let as many through as the limit says."""
    limit = 30
    gateways = await three(fleet, f"acme=1,{limit}")
    for gateway in gateways:
        await shares_with(gateway, 3)
        fleet.keep_asking(gateway, "acme", 2)
    await until(lambda: fleet.refused > 90)
    assert 0.5 * limit < fleet.taken < 1.5 * limit
