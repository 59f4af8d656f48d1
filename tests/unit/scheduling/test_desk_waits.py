import pytest
from msgspec.structs import replace
from toy_gateways import WORKER

from tierline.scheduling.admission.quota import QuotaLimits, TenantUsage
from tierline.scheduling.desk import RequestDesk
from tierline.scheduling.queueing.queued import QueuedRequest

BASE = QueuedRequest("", "a", "t", 1, 10, 20, 0.0, 1000.0, 1e9)


def test_who_is_told_to_come_again_is_told_when_its_turn_would_be() -> None:
    """Bursts of ten every two seconds: behind thirty others that is six seconds, whichever moment it is."""
    desk = RequestDesk(lambda _: 10)
    for at in range(230):
        desk.queue.push(replace(BASE, request_id=f"r{at:03}", arrival_ms=float(at), deadline_ms=1000.0 + at))
    for burst in range(20):
        for at, _ in enumerate(desk.dispatch(burst * 2000.0, lambda _: WORKER), 1):
            if at == 10:
                break
    late = replace(BASE, request_id="late", arrival_ms=1e6, deadline_ms=2e6)
    assert desk.predicted_wait_ms(late) == pytest.approx(6000, rel=0.1)
    overdue = desk.overdue(late, TenantUsage(QuotaLimits()), capacity_exists=True, now_ms=1e6)
    assert overdue.retry_after_ms == desk.predicted_wait_ms(late)
