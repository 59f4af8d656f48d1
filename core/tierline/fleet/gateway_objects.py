"""The objects of a fleet's front door: Deployment, Service, and the account with the rights of a gateway."""

from typing import Any

from tierline.api.names import (
    GATEWAY_ADMIN_PORT,
    GATEWAY_HTTP_PORT,
    GROUP,
    LABEL_COMPONENT,
    LABEL_FLEET,
    LABEL_MANAGED_BY,
    LABEL_PART_OF,
    MANAGED_BY,
    label_value,
)
from tierline.fleet.answer_storage import answer_env, answer_mounts, answer_volumes, rollout_strategy
from tierline.fleet.observed import ObjectIdentity
from tierline.fleet.wanted import Images, SharedStore, StoredAnswers
from tierline.fleet.worker_pod import field_env, http_probe, owner_reference, prefer_not_spot, restricted_security

COMPONENT_GATEWAY = "gateway"
SERVICE_PORT = 80
GATEWAY_GRACE_SECONDS = 60
"""Time for a gateway to finish its open streams; new ones go to its successor."""

_DOWNWARD_ENV: tuple[tuple[str, str], ...] = (
    ("POD_NAME", "metadata.name"),
    ("POD_NAMESPACE", "metadata.namespace"),
    ("POD_IP", "status.podIP"),
)


def gateway_name(fleet: str) -> str:
    return f"{fleet}-gateway"


def gateway_objects(
    fleet: ObjectIdentity,
    replicas: int,
    secret_names: tuple[str, ...],
    images: Images,
    *,
    answers: StoredAnswers,
    state_store: SharedStore | None = None,
    processes: int = 1,
) -> tuple[dict[str, Any], ...]:
    """Return the objects in the order in which they are applied; `secret_names` hold the tenants' API keys."""
    container = _container(fleet, images, state_store, processes) | answer_mounts(answers)
    container["env"] += answer_env(answers)
    return (
        _object(fleet, "v1", "ServiceAccount", {"automountServiceAccountToken": True}),
        _object(fleet, "rbac.authorization.k8s.io/v1", "Role", {"rules": _rules(secret_names)}),
        _object(fleet, "rbac.authorization.k8s.io/v1", "RoleBinding", _binding(fleet)),
        _object(fleet, "v1", "Service", {"spec": _service_spec(fleet)}),
        _object(fleet, "apps/v1", "Deployment", {"spec": _deployment_spec(fleet, replicas, container, answers)}),
    )


def fleet_labels(fleet: str, component: str) -> dict[str, str]:
    return {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_PART_OF: MANAGED_BY,
        LABEL_COMPONENT: component,
        LABEL_FLEET: label_value(fleet),
    }


def _object(fleet: ObjectIdentity, api_version: str, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": gateway_name(fleet.name),
            "namespace": fleet.namespace,
            "labels": fleet_labels(fleet.name, COMPONENT_GATEWAY),
            "ownerReferences": [owner_reference(fleet)],
        },
        **content,
    }


def _rules(secret_names: tuple[str, ...]) -> list[dict[str, Any]]:
    read = ["list", "watch"]
    rules: list[dict[str, Any]] = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": read},
        {"apiGroups": [GROUP], "resources": ["llmfleets", "tenantquotas"], "verbs": read},
    ]
    if secret_names:
        # A rule without resourceNames would open every Secret of the namespace.
        names = sorted(set(secret_names))
        rules.append({"apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": ["get"]})
    return rules


def _binding(fleet: ObjectIdentity) -> dict[str, Any]:
    name = gateway_name(fleet.name)
    return {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": fleet.namespace}],
    }


def _selector(fleet: ObjectIdentity) -> dict[str, str]:
    return {LABEL_FLEET: label_value(fleet.name), LABEL_COMPONENT: COMPONENT_GATEWAY}


def _service_spec(fleet: ObjectIdentity) -> dict[str, Any]:
    return {
        "type": "ClusterIP",
        "selector": _selector(fleet),
        "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": "http", "protocol": "TCP"}],
    }


def _deployment_spec(
    fleet: ObjectIdentity, replicas: int, container: dict[str, Any], answers: StoredAnswers
) -> dict[str, Any]:
    return {
        "replicas": replicas,
        "selector": {"matchLabels": _selector(fleet)},
        "strategy": rollout_strategy(answers),
        "template": {
            "metadata": {
                "labels": fleet_labels(fleet.name, COMPONENT_GATEWAY),
                "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": str(GATEWAY_ADMIN_PORT)},
            },
            "spec": {
                "serviceAccountName": gateway_name(fleet.name),
                "terminationGracePeriodSeconds": GATEWAY_GRACE_SECONDS,
                "affinity": {"nodeAffinity": prefer_not_spot()},
                "containers": [container],
                **answer_volumes(answers),
            },
        },
    }


def _store_env(state_store: SharedStore | None) -> list[dict[str, Any]]:
    """Return what the container is told of the store; its password is read by the kubelet, not by the operator."""
    if state_store is None:
        return []
    env: list[dict[str, Any]] = [{"name": "TIERLINE_STATE_STORE_URL", "value": state_store.url}]
    if state_store.password_secret is not None:
        name, key = state_store.password_secret
        reference = {"secretKeyRef": {"name": name, "key": key}}
        env.append({"name": "TIERLINE_STATE_STORE_PASSWORD", "valueFrom": reference})
    return env


def _container(
    fleet: ObjectIdentity, images: Images, state_store: SharedStore | None, processes: int
) -> dict[str, Any]:
    fixed = {
        "TIERLINE_FLEET": fleet.name,
        "TIERLINE_HTTP_PORT": str(GATEWAY_HTTP_PORT),
        "TIERLINE_ADMIN_PORT": str(GATEWAY_ADMIN_PORT),
        "TIERLINE_GATEWAY_PROCESSES": str(processes),
    }
    return {
        "name": "gateway",
        "image": images.gateway,
        "command": ["tierline-gateway"],
        "env": [
            *({"name": name, "value": value} for name, value in fixed.items()),
            *_store_env(state_store),
            *field_env(_DOWNWARD_ENV),
        ],
        "ports": [
            {"name": "http", "containerPort": GATEWAY_HTTP_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": GATEWAY_ADMIN_PORT, "protocol": "TCP"},
        ],
        "startupProbe": http_probe("/livez", "admin", 1, 300),
        "readinessProbe": http_probe("/readyz", "admin", 1, 3),
        "livenessProbe": http_probe("/livez", "admin", 10, 3),
        "securityContext": restricted_security(),
    }
