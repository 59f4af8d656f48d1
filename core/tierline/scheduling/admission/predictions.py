"""Which of two predictions of a first token a request is judged by: the one that leaves less time.

    learned    wait: the queue's own rate * those ahead + w     then: what dispatched requests of its priority took - w
    foreseen   wait: the prompts before it on the devices = w   then: its own prompt there (`forecast`)

    judged by  the one with the least patience - wait

Each is whole in itself: the prompts that wait on a worker are in what dispatched requests took, and they are in what
the forecast adds up. The wait of one beside the first token of the other counts them twice, and refuses who would have
been in time. Nobody who finds nothing before it is refused, however late dispatched requests were: it may be over.

Inputs: both predictions, the tier's targets. Bounds: patience is at most the tier's `maxQueueMilliseconds`. When not to
use it: while no worker has measured itself (`cold`). What is known then are guesses from warm-ups, made while a node
started everything at once: the queue alone tells the wait, and patience is the tier's longest one.
"""

from collections.abc import Iterable

import msgspec

from tierline.api.policy import TierPolicy
from tierline.scheduling.admission.first_token import patience_ms
from tierline.scheduling.admission.prompt_lengths import room_ms
from tierline.scheduling.routing.choice import WorkerView


class Prediction(msgspec.Struct, frozen=True):
    """Until a prompt begins; from there to its first token; the same for a long prompt of its tier."""

    wait_ms: float
    first_token_ms: float
    long_first_token_ms: float

    @property
    def total_ms(self) -> float:
        return self.wait_ms + self.first_token_ms


def learned(queue_ms: float, took_ms: float, long_took_ms: float, on_worker_ms: float) -> Prediction:
    """Return the prediction of who waits for `queue_ms`, then takes what others took since their dispatch.

    `on_worker_ms` of that are a wait, too.
    """
    waits_ms = min(on_worker_ms, took_ms)
    return Prediction(queue_ms + waits_ms, took_ms - waits_ms, max(long_took_ms - waits_ms, 0.0))


class Judged(msgspec.Struct, frozen=True):
    """A prediction, and how long it lets the request wait."""

    prediction: Prediction
    patience_ms: float

    @property
    def spare_ms(self) -> float:
        return self.patience_ms - self.prediction.wait_ms


def judged_by(predictions: Iterable[Prediction], tier: TierPolicy, alone_ms: float, *, is_cold: bool) -> Judged:
    """Return the prediction that counts; `alone_ms` is what the prompt takes on an idle worker."""
    return min((Judged(each, _patience_ms(each, tier, alone_ms, is_cold)) for each in predictions), key=_spare_ms)


def cold(workers: Iterable[WorkerView]) -> bool:
    """Whether all that accepting workers tell of their speed are guesses."""
    telling = [worker for worker in workers if worker.accepting and worker.latency is not None]
    return bool(telling) and not any(worker.measured for worker in telling)


def _patience_ms(prediction: Prediction, tier: TierPolicy, alone_ms: float, is_cold: bool) -> float:
    if is_cold:
        return tier.max_queue_ms
    room = room_ms(tier.ttft_deadline_ms, prediction.first_token_ms, prediction.long_first_token_ms)
    return patience_ms(tier.ttft_deadline_ms, tier.max_queue_ms, room, alone_ms)


def _spare_ms(judged: Judged) -> float:
    return judged.spare_ms
