from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from fake_wire_worker import FakeWorker, letter_tokenizer
from gateway_rig import Rig, policy
from redis_testing import RedisServer

from tierline_gateway.front.servers import GatewayServers
from tierline_gateway.policy_source import StaticPolicySource
from tierline_gateway.service import GatewayService
from tierline_gateway.workers.discovery import StaticDiscovery


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for tests that do not kill it; each takes a fleet's name of its own."""
    made = RedisServer(tmp_path_factory.mktemp("redis"))
    made.start()
    made.until_up()
    yield made
    made.kill()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    source, discovery = StaticPolicySource(policy()), StaticDiscovery()
    service = GatewayService(source, discovery, "demo/gw-0", fleet="fleet")
    service.own.tokenizer = letter_tokenizer()
    servers = GatewayServers(service)
    await servers.start("127.0.0.1", 0, 0)
    service.start()
    made = Rig(source, discovery, service, servers)
    yield made
    await made.close()


@pytest.fixture
async def worker(rig: Rig) -> FakeWorker:
    return await rig.add_worker(FakeWorker("w0"))


@pytest.fixture
def make_worker(rig: Rig) -> Callable[..., Awaitable[FakeWorker]]:
    async def make(name: str, **options: object) -> FakeWorker:
        return await rig.add_worker(FakeWorker(name, **options))  # type: ignore[arg-type]

    return make
