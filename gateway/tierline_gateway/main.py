"""The gateway's process."""

import asyncio
import logging
import os
import secrets
import signal
import sys

import uvloop

from tierline.api.policy import ModelPolicy
from tierline.artifacts import ModelSourceError, resolve
from tierline.text.load import load_tokenizer
from tierline.text.tokenizer import Tokenizer, TokenizerError
from tierline_gateway.deferred.later import Later
from tierline_gateway.front.api_errors import unavailable
from tierline_gateway.front.servers import GatewayServers
from tierline_gateway.kube.access import KubeAccess, KubeAccessError
from tierline_gateway.kube.client import KubeClient
from tierline_gateway.kube.discovery import PodDiscovery
from tierline_gateway.kube.policy import KubePolicySource
from tierline_gateway.pod.supervisor import Supervisor
from tierline_gateway.service import GatewayService
from tierline_gateway.settings import Settings, SettingsError, read_settings
from tierline_gateway.shared.redis_store import RedisStore
from tierline_gateway.shared.socket_store import SocketStore
from tierline_gateway.shared.store import SharedStore

log = logging.getLogger(__name__)

RETRY_S = 5.0
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
    uvloop.run(supervise(settings) if settings.processes > 1 else serve(settings, access))


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
    discovery = PodDiscovery(client, settings.namespace, settings.fleet)
    service = GatewayService.over(policy, discovery, settings.gateway_id)
    store = _store(settings)
    if store is not None:
        service.share(store, f"{settings.gateway_id}/{secrets.token_hex(8)}")
    process = settings.pod_process
    later = Later.kept_in(service, settings.state_dir) if settings.state_dir and process is None else None
    servers = GatewayServers(service, later.endpoints if later else None)
    admin = process.admin_socket if process is not None else settings.admin_port
    await servers.start(settings.bind_host, settings.http_port, admin)
    service.start()
    jobs = [
        policy.run(),
        load_tokenizer_of(service, settings),
        *(feed.run() for feed in (*policy.feeds, discovery.feed)),
    ]
    if later is not None:
        jobs.append(later.run())
    tasks = [asyncio.create_task(job) for job in jobs]
    log.info("gateway of fleet %s/%s listens on port %d", settings.namespace, settings.fleet, servers.http_port)
    await _until(stop, tasks)
    await _shut_down(service, servers, settings)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if later is not None:
        await later.close()
    await client.close()


def _store(settings: Settings) -> SharedStore | None:
    """Return what gateways share by: the fleet's store, or what the processes of this pod have between them."""
    if settings.state_store_url:
        fleet = f"{settings.namespace}/{settings.fleet}"
        return RedisStore(settings.state_store_url, fleet, settings.state_store_password or None)
    return SocketStore(settings.pod_process.state_socket) if settings.pod_process is not None else None


async def load_tokenizer_of(service: GatewayService, settings: Settings) -> None:
    """Load the tokenizer of the fleet's model as soon as it is known, and again when the model's source changes."""
    loaded = ""
    while True:
        model = _model(service, settings)
        if model is not None and model.source != loaded:
            tokenizer = await _load(model, settings)
            if tokenizer is not None:
                service.tokenizer, loaded = tokenizer, model.source
        await asyncio.sleep(RETRY_S if model is not None else 0.1)


def _model(service: GatewayService, settings: Settings) -> ModelPolicy | None:
    snapshot = service.policy_source.current
    models = snapshot.policy.models.values() if snapshot else ()
    return next((model for model in models if model.fleet == settings.fleet), None)


async def _load(model: ModelPolicy, settings: Settings) -> Tokenizer | None:
    try:
        path = await asyncio.to_thread(resolve, model.source, settings.cache_dir)
        return await asyncio.to_thread(load_tokenizer, path)
    except (ModelSourceError, TokenizerError, OSError) as error:
        log.error("the tokenizer cannot be loaded, trying again in %g s: %s", RETRY_S, error)
    except Exception:
        # A model's files are foreign: what they break in a loader must not end a gateway with open streams.
        log.exception("the tokenizer cannot be loaded, trying again in %g s", RETRY_S)
    return None


async def _until(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for the signal; a job that ends by itself is a bug and must not go unnoticed."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in done - {stopped}:
        log.error("a job of the gateway ended: %r", task.exception())


async def _shut_down(service: GatewayService, servers: GatewayServers, settings: Settings) -> None:
    service.draining = True
    await asyncio.sleep(ENDPOINTS_LAG_S)
    await servers.stop_accepting()
    if not await service.drained(settings.drain_seconds):
        log.warning("streams were still open after %d s", settings.drain_seconds)
        service.dispatcher.abandon(
            unavailable("The gateway had to shut down; send the request again.", "ShuttingDown", 1)
        )
    await servers.stop()
    await service.stop()


if __name__ == "__main__":
    main()
