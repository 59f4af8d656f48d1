"""What a pool says about itself."""

from collections.abc import Mapping
from typing import Any

from tierline.api.names import LABEL_POOL, label_value
from tierline.fleet.census import Census
from tierline.fleet.pool_plan import PoolObservation, census_of
from tierline.fleet.readiness import ready_verdict
from tierline.fleet.rollout.status import ROLLED_BACK, rollout_verdict
from tierline.fleet.rollout.steps import Hold
from tierline.fleet.verdicts import Verdict, conditions_of


def pool_verdicts(
    seen: PoolObservation, problems: tuple[str, ...], hold: Hold | None = None, refusal: str = ""
) -> tuple[Verdict, ...]:
    """Return the pool's conditions. `hold` is where a change waits, if it does; `refusal` is what the API server said
    to our last write, if it refused it.
    """
    census = census_of(seen)
    accepted = _accepted(problems)
    available = _available(seen, census)
    old = [pod for pod in census.staying if pod.revision not in seen.wanted] if seen.revision is not None else []
    rolled_out = rollout_verdict(hold, len(old), len(census.staying))
    progressing = _progressing(seen, census, rolled_out)
    well = (available.reason, "All workers are ready.")
    ready = ready_verdict((accepted, available), progressing, rolled_out, refusal, well=well)
    return (accepted, available, progressing, rolled_out, ready)


def pool_status(
    seen: PoolObservation, verdicts: tuple[Verdict, ...], last_attempt: int, rollout: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """Return the status to write, without anything that changes while its meaning does not."""
    census = census_of(seen)
    return {
        **({"rollout": rollout} if rollout else {}),
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


def _progressing(seen: PoolObservation, census: Census, rolled_out: Verdict) -> Verdict:
    ready = [pod for pod in census.staying if pod.ready and pod.revision in seen.wanted]
    failure = worker_failure(census)
    if not rolled_out.holds and rolled_out.reason != ROLLED_BACK:
        return _going_on(rolled_out.reason, rolled_out.message, failure)
    if census.doomed:
        return _going_on("Evacuating", f"{len(census.doomed)} workers leave nodes about to be reclaimed.", failure)
    if len(ready) < seen.needed or len(census.staying) != seen.total:
        return _going_on("Scaling", f"{len(ready)} of {seen.total} workers are ready.", failure)
    return Verdict("Progressing", False, "Settled", "All workers are as wanted.", is_news=False)


def _going_on(reason: str, message: str, failure: str) -> Verdict:
    told = f"{message} Failing: {failure}" if failure else message
    return Verdict("Progressing", True, reason, told, is_news=False)
