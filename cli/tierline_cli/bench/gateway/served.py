"""The gateway under test in a process of its own: the product's, with a fixed policy and fixed workers.

    python -m tierline_cli.bench.gateway.served MODEL_PATH WORKER_PORT...

prints one line of JSON, its port, once it serves, and goes on until its input ends.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from tierline.api.fleet import LLMFleet
from tierline.api.parsing import parse
from tierline.api.policy import compile_policy
from tierline.api.quota import TenantQuota
from tierline.api.tier import SLOTier
from tierline.text.load import load_tokenizer
from tierline_cli.bench.gateway.mock_answers import KEY, MODEL
from tierline_cli.bench.gateway.until_input_ends import until_input_ends
from tierline_gateway.front.servers import GatewayServers
from tierline_gateway.garbage import Garbage
from tierline_gateway.keys import KeyTable, key_digest
from tierline_gateway.policy_source import PolicySnapshot, StaticPolicySource
from tierline_gateway.service import GatewayService
from tierline_gateway.workers.discovery import StaticDiscovery, WorkerEndpoint

_TENANT = "bench"


def fixed_policy() -> PolicySnapshot:
    """Return one tenant without limits and one tier that lets requests wait."""
    tier = {"metadata": {"name": "standard"}, "spec": {"objective": "Throughput", "priority": 10}}
    quota = {
        "metadata": {"name": _TENANT, "namespace": "bench"},
        "spec": {
            "tenant": _TENANT,
            "billingTier": "paid",
            "tierRefs": ["standard"],
            "apiKeySecretRefs": [{"name": "key", "key": "key"}],
        },
    }
    fleet = {
        "metadata": {"name": "bench", "namespace": "bench"},
        "spec": {
            "model": {"source": "file:///mock", "servedName": MODEL},
            "tierRefs": ["standard"],
            "pools": [{"name": "mock", "replicas": {"min": 1, "max": 1}}],
        },
    }
    compiled = compile_policy([parse(SLOTier, tier)], [parse(TenantQuota, quota)], [parse(LLMFleet, fleet)])
    return PolicySnapshot(compiled, KeyTable({key_digest(KEY): _TENANT}))


async def serve(model_path: Path, ports: Sequence[int]) -> None:
    workers = [WorkerEndpoint(f"mock-{port}", "127.0.0.1", port) for port in ports]
    service = GatewayService(StaticPolicySource(fixed_policy()), StaticDiscovery(workers), "bench/gateway")
    service.own.tokenizer = load_tokenizer(model_path)
    servers = GatewayServers(service)
    await servers.start("127.0.0.1", 0, 0)
    service.start()
    while not all(link.up for link in service.own.links):  # noqa: ASYNC110 - the gateway tells nobody
        await asyncio.sleep(0.01)
    garbage = asyncio.create_task(Garbage(lambda: service.at_rest).run())
    print(json.dumps({"port": servers.http_port, "admin_port": servers.admin_port}), flush=True)  # noqa: T201 - as above
    await until_input_ends()
    garbage.cancel()
    await servers.stop()
    await service.stop()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
