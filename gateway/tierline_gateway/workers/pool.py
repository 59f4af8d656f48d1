"""The connections to all workers, following discovery."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence, Set

from msgspec.structs import replace

from tierline.scheduling.routing.choice import NOTHING_CACHED, Need, WorkerView, choose_worker, fastest_alone_ms
from tierline.scheduling.routing.locality import PrefixMap
from tierline.scheduling.routing.route_account import Route
from tierline_gateway.workers.discovery import WorkerDiscovery, WorkerEndpoint
from tierline_gateway.workers.link import STALE_SECONDS, LinkEvents, WorkerLink
from tierline_gateway.workers.seen import SeenWorkers


class LinkPool:
    """One link per worker that discovery names, and the questions that dispatching asks of all of them."""

    def __init__(self, discovery: WorkerDiscovery, gateway_id: str) -> None:
        self._discovery = discovery
        self._gateway_id = gateway_id
        self._links: dict[str, WorkerLink] = {}
        self._prefixes = PrefixMap()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._holding = False
        self._last_seen: SeenWorkers | None = None

    def __iter__(self) -> Iterator[WorkerLink]:
        return iter(self._links.values())

    def get(self, name: str | None) -> WorkerLink | None:
        return self._links.get(name or "")

    def sync(self, events: LinkEvents) -> None:
        """Follow discovery: dial new workers, drop those that are gone, take over changed deadlines."""
        wanted = {endpoint.name: endpoint for endpoint in self._discovery.workers}
        for name in [name for name in self._links if name not in wanted]:
            self._drop(name, "WorkerGone")
        for endpoint in wanted.values():
            self._adopt(endpoint, events)

    def choose(self, need: Need, avoid: Set[str] = frozenset()) -> Route:
        """Return which worker should take a request now, if any can, and what that was chosen from.

        An answer that no accepting worker could hold to its end is cut at their largest window, not refused: it was
        admitted when workers were not known, or before the larger ones went away.
        """
        seen = self._seen()
        window = seen.accepting_window_tokens
        cut = need if need.total_tokens <= window else replace(need, total_tokens=window)
        chosen = choose_worker(seen.accepting, cut, avoid)
        return Route(seen.accepting, cut, frozenset(avoid), chosen.name if chosen else "")

    def sent(self, link: WorkerLink, prefix: Sequence[bytes]) -> None:
        """Remember that a worker computes a prompt with these chunk keys."""
        if link.welcome is not None:
            self._prefixes.sent(link.name, prefix, link.welcome.total_blocks * link.welcome.block_tokens)

    def cached_by_worker(self, prefix: Sequence[bytes]) -> Mapping[str, int]:
        """Return how much of a prompt's beginning each worker probably holds, by the prompt's chunk keys."""
        if not self._prefixes.cached_anywhere(prefix[:1]):
            return NOTHING_CACHED
        return {name: self._prefixes.cached_tokens(name, prefix) for name in self._links}

    def cached_tokens(self, prefix: Sequence[bytes]) -> int:
        """Return how much of a prompt's beginning some worker probably holds."""
        return self._prefixes.cached_anywhere(prefix)

    def forget(self, link: WorkerLink) -> None:
        """Drop what is known of a worker's memory, which went with its connection."""
        self._prefixes.forget(link.name)

    def fastest_alone_ms(self, prompt_tokens: int) -> float:
        """Return how long the fastest worker takes for a prompt when idle; 0 while none has told."""
        return fastest_alone_ms(self._seen().accepting, prompt_tokens)

    def accepting_besides(self, name: str) -> bool:
        """Whether some other worker takes new requests, credits aside."""
        return any(view.name != name for view in self._seen().accepting)

    @property
    def adapters(self) -> frozenset[str] | None:
        """The adapters that some connected worker serves, None while none is connected."""
        served = [link.adapters for link in self if link.up]
        return frozenset().union(*served) if served else None

    def lost_adapter(self, adapter: str) -> bool:
        """Whether workers are connected and none of them serves `adapter`."""
        served = self.adapters
        return served is not None and adapter not in served

    def hold(self, holding: bool, repeat: bool = False) -> None:
        """Tell every worker whether it is the turn of tenants that wait at other gateways."""
        if not holding and not self._holding:
            return
        self._holding = holding
        for link in self:
            link.hold(holding, repeat)

    @property
    def capacity_exists(self) -> bool:
        return bool(self._seen().accepting)

    @property
    def window_tokens(self) -> int:
        """The longest prompt and answer that some connected worker holds; 0 while none is connected."""
        return self._seen().window_tokens

    async def close(self) -> None:
        """Drop all connections and wait until they are gone."""
        tasks = list(self._tasks.values())
        for name in list(self._links):
            self._drop(name, "Shutdown")
        await asyncio.gather(*tasks, return_exceptions=True)

    def views(self) -> Sequence[WorkerView]:
        """Return every connected worker as routing sees it now."""
        return self._seen().views

    def _seen(self) -> SeenWorkers:
        """Return the workers as they were seen last while that still holds: a request asks for them several times."""
        now_s = time.monotonic()
        if self._last_seen is None or now_s > self._last_seen.until_s:
            views = [view for link in self for view in [link.view()] if view is not None]
            silent_s = max((link.silent_s for link in self), default=0.0)
            # With a worker that is silent already this is past: a word of it would not be told.
            self._last_seen = SeenWorkers.of(views, now_s + STALE_SECONDS - silent_s)
        return self._last_seen

    def _forget_seen(self) -> None:
        self._last_seen = None

    def _adopt(self, endpoint: WorkerEndpoint, events: LinkEvents) -> None:
        known = self._links.get(endpoint.name)
        if known is not None and (known.endpoint.host, known.endpoint.port) == (endpoint.host, endpoint.port):
            known.adopt(endpoint)
            return
        if known is not None:
            self._drop(endpoint.name, "AddressChanged")
        link = WorkerLink(endpoint, self._gateway_id, events, self._forget_seen)
        self._links[endpoint.name] = link
        self._tasks[endpoint.name] = asyncio.create_task(link.run(), name=f"link-{endpoint.name}")

    def _drop(self, name: str, cause: str) -> None:
        link = self._links.pop(name)
        self._forget_seen()
        self._tasks.pop(name).cancel()
        link.lost(cause)
