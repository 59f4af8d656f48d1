"""The forms in which models write tool calls, and which of them a chat template teaches its model.

| format | an answer with two calls | models |
|---|---|---|
| Hermes | `<tool_call>{"name": .., "arguments": {..}}</tool_call>` for each | Hermes, Qwen 2.5 and 3, SmolLM 2 and 3 |
| Llama3 | `{"name": .., "parameters": {..}}; {..}`, nothing else | Llama 3.1 to 3.3 |
| Mistral | `[TOOL_CALLS][{"name": .., "arguments": {..}}, {..}]`, nothing else | Mistral |
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """How calls are written.

    `begin` and `end` stand around each call; without an `end` the calls are the whole answer and `begin`, which is a
    token that is not shown, may be missing. `opening`, `separator` and `closing` stand around and between the calls of
    one answer. `id_digits` is the length of a call's id after `id_prefix`, where templates insist on one.
    """

    name: str
    begin: str
    end: str
    arguments_key: str
    opening: str = ""
    separator: str = "\n"
    closing: str = ""
    id_prefix: str = "call_"
    id_digits: int = 24

    @property
    def whole_answer(self) -> bool:
        return not self.end


HERMES: Final = ToolFormat("Hermes", "<tool_call>", "</tool_call>", "arguments")
LLAMA3: Final = ToolFormat("Llama3", "<|python_tag|>", "", "parameters", separator="; ")
MISTRAL: Final = ToolFormat("Mistral", "[TOOL_CALLS]", "", "arguments", "[", ", ", "]", id_prefix="", id_digits=9)
FORMATS: Final[Mapping[str, ToolFormat]] = {known.name: known for known in (HERMES, LLAMA3, MISTRAL)}

_TOOLS = re.compile(r"\btools\b")
_PARAMETERS = re.compile(r"""["']parameters["']""")
_OTHER_CALLS = "<function="


def takes_tools(template: str) -> bool:
    """Whether a chat template writes the functions into the prompt itself."""
    return _TOOLS.search(template) is not None


def format_of(template: str) -> ToolFormat | None:
    """Return the form that `template` teaches; None when it is none of ours.

    A template that knows nothing of tools teaches none: we tell its model of Hermes' (`prompt.as_plain_text`).
    """
    if not takes_tools(template):
        return HERMES
    if HERMES.begin in template:
        return None if _OTHER_CALLS in template else HERMES
    if MISTRAL.begin in template:
        return MISTRAL
    llama = LLAMA3.begin in template or _PARAMETERS.search(template) is not None
    return LLAMA3 if llama else None
