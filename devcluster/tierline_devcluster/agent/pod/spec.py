"""The part of a pod that the agent acts on, typed; every other field is judged by `subset` before this is read.

The API server has validated and defaulted the object already, so decoding only gives names and types.
"""

from typing import Any, Literal

import msgspec

Json = dict[str, Any]
RestartPolicy = Literal["Always", "OnFailure", "Never"]
Port = int | str


class _Spec(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    pass


class FieldRef(_Spec, frozen=True):
    """A downward API reference to a field of the pod itself."""

    field_path: str


class ResourceFieldRef(_Spec, frozen=True):
    """A downward API reference to a limit or request of a container."""

    resource: str
    container_name: str = ""
    divisor: str = "1"


class KeyRef(_Spec, frozen=True):
    """One key of a ConfigMap or Secret."""

    name: str
    key: str
    optional: bool = False


class EnvSource(_Spec, frozen=True):
    """Where a variable's value comes from; exactly one is set."""

    field_ref: FieldRef | None = None
    resource_field_ref: ResourceFieldRef | None = None
    config_map_key_ref: KeyRef | None = None
    secret_key_ref: KeyRef | None = None


class EnvVar(_Spec, frozen=True):
    """One variable of a container."""

    name: str
    value: str = ""
    value_from: EnvSource | None = None


class ObjectRef(_Spec, frozen=True):
    """A whole ConfigMap or Secret."""

    name: str
    optional: bool = False


class EnvFrom(_Spec, frozen=True):
    """Every key of a ConfigMap or Secret as a variable."""

    prefix: str = ""
    config_map_ref: ObjectRef | None = None
    secret_ref: ObjectRef | None = None


class ContainerPort(_Spec, frozen=True):
    """A port the container says it listens on."""

    container_port: int
    name: str = ""


class HttpHeader(_Spec, frozen=True):
    """One request header of an HTTP check."""

    name: str
    value: str


class HttpGet(_Spec, frozen=True):
    """An HTTP request to the pod; `host` defaults to the pod's address."""

    port: Port
    path: str = "/"
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    host: str = ""
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocket(_Spec, frozen=True):
    """A TCP connection to the pod."""

    port: Port
    host: str = ""


class ExecAction(_Spec, frozen=True):
    """A command run beside the container's process."""

    command: tuple[str, ...] = ()


class Probe(_Spec, frozen=True):
    """A repeated check; times are in seconds."""

    http_get: HttpGet | None = None
    tcp_socket: TcpSocket | None = None
    exec_: ExecAction | None = msgspec.field(default=None, name="exec")
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3


class Handler(_Spec, frozen=True):
    """What a lifecycle hook does."""

    http_get: HttpGet | None = None
    exec_: ExecAction | None = msgspec.field(default=None, name="exec")


class Lifecycle(_Spec, frozen=True):
    """Hooks of a container."""

    pre_stop: Handler | None = None


class Resources(_Spec, frozen=True):
    """Quantities as strings, by resource name; they steer the scheduler and the downward API only."""

    limits: dict[str, str] = {}
    requests: dict[str, str] = {}


class VolumeMount(_Spec, frozen=True):
    """Where a container expects a volume."""

    name: str
    mount_path: str


class Container(_Spec, frozen=True):
    """One container: a command and how to watch over it."""

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    resources: Resources = Resources()
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    lifecycle: Lifecycle = Lifecycle()
    volume_mounts: tuple[VolumeMount, ...] = ()
    termination_message_policy: str = "File"

    @property
    def pre_stop(self) -> Handler | None:
        return self.lifecycle.pre_stop

    def port_number(self, port: Port) -> int | None:
        """Resolve a port that may be given by name; None when no port has that name."""
        if isinstance(port, int):
            return port
        named = (each.container_port for each in self.ports if each.name == port)
        return next(named, None)


class PodSpec(_Spec, frozen=True):
    """The pod's `spec`."""

    node_name: str
    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    restart_policy: RestartPolicy = "Always"
    termination_grace_period_seconds: int = 30
    service_account_name: str = "default"


class Metadata(_Spec, frozen=True):
    """The pod's `metadata`."""

    name: str
    namespace: str
    uid: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Pod(_Spec, frozen=True):
    """A pod as the agent sees it."""

    metadata: Metadata
    spec: PodSpec

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def label(self) -> str:
        """`namespace/name`, for people."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def all_containers(self) -> tuple[Container, ...]:
        """Init containers first, in the order they run."""
        return self.spec.init_containers + self.spec.containers

    def restart_policy(self, name: str) -> RestartPolicy:
        """Return the policy of one container: an init container that succeeded is never run again."""
        is_init = any(each.name == name for each in self.spec.init_containers)
        return "OnFailure" if is_init and self.spec.restart_policy == "Always" else self.spec.restart_policy

    def container(self, name: str) -> Container | None:
        return next((each for each in self.all_containers if each.name == name), None)


def parse_pod(obj: Json) -> Pod:
    """Type a pod object; raises `msgspec.ValidationError` with the path of a field of the wrong type."""
    return msgspec.convert(obj, Pod)
