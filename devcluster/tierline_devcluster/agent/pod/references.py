"""Fetching the ConfigMaps and Secrets that a container's environment refers to."""

import base64
from collections.abc import Iterable, Mapping

from tierline_devcluster.agent.apiserver.client import Api, ApiError
from tierline_devcluster.agent.pod.environment import Contents, Source
from tierline_devcluster.agent.pod.spec import Json

_NOT_FOUND = 404
_PLURALS = {"ConfigMap": "configmaps", "Secret": "secrets"}


async def fetch(api: Api, namespace: str, wanted: Iterable[Source]) -> Contents:
    """Return each source's decoded contents, None for those that do not exist."""
    return {source: await _fetch_one(api, namespace, source) for source in wanted}


async def _fetch_one(api: Api, namespace: str, source: Source) -> Mapping[str, str] | None:
    kind, name = source
    try:
        obj = await api.get(f"/api/v1/namespaces/{namespace}/{_PLURALS[kind]}/{name}")
    except ApiError as error:
        if error.code == _NOT_FOUND:
            return None
        raise
    return _decoded(kind, obj)


def _decoded(kind: str, obj: Json) -> Mapping[str, str]:
    data: dict[str, str] = obj.get("data") or {}
    if kind == "ConfigMap":
        return data
    return {key: base64.b64decode(value).decode(errors="surrogateescape") for key, value in data.items()}
