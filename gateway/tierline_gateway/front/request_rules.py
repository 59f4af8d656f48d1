"""Rules over several fields, and fields that are refused: nothing that would change an answer is ignored."""

from tierline_gateway.front.api_errors import invalid
from tierline_gateway.front.openai_requests import ChatRequest, CommonFields, CompletionRequest
from tierline_gateway.front.openai_unserved import check_unserved

MAX_STOPS = 4


def check_request(request: ChatRequest | CompletionRequest) -> None:
    """Raise `ApiError` 400 that names the field which is not served, or contradicts another one."""
    check_unserved(request)
    _check_stream(request)
    if isinstance(request, ChatRequest):
        _check_chat(request)
    else:
        _check_completion(request)


def stop_strings(request: CommonFields) -> tuple[str, ...]:
    """Return the stop strings; raises `ApiError` when there are too many or one is empty."""
    given = [request.stop] if isinstance(request.stop, str) else request.stop or []
    if len(given) > MAX_STOPS:
        raise invalid("stop", f"'stop' holds {len(given)} strings; send at most {MAX_STOPS}.")
    if not all(given):
        raise invalid("stop", "'stop' holds an empty string, which would end every answer; remove it.")
    return tuple(given)


def _check_stream(request: CommonFields) -> None:
    options = request.stream_options
    if options is None:
        return
    if not request.stream:
        raise invalid("stream_options", "'stream_options' needs 'stream': true; add it or leave the options out.")
    alone = options.continuous_usage_stats and not options.include_usage
    _refuse("stream_options.continuous_usage_stats", alone, "it needs 'include_usage': true: add that")


def _check_chat(request: ChatRequest) -> None:
    unasked = request.top_logprobs is not None and not request.logprobs
    _refuse("top_logprobs", unasked, "it needs 'logprobs': true: add that or leave it out")


def _check_completion(request: CompletionRequest) -> None:
    told = request.echo and request.logprobs is not None
    _refuse("echo", told, "with 'logprobs' it is not served, since the prompt has none here: leave one of them out")


def _refuse(name: str, asked: bool, fix: str) -> None:
    if asked:
        raise invalid(name, f"'{name}' is set, but {fix}.", "unsupported_parameter")
