"""CPU time of all linear layers of one model per step, for each way to hold their weights, over numbers of tokens.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python bench/linear_formats.py [threads]

Layers have the sizes of SmolLM2-135M. It measures CPU time of all threads; formats take turns, so that a busy machine
slows all of them, and the fastest turn counts. The numbers behind the ADR on number formats.
"""

import sys
import time
from collections.abc import Callable

import torch

from tierline_worker.model.linear import DenseLinear, Linear, multiplies_bfloat16
from tierline_worker.model.linear_narrow import HalfLinear, Int4Linear, Int8Linear
from tierline_worker.model.quantize import Groups4, Rows8

SHAPES = ((960, 576), (576, 576), (3072, 576), (576, 1536))
LAYERS, TOKENS, TURNS = 30, (1, 4, 16, 32, 128), 3
FORMATS: dict[str, tuple[torch.dtype, Callable[[torch.Tensor], Linear]]] = {
    "float32": (torch.float32, DenseLinear),
    "float16 weights": (torch.float32, HalfLinear),
    "int8 weights": (torch.float32, lambda weight: Int8Linear(Rows8.of(weight))),
    "int4 weights": (torch.float32, lambda weight: Int4Linear(Groups4.of(weight))),
}
if multiplies_bfloat16():
    FORMATS["bfloat16"] = (torch.bfloat16, lambda weight: DenseLinear(weight.bfloat16()))


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    models = {
        name: [make(torch.randn(shape) * 0.05) for shape in SHAPES * LAYERS] for name, (_, make) in FORMATS.items()
    }
    print(f"ms of CPU time per step, {torch.get_num_threads()} thread(s), {torch.backends.cpu.get_cpu_capability()}")
    for tokens in TOKENS:
        fastest = dict.fromkeys(models, float("inf"))
        for _ in range(TURNS):
            for name, layers in models.items():
                fastest[name] = min(fastest[name], _step_ms(layers, tokens, FORMATS[name][0]))
        print(f"{tokens:4} tokens: " + ", ".join(f"{name} {ms:.1f}" for name, ms in fastest.items()), flush=True)


def _step_ms(layers: list[Linear], tokens: int, dtype: torch.dtype) -> float:
    inputs = {columns: torch.randn(tokens, columns, dtype=dtype) for _, columns in SHAPES}
    with torch.inference_mode():
        began_s = time.process_time()
        for layer, (_, columns) in zip(layers, SHAPES * LAYERS, strict=True):
            layer(inputs[columns])
        return (time.process_time() - began_s) * 1e3


if __name__ == "__main__":
    main()
