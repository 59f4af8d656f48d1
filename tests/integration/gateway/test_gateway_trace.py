"""A day that a gateway recorded is replayed offline against other tiers."""

import asyncio
import json
from pathlib import Path

import aiohttp
import openai
import pytest
import yaml
from gateway_rig import policy, tenant

from tierline.sim.ladder import LADDER
from tierline.sim.run import SimulationResult, simulate
from tierline.sim.scenario import load_scenario

SCENARIO = {
    "name": "recorded",
    "seconds": 60,
    "tenants": [{"name": "acme"}, {"name": "zeta"}],
    "workers": {
        "count": 1,
        "engine": {"kvCacheBlocks": 64, "blockTokens": 16, "maxRunningRequests": 1, "maxModelTokens": 512},
        "latency": {
            "iterationMs": 50,
            "prefillTokenMs": 1,
            "attentionPairMs": 0,
            "decodeMs": 1,
            "kvTokenMs": 0,
        },
    },
    "traffic": [{"trace": "day.jsonl"}],
}


async def fetch_trace(rig, query: str = "") -> list[str]:
    async with aiohttp.ClientSession() as session, session.get(f"{rig.admin_url}/debug/trace{query}") as answer:
        assert answer.status == 200
        return (await answer.text()).splitlines()


async def record(rig) -> list[str]:
    """Serve some requests of two tenants, refuse one, and return the trace."""
    acme, zeta = rig.client(), rig.client("key-zeta")
    asked = [acme.completions.create(model="m", prompt="hello", max_tokens=20) for _ in range(6)]
    headers = {"x-tierline-tier": "batch"}
    asked += [zeta.completions.create(model="m", prompt="hi", max_tokens=30, extra_headers=headers) for _ in range(3)]
    await asyncio.gather(*asked)
    rig.source.current = policy(tenants=[tenant("acme", max_concurrent_requests=0), tenant("zeta")])
    with pytest.raises(openai.RateLimitError):
        await acme.completions.create(model="m", prompt="refused", max_tokens=500)
    return await fetch_trace(rig)


def replay(folder: Path, max_queue_ms: int) -> SimulationResult:
    admission = {"overload": "Reject", "maxQueueMilliseconds": max_queue_ms}
    tiers = [
        {"name": "interactive", "spec": {"objective": "Latency", "priority": 100, "admission": admission}},
        {"name": "batch", "spec": {"objective": "Throughput", "priority": 10}},
    ]
    (folder / "scenario.yaml").write_text(yaml.safe_dump(SCENARIO | {"tiers": tiers}))
    scenario = load_scenario(folder / "scenario.yaml")
    return simulate(scenario, LADDER["tierline"], 1, folder)


async def test_a_recorded_day_against_changed_tiers(rig, worker, tmp_path) -> None:
    lines = await record(rig)
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 10
    assert {row["outcome"] for row in rows} == {"length", "refused"}
    assert {(row["tenant"], row["tier"]) for row in rows} == {("acme", "interactive"), ("zeta", "batch")}
    assert "hello" not in "".join(lines)
    (tmp_path / "day.jsonl").write_text("\n".join(lines))
    patient, hasty = replay(tmp_path, 60_000), replay(tmp_path, 0)
    wanted = sorted((request.planned.tenant, request.planned.output_tokens) for request in patient.fleet_run.requests)
    # What was refused shows no length of its own: it gets its tenant's median.
    assert wanted == [("acme", 20)] * 7 + [("zeta", 30)] * 3
    served = [sum(record.outcome == "ok" for record in result.records) for result in (patient, hasty)]
    assert served[0] == 10
    assert 1 <= served[1] < 10


async def test_a_trace_since_a_moment(rig, worker) -> None:
    rows = [json.loads(line) for line in await record(rig)]
    middle = sorted(row["arrival_seconds"] for row in rows)[-2]
    later = [json.loads(line) for line in await fetch_trace(rig, f"?since={middle}")]
    assert [row["outcome"] for row in later] == ["refused"]
    async with aiohttp.ClientSession() as session, session.get(f"{rig.admin_url}/debug/trace?since=x") as answer:
        assert answer.status == 400
