"""Functions, calls and results in the prompts of templates that know tools, and of those that do not."""

import pytest
from tool_templates import CODER_LIKE, LLAMA_LIKE, MISTRAL_LIKE, QWEN_LIKE, WITHOUT_TOOLS

from tierline.text.chat import ChatTemplate
from tierline.text.tokenizer import Tokenizer
from tierline.text.tools.formats import HERMES, LLAMA3, MISTRAL, format_of

TOOL = {"type": "function", "function": {"name": "weather", "description": "Today's", "parameters": {"type": "object"}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
CONVERSATION = [
    {"role": "user", "content": "Warm?"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "21 °C", "tool_call_id": "call_1"},
]


@pytest.mark.parametrize(
    ("template", "form"),
    [
        (QWEN_LIKE, HERMES),
        (LLAMA_LIKE, LLAMA3),
        (MISTRAL_LIKE, MISTRAL),
        (WITHOUT_TOOLS, HERMES),
        (CODER_LIKE, None),
        ("{{ tools }}", None),
    ],
)
def test_a_template_tells_how_its_model_writes_calls(template: str, form: object) -> None:
    assert format_of(template) == form


def test_a_template_that_knows_tools_writes_them_itself() -> None:
    prompt = ChatTemplate(QWEN_LIKE).render(CONVERSATION, tools=[TOOL])
    assert prompt.startswith('<|im_start|>system\n# Tools{"type": "function", "function": {"name": "weather"')
    assert '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>' in prompt
    assert "<tool_response>\n21 °C\n</tool_response>" in prompt


def test_without_tools_such_a_template_says_nothing_of_them() -> None:
    assert "Tools" not in ChatTemplate(QWEN_LIKE).render(CONVERSATION[:1])
    assert "Respond as" not in ChatTemplate(LLAMA_LIKE).render(CONVERSATION[:1])


def test_other_models_are_told_in_the_system_message() -> None:
    template = ChatTemplate(WITHOUT_TOOLS)
    prompt = template.render([{"role": "system", "content": "Be brief."}, *CONVERSATION], tools=[TOOL])
    assert prompt.startswith("<|im_start|>system\nBe brief.\n\nYou can call functions.")
    assert '"description": "Today\'s"' in prompt
    assert (
        '<|im_start|>assistant\n<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>' in prompt
    )
    assert "<|im_start|>user\n<tool_response>\n21 °C\n</tool_response>" in prompt


def test_a_system_message_is_added_where_there_is_none() -> None:
    prompt = ChatTemplate(WITHOUT_TOOLS).render(CONVERSATION[:1], tools=[TOOL])
    assert prompt.startswith("<|im_start|>system\nYou can call functions.")
    assert ChatTemplate(WITHOUT_TOOLS).render(CONVERSATION[:1]).startswith("<|im_start|>user\nWarm?")


def test_smollm_is_told_of_functions(smollm: Tokenizer) -> None:
    assert smollm.chat_template is not None
    prompt = smollm.chat_template.render(CONVERSATION, tools=[TOOL])
    assert '"name": "weather"' in prompt
    assert "<tool_response>\n21 °C" in prompt
