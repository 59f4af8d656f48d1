"""The KV cache of all requests: one tensor of pages, `[blocks, layers, 2, kv_heads, block_tokens, head_dim]`.

A block is one contiguous run of bytes with every layer in it, so it can be saved, moved or shared as one page. Layers
address their part of it by stride.
"""

from dataclasses import dataclass

import torch

from tierline_worker.model.config import ModelConfig


@dataclass(frozen=True, slots=True)
class KVArena:
    """The arena and the two flat views that index arithmetic works on."""

    pages: torch.Tensor

    @staticmethod
    def allocate(
        config: ModelConfig,
        blocks: int,
        block_tokens: int,
        dtype: torch.dtype,
        device: torch.device | None = None,
    ) -> "KVArena":
        """Allocate zeroed pages: masked places are multiplied by zero, so they must hold finite numbers."""
        shape = (blocks, config.layers, 2, config.kv_heads, block_tokens, config.head_dim)
        return KVArena(torch.zeros(shape, dtype=dtype, device=device))

    def copy(self, sources: torch.Tensor, targets: torch.Tensor) -> None:
        """Copy whole blocks (int64 [n]); all sources are read before any target is written."""
        self.pages[targets] = self.pages[sources]

    @property
    def blocks(self) -> int:
        return self.pages.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        return self.pages.dtype

    @property
    def layers(self) -> int:
        return self.pages.shape[1]

    @property
    def kv_heads(self) -> int:
        return self.pages.shape[3]

    @property
    def block_tokens(self) -> int:
        return self.pages.shape[4]

    @property
    def head_dim(self) -> int:
        return self.pages.shape[5]

    @property
    def block_rows(self) -> torch.Tensor:
        """The arena as [blocks, numbers of a block], each row one block's bytes."""
        return self.pages.view(self.blocks, -1)

    def move_tokens(self, blocks: torch.Tensor, offsets: torch.Tensor) -> None:
        """Copy the KV of tokens in all layers; `blocks` and `offsets` int64 [2, n] name where from and where to."""
        self.pages[blocks[1], :, :, :, offsets[1]] = self.pages[blocks[0], :, :, :, offsets[0]]

    def token_rows(self, layer: int) -> torch.Tensor:
        """Return [rows, head_dim], one row per (token, head) place, starting at `layer` of block 0."""
        rows = self.pages.view(-1, self.head_dim)
        return rows[layer * 2 * self.kv_heads * self.block_tokens :]

    def head_pages(self, layer: int) -> torch.Tensor:
        """Return [pages, width], one row per (block, key or value, head), starting at `layer`.

        The bytes of `block_tokens · head_dim` numbers, seen as float32: torch copies rows of two-byte numbers one
        number at a time, at half the speed.
        """
        rows = self.pages.view(-1, self.block_tokens * self.head_dim).view(torch.float32)
        return rows[layer * 2 * self.kv_heads :]

    def page_rows(self, blocks: torch.Tensor) -> torch.Tensor:
        """Return rows of `head_pages` as [2, *leading, kv_heads, width] for `blocks` [*leading, width]."""
        per_block = self.layers * 2 * self.kv_heads
        heads = torch.arange(self.kv_heads).view(-1, 1)
        keys = blocks.unsqueeze(-2) * per_block + heads
        return torch.stack((keys, keys + self.kv_heads))
