"""The adapters that a worker serves, by name; lives on the engine's thread.

The scheduling core knows an adapter by a key of name and content. So one that is loaded again under its name, changed,
is another adapter: requests that began with the old one end with it, and KV cached with it is not the new one's.
"""

from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.memory.adapters import adapter_key, adapter_name
from tierline.wire.frames import AdapterState
from tierline_worker.adapters.pages import PagedAdapter
from tierline_worker.errors import AdapterError


class AdapterCatalog:
    """Names and weights in host memory. `weights` is shared with the executor, which loads from it."""

    def __init__(self, weights: dict[str, PagedAdapter] | None = None) -> None:
        self._weights = {} if weights is None else weights
        self._key_of: dict[str, str] = {}
        self._told: tuple[AdapterState, ...] = ()

    def offer(self, name: str, adapter: PagedAdapter) -> None:
        """Serve an adapter once there is a core."""
        key = adapter_key(name, adapter.digest)
        self._weights[key] = adapter
        self._key_of[name] = key

    def register_all(self, core: SchedulerCore) -> None:
        """Make every adapter known to a new core; raises `AdapterError` when one does not fit into it."""
        for name, key in self._key_of.items():
            if problem := core.adapters.register(key, self._weights[key].page_count):
                raise AdapterError(name, problem, "or do not load it")
        self._drop_unused(core)

    def key_of(self, name: str) -> str | None:
        """Return the key of an adapter's name, empty for the model alone, None when it is not served."""
        return self._key_of.get(name) if name else ""

    def add(self, core: SchedulerCore, name: str, adapter: PagedAdapter, replace: bool) -> str:
        """Serve an adapter from now on; returns why not. With `replace` it may take the place of one of its name."""
        known, key = self._key_of.get(name), adapter_key(name, adapter.digest)
        if known is not None and not replace:
            return f"The lora adapter {name!r} has already been loaded; unload it first or set 'load_inplace' to true."
        if problem := core.adapters.register(key, adapter.page_count):
            return f"The lora adapter {name!r} cannot be served: {problem}."
        self.offer(name, adapter)
        if known is not None and known != key:
            core.adapters.retire(known)
        self._drop_unused(core)
        return ""

    def remove(self, core: SchedulerCore, name: str) -> str:
        """Take no new requests for an adapter; those here run to their end. Returns why not."""
        key = self._key_of.pop(name, None)
        if key is None:
            return f"The lora adapter {name!r} cannot be found."
        core.adapters.retire(key)
        self._drop_unused(core)
        return ""

    def states(self, core: SchedulerCore) -> tuple[AdapterState, ...]:
        """Return every adapter that is served, by name."""
        resident = {adapter.key for adapter in core.adapters.resident}
        return tuple(AdapterState(name, key in resident) for name, key in sorted(self._key_of.items()))

    def news(self, core: SchedulerCore) -> tuple[AdapterState, ...] | None:
        """Return what gateways must be told, None when they were told it before."""
        if not self._key_of and not self._told:
            return None
        self._drop_unused(core)
        states = self.states(core)
        if states == self._told:
            return None
        self._told = states
        return states

    def _drop_unused(self, core: SchedulerCore) -> None:
        """Forget weights whose last request has ended."""
        if len(self._weights) > len(self._key_of):
            served = self._key_of
            for key in [key for key in self._weights if served.get(adapter_name(key)) != key]:
                if not core.adapters.known(key):
                    del self._weights[key]
