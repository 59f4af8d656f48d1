"""What runs before `helm uninstall` removes the operator: nothing may stay stuck on a finalizer nobody serves.

First the operator is scaled to zero and its pods awaited (a living one would put the finalizer back), then the
finalizer is taken off every fleet and pool. Nothing is deleted: fleets go on serving, and deleting them later is the
garbage collector's work, since everything below a fleet has owner references. What is gone already (the Deployment,
the CRDs, an object since it was listed) needs nothing more: an uninstall that was begun before goes through.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from kubernetes import client, config
from kubernetes.client import ApiException

from tierline.api.names import FINALIZER, GROUP, VERSION

log = logging.getLogger(__name__)

_KINDS = ("llmfleets", "workerpools", "fleetdrills")
_MERGE_PATCH = "application/merge-patch+json"
_PODS_GONE_SECONDS = 60.0
_POLL_SECONDS = 0.5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CleanupSettings:
    """Which operator to stop, and where its finalizers may be; no namespaces means all of them."""

    namespace: str
    deployment: str
    selector: str
    namespaces: tuple[str, ...]

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> "CleanupSettings":
        watched = environment.get("TIERLINE_WATCH_NAMESPACES", "")
        return cls(
            namespace=environment["POD_NAMESPACE"],
            deployment=environment["TIERLINE_OPERATOR_DEPLOYMENT"],
            selector=environment["TIERLINE_OPERATOR_SELECTOR"],
            namespaces=tuple(name for name in watched.split(",") if name),
        )


def without_finalizer(finalizers: Iterable[str]) -> list[str]:
    """Return the finalizers of others, in their order."""
    return [name for name in finalizers if name != FINALIZER]


def stop_operator(apps: Any, core: Any, settings: CleanupSettings, clock: Callable[[], float]) -> None:
    """Scale the operator to zero and wait until its pods are gone; raises `TimeoutError`."""
    none = {"spec": {"replicas": 0}}
    _unless_gone(lambda: apps.patch_namespaced_deployment_scale(settings.deployment, settings.namespace, none), None)
    deadline = clock() + _PODS_GONE_SECONDS
    while core.list_namespaced_pod(settings.namespace, label_selector=settings.selector).items:
        if clock() > deadline:
            raise TimeoutError(f"operator pods are still there after {_PODS_GONE_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


def release_objects(custom: Any, settings: CleanupSettings) -> int:
    """Take the finalizer off every fleet and pool in reach; returns how many had it."""
    held = [
        (plural, item["metadata"])
        for plural in _KINDS
        for item in _list(custom, plural, settings.namespaces)
        if FINALIZER in item["metadata"].get("finalizers", [])
    ]
    return sum(_unless_gone(partial(_release, custom, plural, metadata), False) for plural, metadata in held)


def _release(custom: Any, plural: str, metadata: Mapping[str, Any]) -> bool:
    body = {"metadata": {"finalizers": without_finalizer(metadata["finalizers"])}}
    custom.patch_namespaced_custom_object(
        GROUP, VERSION, metadata["namespace"], plural, metadata["name"], body, _content_type=_MERGE_PATCH
    )
    return True


def _unless_gone(call: Callable[[], T], gone: T) -> T:
    """Return what the call returns, or `gone` when the server says that there is no such thing."""
    try:
        return call()
    except ApiException as error:
        if error.status != 404:
            raise
        return gone


def _list(custom: Any, plural: str, namespaces: tuple[str, ...]) -> list[dict[str, Any]]:
    lists: list[Callable[[], Mapping[str, Any]]] = [
        partial(custom.list_namespaced_custom_object, GROUP, VERSION, name, plural) for name in namespaces
    ] or [partial(custom.list_cluster_custom_object, GROUP, VERSION, plural)]
    nothing: Mapping[str, Any] = {"items": ()}
    return [item for read in lists for item in _unless_gone(read, nothing)["items"]]


def main() -> None:
    """Entry point of `tierline-cleanup`, run by the chart's pre-delete hook."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(message)s")
    settings = CleanupSettings.from_env(os.environ)
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        config.load_incluster_config()
    else:
        config.load_kube_config()
    stop_operator(client.AppsV1Api(), client.CoreV1Api(), settings, time.monotonic)
    released = release_objects(client.CustomObjectsApi(), settings)
    log.info("operator stopped, finalizers taken off %d objects", released)
