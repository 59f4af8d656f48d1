"""Removing objects from the API, where being gone already is success."""

from tierline_devcluster.agent.apiserver.client import Api, ApiError
from tierline_devcluster.agent.pod.spec import Json

_GONE = (404, 409)


async def delete_pod(api: Api, namespace: str, name: str, uid: str) -> None:
    """Remove this very pod at once; a later pod of the same name is left alone."""
    options = {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}}
    await delete_if_there(api, f"/api/v1/namespaces/{namespace}/pods/{name}", options)


async def delete_if_there(api: Api, path: str, options: Json | None = None) -> None:
    """Delete the object at `path`; raises `ApiError` for anything but its absence."""
    try:
        await api.delete(path, options)
    except ApiError as error:
        if error.code not in _GONE:
            raise
