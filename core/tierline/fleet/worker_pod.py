"""The pod of one worker: what it runs, where it may run, and how it is probed and stopped."""

from collections.abc import Mapping
from typing import Any

from tierline.api.names import (
    API_VERSION,
    LABEL_ACCELERATOR,
    LABEL_CAPACITY_TYPE,
    LABEL_COMPONENT,
    LABEL_FLEET,
    LABEL_MANAGED_BY,
    LABEL_PART_OF,
    LABEL_POOL,
    LABEL_REVISION,
    LABEL_ROLE,
    LABEL_ZONE,
    MANAGED_BY,
    WORKER_HTTP_PORT,
    WORKER_WIRE_PORT,
    label_value,
)
from tierline.fleet.observed import ObjectIdentity
from tierline.fleet.revision import revision_of
from tierline.fleet.wanted import Capacity, Images, WantedWorker, ZoneSpread

COMPONENT_WORKER = "worker"
SHUTDOWN_SECONDS = 10
"""What a worker gets beyond its drain: flushing, closing connections, releasing the device."""

STARTUP_FAILURES = 1800
"""Seconds a worker may take to fetch and load its model before it counts as failed (one probe a second)."""

WEIGHTS_VOLUME = "weights"
SCRATCH_VOLUME = "scratch"
SCRATCH_PATH = "/tmp"  # noqa: S108 a volume of the pod's own is mounted there
LARGEST_KV_TOKEN_BYTES = 4 * 1024 * 1024
"""No model keeps more KV a token. The operator does not know the model's shape, and a volume needs a limit only against
what runs away: the worker allocates its pages once and never grows."""

DOWNWARD_ENV: tuple[tuple[str, str], ...] = (
    ("POD_NAME", "metadata.name"),
    ("POD_NAMESPACE", "metadata.namespace"),
    ("POD_IP", "status.podIP"),
    ("NODE_NAME", "spec.nodeName"),
)


def worker_template(pool: ObjectIdentity, fleet: str, worker: WantedWorker, images: Images) -> dict[str, Any]:
    """Return the pod that all replicas of `pool` share; `worker_pod` gives it a name."""
    labels = {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_PART_OF: MANAGED_BY,
        LABEL_COMPONENT: COMPONENT_WORKER,
        LABEL_FLEET: label_value(fleet),
        LABEL_POOL: label_value(pool.name),
        LABEL_ROLE: worker.role,
    }
    template: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": pool.namespace,
            "labels": labels,
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": str(WORKER_HTTP_PORT)},
            "ownerReferences": [owner_reference(pool)],
        },
        "spec": _pod_spec(pool, worker, images),
    }
    labels_with_revision = {**labels, LABEL_REVISION: revision_of(template)}
    return {**template, "metadata": {**template["metadata"], "labels": labels_with_revision}}


def template_revision(template: Mapping[str, Any]) -> str:
    return str(template["metadata"]["labels"][LABEL_REVISION])


def worker_name(pool: str, attempt: int) -> str:
    return f"{pool}-{attempt}"


def worker_pod(template: Mapping[str, Any], pool: str, attempt: int) -> dict[str, Any]:
    """Return the pod of one attempt, ready to create."""
    return {**template, "metadata": {**template["metadata"], "name": worker_name(pool, attempt)}}


