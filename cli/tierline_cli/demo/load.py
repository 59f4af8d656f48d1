"""Open-loop load: every request is sent at its planned time, whether earlier ones are done or not."""

import asyncio
from collections.abc import Sequence

from tierline.sim.workload import PlannedRequest
from tierline_cli.demo.client import Observation, TenantClients
from tierline_cli.demo.clock import RunClock
from tierline_cli.demo.prompts import prompt_text


async def send_all(clients: TenantClients, workload: Sequence[PlannedRequest], clock: RunClock) -> list[Observation]:
    """Send the workload and return every observation in the order of the plan."""
    sends = [_send_at(clients, planned, number, clock) for number, planned in enumerate(workload)]
    return list(await asyncio.gather(*sends))


async def _send_at(clients: TenantClients, planned: PlannedRequest, number: int, clock: RunClock) -> Observation:
    await asyncio.sleep(max(planned.at_ms - clock.now_ms(), 0) / 1000)
    return await clients.send(planned, prompt_text(planned.prompt_tokens, number))
