"""Several requests under way at once, and what came of them."""

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence

from tierline_operator.cluster import ApiError

log = logging.getLogger(__name__)


async def together(*works: Awaitable[None]) -> None:
    """Await all of them; raises the first error, once none is under way any more."""
    for outcome in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def first_refusal(stages: Iterable[Sequence[Awaitable[None]]]) -> str:
    """Make the writes of one stage together, stage after stage; what is refused does not keep others back.

    Returns what the server said to the first that it refused. Any other error ends it with its stage.
    """
    refusals: list[str] = []
    for stage in stages:
        await together(*(_noting_refusal(write, refusals) for write in stage))
    return refusals[0] if refusals else ""


async def _noting_refusal(write: Awaitable[None], refusals: list[str]) -> None:
    try:
        await write
    except ApiError as error:
        if not error.is_refusal:
            raise
        refusals.append(f"The API server refused a write: {error}")
        log.warning("refused: %s", error)
