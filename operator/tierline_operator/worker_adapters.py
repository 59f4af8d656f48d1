"""The adapters' endpoints of one worker: what it serves, load, unload."""

from dataclasses import dataclass
from typing import Any

import aiohttp

from tierline.api.names import WORKER_HTTP_PORT
from tierline.fleet.adapters.planner import HeldAdapter, WantedAdapter

LIST_SECONDS = 3.0
LOAD_SECONDS = 120.0
"""A load may fetch the adapter first."""

UNREACHABLE = (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError)


class AdapterNotTaken(Exception):
    """A worker refused an adapter, in its own words."""


@dataclass(frozen=True, slots=True)
class WorkerAdapters:
    """Asks workers over one session; raises what is in `UNREACHABLE` when a worker does not answer as it should."""

    session: aiohttp.ClientSession

    async def held(self, host: str) -> tuple[HeldAdapter, ...]:
        """Return what a worker serves."""
        timeout = aiohttp.ClientTimeout(total=LIST_SECONDS)
        async with self.session.get(f"{_base(host)}/lora_adapters", timeout=timeout) as response:
            response.raise_for_status()
            answer = await response.json()
        return tuple(
            HeldAdapter(it["lora_name"], it["lora_path"], it["resident"], it["in_use"]) for it in answer["adapters"]
        )

    async def load(self, host: str, adapter: WantedAdapter, replace: bool) -> None:
        """Let a worker serve the adapter; raises `AdapterNotTaken`."""
        body = {"lora_name": adapter.name, "lora_path": adapter.source, "load_inplace": replace}
        await self._post(f"{_base(host)}/load_lora_adapter", body)

    async def unload(self, host: str, name: str) -> None:
        """Let a worker forget an adapter; one that it does not know is fine."""
        await self._post(f"{_base(host)}/unload_lora_adapter", {"lora_name": name}, gone_is_fine=True)

    async def _post(self, url: str, body: dict[str, Any], gone_is_fine: bool = False) -> None:
        timeout = aiohttp.ClientTimeout(total=LOAD_SECONDS)
        async with self.session.post(url, json=body, timeout=timeout) as response:
            if response.status < 400 or (gone_is_fine and response.status == 404):
                return
            raise AdapterNotTaken(str((await response.json())["error"]["message"]).rstrip("."))


def _base(host: str) -> str:
    return f"http://{host}:{WORKER_HTTP_PORT}/v1"
