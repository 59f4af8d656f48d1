"""See from outside what became of a cluster."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from tierline_devcluster.supervising.processes import ProcessRecord
from tierline_devcluster.supervising.state import ClusterInfo, Phase, StateDir

SeenPhase = Phase | Literal["absent", "killed"]


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """A cluster as its files and processes show it.

    `phase` is `absent` when there never was one and `killed` when its supervisor died without a word.
    """

    name: str
    phase: SeenPhase
    message: str
    info: ClusterInfo | None
    processes: tuple[ProcessRecord, ...]

    def as_json(self) -> dict[str, object]:
        """Return the status as plain JSON values."""
        return {
            "name": self.name,
            "phase": self.phase,
            "message": self.message,
            "cluster": msgspec.to_builtins(self.info),
            "processes": [
                {"name": process.name, "pid": process.pid, "alive": process.is_alive()} for process in self.processes
            ],
        }


def inspect(state: StateDir) -> ClusterStatus:
    """Return the state directory's cluster as it is now."""
    report = state.report()
    processes = tuple(state.processes())
    phase: SeenPhase = "absent" if report is None else report.phase
    message = "" if report is None else report.message
    if phase in {"starting", "ready"} and state.living_supervisor() is None:
        phase, message = "killed", "its supervisor was killed; `tierline-devcluster down` clears up"
    return ClusterStatus(state.root.name, phase, message, state.info(), processes)
