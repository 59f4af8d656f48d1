"""`tierline top`: reads the metrics of gateways and workers again and again, and shows what they do now."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live

from tierline.api.names import GATEWAY_ADMIN_PORT, WORKER_HTTP_PORT
from tierline_cli.errors import CommandFailed
from tierline_cli.live.pods import Port, UrlPort, ports_of
from tierline_cli.live.readings import Change, Readings, read
from tierline_cli.live.top_view import FleetNow, top_view

READERS = 16


@dataclass(frozen=True, slots=True)
class FleetPorts:
    """Where one fleet's metrics are."""

    name: str
    gateways: Sequence[Port]
    workers: Sequence[Port] = ()


@dataclass(slots=True)
class Watch:
    """Reads fleets; what was read last is what the next reading is compared with."""

    find: Callable[[], list[FleetPorts]]
    clock_s: Callable[[], float] = time.monotonic
    _before: dict[str, Readings] = field(default_factory=dict)

    def look(self) -> list[FleetNow]:
        """Return what all fleets do now; raises `CommandFailed` when the cluster cannot be read."""
        with ThreadPoolExecutor(READERS) as readers:
            return [self._fleet(fleet, readers) for fleet in self.find()]

    def _fleet(self, fleet: FleetPorts, readers: ThreadPoolExecutor) -> FleetNow:
        ports = [*fleet.gateways, *fleet.workers]
        texts = dict(zip([port.title for port in ports], readers.map(_metrics, ports), strict=True))
        gateways = [texts[port.title] for port in fleet.gateways]
        workers = {port.title: texts[port.title] for port in fleet.workers}
        return FleetNow(
            name=fleet.name,
            gateways=self._change(fleet.name, [text for text in gateways if text is not None]),
            workers={title: self._change(title, [text]) for title, text in workers.items() if text is not None},
            silent=tuple(title for title, text in texts.items() if text is None),
        )

    def _change(self, name: str, texts: list[str]) -> Change:
        now, before = read(texts, self.clock_s()), self._before.get(name)
        self._before[name] = now
        return Change(now, before)


def run_top(watch: Watch, interval_s: float, once: bool, console: Console) -> None:
    """Show until interrupted; `once`: two readings, one picture, for scripts and pipes."""
    watch.look()
    time.sleep(interval_s)
    if once:
        console.print(top_view(watch.look()))
        return
    with Live(top_view(watch.look()), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval_s)
            live.update(top_view(watch.look()), refresh=True)


def fleets_of(gateway_url: str, namespace: str, fleet: str) -> list[FleetPorts]:
    """Return where metrics are: of one gateway, or of all pods of the fleets; raises `CommandFailed`."""
    if gateway_url:
        return [FleetPorts(gateway_url, [UrlPort(gateway_url)])]
    gateways = ports_of("gateway", GATEWAY_ADMIN_PORT, namespace, fleet)
    workers = ports_of("worker", WORKER_HTTP_PORT, namespace, fleet)
    names = sorted({(pod.namespace, pod.fleet) for pod in (*gateways, *workers)})
    if not names:
        raise CommandFailed("no pod of a fleet was found; name --namespace and --fleet, or --gateway URL")
    return [
        FleetPorts(
            f"{where}/{name}",
            [pod for pod in gateways if (pod.namespace, pod.fleet) == (where, name)],
            [pod for pod in workers if (pod.namespace, pod.fleet) == (where, name)],
        )
        for where, name in names
    ]


def _metrics(port: Port) -> str | None:
    try:
        answer = port.get("/metrics")
    except CommandFailed:
        return None
    return answer.text if answer.status == 200 else None
