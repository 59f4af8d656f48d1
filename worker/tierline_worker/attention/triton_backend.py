"""Attention over the arena by Triton kernels: an `AttentionBackend` for GPUs."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tierline_worker.attention.backend import Turn
from tierline_worker.attention.triton_decode import attend_decodes, segments_for
from tierline_worker.attention.triton_prefill import attend_chunks, query_block_tokens
from tierline_worker.attention.triton_rope_store import rope_and_store
from tierline_worker.batch import FlatBatch
from tierline_worker.device.rows import ChunkRows, DeviceRows, tiles_of
from tierline_worker.device.transport import Transport
from tierline_worker.kv_arena import KVArena

_DECODE_TILE_KEYS = 64
_CHUNK_TILE_KEYS = 64
_CHUNK_ROWS = 64


class TritonAttention:
    """`processors` are the device's multiprocessors: decodes are cut until all of them have work."""

    def __init__(self, arena: KVArena, heads: int, transport: Transport, processors: int) -> None:
        self.arena = arena
        self.processors = processors
        self.query_tokens = query_block_tokens(heads // arena.kv_heads, _CHUNK_ROWS)
        self._transport = transport

    def over(self, rows: DeviceRows) -> "_TritonPrepared":
        return _TritonPrepared(self, rows)

    def prepare(self, batch: FlatBatch) -> "_TritonPrepared":
        decodes, first_chunk = batch.decodes, batch.decodes
        chunk_rows = np.arange(first_chunk, len(batch.counts))
        described = np.stack((chunk_rows, batch.starts[chunk_rows], batch.counts[chunk_rows], batch.first[chunk_rows]))
        table, places, slots, contexts, rows, tiles = self._transport.send(
            batch.tables,
            batch.blocks * self.arena.block_tokens + batch.offsets,
            np.arange(decodes),
            batch.contexts[:decodes],
            described,
            tiles_of(batch.counts[chunk_rows], self.query_tokens),
        )
        chunks = ChunkRows(rows.to(torch.int32), tiles.to(torch.int32)) if len(chunk_rows) else None
        return self.over(DeviceRows(table.to(torch.int32), places, slots, contexts, chunks))

    def copy(self, copies: NDArray[np.int32]) -> None:
        sources, targets = self._transport.send(*np.ascontiguousarray(copies.T, np.int64))
        self.arena.copy(sources, targets)

    def clear(self, blocks: NDArray[np.int32]) -> None:
        (wanted,) = self._transport.send(blocks.astype(np.int64))
        self.arena.pages[wanted] = 0


@dataclass(frozen=True, slots=True)
class _TritonPrepared:
    backend: TritonAttention
    rows: DeviceRows

    def attend_heads(
        self, layer: int, projected: torch.Tensor, turn: Turn, qk_norm: torch.Tensor | None
    ) -> torch.Tensor:
        pages = self.backend.arena.pages[:, layer]
        query = rope_and_store(
            projected, turn.rope.cos, turn.rope.signed_sin, qk_norm, turn.epsilon, self.rows.places, pages
        )
        out = torch.empty_like(query)
        decodes, rows = len(self.rows.slots), self.rows
        if decodes:
            segments = segments_for(decodes, pages.shape[2], self.backend.processors)
            attend_decodes(
                out, query[:decodes], pages, rows.table, rows.slots, rows.contexts, segments, _DECODE_TILE_KEYS
            )
        if rows.chunks is not None:
            attend_chunks(
                out, query, pages, rows.table, rows.chunks.rows, rows.chunks.tiles, _CHUNK_ROWS, _CHUNK_TILE_KEYS
            )
        return out
