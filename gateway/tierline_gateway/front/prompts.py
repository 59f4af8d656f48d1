"""From a validated body to prompt ids and sampling."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from tierline.text.chat import RESERVED_VARIABLES, ChatTemplate, ChatTemplateError
from tierline.text.tokenizer import Tokenizer
from tierline.text.tools.formats import ToolFormat
from tierline.wire.frames import Grammar
from tierline_gateway.front.api_errors import ApiError, invalid
from tierline_gateway.front.chat_messages import template_messages
from tierline_gateway.front.generation import Generation
from tierline_gateway.front.openai_requests import ChatMessage, ChatRequest, CompletionRequest
from tierline_gateway.front.request_rules import check_request, stop_strings
from tierline_gateway.front.sampling_fields import sampling_of
from tierline_gateway.front.structured_output import grammar_of
from tierline_gateway.front.tool_use import told_tools, tool_grammar_of, tool_use_of

_COMPLETION_DEFAULT_TOKENS = 16
_COMPOSED_CHARACTERS = 4
"""As many characters a normalizer may join into one."""
_REASONING_EFFORT = "reasoning_effort"
_NO_VARIABLES: Mapping[str, object] = MappingProxyType({})


class PromptReader(msgspec.Struct, frozen=True):
    """Tokenises requests for one model. `window_tokens` is the longest prompt and answer a worker can hold.

    `tool_format` is how its fleet says that calls are written, None where the template tells.
    """

    tokenizer: Tokenizer
    window_tokens: int
    tool_format: ToolFormat | None = None

    def chat(self, request: ChatRequest) -> Generation:
        """Render the conversation and tokenise it; raises `ApiError`."""
        check_request(request)
        use = tool_use_of(request, self.tool_format or self._template().tool_format)
        ids = self.chat_ids(request.messages, told_tools(request), self._variables(request))
        asked = request.max_completion_tokens or request.max_tokens
        name = "max_completion_tokens" if request.max_completion_tokens else "max_tokens"
        grammar = tool_grammar_of(request, use, grammar_of(request))
        made = self._generation(request, ids, asked, ("messages", name), grammar)
        return made if use is None else msgspec.structs.replace(made, tools=use, stop=made.stop + use.stops)

    def chat_ids(
        self,
        messages: Sequence[ChatMessage],
        tools: Sequence[Mapping[str, Any]] = (),
        variables: Mapping[str, object] = _NO_VARIABLES,
    ) -> tuple[int, ...]:
        """Return the prompt of a conversation; raises `ApiError`."""
        try:
            text = self._template().render(template_messages(messages), tools=tools, variables=variables)
        except ChatTemplateError as error:
            raise invalid("messages", f"{error}.") from error
        return self.encoded(text, "messages", self.tokenizer.encode_rendered)

    def encoded(self, text: str, param: str, encode: Callable[[str], tuple[int, ...]]) -> tuple[int, ...]:
        """Return the ids of `text`; what is far longer than any window is refused before it costs seconds to encode."""
        most = self.window_tokens * self.tokenizer.longest_token_characters * _COMPOSED_CHARACTERS
        if len(text) > most:
            raise _too_long(param, f"the prompt has {len(text)} characters", self.window_tokens, "shorten it")
        return encode(text)

    def completion(self, request: CompletionRequest) -> Generation:
        """Tokenise a plain prompt, or take ids as they are; raises `ApiError`."""
        check_request(request)
        ids = self._completion_ids(request)
        asked = request.max_tokens or min(_COMPLETION_DEFAULT_TOKENS, max(self.window_tokens - len(ids), 1))
        echo = self.tokenizer.decode(ids) if request.echo else ""
        made = self._generation(request, ids, asked, ("prompt", "max_tokens"), grammar_of(request))
        return msgspec.structs.replace(made, echo_text=echo)

    def _completion_ids(self, request: CompletionRequest) -> tuple[int, ...]:
        match request.prompt:
            case str(text) | [str(text)]:
                ids = self.encoded(text, "prompt", self.tokenizer.encode)
            case [list(inner)]:
                ids = tuple(inner)
            case [*items] if all(isinstance(item, int) for item in items):
                ids = tuple(item for item in items if isinstance(item, int))
            case several:
                raise invalid("prompt", f"'prompt' holds {len(several)} prompts; send one prompt a request.")
        if not ids:
            raise invalid("prompt", "'prompt' is empty; send at least one token of text.")
        self.check_ids(ids, "prompt")
        return ids

    def check_ids(self, ids: Sequence[int], param: str) -> None:
        """Raise `ApiError` 400 for an id that is no token of the model."""
        limit, largest = self.tokenizer.vocabulary_size - 1, max(ids, default=0)
        if largest > limit:
            raise invalid(param, f"'{param}' holds token id {largest}; the model's ids end at {limit}.")

    def _template(self) -> ChatTemplate:
        template = self.tokenizer.chat_template
        if template is None:
            message = "The model has no usable chat template; use /v1/completions."
            raise invalid("messages", message, "unsupported_endpoint")
        return template

    def _variables(self, request: ChatRequest) -> dict[str, object]:
        """Return what the template is given besides the conversation."""
        variables = dict(request.chat_template_kwargs or {})
        taken = RESERVED_VARIABLES & variables.keys()
        if taken:
            name = f"chat_template_kwargs.{min(taken)}"
            raise invalid(name, f"'{name}' is set by the gateway; remove it.", "unsupported_parameter")
        effort = request.reasoning_effort
        if effort is not None:
            if not self._template().reads(_REASONING_EFFORT):
                message = f"'{_REASONING_EFFORT}' is not read by the model's chat template; leave it out."
                raise invalid(_REASONING_EFFORT, message, "unsupported_parameter")
            variables[_REASONING_EFFORT] = effort
        return variables

    def _generation(
        self,
        request: ChatRequest | CompletionRequest,
        ids: tuple[int, ...],
        asked: int | None,
        names: tuple[str, str],
        grammar: Grammar | None,
    ) -> Generation:
        room = self.window_tokens - len(ids)
        prompt_name, asked_name = names
        if room < 1:
            raise _too_long(prompt_name, f"the prompt has {len(ids)} tokens", self.window_tokens, "shorten it")
        if asked is not None and asked > room:
            problem = f"the prompt has {len(ids)} tokens and '{asked_name}' asks for {asked} more"
            raise _too_long(asked_name, problem, self.window_tokens, f"set it to {room} or less")
        return Generation(
            model=request.model,
            prompt_ids=ids,
            sampling=sampling_of(request, asked or room, self.tokenizer, grammar),
            choices=request.n or 1,
            stop=stop_strings(request),
            stream=bool(request.stream),
            include_usage=bool(request.stream_options and request.stream_options.include_usage),
            continuous_usage=bool(request.stream_options and request.stream_options.continuous_usage_stats),
            # As in vLLM the lower number goes first.
            user_priority=-(request.priority or 0),
            return_token_ids=request.return_token_ids,
        )


def _too_long(param: str, problem: str, window: int, fix: str) -> ApiError:
    message = f"The model's context is {window} tokens, but {problem}; {fix}."
    return invalid(param, message, "context_length_exceeded", "ContextLengthExceeded")
