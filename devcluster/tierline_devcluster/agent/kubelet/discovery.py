"""HTTP service discovery for Prometheus: the pods that ask to be scraped.

For Prometheus builds without Kubernetes discovery; the labels are those that discovery would set.
"""

from collections.abc import Iterable, Mapping

from aiohttp import web

from tierline_devcluster.agent.pod.spec import Json

SCRAPE = "prometheus.io/scrape"
PORT = "prometheus.io/port"
PATH = "prometheus.io/path"


def targets(pods: Iterable[Json]) -> list[Json]:
    """Return a target for each running pod with `prometheus.io/scrape: "true"` and `prometheus.io/port`."""
    return [_target(pod) for pod in pods if _is_scraped(pod)]


def _is_scraped(pod: Json) -> bool:
    annotations, status = pod["metadata"].get("annotations", {}), pod.get("status", {})
    asks = annotations.get(SCRAPE) == "true" and annotations.get(PORT, "").isdigit()
    return asks and status.get("phase") == "Running" and bool(status.get("podIP"))


def _target(pod: Json) -> Json:
    meta = pod["metadata"]
    annotations = meta["annotations"]
    labels = {
        "__meta_kubernetes_namespace": meta["namespace"],
        "__meta_kubernetes_pod_name": meta["name"],
        "__meta_kubernetes_pod_node_name": pod["spec"].get("nodeName", ""),
    }
    labels |= {f"__meta_kubernetes_pod_label_{_safe(key)}": value for key, value in meta.get("labels", {}).items()}
    if PATH in annotations:
        labels["__metrics_path__"] = annotations[PATH]
    return {"targets": [f"{pod['status']['podIP']}:{annotations[PORT]}"], "labels": labels}


def _safe(key: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in key)


def application(pods: Mapping[str, Json]) -> web.Application:
    """Serve `/sd` from the live copy `pods`."""

    async def discover(_: web.Request) -> web.Response:
        return web.json_response(targets(pods.values()))

    app = web.Application()
    app.router.add_get("/sd", discover)
    return app
