"""The metrics that a worker serves: names, types, labels, buckets.

The `vllm:` names have vLLM's types, labels, buckets and meanings, so dashboards, autoscalers (KEDA) and inference
gateways (GIE) made for it work unchanged; `tierline_worker_` names what only Tierline has. Counters get Prometheus'
`_total` on the wire. Every metric carries `BASE_LABELS`, but for the two `_info` ones, which have vLLM's own.
"""

from dataclasses import dataclass
from typing import Final, Literal

BASE_LABELS: Final = ("model_name", "engine")
ENGINE: Final = "0"
"""The label `engine` of the one engine that a worker has."""

REQUESTS_RUNNING = "vllm:num_requests_running"
REQUESTS_WAITING = "vllm:num_requests_waiting"
REQUESTS_WAITING_BY_REASON = "vllm:num_requests_waiting_by_reason"
KV_CACHE_USAGE = "vllm:kv_cache_usage_perc"
PREFIX_QUERIES = "vllm:prefix_cache_queries"
PREFIX_HITS = "vllm:prefix_cache_hits"
PREEMPTIONS = "vllm:num_preemptions"
PROMPT_TOKENS = "vllm:prompt_tokens"
GENERATION_TOKENS = "vllm:generation_tokens"
REQUEST_SUCCESS = "vllm:request_success"
ITERATION_TOKENS = "vllm:iteration_tokens_total"
REQUEST_PROMPT_TOKENS = "vllm:request_prompt_tokens"
REQUEST_GENERATION_TOKENS = "vllm:request_generation_tokens"
TTFT_SECONDS = "vllm:time_to_first_token_seconds"
INTER_TOKEN_SECONDS = "vllm:inter_token_latency_seconds"  # noqa: S105 a metric, no secret
REQUEST_TOKEN_SECONDS = "vllm:request_time_per_output_token_seconds"  # noqa: S105 a metric, no secret
E2E_SECONDS = "vllm:e2e_request_latency_seconds"
QUEUE_SECONDS = "vllm:request_queue_time_seconds"
PREFILL_SECONDS = "vllm:request_prefill_time_seconds"
DECODE_SECONDS = "vllm:request_decode_time_seconds"
INFERENCE_SECONDS = "vllm:request_inference_time_seconds"
DRAFTS = "vllm:spec_decode_num_drafts"
DRAFT_TOKENS = "vllm:spec_decode_num_draft_tokens"
ACCEPTED_TOKENS = "vllm:spec_decode_num_accepted_tokens"
CACHE_CONFIG = "vllm:cache_config_info"
LORA_REQUESTS = "vllm:lora_requests_info"

