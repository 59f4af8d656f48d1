"""The product's gateway in a process of its own, with a scenario's tiers and tenants, before given workers.

    python -m tierline_cli.bench.scenario.served SCENARIO MODEL_PATH WORKER_PORT...

prints one line of JSON, its port, once it is connected to all of them, and goes on until its input ends. Each tenant's
API key is its name.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import uvloop

from tierline.api.policy import ModelPolicy
from tierline.sim.run import compiled_tiers, tenant_policy
from tierline.sim.scenario import Scenario, load_scenario
from tierline.text.load import load_tokenizer
from tierline_cli.bench.gateway.until_input_ends import until_input_ends
from tierline_gateway.front.servers import GatewayServers
from tierline_gateway.keys import KeyTable, key_digest
from tierline_gateway.policy_source import PolicySnapshot, StaticPolicySource
from tierline_gateway.service import GatewayService
from tierline_gateway.workers.discovery import StaticDiscovery, WorkerEndpoint

MODEL: Final = "model"


def scenario_policy(scenario: Scenario) -> PolicySnapshot:
    """Return what a gateway would learn from the resources that the scenario stands for."""
    compiled = compiled_tiers(scenario)
    tiers = tuple(compiled.tiers)
    tenants = {tenant.name: tenant_policy(tenant, tiers) for tenant in scenario.tenants}
    model = ModelPolicy("bench", "bench", MODEL, "", tiers)
    policy = replace(compiled, tenants=MappingProxyType(tenants), models=MappingProxyType({MODEL: model}))
    return PolicySnapshot(policy, KeyTable({key_digest(name): name for name in tenants}))


async def serve(scenario: Scenario, model_path: Path, ports: Sequence[int]) -> None:
    workers = [WorkerEndpoint(f"worker-{number}", "127.0.0.1", port) for number, port in enumerate(ports)]
    service = GatewayService(StaticPolicySource(scenario_policy(scenario)), StaticDiscovery(workers), "bench/gateway")
    service.own.tokenizer = load_tokenizer(model_path)
    servers = GatewayServers(service)
    await servers.start("127.0.0.1", 0, 0)
    service.start()
    while not all(link.up for link in service.own.links):  # noqa: ASYNC110 - the gateway tells nobody
        await asyncio.sleep(0.05)
    print(json.dumps({"port": servers.http_port}), flush=True)  # noqa: T201 - whoever started this reads it
    await until_input_ends()
    await servers.stop()
    await service.stop()


if __name__ == "__main__":
    uvloop.run(serve(load_scenario(Path(sys.argv[1])), Path(sys.argv[2]), [int(port) for port in sys.argv[3:]]))
