"""The operator's settings, read once from its environment."""

from collections.abc import Mapping
from dataclasses import dataclass

from tierline.api.names import OPERATOR_HTTP_PORT
from tierline.fleet.scaling.sharing import USUAL_TIMES, SharingTimes
from tierline.fleet.wanted import Images

DEFAULT_LEASE_NAME = "tierline-operator"
MOST_MEBIBYTES = 1 << 30


class WrongSetting(ValueError):
    """An environment variable that cannot be used; the message names it and the fix."""


@dataclass(frozen=True, slots=True)
class PlanningTimes:
    """How often fleets are planned for, over how long traffic is measured, and for how long silence is no news."""

    every_seconds: float = 5.0
    look_back_seconds: float = 60.0
    silence_seconds: float = 30.0
    sharing: SharingTimes = USUAL_TIMES


@dataclass(frozen=True, slots=True)
class Settings:
    """`namespaces` are the ones to work in; none means all of them. `identity` names this replica in the Lease.

    Replicas of one release share `lease_name`; two releases in one namespace must not. Signals come from Prometheus at
    `prometheus_url`, or from the pods when it is empty. `price_table` and `learned_name` are ConfigMaps in `namespace`,
    empty for none. Every object is looked at again after `resync_seconds`: watches tell of every change, so this only
    bounds how long a mistake of ours could last, and a look at a settled fleet and its pool costs 3.4 ms.
    """

    identity: str
    namespace: str
    images: Images
    namespaces: tuple[str, ...] = ()
    http_port: int = OPERATOR_HTTP_PORT
    http_host: str = "0.0.0.0"  # noqa: S104 - a pod's probes and scrapers come from outside it
    elects_leader: bool = True
    log_level: str = "INFO"
    resync_seconds: float = 300.0
    lease_seconds: float = 15.0
    lease_name: str = DEFAULT_LEASE_NAME
    prometheus_url: str = ""
    price_table: str = ""
    learned_name: str = ""
    planning: PlanningTimes = PlanningTimes()

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Raises `WrongSetting` for what is missing or malformed."""
        watched = env.get("TIERLINE_WATCH_NAMESPACES", "")
        return cls(
            identity=_required(env, "POD_NAME"),
            namespace=_required(env, "POD_NAMESPACE"),
            images=Images(
                worker=_required(env, "TIERLINE_WORKER_IMAGE"),
                gateway=_required(env, "TIERLINE_GATEWAY_IMAGE"),
                priority_class=env.get("TIERLINE_WORKER_PRIORITY_CLASS", ""),
                weights_dir=_folder(env, "TIERLINE_WORKER_WEIGHTS_DIR"),
                weights_limit_mebibytes=_count(env, "TIERLINE_WORKER_WEIGHTS_LIMIT_MEBIBYTES"),
            ),
            namespaces=tuple(name.strip() for name in watched.split(",") if name.strip()),
            http_port=_port(env, "TIERLINE_HTTP_PORT", OPERATOR_HTTP_PORT),
            http_host=env.get("TIERLINE_BIND_HOST", "0.0.0.0"),  # noqa: S104
            elects_leader=_switch(env, "TIERLINE_LEADER_ELECTION"),
            log_level=env.get("TIERLINE_LOG_LEVEL", "info").upper(),
            lease_name=env.get("TIERLINE_LEASE_NAME") or DEFAULT_LEASE_NAME,
            prometheus_url=_url(env, "TIERLINE_PROMETHEUS_URL"),
            price_table=env.get("TIERLINE_PRICE_TABLE", ""),
            learned_name=env.get("TIERLINE_LEARNED", ""),
        )


def _required(env: Mapping[str, str], name: str) -> str:
    if not env.get(name):
        raise WrongSetting(f"{name} is not set: give it in the operator's environment (the Helm chart does).")
    return env[name]


def _url(env: Mapping[str, str], name: str) -> str:
    text = env.get(name, "")
    if text and not text.startswith(("http://", "https://")):
        raise WrongSetting(f"{name} must be a URL that starts with http:// or https://, not {text!r}.")
    return text


def _port(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default))
    if not text.isdigit() or not 0 <= int(text) < 65536:
        raise WrongSetting(f"{name} must be a port number, not {text!r}.")
    return int(text)


def _folder(env: Mapping[str, str], name: str) -> str:
    text = env.get(name, "")
    if text and (not text.startswith("/") or text.rstrip("/") in {"", "/tmp"} or ".." in text.split("/")):  # noqa: S108
        raise WrongSetting(f"{name} must be the absolute path of a folder of its own on nodes, not {text!r}.")
    return text.rstrip("/")


def _count(env: Mapping[str, str], name: str) -> int:
    text = env.get(name) or "0"
    if not (text.isascii() and text.isdigit()) or int(text) > MOST_MEBIBYTES:
        raise WrongSetting(f"{name} must be a whole number from 0 to {MOST_MEBIBYTES}, not {text!r}.")
    return int(text)


def _switch(env: Mapping[str, str], name: str) -> bool:
    text = env.get(name, "true").lower()
    if text not in {"true", "false"}:
        raise WrongSetting(f"{name} must be true or false, not {text!r}.")
    return text == "true"
