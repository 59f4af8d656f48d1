"""What a request must be for an engine to compute anything for it."""

from tierline.scheduling.plans import EngineRequest


class InvalidEngineRequest(ValueError):
    """A request whose numbers contradict each other; the message names the field."""


def check_request(request: EngineRequest) -> None:
    """Raise `InvalidEngineRequest` when there is no prompt or nothing left to generate."""
    if request.prompt_tokens < 1:
        raise InvalidEngineRequest(f"prompt_tokens is {request.prompt_tokens}: a prompt has at least one token")
    if not 0 <= request.emitted_tokens < request.max_output_tokens:
        raise InvalidEngineRequest(
            f"emitted_tokens is {request.emitted_tokens} of max_output_tokens {request.max_output_tokens}: "
            "nothing is left to generate"
        )
