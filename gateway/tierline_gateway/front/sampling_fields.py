"""From a request's fields to how its tokens are chosen."""

import secrets

from tierline.text.tokenizer import Tokenizer
from tierline.wire.frames import Grammar, Sampling
from tierline_gateway.front.api_errors import invalid
from tierline_gateway.front.openai_requests import ChatRequest, CommonFields, CompletionRequest

_SEED_BITS = 63


def sampling_of(
    request: ChatRequest | CompletionRequest, max_tokens: int, tokenizer: Tokenizer, grammar: Grammar | None
) -> Sampling:
    """Return the sampling of the first choice; raises `ApiError` 400 for what this model cannot do."""
    ends = set(request.stop_token_ids or ())
    if not request.ignore_eos:
        ends |= tokenizer.eos_ids
    return Sampling(
        max_tokens=max_tokens,
        temperature=1.0 if request.temperature is None else request.temperature,
        top_p=1.0 if request.top_p is None else request.top_p,
        top_k=max(request.top_k or 0, 0),
        # A seed is drawn even when none is given: a moved stream must go on as it would have.
        seed=secrets.randbits(_SEED_BITS) if request.seed is None else request.seed,
        stop_token_ids=tuple(sorted(ends)),
        ignore_eos=request.ignore_eos,
        min_p=request.min_p or 0.0,
        min_tokens=_min_tokens(request, max_tokens),
        presence_penalty=request.presence_penalty or 0.0,
        frequency_penalty=request.frequency_penalty or 0.0,
        repetition_penalty=request.repetition_penalty or 1.0,
        logit_bias=_logit_bias(request, tokenizer.vocabulary_size),
        logprobs=_logprobs(request),
        grammar=grammar,
    )


def _min_tokens(request: CommonFields, max_tokens: int) -> int:
    asked = request.min_tokens or 0
    if asked > max_tokens:
        raise invalid("min_tokens", f"'min_tokens' is {asked}, above the limit of {max_tokens} tokens; lower it.")
    return asked


def _logit_bias(request: CommonFields, vocabulary: int) -> tuple[tuple[int, float], ...]:
    bias = request.logit_bias or {}
    largest = max(bias, default=0)
    if largest >= vocabulary:
        raise invalid("logit_bias", f"'logit_bias' names token {largest}; the model's ids end at {vocabulary - 1}.")
    return tuple(bias.items())


def _logprobs(request: ChatRequest | CompletionRequest) -> int | None:
    if isinstance(request, CompletionRequest):
        return request.logprobs
    return (request.top_logprobs or 0) if request.logprobs else None
