"""Answers that come later: stored before they are promised, pollable by their tenant alone, kept over a restart."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from fake_wire_worker import FakeWorker, answer_text
from gateway_rig import policy, tenant, tier
from later_rig import LaterRig, opened
from prometheus_client import generate_latest

from tierline_gateway.deferred import holding
from tierline_gateway.deferred import tickets as limits

ASK = {"model": "m", "prompt": "hi", "max_tokens": 5}


async def ask(rig: LaterRig, body=None, key: str = "key-acme", **headers: str) -> tuple[int, dict, dict]:
    sent = {"Authorization": f"Bearer {key}", "Prefer": "respond-async", **headers}
    async with rig.session.post(f"{rig.url}/v1/completions", json=body or ASK, headers=sent) as response:
        return response.status, dict(response.headers), await response.json()


async def end_of(rig: LaterRig, path: str) -> dict:
    async with asyncio.timeout(10):
        while True:
            _, _, seen = await rig.see(path)
            if seen["status"] not in ("queued", "running"):
                return seen
            await asyncio.sleep(0.01)


@pytest.fixture
async def rig(tmp_path) -> AsyncIterator[LaterRig]:
    made = await opened(tmp_path)
    yield made
    await made.close()


async def test_a_client_that_prefers_it_gets_a_ticket_and_later_the_very_answer(rig) -> None:
    await rig.add_worker(FakeWorker("w0"))
    status, headers, ticket = await ask(rig)
    assert status == 202
    assert headers["Location"] == f"/v1/requests/{ticket['id']}"
    assert headers["Preference-Applied"] == "respond-async"
    assert int(headers["Retry-After"]) >= 1
    assert ticket["status"] == "queued"
    assert ticket["eta_seconds"] >= 0
    done = await end_of(rig, headers["Location"])
    assert (done["status"], done["http_status"]) == ("done", 200)
    assert done["response"]["object"] == "text_completion"
    assert done["response"]["choices"][0]["text"] == answer_text(5)
    exposed = generate_latest(rig.service.own.instruments.registry).decode()
    assert "tierline_gateway_eta_relative_error_count 1.0" in exposed


async def test_without_the_preference_the_client_waits(rig) -> None:
    await rig.add_worker(FakeWorker("w0"))
    status, _, answer = await ask(rig, Prefer="handling=lenient")
    assert (status, answer["object"]) == (200, "text_completion")


async def test_a_restarted_gateway_loses_no_ticket(tmp_path) -> None:
    first = await opened(tmp_path)
    locations = [(await ask(first))[1]["Location"] for _ in range(5)]
    await first.close()
    second = await opened(tmp_path)
    try:
        _, _, seen = await second.see(locations[0])
        assert seen["status"] in ("queued", "running"), "nothing could answer it yet"
        await second.add_worker(FakeWorker("w0"))
        ends = [await end_of(second, location) for location in locations]
        assert [end["status"] for end in ends] == ["done"] * 5
    finally:
        await second.close()


async def test_only_its_tenant_sees_a_ticket(rig) -> None:
    _, headers, _ = await ask(rig)
    for method in ("GET", "DELETE"):
        status, _, body = await rig.see(headers["Location"], "key-zeta", method)
        assert (status, body["error"]["code"]) == (404, "request_not_found")
    assert (await rig.see(headers["Location"]))[0] == 200


async def test_a_deleted_ticket_is_cancelled_and_forgotten(rig) -> None:
    worker = await rig.add_worker(FakeWorker("w0"))
    worker.gate.clear()
    _, headers, _ = await ask(rig)
    await worker.wait_for(lambda: len(worker.held) == 1)
    _, _, ended = await rig.see(headers["Location"], method="DELETE")
    assert ended["status"] == "cancelled"
    await worker.wait_for(lambda: not worker.held)
    assert (await rig.see(headers["Location"]))[0] == 404


async def test_bad_input_is_told_at_once_and_gives_no_ticket(rig) -> None:
    status, _, body = await ask(rig, {**ASK, "max_tokens": -1})
    assert (status, body["error"]["param"]) == (400, "max_tokens")


async def test_a_tenant_keeps_only_so_many(rig, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_TICKETS", 2)
    for _ in range(2):
        assert (await ask(rig))[0] == 202
    status, headers, body = await ask(rig)
    assert (status, headers["x-tierline-reason"]) == (429, "TooManyStoredRequests")
    assert "DELETE" in body["error"]["message"]
    assert (await ask(rig, key="key-zeta"))[0] == 202


async def test_under_overload_the_tier_decides(rig) -> None:
    """A tier that defers gives a ticket and answers it in the end; one that rejects does so here, too."""
    late = {"max_queue_ms": 300, "ttft_deadline_ms": 300}
    rig.source.current = policy(
        [tier("interactive", 100, overload="Reject", **late), tier("batch", 10, overload="Defer", **late)],
        [tenant("acme")],
    )
    rig.service.own.dispatcher.desk.rate.interval_ms = 10_000.0
    assert (await ask(rig))[0] == 202
    await rig.until(lambda: len(rig.service.own.dispatcher.queue) == 1)
    status, headers, _ = await ask(rig)
    assert (status, headers["x-tierline-reason"]) == (429, "Saturated")
    _, headers, ticket = await ask(rig, **{"x-tierline-tier": "batch"})
    assert ticket["eta_seconds"] >= 10
    await rig.add_worker(FakeWorker("w0"))
    assert (await end_of(rig, headers["Location"]))["status"] == "done"


async def test_a_ticket_made_at_one_process_is_found_and_taken_over_at_another(tmp_path, monkeypatch) -> None:
    """Two processes share a directory; the one that holds the ticket dies in the middle of its answer."""
    monkeypatch.setattr(holding, "TURN_S", 0.05)
    first, second = await opened(tmp_path, holder="g0"), await opened(tmp_path, holder="g1")
    worker = await first.add_worker(FakeWorker("w0"))
    worker.gate.clear()
    try:
        _, headers, _ = await ask(first)
        await worker.wait_for(lambda: len(worker.held) == 1)
        assert (await second.see(headers["Location"]))[0] == 200
        assert not second.later.tickets.holding.holds, "it is held by who runs it"
        await first.die()
        await second.lease_ends("ticket", "g0", headers["Location"].rpartition("/")[2])
        await second.add_worker(FakeWorker("w1"))
        assert (await end_of(second, headers["Location"]))["status"] == "done"
    finally:
        await second.close()


async def test_a_ticket_deleted_at_another_process_is_cancelled_where_it_runs(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(holding, "TURN_S", 0.05)
    first, second = await opened(tmp_path, holder="g0"), await opened(tmp_path, holder="g1")
    worker = await first.add_worker(FakeWorker("w0"))
    worker.gate.clear()
    try:
        _, headers, _ = await ask(first)
        await worker.wait_for(lambda: len(worker.held) == 1)
        await second.see(headers["Location"], method="DELETE")
        await worker.wait_for(lambda: not worker.held)
    finally:
        await first.close()
        await second.close()