ITERATION_SECONDS = "tierline_worker_iteration_seconds"
BATCH_TOKENS = "tierline_worker_batch_tokens"
BUSY_SECONDS = "tierline_worker_busy_seconds"
KV_BLOCKS_USED = "tierline_worker_kv_blocks_used"
KV_BLOCKS_TOTAL = "tierline_worker_kv_blocks"
KV_BLOCKS_CACHED = "tierline_worker_kv_blocks_cached"
KV_BLOCKS_ADAPTERS = "tierline_worker_kv_blocks_adapters"
KV_TOKENS = "tierline_worker_kv_tokens"
KV_FRAGMENTED_TOKENS = "tierline_worker_kv_fragmented_tokens"
KV_EVICTED_BLOCKS = "tierline_worker_kv_evicted_blocks"
KV_COPIED_BLOCKS = "tierline_worker_kv_copied_blocks"
REQUESTS_PARKED = "tierline_worker_requests_parked"
PREEMPTIONS_BY_KIND = "tierline_worker_preemptions"
SAVED_TOKENS = "tierline_worker_saved_tokens"
RESTORED_TOKENS = "tierline_worker_restored_tokens"
RECOMPUTED_TOKENS = "tierline_worker_recomputed_tokens"
OFFLOAD_BYTES = "tierline_worker_offload_bytes"
OFFLOAD_SECONDS = "tierline_worker_offload_seconds"
OFFLOAD_FAILURES = "tierline_worker_offload_failures"
OFFLOAD_BYTES_PER_SECOND = "tierline_worker_offload_bytes_per_second"
ACCEPTANCE_RATE = "tierline_worker_draft_acceptance_ratio"
SPECULATING = "tierline_worker_speculation_on"
ADAPTER_LOADS = "tierline_worker_adapter_loads"
ADAPTER_EVICTIONS = "tierline_worker_adapter_evictions"
LATENCY_COEFFICIENT = "tierline_worker_latency_coefficient_ms"
LATENCY_RESIDUAL = "tierline_worker_latency_residual_p95_ms"
LATENCY_SAMPLES = "tierline_worker_latency_samples"
BACKLOG_TOKENS = "tierline_worker_backlog_tokens"
REQUESTS_CANCELLED = "tierline_worker_requests_cancelled"
REQUESTS_FAILED = "tierline_worker_requests_failed"
REQUESTS_REFUSED = "tierline_worker_requests_refused"
SHED_ITERATIONS = "tierline_worker_out_of_memory_iterations"
SHED_REQUESTS = "tierline_worker_out_of_memory_requests"
TOKEN_LIMIT = "tierline_worker_iteration_token_limit"  # noqa: S105 a metric, no secret
DEVICE = "tierline_worker_device_info"
DEVICE_MEMORY_BYTES = "tierline_worker_device_memory_bytes"
WEIGHT_BYTES = "tierline_worker_weight_bytes"
KV_TOKEN_BYTES = "tierline_worker_kv_token_bytes"  # noqa: S105 a metric, no secret
MEMORY_BYTES_PER_SECOND = "tierline_worker_memory_bytes_per_second"
FLOPS_PER_SECOND = "tierline_worker_flops_per_second"
GATEWAYS_CONNECTED = "tierline_worker_gateways_connected"
GATEWAYS_DROPPED = "tierline_worker_gateways_dropped"
DRAINING = "tierline_worker_draining"
STALLED_SECONDS = "tierline_worker_stalled_seconds"
CACHED_WEIGHTS_BYTES = "tierline_worker_cached_weights_bytes"
STARTED_WARM = "tierline_worker_started_warm"

_TTFT = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0,
    2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
_TOKEN = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75,
    1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
_REQUEST = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0,
    40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
)  # fmt: skip
_ITERATION = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
_LENGTH = tuple(float(digit * 10**exponent) for exponent in range(6) for digit in (1, 2, 5))
_ITERATION_SECONDS = (0.001, 0.002, 0.005, *_TOKEN[:-3])

BATCH_KINDS: Final = ("prefill", "decode", "verify", "draft", "adapter")
"""What the tokens of an iteration are; verified, drafted and adapter tokens are part of the first two's rows."""


