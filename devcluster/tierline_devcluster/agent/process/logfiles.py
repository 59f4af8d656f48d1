"""Reading container logs: the last lines, a limit of bytes, and what is still being written."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_CHUNK_BYTES = 1 << 16
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What a reader wants; None means no limit."""

    tail_lines: int | None = None
    limit_bytes: int | None = None
    follow: bool = False


def tail_offset(log: IO[bytes], lines: int) -> int:
    """Return where the last `lines` lines of an open file begin."""
    end = log.seek(0, os.SEEK_END)
    position, seen = end, 0
    while position > 0:
        start = max(0, position - _CHUNK_BYTES)
        log.seek(start)
        chunk = log.read(position - start)
        for index in range(len(chunk) - 1, -1, -1):
            if chunk[index] == ord("\n") and start + index != end - 1:
                seen += 1
                if seen == lines:
                    return start + index + 1
        position = start
    return 0


async def read_log(path: Path, query: LogQuery, alive: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield the log's bytes; when following, until `alive` says that nobody writes any more."""
    left = query.limit_bytes
    with path.open("rb") as log:
        if query.tail_lines is not None:
            log.seek(_start(log, query.tail_lines))
        while left is None or left > 0:
            # Asked before the reading, so that a last word is not lost.
            was_alive = alive()
            chunk = log.read(_CHUNK_BYTES if left is None else min(left, _CHUNK_BYTES))
            if chunk:
                left = None if left is None else left - len(chunk)
                yield chunk
            elif not (query.follow and was_alive):
                return
            else:
                await asyncio.sleep(_POLL_S)


def _start(log: IO[bytes], lines: int) -> int:
    return log.seek(0, os.SEEK_END) if lines == 0 else tail_offset(log, lines)
