"""One namespace of the cluster: a test's own room, with what Tierline keeps there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from e2e_cluster import Cluster, Json, condition_of, is_ready
from e2e_waiting import HANGS_SECONDS, eventually

from tierline.api.names import LABEL_COMPONENT, LABEL_FLEET, LABEL_POOL
from tierline_devcluster.agent.apiserver.client import MERGE, ApiError
from tierline_operator.kinds import FLEET_CHILDREN


@dataclass(frozen=True)
class Namespace:
    """Objects by kind and name, and the waits that all tests share."""

    cluster: Cluster
    name: str

    async def create(self, *objects: Mapping[str, Any]) -> None:
        """Create; retried while the namespace is still being furnished by the controllers."""
        for obj in objects:
            await eventually(lambda obj=obj: self._try(obj), HANGS_SECONDS, f"{obj['kind']} is created")  # type: ignore[misc]

    async def _try(self, obj: Mapping[str, Any]) -> bool:
        try:
            await self.cluster.create(obj, self.name)
        except ApiError as error:
            if error.code == 404 and "namespaces" in str(error):
                return False
            raise
        return True

    async def create_once_free(self, obj: Mapping[str, Any], within_s: float) -> None:
        """Create as soon as the name's former bearer is gone."""

        async def free() -> bool:
            return await self.get(obj["kind"], obj["metadata"]["name"]) is None

        await eventually(free, within_s, f"{obj['kind']} {obj['metadata']['name']} is gone")
        await self.create(obj)

    async def get(self, kind: str, name: str) -> Json | None:
        return await self.cluster.get(kind, name, self.name)

    async def found(self, kind: str, name: str) -> Json:
        """Return an object that has to be there."""
        obj = await self.get(kind, name)
        assert obj is not None, f"{kind} {name} is not in {self.name}"
        return obj

    async def every(self, kind: str, **selector: str) -> list[Json]:
        return await self.cluster.every(kind, self.name, **selector)

    async def patch(self, kind: str, name: str, change: Json, form: str = MERGE) -> Json:
        return await self.cluster.patch(kind, name, change, self.name, form)

    async def delete(self, kind: str, name: str, grace_s: int | None = None) -> None:
        await self.cluster.delete(kind, name, self.name, grace_s)

    async def kubectl(self, *words: str) -> str:
        return await self.cluster.kubectl("-n", self.name, *words)

    async def workers(self, fleet: str) -> list[Json]:
        """Return the fleet's worker pods that are not being deleted, by name."""
        return await self._pods(f"{LABEL_FLEET}={fleet},{LABEL_COMPONENT}=worker")

    async def pool_workers(self, pool: str) -> list[Json]:
        return await self._pods(f"{LABEL_POOL}={pool}")

    async def gateways(self, fleet: str) -> list[Json]:
        return await self._pods(f"{LABEL_FLEET}={fleet},{LABEL_COMPONENT}=gateway")

    async def _pods(self, labels: str) -> list[Json]:
        pods = await self.every("Pod", labels=labels)
        staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
        return sorted(staying, key=lambda pod: str(pod["metadata"]["name"]))

    async def until_ready_workers(self, fleet: str, count: int, within_s: float) -> list[Json]:
        """Return the workers once exactly `count` of them exist and all are ready."""

        async def look() -> list[Json] | None:
            pods = await self.workers(fleet)
            return pods if len(pods) == count and all(map(is_ready, pods)) else None

        return await eventually(look, within_s, f"{count} ready workers of {fleet}") or []

    async def until_ready(self, fleet: str, within_s: float = HANGS_SECONDS) -> Json:
        """Return the fleet once its condition Ready is true for its present spec."""

        async def look() -> Json | None:
            obj = await self.found("LLMFleet", fleet)
            current = condition_of(obj, "Ready").get("observedGeneration") == obj["metadata"]["generation"]
            return obj if current and is_ready(obj) else None

        try:
            return await eventually(look, within_s, f"fleet {fleet} is Ready") or {}
        except AssertionError as error:
            told = (await self.found("LLMFleet", fleet)).get("status", {}).get("conditions")
            raise AssertionError(f"{error}; conditions: {told}") from None

    async def until_condition(
        self, kind: str, name: str, wanted: str, status: str, within_s: float = HANGS_SECONDS
    ) -> Json:
        """Return the condition once it has that status for the object's present spec."""

        async def look() -> Json | None:
            obj = await self.get(kind, name)
            it = condition_of(obj, wanted)
            generation = (obj or {}).get("metadata", {}).get("generation", 0)
            return it if it.get("status") == status and it.get("observedGeneration", 0) >= generation else None

        return await eventually(look, within_s, f"{kind} {name} has {wanted}={status}") or {}

    async def until_unavailable(self, fleet: str, reason: str, within_s: float) -> Json:
        """Return the fleet's condition Available once it is false for that reason."""

        async def look() -> Json | None:
            it = condition_of(await self.get("LLMFleet", fleet), "Available")
            return it if (it.get("status"), it.get("reason")) == ("False", reason) else None

        return await eventually(look, within_s, f"fleet {fleet} is not available: {reason}") or {}

    async def until_event(self, reason: str, about: str, within_s: float = HANGS_SECONDS) -> Json:
        """Return an Event of that reason about the object of that name."""

        async def look() -> list[Json]:
            return await self.every("Event", fields=f"reason={reason},involvedObject.name={about}")

        return (await eventually(look, within_s, f"an Event {reason} about {about}"))[0]

    async def until_gone(self, fleet: str, within_s: float) -> None:
        """Return once nothing is left of the fleet: neither itself, nor anything it owned, nor any pod of it."""

        async def is_gone() -> bool:
            return not await self.left_of(fleet)

        try:
            await eventually(is_gone, within_s, f"everything of fleet {fleet} is gone")
        except AssertionError as error:
            raise AssertionError(f"{error}; left: {await self.left_of(fleet)}") from None

    async def left_of(self, fleet: str) -> list[str]:
        """Return what still exists of a fleet, as `kind/name`."""
        left = ["LLMFleet/" + fleet] if await self.get("LLMFleet", fleet) else []
        for kind in ("Pod", "ReplicaSet", *(child.kind for child in FLEET_CHILDREN)):
            items = await self.every(kind, labels=f"{LABEL_FLEET}={fleet}")
            left += [f"{kind}/{item['metadata']['name']}" for item in items]
        return left
