"""Paged attention as it is defined, in float64, over an arena whose free pages hold no numbers."""

from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class PagedCase:
    """Requests with contexts in shuffled pages; everything that is no request's context is NaN.

    `keys`, `values` [slot][context, kv_heads, head_dim]; `pages` [blocks, layers, 2, kv_heads, block_tokens, head_dim].
    """

    contexts: list[int]
    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    pages: torch.Tensor
    table: torch.Tensor

    @staticmethod
    def make(
        contexts: list[int],
        kv_heads: int,
        head_dim: int,
        block_tokens: int,
        numbers: torch.Tensor,
    ) -> "PagedCase":
        """Return a case in the format and on the device of `numbers`."""
        dtype, device, layers = numbers.dtype, numbers.device, 2
        random = torch.Generator().manual_seed(len(contexts) * 1000 + head_dim + block_tokens)
        used = [-(-context // block_tokens) for context in contexts]
        blocks = np.random.default_rng(3).permutation(sum(used) + 3).tolist()
        table = torch.full((len(contexts), max(used) + 1), -(2**20), dtype=torch.int32)
        pages = torch.full((len(blocks), layers, 2, kv_heads, block_tokens, head_dim), float("nan"), dtype=dtype)
        case = PagedCase(contexts, [], [], pages, table)
        for slot, context in enumerate(contexts):
            for index in range(used[slot]):
                table[slot, index] = blocks.pop()
            for kind in (case.keys, case.values):
                kind.append(torch.randn((context, kv_heads, head_dim), generator=random).to(dtype))
        case.pages, case.table = pages.to(device), table.to(device)
        return case

    def fill(self, layer: int) -> None:
        """Write all contexts into their pages of `layer`."""
        size = self.pages.shape[4]
        for slot, context in enumerate(self.contexts):
            for position in range(context):
                block = int(self.table[slot, position // size])
                self.pages[block, layer, 0, :, position % size] = self.keys[slot][position]
                self.pages[block, layer, 1, :, position % size] = self.values[slot][position]

    def attended(self, slot: int, start: int, query: torch.Tensor) -> torch.Tensor:
        """Return the attention of query [tokens, heads, head_dim] at positions from `start`, in float64."""
        query = query.cpu()
        tokens, heads, head_dim = query.shape
        group = heads // self.pages.shape[3]
        keys = self.keys[slot].double().repeat_interleave(group, 1)
        values = self.values[slot].double().repeat_interleave(group, 1)
        scores = torch.einsum("thd,chd->htc", query.double(), keys) * head_dim**-0.5
        hidden = torch.arange(len(keys)) > torch.arange(start, start + tokens)[:, None]
        weights = torch.softmax(scores.masked_fill(hidden, float("-inf")), dim=-1)
        return torch.einsum("htc,chd->thd", weights, values)
