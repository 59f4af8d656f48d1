"""Lines of JSON between `tierline bench engine` and a contestant, one process each, ours or a peer's.

The contestant reads requests from stdin and answers each with one line on the stdout it was started with:

    {"setup": Setup}  ->  {"ready": Ready}          load the model, allocate, compile; once
    {"load": Load}    ->  {"done": Done}            run one load from begin to end; as often as asked
                      ->  {"error": "why not"}      instead of either

It ends when stdin does. The scripts in `bench/peers` speak this with the standard library alone.
"""

import msgspec


class Setup(msgspec.Struct, frozen=True, omit_defaults=True):
    """An engine to make. `model` is a GGUF file, `exported` the same weights as a Hugging Face folder in `dtype`.

    `kv_tokens` and `host_tokens` are what the KV cache and the memory behind it hold; `adapters` are PEFT folders.
    """

    model: str
    exported: str
    dtype: str
    quantization: str
    threads: int
    max_model_tokens: int
    max_running_requests: int
    max_batched_tokens: int
    kv_tokens: int
    host_tokens: int = 0
    max_draft_tokens: int = 0
    adapters: tuple[str, ...] = ()
    adapter_rank: int = 0


class Stream(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request: it begins when stream 0 has `starts_after_tokens`, and generates exactly `new_tokens`, greedily.

    `adapter` is an index into the setup's, -1 for none. What an engine has no word for, it leaves out.
    """

    prompt_ids: tuple[int, ...]
    new_tokens: int
    starts_after_tokens: int = 0
    tpot_budget_ms: float = 0.0
    adapter: int = -1
    speculate: bool = False
    save: str = "Auto"


class Load(msgspec.Struct, frozen=True, omit_defaults=True):
    """Streams that run together; the end of stream `ends_with` ends them all (-1: each runs to its end)."""

    streams: tuple[Stream, ...]
    ends_with: int = -1


class Ready(msgspec.Struct, frozen=True):
    """Who answers, in what version, and which cases it can run (empty: all)."""

    name: str
    version: str
    cases: tuple[str, ...] = ()
    facts: dict[str, str] = {}


class StreamTimes(msgspec.Struct, frozen=True):
    """Seconds since the load began: when the stream was submitted, and when each of its tokens was there."""

    submitted_s: float
    token_s: tuple[float, ...]


class Done(msgspec.Struct, frozen=True):
    """What became of a load; `counters` are totals that tell how (preemptions, accepted drafts, cache hits)."""

    streams: tuple[StreamTimes, ...]
    counters: dict[str, float] = {}


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line to a contestant: one of the two."""

    setup: Setup | None = None
    load: Load | None = None


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line from a contestant: one of the three."""

    ready: Ready | None = None
    done: Done | None = None
    error: str = ""
