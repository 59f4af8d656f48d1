"""The worker's exposition: vLLM's names as vLLM has them, and values that a real engine moves."""

import math

import numpy as np
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from tiny_engine import TinyEngine

from tierline.scheduling.counters import EngineCounters
from tierline.scheduling.memory.transfers import Direction, StorageTier, Transfer
from tierline.scheduling.plans import EngineLimits
from tierline.telemetry.worker_metrics import WORKER_METRICS
from tierline.wire.frames import Signals
from tierline_worker.engine.snapshot import Snapshot
from tierline_worker.metrics import LoadSample, WorkerMetrics
from tierline_worker.metrics.tallies import Distribution
from tierline_worker.tiers.host_store import HostStore
from tierline_worker.tiers.tiers import KVTiers

# What vLLM 0.32 serves under these names: the type, and the labels after model_name and engine.
VLLM = {
    "vllm:num_requests_running": ("gauge", ()),
    "vllm:num_requests_waiting": ("gauge", ()),
    "vllm:num_requests_waiting_by_reason": ("gauge", ("reason",)),
    "vllm:kv_cache_usage_perc": ("gauge", ()),
    "vllm:prefix_cache_queries": ("counter", ()),
    "vllm:prefix_cache_hits": ("counter", ()),
    "vllm:num_preemptions": ("counter", ()),
    "vllm:prompt_tokens": ("counter", ()),
    "vllm:generation_tokens": ("counter", ()),
    "vllm:request_success": ("counter", ("finished_reason",)),
    "vllm:iteration_tokens_total": ("histogram", ()),
    "vllm:request_prompt_tokens": ("histogram", ()),
    "vllm:request_generation_tokens": ("histogram", ()),
    "vllm:time_to_first_token_seconds": ("histogram", ()),
    "vllm:inter_token_latency_seconds": ("histogram", ()),
    "vllm:request_time_per_output_token_seconds": ("histogram", ()),
    "vllm:e2e_request_latency_seconds": ("histogram", ()),
    "vllm:request_queue_time_seconds": ("histogram", ()),
    "vllm:request_prefill_time_seconds": ("histogram", ()),
    "vllm:request_decode_time_seconds": ("histogram", ()),
    "vllm:request_inference_time_seconds": ("histogram", ()),
    "vllm:spec_decode_num_drafts": ("counter", ()),
    "vllm:spec_decode_num_draft_tokens": ("counter", ()),
    "vllm:spec_decode_num_accepted_tokens": ("counter", ()),
}
BASE = {"model_name": "tiny", "engine": "0"}


@pytest.fixture(scope="module")
def engine(tiny_path) -> TinyEngine:
    made = TinyEngine(tiny_path)
    for number in range(4):
        made.submit(f"r{number}", (1, 2, 3, number), 5)
    made.run()
    return made


