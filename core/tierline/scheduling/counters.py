"""What a scheduling core counts from its start on; the worker publishes it as metrics."""

from dataclasses import dataclass


@dataclass(slots=True)
class EngineCounters:
    """Totals that only grow, each owned by the module that does what it counts.

    Preemptions are counted by what happens to the victim's KV: dropped (to be recomputed), saved to host or disk, or
    only its tail given up (`preemptions_partial`).
    """

    preemptions_recompute: int = 0
    preemptions_host: int = 0
    preemptions_disk: int = 0
    preemptions_partial: int = 0
    saved_tokens: int = 0
    restored_tokens: int = 0
    recomputed_tokens: int = 0
    prefix_query_tokens: int = 0
    prefix_hit_tokens: int = 0
    evicted_blocks: int = 0
    copied_blocks: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    verified_rows: int = 0
    adapter_loads: int = 0
    adapter_evictions: int = 0
