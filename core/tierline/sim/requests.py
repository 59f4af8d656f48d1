"""A request on its way through a simulation, and what its client saw of it in the end."""

from dataclasses import dataclass, field

from tierline.api.policy import TenantPolicy, TierPolicy
from tierline.scheduling.admission.quota import Ask
from tierline.scheduling.plans import EngineRequest
from tierline.sim.workload import PlannedRequest
from tierline.telemetry.records import Outcome, Placement, RequestRecord


@dataclass(slots=True)
class SimulatedRequest:
    """One request: `token_ms` is the journal, so what a lost worker had not delivered is computed again elsewhere.

    `tier` is the one that serves it, after a degradation another one than it was sent to. With `prepaid_tokens` tokens
    the answer is as long as its tenant paid for when it started. `eta_ms` is the time to its first token that admission
    foresaw when it came.
    """

    request_id: str
    planned: PlannedRequest
    tenant: TenantPolicy
    tier: TierPolicy
    outcome: Outcome | None = None
    detail: str = ""
    ended_ms: float | None = None
    worker: str | None = None
    moves: int = 0
    token_ms: list[float] = field(default_factory=list)
    placements: list[Placement] = field(default_factory=list)
    prepaid_tokens: int = 1
    eta_ms: float | None = None
    _placed_ms: float = 0.0
    _recomputed_tokens: int = 0

    @property
    def context_tokens(self) -> int:
        return self.planned.prompt_tokens + len(self.token_ms)

    @property
    def total_tokens(self) -> int:
        return self.planned.prompt_tokens + self.planned.asked_tokens

    @property
    def ask(self) -> Ask:
        """What its tenant's quota counts."""
        return Ask(self.planned.prompt_tokens, self.planned.asked_tokens)

    def engine_request(self) -> EngineRequest:
        """Return what its next worker gets: a start, or a continuation after the tokens in the journal."""
        return EngineRequest(
            request_id=self.request_id,
            prompt_tokens=self.planned.prompt_tokens,
            max_output_tokens=self.planned.asked_tokens,
            emitted_tokens=len(self.token_ms),
            priority=self.tier.priority,
            ttft_deadline_ms=self.planned.at_ms + self.tier.ttft_deadline_ms,
            tpot_budget_ms=self.tier.tpot_budget_ms,
            preemptible=self.tier.preemptible,
            tenant=self.tenant.tenant,
        )

    @property
    def missing_tokens(self) -> int:
        """How many tokens are left until the answer ends by itself."""
        return self.planned.output_tokens - len(self.token_ms)

    def placed(self, worker: str, now_ms: float) -> None:
        self.worker, self._placed_ms = worker, now_ms
        self._recomputed_tokens = self.context_tokens if self.moves else 0

    def left(self, now_ms: float) -> None:
        """Note that its worker no longer has it."""
        if self.worker is not None:
            self.placements.append(Placement(self.worker, self._placed_ms, now_ms, self._recomputed_tokens))
            self.worker = None

    def end(self, outcome: Outcome, now_ms: float, detail: str = "") -> None:
        self.outcome, self.detail, self.ended_ms = outcome, detail, now_ms

    def record(self) -> RequestRecord:
        """Return what the scorecard counts; the tier is the one it was sent to."""
        assert self.outcome is not None, f"{self.request_id} has not ended"
        return RequestRecord(
            request_id=self.request_id,
            tenant=self.tenant.tenant,
            tier=self.planned.tier,
            arrived_ms=self.planned.at_ms,
            prompt_tokens=self.planned.prompt_tokens,
            demanded_tokens=self.planned.output_tokens,
            outcome=self.outcome,
            token_times_ms=tuple(self.token_ms),
            placements=tuple(self.placements),
            interrupted=bool(self.moves),
            detail=self.detail,
            ended_ms=self.ended_ms,
        )