@dataclass(frozen=True, slots=True)
class WorkerMetric:
    """A family of series. `labels` come after the base labels."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


VLLM_METRICS: Final = (
    WorkerMetric(REQUESTS_RUNNING, "gauge", "Requests in the running batch."),
    WorkerMetric(REQUESTS_WAITING, "gauge", "Requests on this worker that wait for blocks or are parked."),
    WorkerMetric(REQUESTS_WAITING_BY_REASON, "gauge", "The same: for room, or for KV that is loaded.", ("reason",)),
    WorkerMetric(KV_CACHE_USAGE, "gauge", "Share of KV blocks in use, 0 to 1."),
    WorkerMetric(PREFIX_QUERIES, "counter", "Context tokens looked up in the prefix cache."),
    WorkerMetric(PREFIX_HITS, "counter", "Context tokens found in the prefix cache."),
    WorkerMetric(PREEMPTIONS, "counter", "Preemptions of every kind."),
    WorkerMetric(PROMPT_TOKENS, "counter", "Prompt tokens of requests whose first token was sent."),
    WorkerMetric(GENERATION_TOKENS, "counter", "Tokens generated."),
    WorkerMetric(REQUEST_SUCCESS, "counter", "Requests ended, by reason.", ("finished_reason",)),
    WorkerMetric(ITERATION_TOKENS, "histogram", "Tokens computed in one iteration.", (), _ITERATION),
    WorkerMetric(REQUEST_PROMPT_TOKENS, "histogram", "Prompt tokens of a finished request.", (), _LENGTH),
    WorkerMetric(REQUEST_GENERATION_TOKENS, "histogram", "Output tokens of a finished request.", (), _LENGTH),
    WorkerMetric(TTFT_SECONDS, "histogram", "From the gateway's receipt to the first token.", (), _TTFT),
    WorkerMetric(INTER_TOKEN_SECONDS, "histogram", "Between two tokens of a request.", (), _TOKEN),
    WorkerMetric(REQUEST_TOKEN_SECONDS, "histogram", "Mean time per token of a request after its first.", (), _TOKEN),
    WorkerMetric(E2E_SECONDS, "histogram", "From the gateway's receipt to the last token.", (), _REQUEST),
    WorkerMetric(QUEUE_SECONDS, "histogram", "From the gateway's receipt to the first iteration.", (), _REQUEST),
    WorkerMetric(PREFILL_SECONDS, "histogram", "From the first iteration to the first token.", (), _REQUEST),
    WorkerMetric(DECODE_SECONDS, "histogram", "From the first token to the last.", (), _REQUEST),
    WorkerMetric(INFERENCE_SECONDS, "histogram", "From the first iteration to the last token.", (), _REQUEST),
    WorkerMetric(DRAFTS, "counter", "Rows that verified drafts."),
    WorkerMetric(DRAFT_TOKENS, "counter", "Draft tokens verified."),
    WorkerMetric(ACCEPTED_TOKENS, "counter", "Draft tokens accepted."),
)

OWN_METRICS: Final = (
    WorkerMetric(ITERATION_SECONDS, "histogram", "Duration of one iteration.", (), _ITERATION_SECONDS),
    WorkerMetric(BATCH_TOKENS, "histogram", "Tokens of one iteration, by what they are.", ("kind",), (0, *_ITERATION)),
    WorkerMetric(BUSY_SECONDS, "counter", "Time in which the device computed."),
    WorkerMetric(KV_BLOCKS_USED, "gauge", "KV blocks in use."),
    WorkerMetric(KV_BLOCKS_TOTAL, "gauge", "KV blocks of the arena."),
    WorkerMetric(KV_BLOCKS_CACHED, "gauge", "Blocks in the prefix cache that no request refers to."),
    WorkerMetric(KV_BLOCKS_ADAPTERS, "gauge", "Blocks that hold adapters."),
    WorkerMetric(KV_TOKENS, "gauge", "Tokens whose KV is held for requests."),
    WorkerMetric(KV_FRAGMENTED_TOKENS, "gauge", "Places in used blocks that hold no token."),
    WorkerMetric(KV_EVICTED_BLOCKS, "counter", "Cached blocks given to others."),
    WorkerMetric(KV_COPIED_BLOCKS, "counter", "Blocks copied on write."),
    WorkerMetric(REQUESTS_PARKED, "gauge", "Requests preempted and not resumed yet."),
    WorkerMetric(PREEMPTIONS_BY_KIND, "counter", "Preemptions by what became of the KV.", ("kind",)),
    WorkerMetric(SAVED_TOKENS, "counter", "Tokens whose KV was saved when their request was preempted."),
    WorkerMetric(RESTORED_TOKENS, "counter", "Tokens whose KV came back from a tier."),
    WorkerMetric(RECOMPUTED_TOKENS, "counter", "Tokens computed again, by what took their KV.", ("cause",)),
    WorkerMetric(OFFLOAD_BYTES, "counter", "KV bytes copied between the arena and a tier.", ("tier", "direction")),
    WorkerMetric(OFFLOAD_SECONDS, "counter", "Time that those copies took.", ("tier", "direction")),
    WorkerMetric(OFFLOAD_FAILURES, "counter", "Copies that failed.", ("tier", "direction")),
    WorkerMetric(OFFLOAD_BYTES_PER_SECOND, "gauge", "Bandwidth of the newest copy.", ("tier", "direction")),
    WorkerMetric(ACCEPTANCE_RATE, "gauge", "Share of verified draft tokens that were accepted."),
    WorkerMetric(SPECULATING, "gauge", "1 while drafts pay, 0 while they are switched off."),
    WorkerMetric(ADAPTER_LOADS, "counter", "Adapters made resident."),
    WorkerMetric(ADAPTER_EVICTIONS, "counter", "Adapters that yielded to others."),
    WorkerMetric(LATENCY_COEFFICIENT, "gauge", "Coefficients of the latency model.", ("term",)),
    WorkerMetric(LATENCY_RESIDUAL, "gauge", "95th percentile of its newest predictions' absolute error."),
    WorkerMetric(LATENCY_SAMPLES, "counter", "Iterations that it learned from."),
    WorkerMetric(BACKLOG_TOKENS, "gauge", "Context tokens that requests here still lack."),
    WorkerMetric(REQUESTS_CANCELLED, "counter", "Requests given up by their gateway or lost with it."),
    WorkerMetric(REQUESTS_FAILED, "counter", "Requests that failed by an error of this worker."),
    WorkerMetric(REQUESTS_REFUSED, "counter", "Submits not started.", ("reason",)),
    WorkerMetric(SHED_ITERATIONS, "counter", "Iterations that the memory did not hold and that ran in parts."),
    WorkerMetric(SHED_REQUESTS, "counter", "Requests refused since their smallest step did not fit."),
    WorkerMetric(TOKEN_LIMIT, "gauge", "Tokens that an iteration may compute now."),
    WorkerMetric(DEVICE, "gauge", "What the model is computed on, and in what numbers.", ("device", "dtype")),
    WorkerMetric(DEVICE_MEMORY_BYTES, "gauge", "Memory of that device."),
    WorkerMetric(WEIGHT_BYTES, "gauge", "Bytes of the model's weights."),
    WorkerMetric(KV_TOKEN_BYTES, "gauge", "Bytes of one token's KV."),
    WorkerMetric(MEMORY_BYTES_PER_SECOND, "gauge", "At which weights were read in the decode of the warm-up."),
    WorkerMetric(FLOPS_PER_SECOND, "gauge", "At which the prompt of the warm-up was computed, scaled to a peak."),
    WorkerMetric(GATEWAYS_CONNECTED, "gauge", "Gateways connected."),
    WorkerMetric(GATEWAYS_DROPPED, "counter", "Connections closed because the gateway read too slowly."),
    WorkerMetric(DRAINING, "gauge", "1 while the worker drains."),
    WorkerMetric(STALLED_SECONDS, "gauge", "For how long work has given no result."),
    WorkerMetric(CACHED_WEIGHTS_BYTES, "gauge", "Bytes of models that this node has fetched, by source.", ("source",)),
    WorkerMetric(STARTED_WARM, "gauge", "1 when the node had the model before this worker started, else 0."),
)

WORKER_METRICS: Final = {metric.name: metric for metric in (*VLLM_METRICS, *OWN_METRICS)}
CACHE_CONFIG_LABELS: Final = ("engine", "block_size", "num_gpu_blocks", "num_cpu_blocks", "enable_prefix_caching")
LORA_LABELS: Final = ("max_lora", "running_lora_adapters", "waiting_lora_adapters")
