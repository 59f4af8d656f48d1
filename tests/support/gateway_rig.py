"""A real gateway in this process, for tests: a fixed policy, fake workers, real ports."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType

import openai
from fake_wire_worker import FakeWorker

from tierline.api.policy import CompiledPolicy, ModelPolicy, SecretKeyRef, TenantPolicy, TierPolicy
from tierline_gateway.front.servers import GatewayServers
from tierline_gateway.keys import KeyTable, key_digest
from tierline_gateway.policy_source import PolicySnapshot, StaticPolicySource
from tierline_gateway.service import GatewayService
from tierline_gateway.workers.discovery import StaticDiscovery


def tier(name: str, priority: int, **changes: object) -> TierPolicy:
    fields: dict[str, object] = {
        "name": name,
        "priority": priority,
        "ttft_deadline_ms": 1000,
        "tpot_budget_ms": 100,
        "deadline_ms": None,
        "attainment_percent": 95,
        "overload": "Reject",
        "max_queue_ms": 10_000,
        "degrade_to": None,
        "preemptible": True,
    }
    return TierPolicy(**(fields | changes))  # type: ignore[arg-type]


def tenant(name: str, **changes: object) -> TenantPolicy:
    fields: dict[str, object] = {
        "namespace": "demo",
        "tenant": name,
        "billing_tier": "paid",
        "weight": 1,
        "tiers": ("interactive", "batch"),
        "default_tier": "interactive",
        "api_key_refs": (SecretKeyRef("demo", f"{name}-key", "key"),),
        "tokens_per_minute": None,
        "requests_per_minute": None,
        "max_concurrent_requests": None,
        "max_service_difference_tokens": None,
        "cache_sharing": "Isolated",
    }
    return TenantPolicy(**(fields | changes))  # type: ignore[arg-type]


def policy(tiers: list[TierPolicy] | None = None, tenants: list[TenantPolicy] | None = None) -> PolicySnapshot:
    tiers = tiers or [tier("interactive", 100), tier("batch", 10), tier("secret", 1)]
    tenants = tenants or [tenant("acme"), tenant("zeta")]
    model = ModelPolicy("demo", "fleet", "m", "file:///m.gguf", tuple(one.name for one in tiers))
    compiled = CompiledPolicy(
        MappingProxyType({one.name: one for one in tiers}),
        MappingProxyType({one.tenant: one for one in tenants}),
        MappingProxyType({"m": model}),
        (),
    )
    return PolicySnapshot(compiled, KeyTable({key_digest(f"key-{one.tenant}"): one.tenant for one in tenants}))


@dataclass
class Rig:
    """The gateway under test and its surroundings."""

    source: StaticPolicySource
    discovery: StaticDiscovery
    service: GatewayService
    servers: GatewayServers
    workers: dict[str, FakeWorker] = field(default_factory=dict)
    clients: dict[str, openai.AsyncOpenAI] = field(default_factory=dict)

    async def add_worker(self, worker: FakeWorker) -> FakeWorker:
        self.workers[worker.name] = worker
        self.discovery.workers.append(await worker.start())
        self.service.tick()
        await self.until(lambda: (link := self.service.own.links.get(worker.name)) is not None and link.up)
        return worker

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - the gateway tells nobody when its state changes
                await asyncio.sleep(0.002)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.servers.http_port}"

    @property
    def admin_url(self) -> str:
        return f"http://127.0.0.1:{self.servers.admin_port}"

    def client(self, key: str = "key-acme") -> openai.AsyncOpenAI:
        """Return the client of an API key; each takes a tenth of a second to make, in which no worker answers."""
        if key not in self.clients:
            self.clients[key] = self.new_client(key)
        return self.clients[key]

    def new_client(self, key: str = "key-acme") -> openai.AsyncOpenAI:
        """Return a client without connections, for the caller to close."""
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)

    async def close(self) -> None:
        for client in self.clients.values():
            await client.close()
        await self.servers.stop()
        await self.service.stop()
        for worker in self.workers.values():
            await worker.kill()