def samples_of(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(text: str, name: str, **labels: str) -> float:
    """Return the value of the one series with this name and these labels among its labels."""
    found = [s.value for s in samples_of(text) if s.name == name and labels.items() <= s.labels.items()]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def scraped(counters: EngineCounters | None = None, **load) -> str:
    load.setdefault("limits", EngineLimits(4, 64, 128, 4, 40))
    return WorkerMetrics("tiny").render(LoadSample(Snapshot(counters=counters or EngineCounters(), **load))).decode()


def test_vllm_names_have_vllm_types_and_labels(engine):
    families = {family.name: family for family in text_string_to_metric_families(engine.scrape())}
    for name, (kind, labels) in VLLM.items():
        assert families[name].type == kind, name
        assert families[name].samples, name
        for sample in families[name].samples:
            assert sample.labels.keys() - {"le"} == BASE.keys() | set(labels), name


def test_every_metric_of_the_table_is_served_as_the_table_says(engine):
    families = {family.name: family for family in text_string_to_metric_families(engine.scrape())}
    for metric in WORKER_METRICS.values():
        assert families[metric.name].type == metric.kind
        assert all(BASE.items() <= sample.labels.items() for sample in families[metric.name].samples)


def test_histograms_have_the_buckets_of_the_table(engine):
    samples = samples_of(engine.scrape())
    for metric in WORKER_METRICS.values():
        if metric.kind == "histogram":
            bounds = {float(s.labels["le"]) for s in samples if s.name == f"{metric.name}_bucket"}
            assert bounds == {*metric.buckets, math.inf}, metric.name


def test_requests_move_the_values(engine):
    text = engine.scrape()
    assert value(text, "vllm:prompt_tokens_total") == 16
    assert value(text, "vllm:generation_tokens_total") == 20
    assert value(text, "vllm:request_success_total", finished_reason="length") == 4
    assert value(text, "vllm:request_success_total", finished_reason="abort") == 0
    assert value(text, "vllm:time_to_first_token_seconds_count") == 4
    assert value(text, "vllm:inter_token_latency_seconds_count") == 16
    for name in ("queue", "prefill", "decode", "inference"):
        assert value(text, f"vllm:request_{name}_time_seconds_count") == 4
    assert value(text, "vllm:request_generation_tokens_bucket", le="5.0") == 4
    assert value(text, "vllm:request_generation_tokens_bucket", le="2.0") == 0
    assert value(text, "tierline_worker_batch_tokens_sum", kind="prefill") == 16
    assert value(text, "tierline_worker_batch_tokens_sum", kind="decode") == 16
    assert value(text, "tierline_worker_batch_tokens_sum", kind="verify") == 0
    assert value(text, "vllm:iteration_tokens_total_sum") == 32
    assert value(text, "tierline_worker_busy_seconds_total") > 0
    assert value(text, "tierline_worker_latency_coefficient_ms", term="iteration") >= 0
    assert value(text, "tierline_worker_latency_samples_total") == value(text, "vllm:iteration_tokens_total_count")


def test_the_parts_of_a_request_add_up(engine):
    text = engine.scrape()
    queue, prefill, decode, inference = (
        value(text, f"vllm:request_{name}_time_seconds_sum") for name in ("queue", "prefill", "decode", "inference")
    )
    assert prefill + decode == pytest.approx(inference)
    assert queue + inference == pytest.approx(value(text, "vllm:e2e_request_latency_seconds_sum"))


def test_running_requests_are_seen_between_iterations(tiny_path):
    made = TinyEngine(tiny_path)
    made.submit("a", (1, 2, 3, 4, 5), 5)
    made.engine.step()
    text = made.scrape()
    assert value(text, "vllm:num_requests_running") == 1
    assert value(text, "vllm:kv_cache_usage_perc") == 2 / 64
    assert value(text, "tierline_worker_kv_tokens") == 5
    assert value(text, "tierline_worker_kv_fragmented_tokens") == 3


def test_a_prefix_that_was_computed_before_is_a_hit(tiny_path):
    made = TinyEngine(tiny_path)
    for name in ("first", "second"):
        made.submit(name, tuple(range(1, 13)), 2)
        made.run()
    text = made.scrape()
    # Of the second prompt two blocks of four are found; at least one token is computed.
    assert value(text, "vllm:prefix_cache_queries_total") == 24
    assert value(text, "vllm:prefix_cache_hits_total") == 8
    assert value(text, "tierline_worker_kv_blocks_cached") == 3


def test_the_hardware_is_told(engine):
    text = engine.scrape()
    assert value(text, "tierline_worker_device_info", device="cpu", dtype="float32") == 1
    # Keys and values of two heads of 16 float32 numbers in 3 layers.
    assert value(text, "tierline_worker_kv_token_bytes") == 2 * 2 * 16 * 4 * 3
    for name in ("device_memory_bytes", "weight_bytes", "memory_bytes_per_second", "flops_per_second"):
        assert value(text, f"tierline_worker_{name}") > 0


def test_the_core_counts_are_published_by_kind():
    counters = EngineCounters(
        preemptions_recompute=1,
        preemptions_host=2,
        preemptions_disk=3,
        preemptions_partial=4,
        saved_tokens=50,
        restored_tokens=40,
        recomputed_tokens=30,
        prefix_query_tokens=20,
        prefix_hit_tokens=15,
        drafted_tokens=10,
        accepted_tokens=7,
        verified_rows=4,
    )
    text = scraped(counters)
    assert value(text, "vllm:num_preemptions_total") == 10
    kinds = [value(text, "tierline_worker_preemptions_total", kind=k) for k in ("recompute", "host", "disk", "partial")]
    assert kinds == [1, 2, 3, 4]
    assert value(text, "tierline_worker_saved_tokens_total") == 50
    assert value(text, "tierline_worker_restored_tokens_total") == 40
    assert value(text, "tierline_worker_recomputed_tokens_total", cause="preemption") == 30
    assert value(text, "vllm:prefix_cache_queries_total") == 20
    assert value(text, "vllm:prefix_cache_hits_total") == 15
    assert value(text, "vllm:spec_decode_num_drafts_total") == 4
    assert value(text, "vllm:spec_decode_num_draft_tokens_total") == 10
    assert value(text, "vllm:spec_decode_num_accepted_tokens_total") == 7
    assert value(text, "tierline_worker_draft_acceptance_ratio") == 0.7


def test_whether_drafts_pay_is_told():
    assert value(scraped(speculating=True), "tierline_worker_speculation_on") == 1
    assert value(scraped(), "tierline_worker_speculation_on") == 0


def test_without_drafts_there_is_no_acceptance_rate():
    assert not [sample for sample in samples_of(scraped()) if sample.name == "tierline_worker_draft_acceptance_ratio"]


def test_signals_are_published():
    signals = Signals(1, 2, 3, 12, 99, 4.0, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0), 0.5, 77)
    text = scraped(signals=signals, fragmented_tokens=2, parked_requests=1, loading_requests=1)
    assert value(text, "vllm:num_requests_waiting") == 2
    assert value(text, "vllm:num_requests_waiting_by_reason", reason="capacity") == 1
    assert value(text, "vllm:num_requests_waiting_by_reason", reason="deferred") == 1
    assert value(text, "tierline_worker_requests_parked") == 1
    assert value(text, "vllm:kv_cache_usage_perc") == 0.25
    assert value(text, "tierline_worker_kv_tokens") == 10
    assert value(text, "tierline_worker_backlog_tokens") == 99
    assert value(text, "tierline_worker_latency_coefficient_ms", term="kv_token") == 5
    assert value(text, "tierline_worker_latency_coefficient_ms", term="adapter_token") == 8
    assert value(text, "tierline_worker_latency_residual_p95_ms") == 0.5


