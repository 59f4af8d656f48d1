"""Answers a stored body as a client would, and waits where that would be told to come back."""

import asyncio
import time
from collections.abc import Callable

from tierline.api.names import HEADER_TIER
from tierline.api.policy import TenantPolicy
from tierline_gateway.front.api_errors import ApiError, unauthorized
from tierline_gateway.front.intake import Endpoint, Intake
from tierline_gateway.streams.live import LiveRequest

LONGEST_PAUSE_S = 5.0
_TEMPORARY = frozenset({429, 503})


class PatientClient:
    """Sends requests of stored bodies through the normal desk."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def answer(
        self,
        endpoint: Endpoint,
        body: bytes,
        *,
        tenant: str,
        tier: str,
        request_id: str,
        until_s: float,
        started: Callable[[LiveRequest], None] = lambda _live: None,
    ) -> bytes:
        """Return the response's body; raises `ApiError`, a temporary one only when `until_s` (epoch) has passed."""
        while True:
            try:
                live = await self._intake.read(endpoint, body, self._tenant(tenant), {HEADER_TIER: tier}, request_id)
                with self._intake.admitted(live, endpoint) as writer:
                    started(live)
                    response = await writer.write_whole()
                return bytes(response.body)  # type: ignore[arg-type]
            except ApiError as error:
                left_s = until_s - time.time()
                if error.status not in _TEMPORARY or left_s <= 0:
                    raise
                await asyncio.sleep(min(max(error.retry_after_s, 1), LONGEST_PAUSE_S, left_s))

    def _tenant(self, name: str) -> TenantPolicy:
        tenant = self._intake.service.snapshot().policy.tenants.get(name)
        if tenant is None:
            raise unauthorized("The tenant of this request is not declared any more.")
        return tenant
