"""Speed of decoding on a GPU, against the floor that memory sets and transformers' continuous batching.

    python bench/gpu_engine.py [--device cuda] [--models smollm2,8b] [--batches 1,64] [--json FILE]
    python bench/gpu_engine.py --device cpu --models tiny --batches 1,3      # only shows that it runs

Models are of the named shapes with random weights in bfloat16 (speed does not depend on them). `floor_ms` is what
reading the weights once and the contexts' KV takes at the bandwidth that a large copy reaches here. `step_ms` is the
median of the engine's iterations in which all requests decode; peers run after it in the same process, twice, and the
faster run counts. Nothing else may use the GPU.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from transformers import ContinuousBatchingConfig, GenerationConfig, LlamaConfig, LlamaForCausalLM

from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import LatencyModel, Roofline
from tierline.scheduling.plans import EngineLimits
from tierline.wire.frames import Sampling, Submit
from tierline_worker.device.choice import choose_device, executor_builder
from tierline_worker.engine.engine import Engine, Identity
from tierline_worker.engine.flights import Executes
from tierline_worker.engine.health import Progress
from tierline_worker.engine.messages import GatewayJoined, Submitted
from tierline_worker.executor import Executor
from tierline_worker.kv_arena import KVArena
from tierline_worker.metrics import WorkerMetrics
from tierline_worker.model.config import ModelConfig
from tierline_worker.model.decoder import Decoder, DecoderLayer
from tierline_worker.model.linear import DenseLinear
from tierline_worker.model.rope import Rope
from tierline_worker.slots import SlotTable

DTYPE = torch.bfloat16
BLOCK_TOKENS = 64
SHAPES = {
    "tiny": ModelConfig(320, 64, 96, 2, 4, 2, 16, 1e-5, 1e4, 512, True),
    "smollm2": ModelConfig(49152, 576, 1536, 30, 9, 3, 64, 1e-5, 1e5, 8192, True),
    "8b": ModelConfig(128256, 4096, 14336, 32, 32, 8, 128, 1e-5, 5e5, 8192, False),
}
COPY_BYTES = {"cpu": 1 << 24, "cuda": 1 << 32}


@dataclasses.dataclass(frozen=True)
class Case:
    """`batch` requests of `prompt` tokens that generate `new` tokens each."""

    config: ModelConfig
    batch: int
    prompt: int
    new: int

    @property
    def prompts(self) -> list[list[int]]:
        last = self.config.vocab_size - 1
        return [[1 + (7 * row + 13 * at) % last for at in range(self.prompt)] for row in range(self.batch)]

    @property
    def limits(self) -> EngineLimits:
        length = self.prompt + self.new
        blocks = self.batch * (-(-length // BLOCK_TOKENS) + 1)
        return EngineLimits(self.batch, max(self.batch, 2048), length, BLOCK_TOKENS, blocks)


def main() -> None:
    arguments = _arguments()
    device = choose_device(arguments.device)
    prompt, new = (16, 12) if arguments.models == "tiny" else (512, 256)
    bandwidth = _bytes_per_second(device)
    results: dict[str, object] = {"device": _name(device), "bytes_per_second": round(bandwidth)}
    for name in arguments.models.split(","):
        for batch in map(int, arguments.batches.split(",")):
            case = Case(SHAPES[name], batch, prompt, new)
            results[f"{name}.batch{batch}"] = _measured(case, device, bandwidth)
    text = json.dumps(results, indent=2)
    sys.stdout.write(text + "\n")
    if arguments.json:
        arguments.json.write_text(text + "\n")


def _measured(case: Case, device: torch.device, bandwidth: float) -> dict[str, float]:
    step_s, run_s, weight_bytes = _tierline(case, device)
    config = case.config
    kv_bytes = 2 * config.layers * config.kv_heads * config.head_dim * DTYPE.itemsize
    floor_s = (weight_bytes + case.batch * (case.prompt + case.new / 2) * kv_bytes) / bandwidth
    peer_s = _transformers(case, device)
    tokens = case.batch * case.new
    return {
        "step_ms": round(step_s * 1e3, 3),
        "floor_ms": round(floor_s * 1e3, 3),
        "share_of_floor": round(floor_s / step_s, 3),
        "tierline_tokens_per_second": round(tokens / run_s, 1),
        "transformers_tokens_per_second": round(tokens / peer_s, 1),
        "ratio_transformers": round(peer_s / run_s, 2),
    }


def _tierline(case: Case, device: torch.device) -> tuple[float, float, int]:
    """Return the median decode step, the faster of two whole runs, and the bytes of weights read in a step."""
    model = _random_decoder(case.config, case.limits.max_model_tokens, device)
    engine = _engine(_executor(model, case.limits, device), case)
    runs = [_run(engine, case) for _ in range(3)][1:]
    weight_bytes = model.weight_bytes
    del engine, model
    _empty(device)
    return statistics.median(step for steps, _ in runs for step in steps), min(total for _, total in runs), weight_bytes


def _run(engine: Engine, case: Case) -> tuple[list[float], float]:
    """Serve the batch once; returns the durations of its decode steps, and all of it, in seconds."""
    for row, prompt in enumerate(case.prompts):
        engine.handle(Submitted(1, Submit(f"r{row}", 1, tuple(prompt), Sampling(case.new, ignore_eos=True))))
    steps: list[float] = []
    began_s = before_s = time.perf_counter()
    while engine.busy:
        delivered = sum(len(item.frame.tokens) for item in engine.step())
        now_s = time.perf_counter()
        if delivered == case.batch:
            steps.append(now_s - before_s)
        before_s = now_s
    return steps, before_s - began_s


def _engine(executor: Executes, case: Case) -> Engine:
    config = case.config
    guess = LatencyModel(Roofline(1e9, 2e9, 1e5, config.layers, config.hidden_size, 1e14, 1e12).coefficients())
    engine = Engine(
        identity=Identity("bench", "bench", config.vocab_size),
        new_core=lambda: SchedulerCore(case.limits, guess),
        executor=executor,
        metrics=WorkerMetrics("bench"),
        progress=Progress(600.0),
        clock=time.monotonic,
    )
    engine.handle(GatewayJoined(1))
    return engine


def _executor(model: Decoder, limits: EngineLimits, device: torch.device) -> Executes:
    blocks = limits.total_blocks + (device.type != "cpu")
    arena = KVArena.allocate(model.config, blocks, limits.block_tokens, DTYPE, device)
    slots = SlotTable(limits.max_running_requests, limits.max_model_tokens, limits.block_tokens, ())
    return executor_builder(device)(
        model, arena, slots, lambda attention: Executor(model, attention, slots, limits.block_tokens)
    )


def _random_decoder(config: ModelConfig, positions: int, device: torch.device) -> Decoder:
    def weight(*shape: int) -> torch.Tensor:
        return torch.randn(shape, dtype=DTYPE, device=device) * 0.02

    def norm() -> torch.Tensor:
        return torch.ones(config.hidden_size, dtype=DTYPE, device=device)

    def layer() -> DecoderLayer:
        hidden, inner, attended = config.hidden_size, config.intermediate_size, config.heads * config.head_dim
        return DecoderLayer(
            attention_norm=norm(),
            qkv=DenseLinear(weight((config.heads + 2 * config.kv_heads) * config.head_dim, hidden)),
            qk_norm=None,
            output=DenseLinear(weight(hidden, attended)),
            mlp_norm=norm(),
            gate_up=DenseLinear(weight(2 * inner, hidden)),
            down=DenseLinear(weight(hidden, inner)),
        )

    embedding = weight(config.vocab_size, config.hidden_size)
    rope = Rope.build(positions, config.head_dim, config.rope_theta, DTYPE)
    return Decoder(
        config=config,
        dtype=DTYPE,
        embedding=embedding,
        layers=tuple(layer() for _ in range(config.layers)),
        norm=norm(),
        head=DenseLinear(embedding if config.tied_embeddings else weight(config.vocab_size, config.hidden_size)),
        rope=Rope(rope.cos.to(device), rope.signed_sin.to(device)),
    )


def _transformers(case: Case, device: torch.device) -> float:
    """Return the seconds of the faster of two runs of `generate_batch`."""
    config = case.config
    shape = LlamaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.head_dim,
        max_position_embeddings=config.max_positions,
        tie_word_embeddings=config.tied_embeddings,
    )
    with torch.device(device):
        model = LlamaForCausalLM(shape).to(DTYPE).eval()
    model.set_attn_implementation("sdpa")
    settings = GenerationConfig(max_new_tokens=case.new, do_sample=False, eos_token_id=-1, pad_token_id=0)
    # It sizes its cache by a GPU's memory; a CPU's would be filled up.
    sizes = None if device.type == "cuda" else ContinuousBatchingConfig(num_blocks=64, max_batch_tokens=256)
    seconds = []
    for _ in range(3):
        began_s = time.perf_counter()
        results = model.generate_batch(case.prompts, settings, sizes, persistent_manager=True)
        seconds.append(time.perf_counter() - began_s)
        generated = sum(len(result.generated_tokens) for result in results.values())
        assert generated == case.batch * case.new, f"transformers made {generated} tokens"
    model.destroy_cached_continuous_batching_manager()
    del model
    _empty(device)
    return min(seconds[1:])


def _bytes_per_second(device: torch.device) -> float:
    """Return the bandwidth of a large copy, reads and writes counted."""
    source = torch.empty(COPY_BYTES[device.type] // 4, dtype=torch.float32, device=device).fill_(1.0)
    target = torch.empty_like(source)
    rates = []
    for _ in range(5):
        _wait(device)
        began_s = time.perf_counter()
        target.copy_(source)
        _wait(device)
        rates.append(2 * source.nbytes / (time.perf_counter() - began_s))
    return max(rates)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _empty(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or cpu")
    parser.add_argument("--models", default="smollm2,8b", help=f"of {', '.join(SHAPES)}")
    parser.add_argument("--batches", default="1,64", help="numbers of requests at a time")
    parser.add_argument("--json", type=Path, help="write the results here, too")
    return parser.parse_args()


if __name__ == "__main__":
    main()
