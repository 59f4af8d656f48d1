"""Compiles all kernels of a CPU into the cache folder: `python -m tierline_worker.precompile`, for building images."""

from itertools import product

import numpy as np
import torch

from tierline_worker.adapters.cpu_products import add_adapters, tables_of
from tierline_worker.attention.backend import Turn
from tierline_worker.attention.cpu import CPUAttention
from tierline_worker.attention.kv_bits import KINDS, bits_of
from tierline_worker.batch import FlatBatch
from tierline_worker.kv_arena import KVArena
from tierline_worker.model.residual import add_and_norm
from tierline_worker.model.rope import Rope

_SIZE = 8


def main() -> None:
    """Run each kernel once for each kind of KV, with and without norms of query and key."""
    for dtype, norms in product(KINDS, (None, torch.ones(2, _SIZE))):
        arena = KVArena(torch.zeros(1, 1, 2, 1, 4, _SIZE, dtype=dtype))
        one, none = np.ones(1, np.int64), np.zeros(1, np.int64)
        batch = FlatBatch(none, none, none, none, none, one, none, none.reshape(1, 1), decodes=1)
        still = Turn(Rope(torch.ones(1, 1, _SIZE), torch.zeros(1, 1, _SIZE)), 1e-5)
        CPUAttention(arena).prepare(batch).attend_heads(0, torch.ones(1, 3, _SIZE), still, norms)
        x, out, bits = np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32), bits_of(arena.block_rows)
        add_adapters(bits, KINDS[dtype], tables_of(()), none - 1, (0, 0), x, out)
    add_and_norm(torch.ones(1, _SIZE), torch.ones(1, _SIZE), torch.ones(_SIZE), 1e-5)


if __name__ == "__main__":
    main()
