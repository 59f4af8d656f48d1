"""What tests ask of a live cluster: objects in, conditions awaited, kubectl beside it."""

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tierline_devcluster.agent.apiserver.client import Api, ApiError

T = TypeVar("T")
Json = dict[str, Any]
WORK_NODES = {"tierline.dev/accelerator": "work"}
_POLL_S = 0.05


async def eventually(probe: Callable[[], Awaitable[T | None]], timeout_s: float = 60.0, what: str = "") -> T:
    """Ask until the answer is true, and return it; fails with what was awaited."""
    deadline = time.monotonic() + timeout_s
    while not (answer := await probe()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what or probe}"
        await asyncio.sleep(_POLL_S)
    return answer


@dataclass(frozen=True)
class Namespace:
    """One namespace of a live cluster."""

    api: Api
    name: str
    kubeconfig: Path
    kubectl_path: Path

    def path(self, kind: str, name: str = "", group: str = "api/v1") -> str:
        return f"/{group}/namespaces/{self.name}/{kind}" + (f"/{name}" if name else "")

    async def create(self, kind: str, body: Json, group: str = "api/v1") -> Json:
        """Create; retried while the namespace's service account is still being made."""

        async def attempt() -> Json | None:
            try:
                return await self.api.create(self.path(kind, group=group), body)
            except ApiError as error:
                if error.code in (403, 500) and "service account" in str(error):
                    return None
                raise

        return await eventually(attempt, what=f"{kind} created")

    async def run(self, name: str, *containers: Json, **spec: Any) -> Json:
        """Create a pod of `containers`."""
        defaults = {"terminationGracePeriodSeconds": 5, "nodeSelector": WORK_NODES}
        full = {**defaults, "containers": list(containers), **spec}
        return await self.create("pods", {"metadata": {"name": name}, "spec": full})

    async def pod(self, name: str) -> Json | None:
        try:
            return await self.api.get(self.path("pods", name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def pods(self) -> list[Json]:
        return list((await self.api.get(self.path("pods")))["items"])

    async def until(self, name: str, holds: Callable[[Json], Any], timeout_s: float = 60.0) -> Json:
        """Wait until the pod's status satisfies `holds`, and return the pod."""
        last: list[Json | None] = [None]

        async def ask() -> Json | None:
            last[0] = await self.pod(name)
            return last[0] if last[0] is not None and holds(last[0].get("status", {})) else None

        try:
            return await eventually(ask, timeout_s, f"pod {name}")
        except AssertionError as error:
            raise AssertionError(f"{error}; status: {(last[0] or {}).get('status')}") from None

    async def gone(self, name: str, timeout_s: float = 20.0) -> None:
        async def ask() -> bool:
            return await self.pod(name) is None

        await eventually(ask, timeout_s, f"pod {name} gone")

    async def delete(self, name: str, **options: Any) -> None:
        await self.api.delete(self.path("pods", name), options or None)

    async def events(self, reason: str) -> list[Json]:
        found = await self.api.get(self.path("events"), {"fieldSelector": f"reason={reason}"})
        return list(found["items"])

    def kubectl_argv(self, *words: str) -> list[str]:
        return [str(self.kubectl_path), "--kubeconfig", str(self.kubeconfig), "-n", self.name, *words]

    async def kubectl(self, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return await asyncio.to_thread(
            subprocess.run, self.kubectl_argv(*words), input=stdin, capture_output=True, text=True, timeout=30
        )


def python(code: str, name: str = "main", **fields: Any) -> Json:
    """Return a container that runs Python code."""
    return {"name": name, "image": "none", "command": ["python3", "-u", "-c", code]} | fields


def sleeper(name: str = "main", **fields: Any) -> Json:
    """Return a container that sleeps until it is told to end."""
    return {"name": name, "image": "none", "command": ["sleep", "600"]} | fields


def container(status: Json, name: str = "main") -> Json:
    """Return one container's status; empty before there is one."""
    entries = (*status.get("containerStatuses", []), *status.get("initContainerStatuses", []))
    return next((each for each in entries if each["name"] == name), {})


def condition(status: Json, kind: str) -> str:
    return next((each["status"] for each in status.get("conditions", []) if each["type"] == kind), "")


def is_ready(status: Json) -> bool:
    return condition(status, "Ready") == "True"
