"""Chat messages rendered into a prompt by the model's own Jinja template."""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NoReturn

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tierline.text.tools.formats import ToolFormat, format_of, takes_tools
from tierline.text.tools.prompt import as_plain_text

RESERVED_VARIABLES = frozenset({"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"})
"""What a template is given in any case."""

log = logging.getLogger(__name__)

_NO_VARIABLES: Mapping[str, object] = MappingProxyType({})


class ChatTemplateError(ValueError):
    """The template is broken, or it refuses these messages (an odd order of roles, for instance)."""


class ChatTemplate:
    """A compiled chat template.

    Templates come with model files, so they are foreign code and run sandboxed. The environment offers what the
    Hugging Face convention promises to templates: `raise_exception`, `strftime_now`, `tojson`, loop controls.
    `tool_format` is how its model writes tool calls, None when that is not known.
    """

    def __init__(self, source: str, bos_token: str = "", eos_token: str = "") -> None:
        """Compile `source`; raises `ChatTemplateError` when it is no valid Jinja."""
        self.source = source
        self.tool_format: ToolFormat | None = format_of(source)
        self._takes_tools = takes_tools(source)
        self._special = {"bos_token": bos_token, "eos_token": eos_token}
        try:
            self._template = _environment().from_string(source)
            # Jinja would gather them anew for each prompt, which costs more than most templates do.
            self._globals = dict(self._template.globals)
        except (jinja2.TemplateError, RecursionError, ValueError) as error:
            raise ChatTemplateError(f"the model's chat template is not valid Jinja: {error}") from error

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] = (),
        variables: Mapping[str, object] = _NO_VARIABLES,
    ) -> str:
        """Return the prompt text, in which the model is told of `tools` (as OpenAI describes them).

        `variables` are what this template reads besides. Raises `ChatTemplateError` with the template's own words.
        """
        told = list(messages) if self._takes_tools else as_plain_text(messages, tools)
        try:
            context = self._template.new_context(
                {
                    **self._globals,
                    **variables,
                    **self._special,
                    "messages": told,
                    "tools": list(tools) or None,
                    "add_generation_prompt": add_generation_prompt,
                },
                shared=True,
            )
            return "".join(self._template.root_render_func(context))
        except Exception as error:
            # Foreign code on foreign data: it may run into anything, deep nesting and huge numbers for instance.
            raise ChatTemplateError(f"the model's chat template refuses these messages: {error}") from error

    def reads(self, variable: str) -> bool:
        """Whether the template reads a variable of this name."""
        return re.search(rf"\b{re.escape(variable)}\b", self.source) is not None


def usable_template(source: str, bos_token: str = "", eos_token: str = "") -> ChatTemplate | None:
    """Compile a model's own template; None, with a warning, when it cannot be compiled.

    Such a model still completes plain prompts, so its template is no reason to refuse all of its requests.
    """
    try:
        return ChatTemplate(source, bos_token, eos_token)
    except ChatTemplateError as error:
        log.warning("chat requests will be refused, plain completions are served: %s", error)
        return None


def _environment() -> ImmutableSandboxedEnvironment:
    # Prompts are plain text for a model, never HTML: escaping would change what the model reads.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[loopcontrols],
        autoescape=False,
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now(UTC).strftime(form)
