"""Which fields of a pod the agent runs, which it may ignore, and the refusal of everything else.

A field that is not listed is refused: a pod must not look healthy here while half of what it asks for is missing.
`docs/devcluster-pods.md` is this table in prose; a test keeps the two together.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tierline_devcluster.agent.pod.spec import Json

TOKEN_MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105
SCRATCH_MOUNT_PATH = "/tmp"  # noqa: S108

RUN_POD = frozenset(
    {
        "containers",
        "initContainers",
        "restartPolicy",
        "terminationGracePeriodSeconds",
        "serviceAccountName",
        "nodeName",
        "automountServiceAccountToken",
    }
)
"""Fields of `spec` that the agent carries out."""

RUN_CONTAINER = frozenset(
    {
        "name",
        "command",
        "args",
        "workingDir",
        "env",
        "envFrom",
        "ports",
        "startupProbe",
        "livenessProbe",
        "readinessProbe",
        "lifecycle",
        "terminationMessagePolicy",
    }
)
"""Fields of a container that the agent carries out."""

SCHEDULER = frozenset(
    {
        "affinity",
        "nodeSelector",
        "tolerations",
        "topologySpreadConstraints",
        "priority",
        "priorityClassName",
        "preemptionPolicy",
        "schedulerName",
        "overhead",
    }
)
"""Fields of `spec` that others than a node act on."""

IGNORED_POD: Mapping[str, str] = {
    "serviceAccount": "the old name of serviceAccountName",
    "securityContext": "processes run as the user who started the cluster",
    "dnsPolicy": "there is no cluster DNS",
    "hostname": "HOSTNAME is the pod's name, as a StatefulSet sets it",
    "subdomain": "there is no cluster DNS",
    "enableServiceLinks": "there are no Service addresses",
    "imagePullSecrets": "images are not pulled",
}
IGNORED_CONTAINER: Mapping[str, str] = {
    "image": "it is not pulled; the command is looked up in PATH",
    "imagePullPolicy": "images are not pulled",
    "resizePolicy": "containers are not resized",
    "resources": "they count for the scheduler and the downward API, no limit is enforced",
    "securityContext": "processes run as the user who started the cluster; privileged: true is refused",
    "terminationMessagePath": "the file is not read; terminationMessagePolicy: FallbackToLogsOnError quotes the log",
    "volumeMounts": (
        "only the service-account token and an emptyDir at /tmp, which become KUBECONFIG and TMPDIR, and a hostPath"
        " at its own path, which is this machine's folder"
    ),
}
_PROBE_ACTIONS = ("httpGet", "tcpSocket", "exec")
_PROBE_TIMES = (
    "initialDelaySeconds",
    "periodSeconds",
    "timeoutSeconds",
    "successThreshold",
    "failureThreshold",
)
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
_FIELD_PATHS = frozenset(
    {
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.podIP",
        "status.hostIP",
    }
)


def wants_token(pod: Json) -> bool:
    """Whether admission mounted the service account's token: nobody set `automountServiceAccountToken: false`."""
    spec = pod["spec"]
    containers = spec["containers"] + spec.get("initContainers", [])
    return any(mount["mountPath"] == TOKEN_MOUNT_PATH for each in containers for mount in each.get("volumeMounts", []))


def unsupported_fields(pod: Json) -> tuple[str, ...]:
    """Name every field of `pod` that the agent cannot carry out, each with what to do; empty when it runs the pod."""
    spec = pod["spec"]
    known = RUN_POD | SCHEDULER | IGNORED_POD.keys() | {"volumes"}
    problems = [f"spec.{name}: not supported, leave it out" for name in _set_fields(spec) if name not in known]
    problems.extend(_volumes(spec))
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group, [])):
            problems.extend(_container(f"spec.{group}[{index}]", container, spec))
    return tuple(problems)


def _set_fields(obj: Json) -> Iterator[str]:
    """Fields that ask for something: `hostNetwork: false` or an empty list asks for nothing."""
    return (name for name, value in obj.items() if value not in (None, False, [], {}, ""))


