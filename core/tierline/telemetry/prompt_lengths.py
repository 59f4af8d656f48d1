"""Buckets of prompt lengths, to see whether admission treats long prompts worse, and how much."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from tierline.telemetry.records import Outcome, RequestRecord

BOUNDS_TOKENS: Final = (256, 1024, 2048, 4096, 8192)
BUCKETS: Final = (
    *(f"{low}-{high - 1}" for low, high in pairwise((0, *BOUNDS_TOKENS))),
    f"{BOUNDS_TOKENS[-1]}-",
)


def prompt_bucket(prompt_tokens: int) -> str:
    """Return the bucket of a prompt's length, a range of tokens such as `256-1023`."""
    return BUCKETS[bisect_right(BOUNDS_TOKENS, prompt_tokens)]


@dataclass(frozen=True, slots=True)
class LengthRefusals:
    """The requests of one bucket, and those of them that were refused."""

    requests: int
    rejected: int
    rejected_share: float


def refusals_by_length(records: Sequence[RequestRecord]) -> dict[str, LengthRefusals]:
    """Return the refusals of every bucket in which there was a request, in the order of lengths."""
    found: dict[str, list[bool]] = {bucket: [] for bucket in BUCKETS}
    for record in records:
        found[prompt_bucket(record.prompt_tokens)].append(record.outcome is Outcome.REJECTED)
    return {
        bucket: LengthRefusals(len(refused), sum(refused), round(sum(refused) / len(refused), 4))
        for bucket, refused in found.items()
        if refused
    }
