"""Names of the metrics that a worker serves.

The `vllm:` names have vLLM's types and meanings, so dashboards, autoscalers and inference gateways made for it work
unchanged; `tierline_worker_` names what only Tierline has. Counters get Prometheus' `_total` on the wire. Every metric
carries the label `model_name`.
"""

LABEL_MODEL = "model_name"

REQUESTS_RUNNING = "vllm:num_requests_running"
REQUESTS_WAITING = "vllm:num_requests_waiting"
KV_CACHE_USAGE = "vllm:kv_cache_usage_perc"
PROMPT_TOKENS = "vllm:prompt_tokens"
GENERATION_TOKENS = "vllm:generation_tokens"
ITERATION_TOKENS = "vllm:iteration_tokens_total"
TTFT_SECONDS = "vllm:time_to_first_token_seconds"
INTER_TOKEN_SECONDS = "vllm:inter_token_latency_seconds"  # noqa: S105 a metric, no secret
E2E_SECONDS = "vllm:e2e_request_latency_seconds"
REQUEST_SUCCESS = "vllm:request_success"

ITERATION_SECONDS = "tierline_worker_iteration_seconds"
BUSY_SECONDS = "tierline_worker_busy_seconds"
KV_BLOCKS_USED = "tierline_worker_kv_blocks_used"
KV_BLOCKS_TOTAL = "tierline_worker_kv_blocks"
KV_TOKENS = "tierline_worker_kv_tokens"
RECOMPUTED_TOKENS = "tierline_worker_recomputed_tokens"
REQUESTS_CANCELLED = "tierline_worker_requests_cancelled"
REQUESTS_FAILED = "tierline_worker_requests_failed"
REQUESTS_REFUSED = "tierline_worker_requests_refused"
GATEWAYS_CONNECTED = "tierline_worker_gateways_connected"
GATEWAYS_DROPPED = "tierline_worker_gateways_dropped"
DRAINING = "tierline_worker_draining"
STALLED_SECONDS = "tierline_worker_stalled_seconds"

TTFT_BUCKETS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0,
    2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip
INTER_TOKEN_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
E2E_BUCKETS = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0)
ITERATION_TOKEN_BUCKETS = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0)
