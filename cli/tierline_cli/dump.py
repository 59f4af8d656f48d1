"""Write down a cluster for whoever has to find out what broke: objects, events and logs in a folder."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from tierline.api.names import GROUP, VERSION

REQUEST_SECONDS = 10
OUR_KINDS = ("slotiers", "tenantquotas", "llmfleets", "workerpools", "loraadapters", "fleetdrills")

Listing = Callable[[], Any]


def dump_cluster(kubeconfig: Path, folder: Path) -> Path:
    """Write objects of our and the usual kinds, events and every container's log below `folder`, and return it.

    Secrets are left out. What cannot be read is noted in the file that it would have filled, so that a cluster that
    hardly answers still leaves what it can.
    """
    folder.mkdir(parents=True, exist_ok=True)
    api = config.new_client_from_config(str(kubeconfig))
    for name, listing in _listings(api):
        _write(folder / f"{name}.yaml", lambda listing=listing: _as_yaml(api, listing()))  # type: ignore[misc]
    _write(folder / "events.txt", lambda: _events(client.CoreV1Api(api)))
    _dump_logs(client.CoreV1Api(api), folder / "logs")
    return folder


def _listings(api: Any) -> Iterator[tuple[str, Listing]]:
    core, apps, custom = client.CoreV1Api(api), client.AppsV1Api(api), client.CustomObjectsApi(api)
    limit = {"_request_timeout": REQUEST_SECONDS}
    yield "nodes", lambda: core.list_node(**limit)
    yield "pods", lambda: core.list_pod_for_all_namespaces(**limit)
    yield "deployments", lambda: apps.list_deployment_for_all_namespaces(**limit)
    yield "replicasets", lambda: apps.list_replica_set_for_all_namespaces(**limit)
    yield "leases", lambda: client.CoordinationV1Api(api).list_lease_for_all_namespaces(**limit)
    for plural in OUR_KINDS:
        yield plural, lambda plural=plural: custom.list_cluster_custom_object(GROUP, VERSION, plural, **limit)  # type: ignore[misc]


def _as_yaml(api: Any, answer: Any) -> str:
    items = api.sanitize_for_serialization(answer).get("items") or []
    for item in items:
        item.get("metadata", {}).pop("managedFields", None)
    return yaml.safe_dump_all(items, sort_keys=False)


def _events(core: Any) -> str:
    answer = core.list_event_for_all_namespaces(_preload_content=False, _request_timeout=REQUEST_SECONDS)
    events = json.loads(answer.data).get("items") or []
    return "".join(f"{_event_line(event)}\n" for event in sorted(events, key=_event_time))


def _event_time(event: dict[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")


def _event_line(event: dict[str, Any]) -> str:
    about = event.get("involvedObject", {})
    return (
        f"{_event_time(event)} {event.get('type', '')} {about.get('kind', '')}/{about.get('name', '')} "
        f"{event.get('reason', '')}: {event.get('message', '')}"
    )


def _dump_logs(core: Any, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    try:
        pods = core.list_pod_for_all_namespaces(_request_timeout=REQUEST_SECONDS).items
    except (ApiException, HTTPError) as error:
        (folder / "not-readable.txt").write_text(f"{error}\n")
        return
    for pod in pods:
        for container in pod.spec.containers:
            _dump_log(core, pod, container.name, folder)


def _dump_log(core: Any, pod: Any, container: str, folder: Path) -> None:
    name, namespace = pod.metadata.name, pod.metadata.namespace
    asked = {"container": container, "_request_timeout": REQUEST_SECONDS}
    stem = f"{namespace}.{name}.{container}"
    _write(folder / f"{stem}.log", lambda: core.read_namespaced_pod_log(name, namespace, **asked))
    restarted = any(status.restart_count for status in pod.status.container_statuses or ())
    if restarted:
        read_previous = lambda: core.read_namespaced_pod_log(name, namespace, previous=True, **asked)  # noqa: E731
        _write(folder / f"{stem}.previous.log", read_previous)


def _write(path: Path, content: Callable[[], str]) -> None:
    try:
        text = content()
    except (ApiException, HTTPError) as error:
        text = f"could not be read: {error}\n"
    path.write_text(text or "", encoding="utf-8")
