"""One gateway, several fleets: `model` picks whose workers answer, a tenant's limits hold over all of them."""

import asyncio
import dataclasses
import json
import re
import time
from collections.abc import AsyncIterator
from types import MappingProxyType

import aiohttp
import openai
import pytest
from fake_wire_worker import FakeWorker, answer_text, letter_tokenizer
from gateway_rig import Rig, policy, tenant

from tierline.api.policy import ModelPolicy
from tierline.wire.frames import AdapterState
from tierline_gateway.front.servers import GatewayServers
from tierline_gateway.policy_source import PolicySnapshot, StaticPolicySource
from tierline_gateway.service import GatewayService
from tierline_gateway.workers.discovery import StaticDiscovery


class Fleets:
    """A `FleetSource` that remembers whose workers were asked for."""

    def __init__(self) -> None:
        self.followed: dict[str, StaticDiscovery] = {}

    def open(self, fleet: str) -> StaticDiscovery:
        return self.followed.setdefault(fleet, StaticDiscovery())

    def close(self, fleet: str) -> None:
        del self.followed[fleet]


def serving(*names: str, **changes: object) -> PolicySnapshot:
    """Return a policy of fleet `fleet`, whose model is `m`, and further fleets with models of their own names."""
    snapshot = policy(tenants=[tenant("acme", **changes), tenant("zeta")])
    models = {"m": snapshot.policy.models["m"]}
    models |= {name: ModelPolicy("demo", name, name, f"file:///{name}", models["m"].tiers) for name in names}
    return PolicySnapshot(dataclasses.replace(snapshot.policy, models=MappingProxyType(models)), snapshot.keys)


