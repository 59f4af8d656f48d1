"""Fields that would change an answer and are not served: refused by name, unless they ask for what is done anyway."""

from dataclasses import dataclass
from operator import attrgetter

import msgspec

from tierline_gateway.front.api_errors import invalid


class UnservedFields(msgspec.Struct, kw_only=True):
    """Fields of OpenAI and vLLM, of any type: what they must be stands in `_UNSERVED`."""

    best_of: object = None
    suffix: object = None
    store: object = None
    service_tier: object = None
    modalities: object = None
    audio: object = None
    web_search_options: object = None
    verbosity: object = None
    functions: object = None
    function_call: object = None
    prompt_logprobs: object = None
    bad_words: object = None
    allowed_token_ids: object = None
    use_beam_search: object = None
    truncate_prompt_tokens: object = None
    skip_special_tokens: object = None
    include_stop_str_in_output: object = None


@dataclass(frozen=True, slots=True)
class _Unserved:
    """What to do instead, and the values that ask for nothing."""

    fix: str
    harmless: tuple[object, ...] = ()


_LEAVE_OUT = "leave it out"
_UNSERVED = {
    "best_of": _Unserved("leave it out, 'n' gives several answers", (1,)),
    "suffix": _Unserved("leave it out, or write it into the prompt", ("",)),
    "store": _Unserved("nothing is stored here: leave it out and keep the answer yourself", (False,)),
    "service_tier": _Unserved("choose the SLO tier by the header 'x-tierline-tier'", ("auto", "default")),
    "modalities": _Unserved("only text is served: leave it out", (["text"],)),
    "audio": _Unserved("only text is served: leave it out"),
    "web_search_options": _Unserved("give the model a function in 'tools'"),
    "verbosity": _Unserved("say it in the prompt", ("medium",)),
    "functions": _Unserved("use 'tools', which replaced it"),
    "function_call": _Unserved("use 'tool_choice', which replaced it"),
    "prompt_logprobs": _Unserved(_LEAVE_OUT),
    "bad_words": _Unserved("use 'logit_bias'", ([],)),
    "allowed_token_ids": _Unserved("use 'logit_bias' or 'structured_outputs'"),
    "use_beam_search": _Unserved(_LEAVE_OUT, (False,)),
    "truncate_prompt_tokens": _Unserved("shorten the prompt yourself, /tokenize tells its length"),
    "skip_special_tokens": _Unserved("leave it out, 'return_token_ids' gives all tokens", (True,)),
    "include_stop_str_in_output": _Unserved(_LEAVE_OUT, (False,)),
}
_asked = attrgetter(*_UNSERVED)
_NOTHING = (None,) * len(_UNSERVED)


def check_unserved(request: UnservedFields) -> None:
    """Raise `ApiError` 400 for the first field that is set to what is not served."""
    if _asked(request) == _NOTHING:
        return
    for name, unserved in _UNSERVED.items():
        value = getattr(request, name)
        if value is not None and value not in unserved.harmless:
            raise invalid(name, f"'{name}' is not served: {unserved.fix}.", "unsupported_parameter")
