"""Whether the demo kept its promise, and if not, why not."""

from collections.abc import Iterator, Sequence

from tierline.telemetry.records import Outcome, Reclaim
from tierline.telemetry.scorecard import Scorecard
from tierline_cli.demo.evidence import Evidence

_SHOWN = 5


def problems_of(scorecard: Scorecard, evidence: Sequence[Evidence], reclaim: Reclaim | None) -> tuple[str, ...]:
    """Return everything that the demo promises and the run did not keep."""
    return (*_of_requests(scorecard, evidence), *_of_reclaim(evidence, reclaim), *_of_tokens(scorecard, evidence))


def _of_requests(scorecard: Scorecard, evidence: Sequence[Evidence]) -> Iterator[str]:
    if not evidence:
        yield "the workload was empty"
    if scorecard.requests.failed:
        failed = [each.seen for each in evidence if each.seen.outcome is Outcome.FAILED]
        told = "; ".join(f"{seen.request_id or 'no id'}: {seen.detail}" for seen in failed[:_SHOWN])
        yield f"{scorecard.requests.failed} requests failed ({told})"


def _of_reclaim(evidence: Sequence[Evidence], reclaim: Reclaim | None) -> Iterator[str]:
    if reclaim is None:
        yield "no spot node was reclaimed"
        return
    moved = [each for each in evidence if each.left(reclaim.worker)]
    if not any(each.seen.request_id in reclaim.streams for each in moved):
        yield f"no stream that was mid-decode on {reclaim.worker} was moved to another worker"
    unrepeated = [each.seen.request_id for each in moved if each.undisturbed_ids is None]
    if unrepeated:
        yield f"the undisturbed run of {', '.join(unrepeated)} failed, so its ids could not be compared"


def _of_tokens(scorecard: Scorecard, evidence: Sequence[Evidence]) -> Iterator[str]:
    if scorecard.spot.tokens_lost or scorecard.spot.tokens_doubled:
        yield f"{scorecard.spot.tokens_lost} tokens lost, {scorecard.spot.tokens_doubled} doubled"
    unwitnessed = [each.seen.request_id for each in evidence if each.seen.outcome is Outcome.OK and not each.journal]
    if unwitnessed:
        yield f"the gateway has no journal of {', '.join(unwitnessed[:_SHOWN])}"
    served = [each for each in evidence if each.seen.outcome is Outcome.OK]
    findings = [(each.seen.request_id, problem) for each in served for problem in each.audit().problems]
    for request_id, problem in findings[:_SHOWN]:
        yield f"{request_id}: {problem}"
