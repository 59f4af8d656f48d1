"""How the benchmark's processes know that they are no longer wanted: their standard input ends."""

import asyncio
import sys


async def until_input_ends() -> None:
    """Return at the end of standard input, also when whoever held the other end was killed."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