def _volumes(spec: Json) -> Iterator[str]:
    mounts = [
        mount for each in spec["containers"] + spec.get("initContainers", []) for mount in each.get("volumeMounts", [])
    ]
    for index, volume in enumerate(spec.get("volumes", [])):
        mounted_at = {mount["mountPath"] for mount in mounts if mount["name"] == volume["name"]}
        if mounted_at and mounted_at not in ({TOKEN_MOUNT_PATH}, _own_path(volume)) and "emptyDir" not in volume:
            kind = next((key for key in volume if key != "name"), "volume")
            yield (
                f"spec.volumes[{index}].{kind}: only emptyDir, the service-account token and a hostPath mounted at its"
                " own path are supported"
            )


def _own_path(volume: Json) -> set[str]:
    """Return where a hostPath can be mounted: processes see this machine's folders as they are."""
    path = volume.get("hostPath", {}).get("path", "/")
    return set() if path == "/" else {path}


def _container(path: str, container: Json, spec: Json) -> Iterator[str]:
    known = RUN_CONTAINER | IGNORED_CONTAINER.keys()
    for name in _set_fields(container):
        if name not in known:
            yield f"{path}.{name}: not supported, leave it out"
    if not container.get("command"):
        yield f"{path}.command: images are not pulled, so give the command"
    if (container.get("securityContext") or {}).get("privileged"):
        yield f"{path}.securityContext.privileged: not supported, leave it out"
    yield from _mounts(path, container, spec)
    yield from _env(path, container)
    yield from _ports(path, container)
    for name in _PROBES:
        yield from _probe(f"{path}.{name}", container.get(name) or {}, container)
    yield from _lifecycle(f"{path}.lifecycle", container)


def _mounts(path: str, container: Json, spec: Json) -> Iterator[str]:
    of_the_machine = {where for volume in spec.get("volumes", []) for where in _own_path(volume)}
    for index, mount in enumerate(container.get("volumeMounts", [])):
        where = mount["mountPath"]
        if where.rstrip("/") not in (TOKEN_MOUNT_PATH, SCRATCH_MOUNT_PATH) and where not in of_the_machine:
            yield f"{path}.volumeMounts[{index}].mountPath: {where} cannot be mounted, write below $TMPDIR or $HOME"


def _env(path: str, container: Json) -> Iterator[str]:
    for index, variable in enumerate(container.get("env", [])):
        source = variable.get("valueFrom") or {}
        where = f"{path}.env[{index}].valueFrom"
        for name in source:
            if name not in ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"):
                yield f"{where}.{name}: not supported"
        field_path = (source.get("fieldRef") or {}).get("fieldPath")
        if field_path and not _known_field_path(field_path):
            yield f"{where}.fieldRef.fieldPath: {field_path} is not supported"


def _known_field_path(field_path: str) -> bool:
    return field_path in _FIELD_PATHS or field_path.startswith(("metadata.labels['", "metadata.annotations['"))


def _ports(path: str, container: Json) -> Iterator[str]:
    for index, port in enumerate(container.get("ports", [])):
        if port.get("hostPort"):
            yield f"{path}.ports[{index}].hostPort: not supported, a pod's ports are on its own address"


def _probe(path: str, probe: Json, container: Json) -> Iterator[str]:
    for name in _set_fields(probe):
        if name not in _PROBE_ACTIONS + _PROBE_TIMES:
            yield f"{path}.{name}: not supported, use {', '.join(_PROBE_ACTIONS)}"
    yield from _port_names(path, probe, container)


def _lifecycle(path: str, container: Json) -> Iterator[str]:
    lifecycle = container.get("lifecycle") or {}
    for name in _set_fields(lifecycle):
        if name != "preStop":
            yield f"{path}.{name}: not supported, use preStop or an init container"
    hook = lifecycle.get("preStop") or {}
    for name in _set_fields(hook):
        if name not in ("exec", "httpGet"):
            yield f"{path}.preStop.{name}: not supported, use exec or httpGet"
    yield from _port_names(f"{path}.preStop", hook, container)


def _port_names(path: str, action: Json, container: Json) -> Iterator[str]:
    names = {port.get("name") for port in container.get("ports", [])}
    for kind in ("httpGet", "tcpSocket"):
        port: Any = (action.get(kind) or {}).get("port")
        if isinstance(port, str) and port not in names:
            yield f"{path}.{kind}.port: no port of the container is named {port}"
