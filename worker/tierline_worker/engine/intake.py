"""Takes submits: starts them, or says at once why not."""

from msgspec.structs import replace

from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.memory.prefix_keys import KeySpace
from tierline.wire.credits import submit_cost_blocks
from tierline.wire.frames import Iteration, Nack, NackReason, Submit, TokenBatch
from tierline.wire.states import FinishReason
from tierline_worker.adapters.catalog import AdapterCatalog
from tierline_worker.engine.ledger import CreditLedger
from tierline_worker.engine.messages import Outgoing
from tierline_worker.engine.requests import Roster, engine_request, key_of, live_request, problem_of
from tierline_worker.metrics import WorkerMetrics


class Intake:
    """The engine's door. Every submit is charged to its gateway's credit, also one that is refused.

    `keys` name the blocks of contexts, None: nothing is cached.
    """

    def __init__(
        self,
        vocab_size: int,
        roster: Roster,
        ledger: CreditLedger,
        metrics: WorkerMetrics,
        adapters: AdapterCatalog,
        *,
        keys: KeySpace | None,
    ) -> None:
        self._keys = keys
        self._adapters = adapters
        self._vocab_size = vocab_size
        self._roster = roster
        self._ledger = ledger
        self._metrics = metrics

    def take(self, core: SchedulerCore, gateway: int, frame: Submit, now_s: float) -> list[Outgoing]:
        """Start `frame` in `core`, or return the answer that refuses or ends it."""
        if gateway not in self._ledger:
            return []
        context = len(frame.prompt_ids) + len(frame.emitted_ids)
        cost_blocks = submit_cost_blocks(context, core.limits.block_tokens)
        self._ledger.spend(gateway, cost_blocks)
        reason = self._duplicate(core, gateway, frame)
        if reason is None:
            if ended := self._ended_already(frame):
                return [self._end(core, gateway, ended, now_s)]
            reason = self._start(core, gateway, frame, cost_blocks, now_s)
        if reason is not None:
            self._metrics.refused(reason)
            return [Outgoing(gateway, Nack(frame.request_id, frame.epoch, reason))]
        return []

    def _duplicate(self, core: SchedulerCore, gateway: int, frame: Submit) -> NackReason | None:
        """Refuse what runs already; a newer epoch replaces an older one, whose frames the gateway would drop."""
        running = self._roster.by_key.get(key_of(gateway, frame.request_id))
        if running is None:
            return None
        if running.epoch >= frame.epoch:
            return NackReason.DUPLICATE
        core.cancel(running.key)
        self._roster.remove([running])
        return None

    def _ended_already(self, frame: Submit) -> TokenBatch | None:
        """Return the end of a request for which nothing can or need be computed."""
        emitted = len(frame.emitted_ids)
        if problem := problem_of(frame, self._vocab_size):
            self._metrics.errored()
            return TokenBatch(frame.request_id, frame.epoch, emitted, (), FinishReason.FAILED, problem)
        if emitted >= frame.sampling.max_tokens:
            return TokenBatch(frame.request_id, frame.epoch, emitted, (), FinishReason.LENGTH)
        return None

    def _start(
        self, core: SchedulerCore, gateway: int, frame: Submit, cost_blocks: int, now_s: float
    ) -> NackReason | None:
        adapter = self._adapters.key_of(frame.adapter)
        if adapter is None:
            return NackReason.UNKNOWN_ADAPTER
        request = live_request(gateway, frame, now_s, adapter, self._keys)
        needed_blocks = cost_blocks - core.reuse.held_blocks(request.block_keys, len(request.token_ids))
        # Alone on the worker it is started in any case: what is too long even then, the core knows.
        if self._roster.by_key and core.headroom.room(frame.priority)[1] < needed_blocks:
            return NackReason.NO_BLOCKS
        asked = engine_request(gateway, frame, now_s, adapter)
        parent = self._roster.parent_of(request, frame.fork_of)
        reason = core.submit(replace(asked, block_keys=request.block_keys, fork_of=parent))
        if reason is None:
            self._roster.by_key[request.key] = request
        return reason

    def _end(self, core: SchedulerCore, gateway: int, ended: TokenBatch, now_s: float) -> Outgoing:
        free = core.headroom.grantable_requests, core.headroom.free_blocks
        granted, _ = self._ledger.grant(gateway, *free, now_s)
        return Outgoing(gateway, Iteration(core.iteration, core.signals(), granted, (ended,)))
