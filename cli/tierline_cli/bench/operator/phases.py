"""What is measured of an operator: filling the cluster, changes at a steady rate, its start, and its rest."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tierline_cli.bench.operator.fleets import create_fleet, create_fleets
from tierline_cli.bench.operator.process import OperatorProcess, cpu_by_program, until_looked
from tierline_cli.bench.operator.report import Report
from tierline_cli.bench.operator.stations import Stations
from tierline_operator.cluster import Cluster

PODS_SECONDS = 900.0
TELL_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class OperatorSizes:
    """How much is there, how many changes are measured, at which rate they come, and what counts as quiet.

    Nobody listens at the pods' addresses: after `patience_seconds` the operator has found out, and asks seldom.
    """

    fleets: int = 1000
    pods_per_fleet: int = 5
    nodes: int = 500
    changes: int = 100
    changes_per_second: float = 10.0
    settle_seconds: float = 10.0
    idle_seconds: float = 30.0
    patience_seconds: float = 60.0

    @classmethod
    def small(cls) -> "OperatorSizes":
        return cls(fleets=40, nodes=10, changes=20, settle_seconds=3, idle_seconds=10, patience_seconds=0)

    def but(self, **counts: int | None) -> "OperatorSizes":
        """Return other sizes; None leaves one as it is."""
        return replace(self, **{name: count for name, count in counts.items() if count is not None})


@dataclass(frozen=True, slots=True)
class Bench:
    """What all phases use: the cluster, what watches it, its folder, and where figures go."""

    cluster: Cluster
    stations: Stations
    folder: Path
    sizes: OperatorSizes
    report: Report

    async def fill(self, operator: OperatorProcess) -> None:
        """Apply all fleets, and wait for their workers."""
        names = [f"full-{at}" for at in range(self.sizes.fleets)]
        began, spent = time.monotonic(), self._spent(operator)
        telling = asyncio.create_task(self._tell_progress(len(names)))
        try:
            async with asyncio.timeout(PODS_SECONDS):
                await create_fleets(self.cluster, names, self.sizes.pods_per_fleet, self._accepted)
                applied = time.monotonic() - began
                await self.stations.until(names)
        finally:
            telling.cancel()
        took = time.monotonic() - began
        shares = _shares(spent, self._spent(operator), took)
        figures = {"applied_seconds": round(applied, 1), "seconds": round(took, 1), "cpu_percent": shares}
        self.report.add("filled", {"fill": figures})

    async def change(self, operator: OperatorProcess) -> None:
        """Apply new fleets at a steady rate, whether or not the ones before have their workers."""
        before = await self._counts(operator)
        applied_at: dict[str, float] = {}
        began, spent = time.monotonic(), self._spent(operator)
        async with asyncio.timeout(PODS_SECONDS), asyncio.TaskGroup() as group:
            for at in range(self.sizes.changes):
                await asyncio.sleep(max(0.0, began + at / self.sizes.changes_per_second - time.monotonic()))
                name = f"new-{at}"
                applied_at[name] = time.monotonic()
                group.create_task(self._apply(name))
            await self.stations.until(applied_at)
        after, took = self._spent(operator), time.monotonic() - began
        stations = self.stations.since(applied_at)
        figures = {
            "apply_to_pods_ms": stations["last_pod"],
            "stations_ms": stations,
            "cpu_percent_while_changing": _shares(spent, after, took),
        }
        self.report.add("workers of all changes are there", figures)
        await self.until_quiet(operator)
        seconds, counts = self._spent(operator)["operator"] - spent["operator"], await self._counts(operator)
        each = {f"{name}_per_change": round((counts[name] - before[name]) / self.sizes.changes, 2) for name in counts}
        cpu = {"operator_cpu_ms_per_change": round(1000 * seconds / self.sizes.changes, 1)}
        self.report.add("after the changes", {**each, **cpu})

    async def start(self, operator: OperatorProcess, started: float) -> None:
        """Wait until a new operator has looked at everything once; `started` is when its process was."""
        await until_looked(operator, self.sizes.fleets + self.sizes.changes)
        seconds = {"start_seconds": round(time.monotonic() - started, 2)}
        self.report.add("started", {**seconds, "start_cpu_seconds": round(operator.cpu_seconds(), 2)})

    async def rest(self, operator: OperatorProcess) -> None:
        """Let time pass when nothing happens."""
        await self.until_quiet(operator)
        await asyncio.sleep(self.sizes.patience_seconds)
        spent = self._spent(operator)
        await asyncio.sleep(self.sizes.idle_seconds)
        after = self._spent(operator)
        used = after["operator"] - spent["operator"]
        figures = {
            "idle_cpu_percent": round(100 * used / self.sizes.idle_seconds, 2),
            "cpu_percent_while_idle": _shares(spent, after, self.sizes.idle_seconds),
            "memory_mb": round(operator.memory_mb(), 1),
        }
        self.report.add("at rest", figures)

    async def until_quiet(self, operator: OperatorProcess) -> None:
        """Wait until the operator has written nothing for a while."""
        async with asyncio.timeout(PODS_SECONDS):
            before = -1.0
            while (now := await operator.writes()) != before:
                before = now
                await asyncio.sleep(self.sizes.settle_seconds)

    async def _apply(self, name: str) -> None:
        await create_fleet(self.cluster, name, self.sizes.pods_per_fleet)
        self._accepted(name)

    def _accepted(self, name: str) -> None:
        self.stations.note(name, "accepted")

    async def _tell_progress(self, wanted: int) -> None:
        while True:
            await asyncio.sleep(TELL_SECONDS)
            self.report.say(f"{self.stations.complete} of {wanted} fleets have their workers")

    def _spent(self, operator: OperatorProcess) -> dict[str, float]:
        """Return the CPU seconds of all that work here: the operator, the cluster's processes, and this one."""
        return {**cpu_by_program(self.folder), "operator": operator.cpu_seconds(), "bench": time.process_time()}

    async def _counts(self, operator: OperatorProcess) -> dict[str, float]:
        return {
            "writes": await operator.writes(),
            "api_calls": await operator.requests(),
            "looks": await operator.looks(),
            "failed_looks": await operator.failures(),
        }


def _shares(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Return who used how many percent of a core, by program."""
    return {name: round(100 * (used - before.get(name, 0.0)) / seconds, 1) for name, used in sorted(after.items())}
