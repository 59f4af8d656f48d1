"""What the gateway is told by its environment."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tierline.api.names import GATEWAY_ADMIN_PORT, GATEWAY_HTTP_PORT
from tierline.artifacts import default_cache_dir

DEFAULT_DRAIN_SECONDS = 50
DEFAULT_STORED_MEBIBYTES = 2048


class SettingsError(ValueError):
    """An environment variable is missing or wrong; the message names it and the fix."""


@dataclass(frozen=True, slots=True)
class PodProcess:
    """Which of a pod's processes this is, and the sockets through which its supervisor speaks with it."""

    index: int
    admin_socket: Path
    state_socket: Path


@dataclass(frozen=True, slots=True)
class Settings:
    """One gateway process. `gateway_id` is unique among the gateways that a worker talks to.

    `state_store_url` is where gateways share counters and quotas, empty where each is alone; its password is empty
    where the URL is enough. With more than one of `processes` this is their supervisor; `pod_process` is set in each.
    `state_dir` is where answers to be given later are kept, up to `stored_mebibytes`; without it they are in the state
    store, and without that there are none.
    """

    fleet: str
    namespace: str
    gateway_id: str
    cache_dir: Path
    bind_host: str = "0.0.0.0"  # noqa: S104 - a pod serves its own address
    http_port: int = GATEWAY_HTTP_PORT
    admin_port: int = GATEWAY_ADMIN_PORT
    drain_seconds: int = DEFAULT_DRAIN_SECONDS
    state_store_url: str = ""
    state_store_password: str = ""
    processes: int = 1
    pod_process: PodProcess | None = None
    state_dir: Path | None = None
    stored_mebibytes: int = DEFAULT_STORED_MEBIBYTES


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings; raises `SettingsError`."""
    namespace = _required(environment, "POD_NAMESPACE")
    return Settings(
        fleet=_required(environment, "TIERLINE_FLEET"),
        namespace=namespace,
        gateway_id=_gateway_id(namespace, environment),
        cache_dir=default_cache_dir(environment),
        bind_host=environment.get("TIERLINE_BIND_HOST") or "0.0.0.0",  # noqa: S104 - as above
        http_port=_number(environment, "TIERLINE_HTTP_PORT", GATEWAY_HTTP_PORT),
        admin_port=_number(environment, "TIERLINE_ADMIN_PORT", GATEWAY_ADMIN_PORT),
        drain_seconds=_number(environment, "TIERLINE_DRAIN_SECONDS", DEFAULT_DRAIN_SECONDS),
        state_store_url=_store_url(environment.get("TIERLINE_STATE_STORE_URL", "")),
        state_store_password=environment.get("TIERLINE_STATE_STORE_PASSWORD", ""),
        processes=_number(environment, "TIERLINE_GATEWAY_PROCESSES", 1),
        pod_process=_pod_process(environment),
        state_dir=_state_dir(environment),
        stored_mebibytes=_number(environment, "TIERLINE_STORED_MEBIBYTES", DEFAULT_STORED_MEBIBYTES),
    )


def _gateway_id(namespace: str, environment: Mapping[str, str]) -> str:
    process = environment.get("TIERLINE_GATEWAY_PROCESS", "")
    return f"{namespace}/{_required(environment, 'POD_NAME')}" + (f"/{process}" if process else "")


def _pod_process(environment: Mapping[str, str]) -> PodProcess | None:
    if not environment.get("TIERLINE_GATEWAY_PROCESS"):
        return None
    sockets = (Path(_required(environment, name)) for name in ("TIERLINE_ADMIN_SOCKET", "TIERLINE_STATE_SOCKET"))
    return PodProcess(_number(environment, "TIERLINE_GATEWAY_PROCESS", 0), *sockets)


def _state_dir(environment: Mapping[str, str]) -> Path | None:
    """Return the directory; a relative one is below the folder for temporary files, which a pod has to itself."""
    value = environment.get("TIERLINE_STATE_DIR", "")
    return Path(environment.get("TMPDIR") or tempfile.gettempdir()) / value if value else None


def _store_url(value: str) -> str:
    """Return the URL; it may hold a password, so a wrong one is not repeated."""
    if value and not value.startswith(("redis://", "rediss://")):
        raise SettingsError("TIERLINE_STATE_STORE_URL is no redis:// or rediss:// URL; correct stateStore.url")
    return value


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsError(f"{name} is not set; the operator sets it on gateway pods")
    return value


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    value = environment.get(name, "")
    if value and not value.isdecimal():
        raise SettingsError(f"{name} is {value!r}; set it to a whole number")
    return int(value) if value else default
