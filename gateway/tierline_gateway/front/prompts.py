"""From a validated body to prompt ids and sampling."""

from dataclasses import dataclass

from tierline.text.chat import ChatTemplateError
from tierline.text.tokenizer import Tokenizer
from tierline_gateway.front.api_errors import ApiError, invalid
from tierline_gateway.front.generation import Generation
from tierline_gateway.front.openai_requests import ChatMessage, ChatRequest, CompletionRequest
from tierline_gateway.front.request_rules import check_request, stop_strings
from tierline_gateway.front.sampling_fields import sampling_of

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_COMPLETION_DEFAULT_TOKENS = 16


@dataclass(frozen=True, slots=True)
class PromptReader:
    """Tokenises requests for one model. `window_tokens` is the longest prompt and answer a worker can hold."""

    tokenizer: Tokenizer
    window_tokens: int

    def chat(self, request: ChatRequest) -> Generation:
        """Render the conversation and tokenise it; raises `ApiError`."""
        check_request(request)
        template = self.tokenizer.chat_template
        if template is None:
            message = "The model has no usable chat template; use /v1/completions."
            raise invalid("messages", message, "unsupported_endpoint")
        if not request.messages:
            raise invalid("messages", "'messages' is empty; send at least one message.")
        messages = [_plain(message, index) for index, message in enumerate(request.messages)]
        try:
            text = template.render(messages)
        except ChatTemplateError as error:
            raise invalid("messages", f"{error}.") from error
        asked = request.max_completion_tokens or request.max_tokens
        name = "max_completion_tokens" if request.max_completion_tokens else "max_tokens"
        return self._generation(request, self.tokenizer.encode_rendered(text), asked, ("messages", name))

    def completion(self, request: CompletionRequest) -> Generation:
        """Tokenise a plain prompt, or take ids as they are; raises `ApiError`."""
        check_request(request)
        ids = self._completion_ids(request)
        asked = request.max_tokens or min(_COMPLETION_DEFAULT_TOKENS, max(self.window_tokens - len(ids), 1))
        echo = self.tokenizer.decode(ids) if request.echo else ""
        return self._generation(request, ids, asked, ("prompt", "max_tokens"), echo)

    def _completion_ids(self, request: CompletionRequest) -> tuple[int, ...]:
        match request.prompt:
            case str(text) | [str(text)]:
                ids = self.tokenizer.encode(text)
            case [list(inner)]:
                ids = tuple(inner)
            case [*items] if all(isinstance(item, int) for item in items):
                ids = tuple(item for item in items if isinstance(item, int))
            case several:
                raise invalid("prompt", f"'prompt' holds {len(several)} prompts; send one prompt a request.")
        if not ids:
            raise invalid("prompt", "'prompt' is empty; send at least one token of text.")
        if max(ids) >= self.tokenizer.vocabulary_size:
            limit = self.tokenizer.vocabulary_size - 1
            raise invalid("prompt", f"'prompt' holds token id {max(ids)}; the model's ids end at {limit}.")
        return ids

    def _generation(
        self,
        request: ChatRequest | CompletionRequest,
        ids: tuple[int, ...],
        asked: int | None,
        names: tuple[str, str],
        echo: str = "",
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
            sampling=sampling_of(request, asked or room, self.tokenizer),
            choices=request.n or 1,
            stop=stop_strings(request),
            stream=bool(request.stream),
            include_usage=bool(request.stream_options and request.stream_options.include_usage),
            return_token_ids=request.return_token_ids,
            echo_text=echo,
        )


def _plain(message: ChatMessage, index: int) -> dict[str, object]:
    if message.role not in _ROLES:
        known = ", ".join(sorted(_ROLES))
        raise invalid(f"messages[{index}].role", f"'messages[{index}].role' is {message.role!r}; use one of {known}.")
    # Templates were written before OpenAI renamed the system role.
    role = "system" if message.role == "developer" else message.role
    return {"role": role, "content": _content(message, index)}


def _content(message: ChatMessage, index: int) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    for at, part in enumerate(message.content):
        if part.type != "text":
            path = f"messages[{index}].content[{at}].type"
            raise invalid(path, f"'{path}' is {part.type!r}; only text parts are served.", "unsupported_value")
    return "".join(part.text for part in message.content)


def _too_long(param: str, problem: str, window: int, fix: str) -> ApiError:
    message = f"The model's context is {window} tokens, but {problem}; {fix}."
    return invalid(param, message, "context_length_exceeded", "ContextLengthExceeded")
