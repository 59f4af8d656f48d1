"""Bodies of requests: how large, how slow they may be."""

import asyncio

from aiohttp import web

from tierline_gateway.front.api_errors import ApiError

MAX_BODY_BYTES = 4 * 1024 * 1024
LONG_BODY_BYTES = 32 * 1024
SLOW_BODY_S = 30.0
"""A body that takes longer to come costs its sender the connection, which costs us memory."""


async def read_body(request: web.Request) -> bytes:
    """Return the body; raises `ApiError` 408 when its sender takes more than `SLOW_BODY_S`."""
    if request.content.is_eof():
        # Most bodies come with their head; a timer for them would cost more than reading them.
        return await request.read()
    try:
        async with asyncio.timeout(SLOW_BODY_S):
            return await request.read()
    except TimeoutError as error:
        message = f"The body did not come within {SLOW_BODY_S:g} s; send the whole body at once."
        raise ApiError(408, message, "SlowBody", code="request_timeout") from error