def test_what_tiers_moved_is_published_by_tier_and_direction():
    arena = torch.ones(4, 2, 8)
    tiers = KVTiers(arena, {StorageTier.HOST: HostStore(4, 64, torch.device("cpu"))})
    metrics = WorkerMetrics("tiny")
    metrics.watch_tiers(tiers.moved)
    numbers = np.arange(3, dtype=np.int32)
    tiers.begin(Transfer(1, Direction.SAVE, StorageTier.HOST, numbers, numbers))
    while not tiers.wait(1.0):
        pass
    text = metrics.render(LoadSample(Snapshot())).decode()
    save = {"tier": "host", "direction": "save"}
    assert value(text, "tierline_worker_offload_bytes_total", **save) == 3 * 64
    seconds = value(text, "tierline_worker_offload_seconds_total", **save)
    assert seconds > 0
    assert value(text, "tierline_worker_offload_bytes_per_second", **save) == pytest.approx(3 * 64 / seconds)
    assert value(text, "tierline_worker_offload_bytes_total", tier="host", direction="load") == 0
    assert value(text, "tierline_worker_offload_failures_total", **save) == 0


def test_preempted_kv_that_goes_to_the_host_and_comes_back_is_seen(tiny_path):
    made = TinyEngine(
        tiny_path, TIERLINE_KV_CACHE_BLOCKS="24", TIERLINE_HOST_CACHE_BLOCKS="64", TIERLINE_MAX_MODEL_TOKENS="64"
    )
    for number in range(4):
        made.submit(f"r{number}", (number, *range(1, 12)), 40, save="CPU")
    made.run()
    text = made.scrape()
    assert value(text, "tierline_worker_preemptions_total", kind="host") > 0
    assert value(text, "tierline_worker_preemptions_total", kind="disk") == 0
    assert value(text, "tierline_worker_saved_tokens_total") > 0
    assert value(text, "tierline_worker_restored_tokens_total") > 0
    for direction in ("save", "load"):
        assert value(text, "tierline_worker_offload_bytes_total", tier="host", direction=direction) > 0


def test_the_cache_and_the_adapters_in_use_are_told_in_labels():
    limits = EngineLimits(4, 64, 128, 4, 40, prefix_caching=True, host_blocks=8, max_adapters=2)
    load = Snapshot(limits=limits, running_adapters=("a", "b"), waiting_adapters=("c",))
    text = WorkerMetrics("tiny").render(LoadSample(load, now_s=123.0)).decode()
    found = {sample.name: sample for sample in samples_of(text) if sample.name.endswith("_info")}
    assert found["vllm:cache_config_info"].labels == {
        "engine": "0",
        "block_size": "4",
        "num_gpu_blocks": "40",
        "num_cpu_blocks": "8",
        "enable_prefix_caching": "True",
    }
    assert found["vllm:lora_requests_info"].labels == {
        "max_lora": "2",
        "running_lora_adapters": "a,b",
        "waiting_lora_adapters": "c",
    }
    assert found["vllm:lora_requests_info"].value == 123


def test_a_value_on_a_bound_belongs_to_its_bucket():
    distribution = Distribution((1.0, 2.0))
    for number in (0.5, 1.0, 1.5, 2.0, 9.0):
        distribution.observe(number)
    assert (distribution.counts, distribution.sum) == ([2, 2, 1], 14.0)
