"""A gateway in a process of its own, with the tests' tokenizer, a worker on a port, and tenants of any weight.

    python tests/support/gateway_process.py NAME STORE_URL WORKER_PORT TENANT=WEIGHT...

prints its ports and serves until it is told to end. As one of a pod's processes it takes the pod's HTTP port in place
of the store's URL, and the sockets from its environment.
"""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import uvloop
from fake_wire_worker import letter_tokenizer
from gateway_rig import policy, tenant, tier

from tierline_gateway.deferred.later import Later
from tierline_gateway.deferred.sqlite_store import SQLiteStore
from tierline_gateway.front.servers import GatewayServers
from tierline_gateway.policy_source import StaticPolicySource
from tierline_gateway.service import GatewayService
from tierline_gateway.shared.redis_store import RedisStore
from tierline_gateway.shared.socket_store import SocketStore
from tierline_gateway.workers.discovery import StaticDiscovery, WorkerEndpoint

ALLOWED_DIFFERENCE_TOKENS = 20


def a_tenant(declared: str):
    """NAME=WEIGHT or NAME=WEIGHT,requests-per-minute."""
    name, _, numbers = declared.partition("=")
    weight, *limit = (int(number) for number in numbers.split(","))
    made = tenant(name, weight=weight, max_service_difference_tokens=ALLOWED_DIFFERENCE_TOKENS)
    return replace(made, requests_per_minute=limit[0]) if limit else made


async def serve(name: str, store_url: str, worker_port: int, tenants: list[str]) -> None:
    patient = tier("interactive", 100, max_queue_ms=600_000, ttft_deadline_ms=600_000)
    source = StaticPolicySource(policy([patient, tier("batch", 1)], [a_tenant(declared) for declared in tenants]))
    discovery = StaticDiscovery([WorkerEndpoint("w", "127.0.0.1", worker_port)])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    process = os.environ.get("TIERLINE_GATEWAY_PROCESS", "")
    service = GatewayService(source, discovery, name + process)
    service.own.tokenizer = letter_tokenizer()
    socket = Path(os.environ["TIERLINE_STATE_SOCKET"]) if process else None
    service.share(
        lambda _: SocketStore(socket) if socket else RedisStore(store_url, "demo/fleet"),
        f"{name}{process}/{os.getpid()}",
    )
    kept = os.environ.get("TIERLINE_STATE_DIR")
    later = Later(service, SQLiteStore(Path(kept)), f"{name}{process}/{os.getpid()}") if kept else None
    servers = GatewayServers(service, later)
    if process:
        await servers.start("127.0.0.1", int(store_url), Path(os.environ["TIERLINE_ADMIN_SOCKET"]))
    else:
        await servers.start("127.0.0.1", 0, 0)
    service.start()
    print(servers.http_port, servers.admin_port, flush=True)  # noqa: T201 - the test reads it
    working = asyncio.create_task(later.run()) if later else None
    await stop.wait()
    if later and working:
        working.cancel()
        await later.stop()
    await service.drained(5)
    await servers.stop()
    await service.stop()
    if later:
        await later.close()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
