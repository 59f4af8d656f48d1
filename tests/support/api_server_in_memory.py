"""An API server in memory, just enough for one reconciler: versions, statuses, and writes that it refuses."""

from collections.abc import Callable
from typing import Any

from tierline_operator.actuator import Actuator
from tierline_operator.cluster import APPLY, ApiError, Call
from tierline_operator.kinds import BY_KIND
from tierline_operator.metrics import Metrics
from tierline_operator.stores import Stores
from tierline_operator.wakes import Wakes


class ApiServerInMemory:
    """Objects by path. `refuses` may return the error that a call is answered with.

    Applies and patches merge as the server's do where we rely on it; a deleted owner takes its children along at once.
    """

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.calls: list[Call] = []
        self.refuses: Callable[[Call], ApiError | None] = lambda _call: None
        self.created: list[str] = []
        self.version = 0

    async def request(self, call: Call) -> dict[str, Any]:
        self.calls.append(call)
        error = self.refuses(call)
        if error is not None:
            raise error
        answer = {"GET": self._read, "POST": self._create, "PATCH": self._patch, "DELETE": self._delete}
        return answer[call.method](call)

    def put(self, obj: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        path = BY_KIND[obj["kind"]].path(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        if path not in self.objects:
            self.created.append(path)
        uid = obj["metadata"].get("uid") or f"uid-{self.version}"
        stored = {**obj, "metadata": {**obj["metadata"], "uid": uid, "resourceVersion": str(self.version)}}
        self.objects[path] = stored
        return stored

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [obj for obj in self.objects.values() if obj["kind"] == kind]

    def writes(self, ending: str) -> list[Call]:
        """Return the writes whose path ends so."""
        return [call for call in self.calls if call.method != "GET" and call.path.endswith(ending)]

    def _read(self, call: Call) -> dict[str, Any]:
        return self._held(call.path)

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

    def _patch(self, call: Call) -> dict[str, Any]:
        path = call.path.removesuffix("/status").removesuffix("/scale")
        applies = call.content_type == APPLY and path == call.path
        held = self.objects.get(path, {}) if applies else self._held(path)
        wanted = call.body.get("metadata", {})
        for field in ("uid", "resourceVersion"):
            if held and wanted.get(field, held["metadata"][field]) != held["metadata"][field]:
                raise ApiError(409, "Conflict", f"{path} is another one now")
        if call.path.endswith("/status"):
            return self.put({**held, "status": call.body["status"]})
        return self.put(_merged(held, call.body))

    def _delete(self, call: Call) -> dict[str, Any]:
        held = self._held(call.path)
        if (call.body or {}).get("preconditions", {}).get("uid", held["metadata"]["uid"]) != held["metadata"]["uid"]:
            raise ApiError(409, "Conflict", f"{call.path} is another one now")
        self._drop(call.path)
        return {"kind": "Status"}

    def _drop(self, path: str) -> None:
        uid = self.objects.pop(path)["metadata"]["uid"]
        for child, obj in list(self.objects.items()):
            if child in self.objects and uid in {it["uid"] for it in obj["metadata"].get("ownerReferences", ())}:
                self._drop(child)


def _merged(held: Any, change: Any) -> Any:
    """Merge objects; lists and everything else are taken over whole, null takes a field out."""
    if not isinstance(held, dict) or not isinstance(change, dict):
        return change
    merged = dict(held)
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def wired(server: ApiServerInMemory) -> tuple[Wakes, Stores, Actuator]:
    """Return stores filled from the server, and an actuator that writes to it."""
    wakes = Wakes()
    client: Any = server
    stores = Stores(client, (), wakes)
    for obj in server.objects.values():
        stores.note(obj)
    return wakes, stores, Actuator(client, stores, Metrics(), "operator-a")
