"""What a client is told when its request is not taken."""

from tierline.scheduling.admission.controller import Decision, Verdict
from tierline_gateway.front.api_errors import ApiError, adapter_not_found, too_long, too_many, unavailable
from tierline_gateway.streams.live import LiveRequest
from tierline_gateway.workers.pool import LinkPool


def refusal(decision: Decision) -> ApiError:
    """Return what a client is told about a decision that is not acceptance."""
    seconds = max(1, -(-int(decision.retry_after_ms) // 1000))
    if decision.verdict is Verdict.NO_CAPACITY:
        return unavailable(f"No capacity: {decision.reason}; try again in {seconds} s.", str(decision.verdict), seconds)
    return too_many(f"Too many requests: {decision.reason}; try again in {seconds} s.", str(decision.verdict), seconds)


def hopeless(live: LiveRequest, window_tokens: int, links: LinkPool) -> ApiError | None:
    """Return why no connected worker can ever take a request, None when one can or none is connected."""
    if 0 < window_tokens <= live.journal.context_tokens:
        return too_long(live.journal.context_tokens, window_tokens)
    lost = bool(live.adapter) and links.lost_adapter(live.adapter)
    return adapter_not_found(live.adapter) if lost else None
