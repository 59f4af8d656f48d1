"""What a cluster consists of, as data: processes, in which order they start, and how to see that each is ready."""

from pathlib import Path

import msgspec


class ReadyCheck(msgspec.Struct, frozen=True):
    """A URL on 127.0.0.1 that answers 200 once the component works; TLS files are given for https."""

    port: int
    path: str
    ca: str | None = None
    client_cert: str | None = None
    client_key: str | None = None


class Component(msgspec.Struct, frozen=True):
    """One process of the cluster; its output goes to `<log_dir>/<name>.log`.

    `deadline_s` bounds the start. `stop_s` is the time between SIGTERM and SIGKILL. A component of a lower `stage`
    is ready before one of a higher stage starts. One that ends by itself is started again `restarts` times, then
    the cluster has failed.
    """

    name: str
    argv: tuple[str, ...]
    ready: tuple[ReadyCheck, ...]
    stage: int
    deadline_s: float = 60.0
    stop_s: float = 10.0
    env: dict[str, str] = {}
    restarts: int = 0


class Plan(msgspec.Struct, frozen=True):
    """A whole cluster; stored as `plan.json` for the supervisor."""

    components: tuple[Component, ...]
    log_dir: str
    pod_root: str

    def save(self, path: Path) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)))

    @classmethod
    def load(cls, path: Path) -> "Plan":
        return msgspec.json.decode(path.read_bytes(), type=cls)

    def stages(self) -> list[list[Component]]:
        """Return the components grouped by stage, in starting order."""
        numbers = sorted({component.stage for component in self.components})
        return [[item for item in self.components if item.stage == number] for number in numbers]