def owner_reference(owner: ObjectIdentity) -> dict[str, Any]:
    """Return the reference by which children go away with `owner`; it never blocks the owner's own deletion."""
    return {
        "apiVersion": API_VERSION,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def field_env(pairs: tuple[tuple[str, str], ...]) -> list[dict[str, Any]]:
    """Return environment entries filled from the pod's own fields (the downward API)."""
    return [{"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}} for name, path in pairs]


def restricted_security() -> dict[str, Any]:
    """Return the container security that the `restricted` pod security standard asks for."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def prefer_not_spot() -> dict[str, Any]:
    """Return the node affinity of a pod that owns open streams: another node when there is one."""
    preference = {"weight": 100, "preference": {"matchExpressions": [_not_spot()]}}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [preference]}


def http_probe(path: str, port: str, period_seconds: int, failure_threshold: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period_seconds,
        "failureThreshold": failure_threshold,
        "timeoutSeconds": 2,
    }


def _pod_spec(pool: ObjectIdentity, worker: WantedWorker, images: Images) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": worker.drain_seconds + SHUTDOWN_SECONDS,
        "containers": [_container(worker, images)],
    }
    volumes = [*([_scratch_volume(worker)] if _disk_tokens(worker) else ()), *_weights_volume(images)]
    if volumes:
        spec["volumes"] = volumes
    affinity = _node_affinity(worker)
    if affinity:
        spec["affinity"] = {"nodeAffinity": affinity}
    if worker.zone_spread is not ZoneSpread.IGNORED:
        spec["topologySpreadConstraints"] = [_zone_spread(pool, worker.zone_spread)]
    if images.priority_class:
        spec["priorityClassName"] = images.priority_class
    return spec


def _disk_tokens(worker: WantedWorker) -> int:
    """Return how many tokens of KV the worker keeps on disk."""
    blocks = int(worker.environment.get("TIERLINE_DISK_CACHE_BLOCKS", "0"))
    return blocks * int(worker.environment.get("TIERLINE_BLOCK_TOKENS", "0"))


def _scratch_volume(worker: WantedWorker) -> dict[str, Any]:
    mebibytes = _disk_tokens(worker) * LARGEST_KV_TOKEN_BYTES // (1024 * 1024)
    return {"name": SCRATCH_VOLUME, "emptyDir": {"sizeLimit": f"{mebibytes}Mi"}}


def _weights_volume(images: Images) -> list[dict[str, Any]]:
    """The folder has to be there: one that the kubelet makes belongs to root, and workers are not root."""
    if not images.weights_dir:
        return []
    return [{"name": WEIGHTS_VOLUME, "hostPath": {"path": images.weights_dir, "type": "Directory"}}]


def _container(worker: WantedWorker, images: Images) -> dict[str, Any]:
    mounts = [{"name": SCRATCH_VOLUME, "mountPath": SCRATCH_PATH}] if _disk_tokens(worker) else []
    if images.weights_dir:
        mounts.append({"name": WEIGHTS_VOLUME, "mountPath": images.weights_dir})
    return {
        **({"volumeMounts": mounts} if mounts else {}),
        "name": "worker",
        "image": images.worker,
        "command": ["tierline-worker"],
        "env": _environment(worker, images),
        "ports": [
            {"name": "wire", "containerPort": WORKER_WIRE_PORT, "protocol": "TCP"},
            {"name": "http", "containerPort": WORKER_HTTP_PORT, "protocol": "TCP"},
        ],
        "resources": _resources(worker),
        "startupProbe": http_probe("/startupz", "http", 1, STARTUP_FAILURES),
        "readinessProbe": http_probe("/readyz", "http", 1, 3),
        "livenessProbe": http_probe("/livez", "http", 10, 3),
        "securityContext": restricted_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _environment(worker: WantedWorker, images: Images) -> list[dict[str, Any]]:
    fixed = {
        **worker.environment,
        **_weights_environment(images),
        "TIERLINE_DRAIN_SECONDS": str(worker.drain_seconds),
        "TIERLINE_WIRE_PORT": str(WORKER_WIRE_PORT),
        "TIERLINE_HTTP_PORT": str(WORKER_HTTP_PORT),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    return [*({"name": name, "value": value} for name, value in sorted(fixed.items())), *field_env(DOWNWARD_ENV)]


def _weights_environment(images: Images) -> dict[str, str]:
    if not images.weights_dir:
        return {}
    return {
        "TIERLINE_WEIGHTS_DIR": images.weights_dir,
        "TIERLINE_WEIGHTS_LIMIT_MEBIBYTES": str(images.weights_limit_mebibytes),
    }


def _resources(worker: WantedWorker) -> dict[str, Any]:
    requests = {"cpu": worker.cpu, "memory": worker.memory}
    limits = {"memory": worker.memory}
    if worker.gpus:
        # Extended resources cannot be overcommitted: request and limit must be given and equal.
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(worker.gpus)
    declared = {"requests": _given(requests), "limits": _given(limits)}
    return {kind: amounts for kind, amounts in declared.items() if amounts}


def _given(amounts: Mapping[str, str | None]) -> dict[str, str]:
    return {name: amount for name, amount in amounts.items() if amount is not None}


def _node_affinity(worker: WantedWorker) -> dict[str, Any]:
    required: list[dict[str, Any]] = []
    if worker.accelerators:
        required.append({"key": LABEL_ACCELERATOR, "operator": "In", "values": list(worker.accelerators)})
    if worker.capacity is Capacity.ON_DEMAND:
        required.append(_not_spot())
    if worker.capacity is Capacity.SPOT:
        required.append(_spot())
    affinity: dict[str, Any] = {}
    if required:
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {
            "nodeSelectorTerms": [{"matchExpressions": required}]
        }
    if worker.capacity is Capacity.PREFER_SPOT:
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"weight": 100, "preference": {"matchExpressions": [_spot()]}}
        ]
    return affinity


def _spot() -> dict[str, Any]:
    return {"key": LABEL_CAPACITY_TYPE, "operator": "In", "values": ["spot"]}


def _not_spot() -> dict[str, Any]:
    # Nodes without the label are ordinary ones, so on-demand is "not spot" rather than "on-demand".
    return {"key": LABEL_CAPACITY_TYPE, "operator": "NotIn", "values": ["spot"]}


def _zone_spread(pool: ObjectIdentity, spread: ZoneSpread) -> dict[str, Any]:
    return {
        "maxSkew": 1,
        "topologyKey": LABEL_ZONE,
        "whenUnsatisfiable": spread.value,
        "labelSelector": {"matchLabels": {LABEL_POOL: label_value(pool.name)}},
    }
