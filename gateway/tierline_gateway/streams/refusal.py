"""What a client is told when its request is not taken."""

from tierline.scheduling.admission import Decision, Verdict
from tierline_gateway.front.api_errors import ApiError, too_many, unavailable


def refusal(decision: Decision) -> ApiError:
    """Return what a client is told about a decision that is not acceptance."""
    seconds = max(1, -(-int(decision.retry_after_ms) // 1000))
    if decision.verdict is Verdict.NO_CAPACITY:
        return unavailable(f"No capacity: {decision.reason}; try again in {seconds} s.", str(decision.verdict), seconds)
    return too_many(f"Too many requests: {decision.reason}; try again in {seconds} s.", str(decision.verdict), seconds)
