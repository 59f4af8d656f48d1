"""The heart of the gateway: requests wait here, go to workers when credits allow, and come back when a worker fails.

Everything runs on one event loop, in callbacks that never wait, so no state needs a lock.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from tierline.api.policy import TierPolicy
from tierline.scheduling.admission.forecast import answer_ms
from tierline.scheduling.desk import RequestDesk
from tierline.scheduling.queueing.queued import QueuedRequest
from tierline.wire.frames import Iteration, Nack, NackReason, TokenBatch, TokenLogprobs
from tierline.wire.states import FinishReason, RequestState
from tierline_gateway.front.api_errors import ApiError, failed, too_long
from tierline_gateway.instruments import Instruments
from tierline_gateway.streams.arriving import arriving, queued_of
from tierline_gateway.streams.choices import Choices
from tierline_gateway.streams.explain_log import ExplainLog
from tierline_gateway.streams.journal import JournalGap
from tierline_gateway.streams.ledger import Ledger
from tierline_gateway.streams.live import LiveRequest, Move
from tierline_gateway.streams.refusal import hopeless, refusal
from tierline_gateway.streams.submission import submission
from tierline_gateway.workers.link import WorkerLink
from tierline_gateway.workers.pool import LinkPool

log = logging.getLogger(__name__)


class Dispatcher:
    """Owns every request between admission and its end; told of the workers' news by their links."""

    def __init__(
        self, links: LinkPool, ledger: Ledger, instruments: Instruments, clock_ms: Callable[[], float]
    ) -> None:
        self.links = links
        self.explained = ExplainLog()
        self.desk = RequestDesk(
            lambda request_id: self._live[request_id].journal.context_tokens, self._cached_tokens, self.explained.turn
        )
        self.queue = self.desk.queue
        self._ledger = ledger
        self._instruments = instruments
        self._clock_ms = clock_ms
        self._live: dict[str, LiveRequest] = {}
        self._choices = Choices()

    @property
    def live(self) -> Iterable[LiveRequest]:
        """Every request that has not been concluded."""
        return self._live.values()

    def find(self, request_id: str) -> LiveRequest | None:
        return self._live.get(request_id)

    def admit(self, live: LiveRequest, degraded: Callable[[LiveRequest], TierPolicy | None]) -> None:
        """Take a new request in and dispatch it if possible; raises `ApiError` 429.

        `degraded` lowers a request to the tier that its own names for overload, and returns that if there is one.
        """
        queued, _ = self._decide(live, degraded)
        self._live[live.request_id] = live
        self._ledger.begin(live)
        self.desk.enqueue(queued)
        self.pump()

    def judge(self, live: LiveRequest, degraded: Callable[[LiveRequest], TierPolicy | None]) -> float:
        """Return in how many ms a request that is stored now will probably be answered; raises `ApiError` 429."""
        queued, eta_ms = self._decide(live, degraded)
        return eta_ms + answer_ms(self.links.views(), queued.expected_output_tokens, queued.tpot_budget_ms)

    def _decide(
        self, live: LiveRequest, degraded: Callable[[LiveRequest], TierPolicy | None]
    ) -> tuple[QueuedRequest, float]:
        usage, now_ms = self._ledger.usage(live.tenant), self._clock_ms()
        request = arriving(live, usage, self._queued, degraded)
        decision = self.desk.decide(request, self.links.views(), now_ms)
        live.decisions.admitted(decision, live.tier.name, len(self.queue), usage.levels(now_ms), now_ms)
        self._instruments.decided(live, decision)
        if not decision.accepted:
            error = refusal(decision)
            live.finish(FinishReason.REFUSED, error)
            raise error
        return request.queued(), decision.eta_ms

    def join(self, first: LiveRequest, forks: tuple[LiveRequest, ...]) -> None:
        """Take the further choices of an answer whose first one was admitted just now."""
        self._choices.join(first, forks)
        for fork in forks:
            self._live[fork.request_id] = fork
            self.desk.enqueue(self._queued(fork))
        self.pump()

    def conclude(self, live: LiveRequest) -> None:
        """Let go of a request whose handler is done with it; one that still runs is cancelled at once."""
        if not live.life.done:
            self._leave(live, cancel=True)
            live.finish(FinishReason.CANCELLED)
        if self._live.pop(live.request_id, None) is not None:
            self._choices.forget(live)
            self._ledger.end(live, self._clock_ms())
            self._settle(live)
        self.pump()

    def pump(self) -> None:
        """Dispatch while some waiting request fits some worker."""
        now_ms = self._clock_ms()
        self.links.hold(self.queue.held_back)
        for queued, link in self.desk.dispatch(now_ms, self._place):
            live = self._live[queued.request_id]
            try:
                self._start(live, link, now_ms)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this request's
                self._broken(live, error)
            self.links.hold(self.queue.held_back)

    def abandon(self, error: ApiError) -> None:
        """End every request that is not done with `error`."""
        for live in self._live.values():
            if not live.life.done:
                self._end(live, FinishReason.FAILED, error)

    def expire(self) -> None:
        """Refuse requests that waited as long as they may, and new ones that turn out too long for every worker.

        A stream in the middle of its answer waits on: a larger worker may come back. So does a choice of an answer that
        has begun: its siblings' ends make room for it.
        """
        now_ms = self._clock_ms()
        window = self.links.window_tokens
        for queued in tuple(self.queue.waiting()):
            live = self._live[queued.request_id]
            if not queued.resumed and (error := hopeless(live, window, self.links)) is not None:
                self._end(live, FinishReason.REFUSED, error)
        for queued in self.queue.expired(now_ms):
            live = self._live[queued.request_id]
            if any(sibling.worker is not None or sibling.life.done for sibling in self._choices.beside(live)):
                continue
            decision = self.desk.overdue(queued, self._ledger.usage_of(live), self.links.capacity_exists, now_ms)
            self._end(live, FinishReason.REFUSED, refusal(decision))

    def evacuate(self, link: WorkerLink, cause: str) -> None:
        """Move every stream off a worker that will go away; it is told to stop computing them."""
        for request_id in tuple(link.outstanding):
            live = self._live.get(request_id)
            if live is not None and live.worker == link.name:
                link.cancel(request_id, live.life.epoch)
                self._replay(live, cause)
        self.pump()

    def link_up(self, link: WorkerLink) -> None:
        log.info("worker %s is connected", link.name)
        self.pump()

    def link_down(self, link: WorkerLink, cause: str) -> None:
        log.warning("worker %s is lost: %s, %d streams move", link.name, cause, len(link.outstanding))
        self.links.forget(link)
        for request_id in tuple(link.outstanding):
            live = self._live.get(request_id)
            if live is not None and live.worker == link.name:
                self._replay(live, cause, blamed=link.endpoint.serving)
        self.pump()

    def iteration(self, link: WorkerLink, frame: Iteration) -> None:
        name = link.name
        for batch in frame.tokens:
            live = self._live.get(batch.request_id)
            if live is None or live.life.done:
                continue
            if live.worker == name:
                try:
                    self._take_tokens(link, live, batch)
                except Exception as error:  # noqa: BLE001 - as in `pump`
                    self._broken(live, error)
            else:
                # It left this worker and may wait with its old epoch: what still comes from here is too late.
                live.journal.duplicates_dropped += len(batch.token_ids)
        if len(self.queue):
            self.pump()

    def nack(self, link: WorkerLink, frame: Nack) -> None:
        live = self._live.get(frame.request_id)
        if live is None or live.life.done or frame.epoch != live.life.epoch or live.worker != link.name:
            return
        self._leave(live)
        live.life.to(RequestState.WAITING)
        if frame.reason is NackReason.UNKNOWN_ADAPTER:
            link.lacks(live.adapter)
        window = self.links.window_tokens
        too_large = frame.reason is NackReason.TOO_LONG
        error = too_long(live.journal.context_tokens, window) if too_large else hopeless(live, window, self.links)
        if error is not None:
            self._end(live, FinishReason.REFUSED, error)
            return
        queued = self._queued(live)
        self.queue.refund(queued)
        self.desk.enqueue(queued)

    def _broken(self, live: LiveRequest, error: Exception) -> None:
        """A defect that one request brings to light ends that request, not the connection with all the others."""
        log.error("request %s cannot go on", live.request_id, exc_info=error)
        self._leave(live, cancel=True)
        live.finish(FinishReason.FAILED, failed("The gateway could not go on with this request; try again."))

    def _queued(self, live: LiveRequest) -> QueuedRequest:
        return queued_of(live, self.desk, self.links, self._clock_ms())

    def _cached_tokens(self, queued: QueuedRequest) -> int:
        return self.links.cached_tokens(self._live[queued.request_id].prefix_keys)

    def _place(self, queued: QueuedRequest) -> WorkerLink | None:
        live = self._live[queued.request_id]
        near = frozenset(other.worker for other in self._choices.beside(live) if other.worker is not None)
        need = self.desk.need(queued, live.adapter, near, self.links.cached_by_worker(live.prefix_keys))
        live.decisions.tried = self.links.choose(need, live.avoid)
        return self.links.get(live.decisions.tried.chosen)

    def _start(self, live: LiveRequest, link: WorkerLink, now_ms: float) -> None:
        live.journal.placed(live.life.start())
        live.placed_on(link.endpoint)
        self.explained.started(live.decisions)
        if live.moves and not live.moves[-1].target:
            live.moves[-1] = replace(live.moves[-1], target=link.name)
        link.submit(submission(live, link, self._choices.beside(live), now_ms))
        self.links.sent(link, live.prefix_keys)

    def _take_tokens(self, link: WorkerLink, live: LiveRequest, batch: TokenBatch) -> None:
        try:
            fresh = live.journal.accept(batch)
        except JournalGap as error:
            log.error("worker %s skipped tokens: %s", link.name, error)
            link.cancel(live.request_id, live.life.epoch)
            self._replay(live, "Gap")
            return
        if batch.epoch != live.life.epoch:
            return
        if fresh:
            self._deliver(live, fresh, batch.logprobs and batch.logprobs[len(batch.token_ids) - len(fresh) :])
        if batch.finish_reason and not live.life.done:
            self._finish(live, batch)

    def _deliver(self, live: LiveRequest, fresh: tuple[int, ...], logprobs: tuple[TokenLogprobs, ...]) -> None:
        if live.life.state is RequestState.WAITING_KV:
            live.life.to(RequestState.RUNNING)
            self.desk.first_token(live.request_id, self._clock_ms())
        self.queue.charge_output(live.request_id, live.tenant.tenant, len(fresh), live.tenant.weight)
        live.add_tokens(fresh, logprobs)
        if live.text.stopped:
            self._leave(live, cancel=True)
            live.finish(FinishReason.STOP)

    def _finish(self, live: LiveRequest, batch: TokenBatch) -> None:
        if batch.finish_reason in (FinishReason.STOP, FinishReason.LENGTH):
            self._leave(live)
            live.finish(FinishReason(batch.finish_reason))
            return
        worker = live.worker or ""
        first_failure = worker not in live.avoid and not live.avoid
        log.error("worker %s failed request %s: %s", worker, live.request_id, batch.error)
        live.avoid.add(worker)
        if first_failure and self.links.accepting_besides(worker):
            self._replay(live, "WorkerFailed", blamed=True)
        else:
            message = f"The worker could not go on ({batch.error or batch.finish_reason}); try again."
            self._end(live, FinishReason.FAILED, failed(message))

    def _settle(self, live: LiveRequest) -> None:
        complete = live.life.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
        tokens = len(live.journal.emitted_ids)
        self.desk.ended(live.request_id, live.tenant.tenant, live.tier.name, tokens, complete)

    def _replay(self, live: LiveRequest, cause: str, blamed: bool = False) -> None:
        """Put a started request back, ahead of its tier's queue, to be continued from its journal."""
        live.moves.append(Move(cause, live.worker or "", "", len(live.journal.emitted_ids)))
        self._instruments.moves.labels(cause).inc()
        if blamed:
            self._instruments.failed_by_worker(live)
        live.journal.replayed()
        self._leave(live)
        live.life.to(RequestState.WAITING)
        self.desk.enqueue(self._queued(live))

    def _end(self, live: LiveRequest, reason: FinishReason, error: ApiError) -> None:
        self._leave(live)
        live.finish(reason, error)

    def _leave(self, live: LiveRequest, cancel: bool = False) -> None:
        """Take a request from wherever it is, the queue or a worker."""
        self.queue.remove(live.request_id)
        link = self.links.get(live.worker)
        if link is not None:
            if cancel:
                link.cancel(live.request_id, live.life.epoch)
            link.left(live.request_id)
        live.worker = None
