"""How large the KV cache may be: on a GPU, what is free there once the weights are loaded bounds it."""

import torch

from tierline_worker.errors import SettingsError
from tierline_worker.model.config import ModelConfig

SHARE_FOR_KV = 0.9
"""Of what is free; the rest is for activations and graphs."""

_LEAST_BLOCKS = 2


def cache_blocks(wanted: int, block_bytes: int, device: torch.device) -> int:
    """Return the size of the KV cache in blocks: `wanted`, or with 0 all that fit on the GPU.

    Raises `SettingsError` when fewer fit, with the number that does, and for 0 on a CPU: its memory is not ours alone.
    """
    if device.type == "cpu":
        if not wanted:
            raise SettingsError("TIERLINE_KV_CACHE_BLOCKS is 0, which takes a GPU's free memory: set a number on CPUs")
        return wanted
    free_bytes, _ = torch.cuda.mem_get_info(device)
    # One more block takes the rows that pad a batch.
    fitting = int(free_bytes * SHARE_FOR_KV) // block_bytes - 1
    if fitting < max(wanted, _LEAST_BLOCKS):
        raise SettingsError(
            f"TIERLINE_KV_CACHE_BLOCKS is {wanted}: beside the weights the GPU has memory for {max(fitting, 0)} "
            f"blocks of {block_bytes} bytes; lower it, or use a larger GPU or a smaller model"
        )
    return wanted or fitting


def bytes_of_block(config: ModelConfig, block_tokens: int, dtype: torch.dtype) -> int:
    """Return the size of a block: keys and values of its tokens in all layers."""
    return config.layers * 2 * config.kv_heads * block_tokens * config.head_dim * dtype.itemsize
