"""Answers that come later: stored before they are promised, pollable by their tenant alone, kept over a restart."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from fake_wire_worker import FakeWorker, answer_text, letter_tokenizer
from gateway_rig import Rig, policy, tenant, tier
from prometheus_client import generate_latest

from tierline_gateway.deferred import tickets as limits
from tierline_gateway.deferred.later import Later
from tierline_gateway.front.servers import GatewayServers
from tierline_gateway.policy_source import StaticPolicySource
from tierline_gateway.service import GatewayService
from tierline_gateway.workers.discovery import StaticDiscovery

ASK = {"model": "m", "prompt": "hi", "max_tokens": 5}


class LaterRig(Rig):
    later: Later
    session: aiohttp.ClientSession

    async def ask(self, body=None, key: str = "key-acme", **headers: str) -> tuple[int, dict, dict]:
        sent = {"Authorization": f"Bearer {key}", "Prefer": "respond-async", **headers}
        async with self.session.post(f"{self.url}/v1/completions", json=body or ASK, headers=sent) as response:
            return response.status, dict(response.headers), await response.json()

    async def see(self, path: str, key: str = "key-acme", method: str = "GET") -> tuple[int, dict, dict]:
        sent = {"Authorization": f"Bearer {key}"}
        async with self.session.request(method, self.url + path, headers=sent) as response:
            return response.status, dict(response.headers), await response.json()

    async def end_of(self, path: str) -> dict:
        async with asyncio.timeout(10):
            while True:
                _, _, seen = await self.see(path)
                if seen["status"] not in ("queued", "running"):
                    return seen
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        await self.session.close()
        await super().close()
        await self.later.close()


async def opened(directory) -> LaterRig:
    source, discovery = StaticPolicySource(policy()), StaticDiscovery()
    service = GatewayService(source, discovery, "demo/gw-0", fleet="fleet")
    service.own.tokenizer = letter_tokenizer()
    later = Later.kept_in(service, directory)
    servers = GatewayServers(service, later.endpoints)
    await servers.start("127.0.0.1", 0, 0)
    service.start()
    await later.tickets.start()
    rig = LaterRig(source, discovery, service, servers)
    rig.later, rig.session = later, aiohttp.ClientSession()
    return rig


@pytest.fixture
async def rig(tmp_path) -> AsyncIterator[LaterRig]:
    made = await opened(tmp_path)
    yield made
    await made.close()


async def test_a_client_that_prefers_it_gets_a_ticket_and_later_the_very_answer(rig) -> None:
    await rig.add_worker(FakeWorker("w0"))
    status, headers, ticket = await rig.ask()
    assert status == 202
    assert headers["Location"] == f"/v1/requests/{ticket['id']}"
    assert headers["Preference-Applied"] == "respond-async"
    assert int(headers["Retry-After"]) >= 1
    assert ticket["status"] == "queued"
    assert ticket["eta_seconds"] >= 0
    done = await rig.end_of(headers["Location"])
    assert (done["status"], done["http_status"]) == ("done", 200)
    assert done["response"]["object"] == "text_completion"
    assert done["response"]["choices"][0]["text"] == answer_text(5)
    exposed = generate_latest(rig.service.own.instruments.registry).decode()
    assert "tierline_gateway_eta_relative_error_count 1.0" in exposed


async def test_without_the_preference_the_client_waits(rig) -> None:
    await rig.add_worker(FakeWorker("w0"))
    status, _, answer = await rig.ask(Prefer="handling=lenient")
    assert (status, answer["object"]) == (200, "text_completion")


async def test_a_restarted_gateway_loses_no_ticket(tmp_path) -> None:
    first = await opened(tmp_path)
    locations = [(await first.ask())[1]["Location"] for _ in range(5)]
    await first.close()
    second = await opened(tmp_path)
    try:
        _, _, seen = await second.see(locations[0])
        assert seen["status"] in ("queued", "running"), "nothing could answer it yet"
        await second.add_worker(FakeWorker("w0"))
        ends = [await second.end_of(location) for location in locations]
        assert [end["status"] for end in ends] == ["done"] * 5
    finally:
        await second.close()


async def test_only_its_tenant_sees_a_ticket(rig) -> None:
    _, headers, _ = await rig.ask()
    for method in ("GET", "DELETE"):
        status, _, body = await rig.see(headers["Location"], "key-zeta", method)
        assert (status, body["error"]["code"]) == (404, "request_not_found")
    assert (await rig.see(headers["Location"]))[0] == 200


async def test_a_deleted_ticket_is_cancelled_and_forgotten(rig) -> None:
    worker = await rig.add_worker(FakeWorker("w0"))
    worker.gate.clear()
    _, headers, _ = await rig.ask()
    await worker.wait_for(lambda: len(worker.held) == 1)
    _, _, ended = await rig.see(headers["Location"], method="DELETE")
    assert ended["status"] == "cancelled"
    await worker.wait_for(lambda: not worker.held)
    assert (await rig.see(headers["Location"]))[0] == 404


async def test_bad_input_is_told_at_once_and_gives_no_ticket(rig) -> None:
    status, _, body = await rig.ask({**ASK, "max_tokens": -1})
    assert (status, body["error"]["param"]) == (400, "max_tokens")


async def test_a_tenant_keeps_only_so_many(rig, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_TICKETS", 2)
    for _ in range(2):
        assert (await rig.ask())[0] == 202
    status, headers, body = await rig.ask()
    assert (status, headers["x-tierline-reason"]) == (429, "TooManyStoredRequests")
    assert "DELETE" in body["error"]["message"]
    assert (await rig.ask(key="key-zeta"))[0] == 202


async def test_under_overload_the_tier_decides(rig) -> None:
    """A tier that defers gives a ticket and answers it in the end; one that rejects does so here, too."""
    late = {"max_queue_ms": 300, "ttft_deadline_ms": 300}
    rig.source.current = policy(
        [tier("interactive", 100, overload="Reject", **late), tier("batch", 10, overload="Defer", **late)],
        [tenant("acme")],
    )
    rig.service.own.dispatcher.desk.rate.interval_ms = 10_000.0
    assert (await rig.ask())[0] == 202
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 1)
    status, headers, _ = await rig.ask()
    assert (status, headers["x-tierline-reason"]) == (429, "Saturated")
    _, headers, ticket = await rig.ask(**{"x-tierline-tier": "batch"})
    assert ticket["eta_seconds"] >= 10
    await rig.add_worker(FakeWorker("w0"))
    assert (await rig.end_of(headers["Location"]))["status"] == "done"
