"""What a worker can sample with: the last check, for gateways that let something through."""

import math

from tierline.wire.frames import Sampling

TOP_K_LIMIT = 2**31 - 1
MOST_LOGPROBS = 20
_FINITE = ("presence_penalty", "frequency_penalty")


def problem_of_sampling(sampling: Sampling, vocab_size: int) -> str:
    """Return which field makes `sampling` impossible to compute and its legal range, empty when none does."""
    if not 0.0 <= sampling.temperature < math.inf:
        return f"sampling.temperature is {sampling.temperature}: set it to 0 or more"
    if not 0.0 < sampling.top_p <= 1.0:
        return f"sampling.top_p is {sampling.top_p}: set it above 0, at most 1"
    if not 0 <= sampling.top_k <= TOP_K_LIMIT:
        return f"sampling.top_k is {sampling.top_k}: set it to 0 (no limit) or more, at most {TOP_K_LIMIT}"
    if not 0.0 <= sampling.min_p <= 1.0:
        return f"sampling.min_p is {sampling.min_p}: set it to 0 to 1"
    return _problem_of_edits(sampling, vocab_size)


def _problem_of_edits(sampling: Sampling, vocab_size: int) -> str:
    if not 0.0 < sampling.repetition_penalty < math.inf:
        return f"sampling.repetition_penalty is {sampling.repetition_penalty}: set it above 0"
    for name in _FINITE:
        if not math.isfinite(getattr(sampling, name)):
            return f"sampling.{name} is {getattr(sampling, name)}: set it to a finite number"
    for token, added in sampling.logit_bias:
        if not 0 <= token < vocab_size or not math.isfinite(added):
            legal = f"name a token from 0 to {vocab_size - 1} and add a finite number"
            return f"sampling.logit_bias has ({token}, {added}): {legal}"
    if sampling.logprobs is not None and not 0 <= sampling.logprobs <= MOST_LOGPROBS:
        return f"sampling.logprobs is {sampling.logprobs}: set it to 0 to {MOST_LOGPROBS}"
    return ""
