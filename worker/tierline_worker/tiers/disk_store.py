"""KV pages in one preallocated file, written and read by one thread in the order they were asked for.

The thread never touches the arena: a SAVE's blocks are copied aside when it begins (on an accelerator that waits for
the stream, which is the price of a tier that is slower still), a LOAD's bytes are copied in by the engine's thread when
it asks what ended. Each page's checksum is kept in memory, so a page that was torn, lost or
changed on the disk is noticed and its transfer fails; the core then computes that context again.

The queue is bounded in bytes that wait beside the arena. What finds it full fails at once: computing again is always
possible, waiting for a disk in the engine's loop never is.
"""

import logging
import os
import queue
import threading
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tierline.scheduling.memory.transfers import Direction, Transfer, TransferResult
from tierline_worker.errors import SettingsError

_LOG = logging.getLogger(__name__)
MAX_QUEUED_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class _Job:
    """A transfer and its bytes beside the arena: uint8 [pages, page bytes]."""

    transfer: Transfer
    staged: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Ended:
    job: _Job
    elapsed_ms: float
    ok: bool


class DiskStore:
    """`pages` pages of `page_bytes` in `path`; raises `SettingsError` when the disk has no room for them."""

    def __init__(self, path: Path, pages: int, page_bytes: int, max_queued_bytes: int = MAX_QUEUED_BYTES) -> None:
        self._path = path
        self._page_bytes = page_bytes
        self._max_queued_bytes = max_queued_bytes
        self._queued_bytes = 0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[_Ended] = queue.SimpleQueue()
        self._refused: list[TransferResult] = []
        self._file = _allocate(path, pages * page_bytes)
        self._checksums: NDArray[np.uint32] = np.zeros(pages, np.uint32)
        self._thread = threading.Thread(target=self._work, name="kv-disk", daemon=True)
        self._thread.start()

    def begin(self, transfer: Transfer, arena: torch.Tensor) -> None:
        """As `Store.begin`."""
        size = len(transfer.pages) * self._page_bytes
        if self._queued_bytes + size > self._max_queued_bytes:
            self._refused.append(TransferResult(transfer.ticket, 0.0, ok=False))
            return
        self._queued_bytes += size
        if transfer.direction is Direction.SAVE:
            staged = arena[torch.from_numpy(transfer.blocks).long().to(arena.device)].cpu()
        else:
            staged = torch.empty((len(transfer.pages), self._page_bytes), dtype=torch.uint8)
        self._jobs.put(_Job(transfer, staged))

    def completed(self, arena: torch.Tensor) -> list[TransferResult]:
        """As `Store.completed`."""
        results, self._refused = self._refused, []
        while not self._ended.empty():
            results.append(self._settle(self._ended.get_nowait(), arena))
        return results

    def close(self) -> None:
        """As `Store.close`."""
        self._jobs.put(None)
        self._thread.join()
        os.close(self._file)
        self._path.unlink(missing_ok=True)

    def _settle(self, ended: _Ended, arena: torch.Tensor) -> TransferResult:
        transfer, staged = ended.job.transfer, ended.job.staged
        self._queued_bytes -= staged.numel()
        if ended.ok and transfer.direction is Direction.LOAD:
            arena[torch.from_numpy(transfer.blocks).long().to(arena.device)] = staged.to(arena.device)
            if arena.is_cuda:
                # The stream that reads these blocks is another one and does not wait for this copy by itself.
                torch.cuda.current_stream(arena.device).synchronize()
        return TransferResult(transfer.ticket, ended.elapsed_ms, ended.ok)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            began_s = time.perf_counter()
            try:
                ok = self._write(job) if job.transfer.direction is Direction.SAVE else self._read(job)
            except Exception:  # noqa: BLE001 a thread that ended would leave its requests waiting for ever
                _LOG.exception("disk tier %s: a transfer broke, the request's context is computed again", self._path)
                ok = False
            self._ended.put(_Ended(job, (time.perf_counter() - began_s) * 1e3, ok))

    def _write(self, job: _Job) -> bool:
        for page, row in zip(job.transfer.pages.tolist(), job.staged.numpy(), strict=True):
            view = memoryview(row)
            self._checksums[page] = zlib.crc32(view)
            if os.pwrite(self._file, view, page * self._page_bytes) != self._page_bytes:
                raise OSError(f"page {page} was written in part")
        return True

    def _read(self, job: _Job) -> bool:
        for page, row in zip(job.transfer.pages.tolist(), job.staged.numpy(), strict=True):
            view = memoryview(row)
            whole = os.preadv(self._file, [view], page * self._page_bytes) == self._page_bytes
            if not whole or zlib.crc32(view) != self._checksums[page]:
                _LOG.error("disk tier %s: page %d is damaged, its context is computed again", self._path, page)
                return False
        return True


def _allocate(path: Path, size: int) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise SettingsError(
            f"TIERLINE_DISK_CACHE_BLOCKS: {path.parent} does not hold {size} bytes ({error.strerror}): "
            "lower it or set TIERLINE_DISK_CACHE_DIR to a larger disk"
        ) from error
    return file
