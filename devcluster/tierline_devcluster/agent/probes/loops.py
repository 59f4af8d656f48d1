"""The probes of one running container: when they are due, and what their verdicts are."""

import asyncio
from collections.abc import AsyncIterator, Callable

from tierline_devcluster.agent.pod.spec import Container, Probe
from tierline_devcluster.agent.probes.actions import Answer, Target, check
from tierline_devcluster.agent.probes.thresholds import ProbeKind, Tally, Verdict

Report = Callable[[Verdict], None]
"""Called when a verdict turns."""


async def run_probes(container: Container, target: Target, report: Report) -> None:
    """Run the startup probe until it passes, then the other two until cancelled; changes go to `report`."""
    if container.startup_probe and not await _startup(container.startup_probe, target, report):
        return
    async with asyncio.TaskGroup() as group:
        if container.liveness_probe:
            group.create_task(_liveness(container.liveness_probe, target, report))
        if container.readiness_probe:
            group.create_task(_readiness(container.readiness_probe, target, report))


async def _startup(probe: Probe, target: Target, report: Report) -> bool:
    """Return whether the container started; a failure is reported once and ends the probing."""
    tally = Tally(passing=False)
    async for answer in _answers(probe, target):
        tally = _count(tally, probe, answer)
        if tally.passing:
            report(Verdict(ProbeKind.STARTUP, ok=True))
            return True
        if tally.failed_for_good(probe.failure_threshold):
            report(Verdict(ProbeKind.STARTUP, ok=False, message=answer.message))
            return False
    return False


async def _liveness(probe: Probe, target: Target, report: Report) -> None:
    tally = Tally(passing=True)
    async for answer in _answers(probe, target):
        tally = _count(tally, probe, answer)
        if not tally.passing:
            report(Verdict(ProbeKind.LIVENESS, ok=False, message=answer.message))
            return


async def _readiness(probe: Probe, target: Target, report: Report) -> None:
    tally = Tally(passing=False)
    async for answer in _answers(probe, target):
        before, tally = tally, _count(tally, probe, answer)
        if tally.passing != before.passing:
            report(Verdict(ProbeKind.READINESS, tally.passing, answer.message))


def _count(tally: Tally, probe: Probe, answer: Answer) -> Tally:
    return tally.observe(
        ok=answer.ok, success_threshold=probe.success_threshold, failure_threshold=probe.failure_threshold
    )


async def _answers(probe: Probe, target: Target) -> AsyncIterator[Answer]:
    """Yield one answer a period, counted from the beginning of each check."""
    loop = asyncio.get_running_loop()
    due_s = loop.time() + probe.initial_delay_seconds
    while True:
        await asyncio.sleep(max(0.0, due_s - loop.time()))
        due_s = max(due_s, loop.time() - probe.period_seconds) + probe.period_seconds
        yield await check(probe, target, probe.timeout_seconds)
