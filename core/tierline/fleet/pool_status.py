"""What a pool says about itself."""

from collections.abc import Mapping
from typing import Any

from tierline.api.names import LABEL_POOL, label_value
from tierline.fleet.census import Census, take_census
from tierline.fleet.pool_plan import PoolObservation
from tierline.fleet.verdicts import Verdict, conditions_of


def pool_verdicts(seen: PoolObservation, problems: tuple[str, ...], refusal: str = "") -> tuple[Verdict, ...]:
    """Return the pool's conditions. `refusal` is what the API server said to our last write, if it refused it."""
    census = take_census(seen.pods, seen.nodes, seen.now_ms)
    accepted = _accepted(problems)
    available = _available(seen, census)
    progressing = _progressing(seen, census)
    return (accepted, available, progressing, _ready(accepted, available, progressing, refusal))


def pool_status(seen: PoolObservation, verdicts: tuple[Verdict, ...], last_attempt: int) -> Mapping[str, Any]:
    """Return the status to write, without anything that changes while its meaning does not."""
    census = take_census(seen.pods, seen.nodes, seen.now_ms)
    return {
        "observedGeneration": seen.pool.generation,
        "replicas": len(census.alive),
        "readyReplicas": len(census.serving),
        "lastAttempt": last_attempt,
        "selector": f"{LABEL_POOL}={label_value(seen.pool.name)}",
        "conditions": conditions_of(seen.pool, verdicts, seen.now_ms),
    }


def worker_failure(census: Census) -> str:
    """Return the newest reason why a worker does not run, in words; empty when none fails."""
    failing = [pod for pod in (*census.alive, *census.cooling, *census.finished) if pod.failure and not pod.ready]
    newest = max(failing, key=lambda pod: pod.attempt, default=None)
    return f"worker {newest.name}: {newest.failure}" if newest else ""


def _accepted(problems: tuple[str, ...]) -> Verdict:
    if problems:
        return Verdict("Accepted", False, "InvalidSpec", f"{'; '.join(problems)}.")
    return Verdict("Accepted", True, "Valid", "The spec is valid.")


def _available(seen: PoolObservation, census: Census) -> Verdict:
    if census.serving:
        return Verdict("Available", True, "WorkersReady", "Workers are serving.", is_news=False)
    if seen.replicas == 0:
        return Verdict("Available", True, "ScaledToZero", "No workers are wanted.", is_news=False)
    failure = worker_failure(census)
    if failure:
        return Verdict("Available", False, "WorkersFailing", f"No worker is ready: {failure}")
    return Verdict("Available", False, "WorkersStarting", "No worker is ready yet.", is_news=False)


def _progressing(seen: PoolObservation, census: Census) -> Verdict:
    ready = [pod for pod in census.staying if pod.ready and pod.revision == seen.revision]
    old = [pod for pod in census.staying if pod.revision != seen.revision]
    failure = worker_failure(census)
    if seen.revision is not None and old:
        return _going_on("Updating", f"{len(old)} of {len(census.staying)} workers have an old revision.", failure)
    if census.doomed:
        return _going_on("Evacuating", f"{len(census.doomed)} workers leave nodes about to be reclaimed.", failure)
    if len(ready) != seen.replicas or len(census.staying) != seen.replicas:
        return _going_on("Scaling", f"{len(ready)} of {seen.replicas} workers are ready.", failure)
    return Verdict("Progressing", False, "Settled", "All workers are as wanted.", is_news=False)


def _going_on(reason: str, message: str, failure: str) -> Verdict:
    told = f"{message} Failing: {failure}" if failure else message
    return Verdict("Progressing", True, reason, told, is_news=False)


def _ready(accepted: Verdict, available: Verdict, progressing: Verdict, refusal: str) -> Verdict:
    if refusal:
        return Verdict("Ready", False, "WriteRefused", refusal)
    for verdict in (accepted, available):
        if not verdict.holds:
            return Verdict("Ready", False, verdict.reason, verdict.message, is_news=False)
    if progressing.holds:
        return Verdict("Ready", False, progressing.reason, progressing.message, is_news=False)
    return Verdict("Ready", True, available.reason, "All workers are ready.", is_news=False)
