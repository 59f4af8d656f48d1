"""Names, labels and buckets of what the gateway measures; the gateway makes the instruments."""

from dataclasses import dataclass

SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
TOKEN_SECONDS_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)

MAX_TENANT_LABELS = 200
OTHER_TENANTS = "_other"
MODEL = "model"
"""The label that every series of a fleet gets besides its own: the name by which clients ask for its model."""


@dataclass(frozen=True, slots=True)
class MetricName:
    """A metric's name, what it says, and its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


TTFT = MetricName("tierline_ttft_seconds", "Receipt of a request to its first token", ("tier", "tenant"))
TPOT = MetricName("tierline_tpot_seconds", "Mean time per token after the first", ("tier", "tenant"))
REQUESTS = MetricName("tierline_gateway_requests", "Requests that ended, by outcome", ("tier", "tenant", "outcome"))
REVISION_REQUESTS = MetricName(
    "tierline_gateway_revision_requests",
    "Requests that ended on workers of a revision, by whether they kept their tier's targets",
    ("tier", "pool", "revision", "outcome"),
)
MISSED = MetricName(
    "tierline_gateway_missed_requests", "Whole answers that came too late for their tier's targets", ("tier", "tenant")
)
LOST = MetricName(
    "tierline_gateway_lost_tokens",
    "Tokens that were generated and are of no use: their answer broke off, or they never reached a client that waited",
    ("tier", "tenant"),
)
DUPLICATED = MetricName(
    "tierline_gateway_duplicated_tokens", "Tokens that clients were given more than once", ("tier", "tenant")
)
DECISIONS = MetricName(
    "tierline_gateway_admissions",
    "Decisions on arriving requests, by verdict and the prompt's length in tokens",
    ("tier", "verdict", "prompt_tokens"),
)
RELATIVE_ERROR_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)
ETA_ERROR = MetricName(
    "tierline_gateway_eta_relative_error",
    "How far the end of a stored request was from what its client was told: |actual - eta| / eta",
)
QUEUE_DEPTH = MetricName("tierline_gateway_queue_requests", "Requests that wait for a worker", ("tier",))
QUEUE_DUE = MetricName(
    "tierline_gateway_queue_due_timestamp_seconds",
    "When the first of the requests that wait for a worker is due, in seconds since the epoch",
    ("tier",),
)
RUNNING = MetricName("tierline_gateway_running_requests", "Requests that a worker has started")
MOVES = MetricName("tierline_gateway_moves", "Streams continued on another worker, by cause", ("cause",))
RECOMPUTED = MetricName("tierline_gateway_recomputed_tokens", "Tokens computed again because a stream moved")
DROPPED = MetricName("tierline_gateway_dropped_tokens", "Tokens of stale epochs or seen positions, never delivered")
_BILLED = ("tenant", "billing_tier")
BILLED_PROMPT = MetricName("tierline_billed_prompt_tokens", "Prompt tokens of requests with a delivery", _BILLED)
BILLED_OUTPUT = MetricName("tierline_billed_output_tokens", "Output tokens delivered", _BILLED)
SERVICE = MetricName("tierline_tenant_service_tokens", "Fairness counter, weighted tokens", ("tenant",))
SHARING = MetricName(
    "tierline_gateway_sharing_gateways", "Gateways that share counters and quotas; 0 while the store does not answer"
)
WORKERS = MetricName("tierline_gateway_workers", "Workers by state of their connection", ("state",))

OUTCOME_MET = "met"
OUTCOME_MISSED = "missed"
OUTCOME_FAILED = "failed"
"""Outcomes of `REVISION_REQUESTS`: the last is a request that failed, or a stream that its worker lost."""
