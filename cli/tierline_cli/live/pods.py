"""Pods of fleets, and what their admin ports say, read through the kubeconfig.

Pod addresses are seldom reachable from a laptop, so the API server's proxy is asked first; it refuses loopback
addresses, which a development cluster gives its pods, and then the pod is asked directly.
"""

import http.client
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tierline.api.names import LABEL_COMPONENT, LABEL_FLEET, label_value
from tierline_cli.errors import CommandFailed

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a port answered."""

    status: int
    text: str


class Port(Protocol):
    """An admin port, wherever it is. `title` names whose it is."""

    @property
    def title(self) -> str: ...

    def get(self, path: str) -> Answer: ...


@dataclass(frozen=True, slots=True)
class UrlPort:
    """A port whose URL is given."""

    url: str

    @property
    def title(self) -> str:
        return self.url

    def get(self, path: str) -> Answer:
        """Raises `CommandFailed` when nobody answers there."""
        parts = urlsplit(self.url if "://" in self.url else f"http://{self.url}")
        try:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT_S)
            connection.request("GET", f"{parts.path.rstrip('/')}{path}")
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode(errors="replace"))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise CommandFailed(f"{self.url} cannot be read: {error}") from error


@dataclass(frozen=True, slots=True)
class PodPort:
    """A port of a pod."""

    core: Any
    namespace: str
    name: str
    address: str
    port: int
    fleet: str

    @property
    def title(self) -> str:
        return f"{self.namespace}/{self.name}"

    def get(self, path: str) -> Answer:
        """Raises `CommandFailed` when neither the API server nor the pod itself answers."""
        try:
            answer = self.core.connect_get_namespaced_pod_proxy_with_path(
                f"{self.name}:{self.port}",
                self.namespace,
                path.lstrip("/"),
                _preload_content=False,
                _request_timeout=TIMEOUT_S,
            )
            return Answer(answer.status, answer.data.decode(errors="replace"))
        except ApiException as error:
            body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body)
            if not _from_the_api_server(body):
                return Answer(error.status, body)
        return UrlPort(f"http://{self.address}:{self.port}").get(path)


def ports_of(component: str, port: int, namespace: str, fleet: str, *, of_fleets: bool = True) -> list[PodPort]:
    """Return the ports of all pods of a component that have an address; raises `CommandFailed` without a cluster.

    Without a namespace those of all namespaces, without a fleet those of all fleets; `of_fleets` is False for what
    belongs to none.
    """
    selector = [
        f"{LABEL_COMPONENT}={component}",
        *([f"{LABEL_FLEET}={label_value(fleet)}"] if fleet else [LABEL_FLEET] if of_fleets else []),
    ]
    try:
        core = client.CoreV1Api(config.new_client_from_config())
        pods = _listed(core, namespace, ",".join(selector))
    except (ApiException, config.ConfigException, OSError) as error:
        raise CommandFailed(
            f"the cluster cannot be read ({_reason(error)}); set KUBECONFIG, or name --gateway"
        ) from error
    return [
        PodPort(
            core,
            pod.metadata.namespace,
            pod.metadata.name,
            pod.status.pod_ip,
            port,
            pod.metadata.labels.get(LABEL_FLEET, ""),
        )
        for pod in pods
    ]


def _listed(core: Any, namespace: str, selector: str) -> Iterable[Any]:
    if namespace:
        listed = core.list_namespaced_pod(namespace, label_selector=selector, _request_timeout=TIMEOUT_S)
    else:
        listed = core.list_pod_for_all_namespaces(label_selector=selector, _request_timeout=TIMEOUT_S)
    return (pod for pod in listed.items if pod.status.pod_ip and pod.metadata.deletion_timestamp is None)


def _from_the_api_server(body: str) -> bool:
    """Whether the API server itself refused, which says so with an object of kind Status."""
    try:
        return bool(json.loads(body).get("kind") == "Status")
    except (ValueError, AttributeError):
        return True


def _reason(error: Exception) -> str:
    return str(error.reason) if isinstance(error, ApiException) else str(error)
