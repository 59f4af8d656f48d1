"""The cluster under test: ours with virtual nodes, or any other that a kubeconfig leads to."""

import asyncio
import os
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tierline.api.names import LABEL_CAPACITY_TYPE
from tierline_devcluster import faults
from tierline_devcluster.agent.apiserver.client import MERGE, Api, ApiError
from tierline_devcluster.cluster import RunningCluster
from tierline_operator.kinds import BY_KIND, ResourceKind

Json = dict[str, Any]
NOT_FOUND, INVALID = 404, 422
KINDS: Mapping[str, ResourceKind] = {
    **BY_KIND,
    "Secret": ResourceKind("Secret", "", "v1", "secrets"),
    "Namespace": ResourceKind("Namespace", "", "v1", "namespaces", namespaced=False),
    "ReplicaSet": ResourceKind("ReplicaSet", "apps", "v1", "replicasets"),
    "Job": ResourceKind("Job", "batch", "v1", "jobs"),
}
_COMMAND_SECONDS = 100


class CommandFailed(AssertionError):
    """A program that ended badly; the message is what it said."""


@dataclass(frozen=True)
class Cluster:
    """The cluster and the two programs. `virtual` is the development cluster, None for any other."""

    api: Api
    kubeconfig: Path
    helm_path: Path
    kubectl_path: Path
    virtual: RunningCluster | None

    async def get(self, kind: str, name: str, namespace: str = "") -> Json | None:
        try:
            return await self.api.get(KINDS[kind].path(namespace, name))
        except ApiError as error:
            if error.code == NOT_FOUND:
                return None
            raise

    async def every(self, kind: str, namespace: str = "", **selector: str) -> list[Json]:
        """List; `selector` takes `labels` and `fields` as the API server's own text."""
        query = {f"{name[:-1]}Selector": text for name, text in selector.items()}
        return list((await self.api.get(KINDS[kind].path(namespace), query))["items"])

    async def create(self, obj: Mapping[str, Any], namespace: str = "") -> Json:
        kind = KINDS[obj["kind"]]
        return await self.api.create(kind.path(namespace), {"apiVersion": kind.api_version, **obj})

    async def patch(self, kind: str, name: str, change: Json, namespace: str = "", form: str = MERGE) -> Json:
        return await self.api.patch(KINDS[kind].path(namespace, name), change, form)

    async def delete(self, kind: str, name: str, namespace: str = "", grace_s: int | None = None) -> None:
        """Delete; an object that is gone already is fine."""
        body: Json = {"propagationPolicy": "Background"}
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            await self.api.delete(KINDS[kind].path(namespace, name), body)
        except ApiError as error:
            if error.code != NOT_FOUND:
                raise

    async def helm(self, *words: str) -> str:
        return await self._run(self.helm_path, words, "")

    async def kubectl(self, *words: str, stdin: str = "") -> str:
        return await self._run(self.kubectl_path, words, stdin)

    async def spot_nodes(self) -> set[str]:
        nodes = await self.every("Node", labels=f"{LABEL_CAPACITY_TYPE}=spot")
        return {node["metadata"]["name"] for node in nodes}

    async def kill_node(self, node: str) -> None:
        """Let a machine die at once without a word to anybody; only virtual nodes can."""
        assert self.virtual is not None, "a test that kills machines needs the marker `virtualnodes`"
        await faults.kill_node(self.virtual.control_socket, node)

    async def _run(self, program: Path, words: tuple[str, ...], stdin: str) -> str:
        process = await asyncio.create_subprocess_exec(
            str(program),
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
        )
        said, complained = await asyncio.wait_for(process.communicate(stdin.encode()), _COMMAND_SECONDS)
        if process.returncode != 0:
            raise CommandFailed(f"{program.name} {' '.join(words)}: {complained.decode().strip() or said.decode()}")
        return said.decode()


async def refusal(write: Awaitable[object]) -> str:
    """Make a write and return why the server refused it as invalid, empty when it did not."""
    try:
        await write
    except ApiError as error:
        if error.code != INVALID:
            raise
        return str(error)
    return ""


def is_ready(obj: Json | None) -> bool:
    return condition_of(obj, "Ready").get("status") == "True"


def condition_of(obj: Json | None, kind: str) -> Json:
    """Return one condition of an object; empty when it has none of that type."""
    conditions = (obj or {}).get("status", {}).get("conditions") or ()
    return next((it for it in conditions if it["type"] == kind), {})
