"""The gateway's process."""

import asyncio
import logging
import os
import secrets
import signal
import sys
from functools import partial

import uvloop

from tierline_gateway.batches.storage_limits import MEBIBYTE, StorageLimits
from tierline_gateway.deferred.later import Later
from tierline_gateway.deferred.redis_store import RedisRecords
from tierline_gateway.deferred.sqlite_store import SQLiteStore
from tierline_gateway.deferred.store import RecordStore, StoreUnavailable
from tierline_gateway.front.api_errors import unavailable
from tierline_gateway.front.servers import GatewayServers
from tierline_gateway.garbage import Garbage
from tierline_gateway.kube.access import KubeAccess, KubeAccessError
from tierline_gateway.kube.client import KubeClient
from tierline_gateway.kube.fleet_workers import FleetWorkers
from tierline_gateway.kube.policy import KubePolicySource
from tierline_gateway.pod.supervisor import Supervisor
from tierline_gateway.served.tokenizers import TokenizerLoader
from tierline_gateway.service import GatewayService
from tierline_gateway.settings import Settings, SettingsError, read_settings
from tierline_gateway.shared.redis_store import RedisStore
from tierline_gateway.shared.socket_store import SocketStore
from tierline_gateway.shared.store import SharedStore

log = logging.getLogger(__name__)

ENDPOINTS_LAG_S = 1.0
"""Time in which load balancers learn that we are not ready, before the port closes."""


def main() -> None:
    """Run until SIGTERM; exits with a readable message when the environment is wrong."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = read_settings(os.environ)
        access = KubeAccess(os.environ)
    except (SettingsError, KubeAccessError) as error:
        sys.exit(f"tierline-gateway: {error}")
    try:
        uvloop.run(supervise(settings) if settings.processes > 1 else serve(settings, access))
    except StoreUnavailable as error:
        sys.exit(f"tierline-gateway: {error}")


async def supervise(settings: Settings) -> None:
    """Keep several gateway processes running until SIGTERM or SIGINT, then let them finish open streams."""
    supervisor = Supervisor(settings.processes)
    await supervisor.run(settings.bind_host, settings.admin_port, _told_to_stop())


def _told_to_stop() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def serve(settings: Settings, access: KubeAccess) -> None:
    """Serve until SIGTERM or SIGINT, then finish open streams and return."""
    stop = _told_to_stop()
    client = KubeClient(access)
    policy = KubePolicySource(client, settings.namespace, settings.fleet)
    workers = FleetWorkers(client, settings.namespace)
    service = GatewayService(
        policy, workers.open(settings.fleet), settings.gateway_id, fleet=settings.fleet, source=workers
    )
    # What is known under the name of this life is not taken over by a later process.
    life = f"{settings.gateway_id}/{secrets.token_hex(8)}"
    if settings.state_store_url or settings.pod_process is not None:
        service.share(partial(_store, settings), life)
    process = settings.pod_process
    later = _later(service, settings, life)
    servers = GatewayServers(service, later)
    admin = process.admin_socket if process is not None else settings.admin_port
    await servers.start(settings.bind_host, settings.http_port, admin)
    service.start()
    jobs = [
        policy.run(),
        TokenizerLoader(service, settings.cache_dir).run(),
        Garbage(lambda: service.at_rest).run(),
        *(feed.run() for feed in policy.feeds),
    ]
    if later is not None:
        jobs.append(later.run())
    tasks = [asyncio.create_task(job) for job in jobs]
    log.info("gateway of fleet %s/%s listens on port %d", settings.namespace, settings.fleet, servers.http_port)
    await _until(stop, tasks)
    await _shut_down(service, servers, settings, later)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if later is not None:
        await later.close()
    workers.close_all()
    await client.close()


def _later(service: GatewayService, settings: Settings, life: str) -> Later | None:
    store = _records(settings)
    limits = StorageLimits(total_bytes=settings.stored_mebibytes * MEBIBYTE)
    return Later(service, store, life, limits) if store is not None else None


def _records(settings: Settings) -> RecordStore | None:
    """Return where answers are kept that come later: a directory of the pod, or what all gateways reach."""
    if settings.state_dir is not None:
        return SQLiteStore(settings.state_dir)
    if settings.state_store_url:
        fleet = f"{settings.namespace}/{settings.fleet}"
        return RedisRecords(settings.state_store_url, fleet, settings.state_store_password or None)
    return None


def _store(settings: Settings, fleet: str) -> SharedStore:
    """Return what gateways share of a fleet by: their store, or what the processes of this pod have between them."""
    if settings.state_store_url or settings.pod_process is None:
        named = f"{settings.namespace}/{fleet}"
        return RedisStore(settings.state_store_url, named, settings.state_store_password or None)
    return SocketStore(settings.pod_process.state_socket, "" if fleet == settings.fleet else fleet)


async def _until(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for the signal; a job that ends by itself is a bug and must not go unnoticed."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in done - {stopped}:
        log.error("a job of the gateway ended: %r", task.exception())


async def _shut_down(service: GatewayService, servers: GatewayServers, settings: Settings, later: Later | None) -> None:
    service.draining = True
    if later is not None:
        # Nobody waits for these, and another process can go on at once.
        await later.stop()
    await asyncio.sleep(ENDPOINTS_LAG_S)
    await servers.stop_accepting()
    if not await service.drained(settings.drain_seconds):
        log.warning("streams were still open after %d s", settings.drain_seconds)
        service.abandon(unavailable("The gateway had to shut down; send the request again.", "ShuttingDown", 1))
    await servers.stop()
    await service.stop()


if __name__ == "__main__":
    main()
