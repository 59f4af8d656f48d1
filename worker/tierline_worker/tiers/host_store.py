"""KV pages in host memory: one buffer, allocated once, page-locked where the arena is on a CUDA device.

On a CPU a transfer is a copy and has ended when `begin` returns. On a device copies are queued on the stream that
computes, behind the iterations that write a saved block and before those that read a loaded one; an event tells when
they ended. One long copy at a time keeps the bus busy enough, and no second stream has to be kept in order.
"""

import time
from collections import deque
from dataclasses import dataclass

import torch

from tierline.scheduling.memory.transfers import Direction, Transfer, TransferResult


@dataclass(frozen=True, slots=True)
class _Queued:
    """Copies on a device's stream between two events."""

    ticket: int
    began: torch.cuda.Event
    ended: torch.cuda.Event


class HostStore:
    """`pages` pages of `page_bytes`; raises `MemoryError` or `RuntimeError` when the host has no room for them."""

    def __init__(self, pages: int, page_bytes: int, device: torch.device) -> None:
        self._on_device = device.type == "cuda"
        self._buffer = torch.empty((pages, page_bytes), dtype=torch.uint8, pin_memory=self._on_device)
        if not self._on_device:
            # Memory that is touched for the first time costs more than the copy; and what is not there shows now.
            self._buffer.zero_()
        self._done: list[TransferResult] = []
        self._queued: deque[_Queued] = deque()

    def begin(self, transfer: Transfer, arena: torch.Tensor) -> None:
        """As `Store.begin`."""
        if self._on_device:
            self._queued.append(self._enqueue(transfer, arena))
            return
        began_s = time.perf_counter()
        self._copy(transfer, arena)
        self._done.append(TransferResult(transfer.ticket, (time.perf_counter() - began_s) * 1e3))

    def completed(self, arena: torch.Tensor) -> list[TransferResult]:
        """As `Store.completed`."""
        while self._queued and self._queued[0].ended.query():  # type: ignore[no-untyped-call]
            queued = self._queued.popleft()
            self._done.append(TransferResult(queued.ticket, queued.began.elapsed_time(queued.ended)))
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """As `Store.close`."""
        self._queued.clear()
        self._buffer = torch.empty((0, 0), dtype=torch.uint8)

    def _enqueue(self, transfer: Transfer, arena: torch.Tensor) -> _Queued:
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        began.record()
        self._copy(transfer, arena)
        ended.record()
        return _Queued(transfer.ticket, began, ended)

    def _copy(self, transfer: Transfer, arena: torch.Tensor) -> None:
        # Page by page: an indexed copy would go through a second buffer, and a page is large.
        for block, page in zip(transfer.blocks.tolist(), transfer.pages.tolist(), strict=True):
            if transfer.direction is Direction.SAVE:
                self._buffer[page].copy_(arena[block], non_blocking=True)
            else:
                arena[block].copy_(self._buffer[page], non_blocking=True)
