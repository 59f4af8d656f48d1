"""Kubernetes before 1.21 serves PodDisruptionBudgets as `policy/v1beta1` only; the rest of the operator knows `v1`.

The fields that we use are the same in both versions, so paths and versions are exchanged on the way.
"""

from collections.abc import Mapping
from typing import Any

NEW_VERSION = "policy/v1"
OLD_VERSION = "policy/v1beta1"
NEW_PATH = f"/apis/{NEW_VERSION}/"
OLD_PATH = f"/apis/{OLD_VERSION}/"


def speaks_old(group: Mapping[str, Any]) -> bool:
    """Say whether a server with this answer to `GET /apis/policy` lacks the version that we know."""
    served = {version["groupVersion"] for version in group.get("versions", ())}
    return OLD_VERSION in served and NEW_VERSION not in served


def old_path(path: str) -> str:
    return path.replace(NEW_PATH, OLD_PATH, 1) if path.startswith(NEW_PATH) else path


def as_old(body: Any) -> Any:
    """Return a body of ours as the old server wants it."""
    return _exchanged(body, NEW_VERSION, OLD_VERSION)


def as_new(answer: Any) -> Any:
    """Return an object of the old server as we know it."""
    return _exchanged(answer, OLD_VERSION, NEW_VERSION)


def _exchanged(obj: Any, before: str, after: str) -> Any:
    return {**obj, "apiVersion": after} if isinstance(obj, Mapping) and obj.get("apiVersion") == before else obj