@dataclasses.dataclass
class TwoFleets(Rig):
    """The rig with a guest, `code`; `worker` serves the own fleet's model, `coder` that of the guest."""

    fleets: Fleets = dataclasses.field(default_factory=Fleets)

    @property
    def guest(self):
        return self.service.fleets.find("code")

    async def add_coder(self, name: str = "coder", **options: object) -> FakeWorker:
        coder = self.workers[name] = FakeWorker(name, **options)
        self.fleets.followed["code"].workers.append(await coder.start())
        self.service.tick()
        await self.until(lambda: (link := self.guest.links.get(name)) is not None and link.up)
        return coder

    async def admin(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(self.admin_url + path) as answer:
            return answer.status, await answer.text()

    async def metrics(self) -> str:
        return (await self.admin("/metrics"))[1]

    async def complete(self, model: str, tokens: int = 3, key: str = "key-acme") -> str:
        done = await self.client(key).completions.create(model=model, prompt="hi", max_tokens=tokens)
        return done.choices[0].text


@pytest.fixture
async def both() -> AsyncIterator[TwoFleets]:
    fleets, source, discovery = Fleets(), StaticPolicySource(serving("code")), StaticDiscovery()
    service = GatewayService(source, discovery, "demo/gw-0", fleet="fleet", source=fleets)
    servers = GatewayServers(service)
    await servers.start("127.0.0.1", 0, 0)
    service.start()
    for fleet in service.fleets:
        fleet.tokenizer = letter_tokenizer()
    made = TwoFleets(source, discovery, service, servers, fleets=fleets)
    yield made
    await made.close()


async def test_the_model_picks_the_workers(both: TwoFleets) -> None:
    worker, coder = await both.add_worker(FakeWorker("w0")), await both.add_coder()
    assert [each.id for each in (await both.client().models.list()).data] == ["code", "m"]
    assert await both.complete("m") == await both.complete("code") == answer_text(3)
    assert (len(worker.submits), len(coder.submits)) == (1, 1)


async def test_an_unknown_model_is_told_what_there_is(both: TwoFleets) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist here; set 'model' to one of: code, m"):
        await both.complete("chat")


async def test_a_fleet_without_workers_holds_its_own_requests_only(both: TwoFleets) -> None:
    """As a fleet at zero does: what waits for it shows in its own figures, by which it is woken."""
    await both.add_worker(FakeWorker("w0"))
    asked_s = time.time()
    waiting = asyncio.create_task(both.complete("code"))
    await both.until(lambda: len(both.guest.dispatcher.queue) == 1)
    assert await both.complete("m") == answer_text(3)
    told = await both.metrics()
    assert 'tierline_gateway_queue_requests{model="code",tier="interactive"} 1.0' in told
    assert 'tierline_gateway_queue_requests{model="m"' not in told
    (due_s,) = re.findall(r"^tierline_gateway_queue_due_timestamp_seconds{.*} (.+)$", told, re.MULTILINE)
    assert asked_s + 0.99 <= float(due_s) <= time.time() + 1.0
    assert 'tierline_gateway_requests_total{model="m",outcome="length",tenant="acme",tier="interactive"} 1.0' in told
    await both.add_coder()
    assert await waiting == answer_text(3)


async def test_a_fleet_that_cannot_be_read_is_refused_alone(both: TwoFleets) -> None:
    await both.add_worker(FakeWorker("w0"))
    both.guest.tokenizer, both.guest.problem = None, "its tokenizer cannot be loaded (no file)"
    with pytest.raises(openai.InternalServerError, match=r"Fleet code cannot be served now: its tokenizer.*no file"):
        await both.complete("code")
    assert await both.complete("m") == answer_text(3)
    status, text = await both.admin("/readyz")
    assert (status, "fleet code is not served: its tokenizer" in text) == (200, True)


async def test_a_clockwork_that_fails_for_one_fleet_goes_on_for_the_other(both: TwoFleets, monkeypatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(both.guest.links, "sync", broken)
    await both.add_worker(FakeWorker("w0"))
    assert await both.complete("m") == answer_text(3)
    assert await both.admin("/livez") == (200, "ok")


async def test_fleets_join_and_leave_while_others_stream(both: TwoFleets) -> None:
    worker, coder = await both.add_worker(FakeWorker("w0")), await both.add_coder()
    coder.gate.clear()
    running = asyncio.create_task(both.complete("code"))
    await both.until(lambda: bool(coder.held))
    both.source.current = serving("chat")
    await both.until(lambda: both.service.fleets.find("chat") is not None)
    with pytest.raises(openai.NotFoundError, match="set 'model' to one of: chat, m"):
        await both.complete("code")
    assert both.guest is not None
    coder.gate.set()
    assert await running == answer_text(3)
    await both.until(lambda: both.guest is None)
    assert sorted(both.fleets.followed) == ["chat"]
    assert await both.complete("m") == answer_text(3)
    assert len(worker.submits) == 1


async def test_a_request_is_explained_by_its_own_fleet(both: TwoFleets) -> None:
    await both.add_worker(FakeWorker("w0"))
    await both.add_coder()
    await both.complete("m")
    made = await both.client().completions.with_raw_response.create(model="code", prompt="hi", max_tokens=3)
    status, text = await both.admin(f"/debug/explain/{made.headers['x-request-id']}")
    told = json.loads(text)
    assert (status, told["request"]["fleet"], told["request"]["model"]) == (200, "code", "code")
    assert [dispatch["route"]["chosen"] for dispatch in told["dispatches"]] == ["coder"]
    assert [dispatch["before"]["requests"] for dispatch in told["dispatches"]] == [0]


async def test_an_adapter_is_found_where_it_is_served(both: TwoFleets) -> None:
    both.source.current = serving("code", adapters=("style", "sql"))
    await both.add_worker(FakeWorker("w0", adapters=(AdapterState("style", resident=True),)))
    coder = await both.add_coder(adapters=(AdapterState("style", resident=True), AdapterState("sql", resident=True)))
    await both.until(lambda: both.guest.links.adapters == {"style", "sql"})
    listed = [each.id for each in (await both.client().models.list()).data]
    assert listed == ["code", "m", "code:style", "m:style", "sql"]
    assert await both.complete("sql") == answer_text(3)
    assert coder.submits[-1].adapter == "sql"
    with pytest.raises(openai.NotFoundError, match="set 'model' to one of: code, code:style, m, m:style, sql"):
        await both.complete("style")


async def test_what_a_tenant_gets_of_one_model_counts_at_the_other(both: TwoFleets) -> None:
    await both.add_worker(FakeWorker("w0"))
    await both.add_coder()
    await both.complete("code", key="key-zeta")
    await both.complete("code")
    counters = both.guest.dispatcher.queue.counters
    before = counters.of("acme"), counters.of("zeta")
    await both.complete("m", tokens=20)
    assert counters.of("acme") - before[0] >= 2 + 20
    assert counters.of("zeta") == before[1]


async def test_concurrent_requests_are_limited_over_all_models(both: TwoFleets) -> None:
    both.source.current = serving("code", max_concurrent_requests=1)
    worker, _ = await both.add_worker(FakeWorker("w0")), await both.add_coder()
    worker.gate.clear()
    running = asyncio.create_task(both.complete("m"))
    await both.until(lambda: bool(worker.held))
    with pytest.raises(openai.RateLimitError, match="maxConcurrentRequests"):
        await both.complete("code")
    assert await both.complete("code", key="key-zeta") == answer_text(3)
    worker.gate.set()
    assert await running == answer_text(3)
    assert await both.complete("code") == answer_text(3)
