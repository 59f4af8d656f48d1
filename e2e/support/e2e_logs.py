"""Keeping what pods say while they live, so that a failed test can quote pods that are gone."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from tierline_devcluster.agent.apiserver.client import TRANSIENT, Api

_AGAIN_S = 0.5
_PATIENT = aiohttp.ClientTimeout(total=None)
_PODS = "/api/v1/pods"


class LogKeeper:
    """Follows every container of every pod into one file each, `<namespace>.<pod>.<container>.log`."""

    def __init__(self, api: Api, folder: Path) -> None:
        self._api = api
        self._folder = folder
        self._followers: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            while True:
                await self._look_once()
                await asyncio.sleep(_AGAIN_S)
        finally:
            for task in self._followers.values():
                task.cancel()
            await asyncio.gather(*self._followers.values(), return_exceptions=True)

    async def _look_once(self) -> None:
        try:
            pods = (await self._api.get(_PODS))["items"]
        except TRANSIENT:
            return
        for pod in pods:
            for status in pod.get("status", {}).get("containerStatuses") or ():
                started = status.get("containerID", "")
                if started and (pod["metadata"]["uid"], started) not in self._followers:
                    follower = asyncio.create_task(self._follow(pod["metadata"], status["name"]))
                    self._followers[pod["metadata"]["uid"], started] = follower

    async def _follow(self, meta: Mapping[str, Any], container: str) -> None:
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log"
        query = {"container": container, "follow": "true"}
        try:
            async with self._api.session.get(path, params=query, timeout=_PATIENT) as answer:
                with (self._folder / f"{meta['namespace']}.{meta['name']}.{container}.log").open("ab") as log:
                    async for chunk in answer.content.iter_any():
                        log.write(chunk)
                        log.flush()
        except TRANSIENT:
            return
