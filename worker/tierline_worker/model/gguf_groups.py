"""GGUF's 4-bit matrices as they are stored: no rounding happens between the file and the kernel's values.

A block holds 32 weights of a row: a float16 scale, for Q4_1 a float16 minimum, then 16 bytes whose low halves are the
first 16 values and whose high halves are the others.
"""

import numpy as np
import torch
from gguf import GGMLQuantizationType

from tierline_worker.model.gguf_index import StoredTensor
from tierline_worker.model.quantize import GROUP, Groups4

GROUPED = (GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q4_1)
_MIDDLE = 8


def read_groups(stored: StoredTensor) -> Groups4:
    """Return the numbers of a matrix that is stored in one of the kinds `GROUPED`."""
    rows, columns = stored.shape
    blocks = stored.rows.reshape(rows, columns // GROUP, -1)
    halves = torch.from_numpy(np.ascontiguousarray(blocks[..., -GROUP // 2 :]))
    values = torch.cat((halves & 15, halves >> 4), dim=-1).flatten(1)
    head = torch.from_numpy(np.ascontiguousarray(blocks[..., : -GROUP // 2]).view(np.float16)).float()
    scale = head[..., 0]
    return Groups4(values, scale, head[..., 1] if stored.kind is GGMLQuantizationType.Q4_1 else -_MIDDLE * scale)
