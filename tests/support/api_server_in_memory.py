"""An API server in memory, just enough for one reconciler: versions, statuses, and writes that it refuses."""

from collections.abc import Callable
from typing import Any

from tierline_operator.actuator import Actuator
from tierline_operator.cluster import ApiError, Call
from tierline_operator.kinds import BY_KIND
from tierline_operator.metrics import Metrics
from tierline_operator.stores import Stores
from tierline_operator.wakes import Wakes


class ApiServerInMemory:
    """Objects by path. `refuses` may return the error that a call is answered with."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.calls: list[Call] = []
        self.refuses: Callable[[Call], ApiError | None] = lambda _call: None
        self.version = 0

    async def request(self, call: Call) -> dict[str, Any]:
        self.calls.append(call)
        error = self.refuses(call)
        if error is not None:
            raise error
        if call.method == "GET":
            return self._held(call.path)
        if call.method == "POST":
            return self._create(call)
        if call.path.endswith("/status"):
            held = self._held(call.path.removesuffix("/status"))
            return self.put({**held, "status": call.body["status"]})
        return self.put(call.body)

    def put(self, obj: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        path = BY_KIND[obj["kind"]].path(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        uid = obj["metadata"].get("uid") or f"uid-{self.version}"
        stored = {**obj, "metadata": {**obj["metadata"], "uid": uid, "resourceVersion": str(self.version)}}
        self.objects[path] = stored
        return stored

    def writes(self, ending: str) -> list[Call]:
        """Return the writes whose path ends so."""
        return [call for call in self.calls if call.method != "GET" and call.path.endswith(ending)]

    def _held(self, path: str) -> dict[str, Any]:
        if path not in self.objects:
            raise ApiError(404, "NotFound", f"{path} not found")
        return self.objects[path]

    def _create(self, call: Call) -> dict[str, Any]:
        if call.path.endswith("/events"):
            return {"kind": "Event"}
        if f"{call.path}/{call.body['metadata']['name']}" in self.objects:
            raise ApiError(409, "AlreadyExists", "exists")
        return self.put(call.body)


def wired(server: ApiServerInMemory) -> tuple[Wakes, Stores, Actuator]:
    """Return stores filled from the server, and an actuator that writes to it."""
    wakes = Wakes()
    client: Any = server
    stores = Stores(client, (), wakes)
    for obj in server.objects.values():
        stores.note(obj)
    return wakes, stores, Actuator(client, stores, Metrics(), "operator-a")
