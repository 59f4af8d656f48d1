"""Functions, calls and results told to a model whose template knows none of them, as text of ordinary messages.

The words follow what Hermes' models and their kin were trained with: functions as JSON between `<tools>` tags, calls
between `<tool_call>` tags, results between `<tool_response>` tags in a message of the user.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tierline.text.tools.formats import HERMES

Message = Mapping[str, Any]

_INSTRUCTIONS = """\
You can call functions. Their signatures, one JSON object a line:
<tools>
{functions}
</tools>
To call one, write its name and arguments as JSON between tags, once for each call:
{begin}
{{"name": "<function>", "arguments": {{"<parameter>": "<value>"}}}}
{end}
Results come between <tool_response> tags. Answer in plain words when no function is needed."""


def as_plain_text(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Return the conversation with `tools`, calls and results written into contents."""
    told = [_plain(message) for message in messages]
    if not tools:
        return told
    functions = "\n".join(_json(tool) for tool in tools)
    instructions = _INSTRUCTIONS.format(functions=functions, begin=HERMES.begin, end=HERMES.end)
    if told and told[0].get("role") == "system":
        system, *rest = told
        return [{**system, "content": f"{system['content']}\n\n{instructions}"}, *rest]
    return [{"role": "system", "content": instructions}, *told]


def _plain(message: Message) -> Message:
    if message.get("role") == "tool":
        return {"role": "user", "content": f"<tool_response>\n{message['content']}\n</tool_response>"}
    calls = message.get("tool_calls")
    if not calls:
        return message
    return {"role": message["role"], "content": "\n".join([*filter(None, [message["content"]]), *_written(calls)])}


def _written(calls: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    for call in calls:
        function = {key: call["function"][key] for key in ("name", "arguments")}
        yield f"{HERMES.begin}\n{_json(function)}\n{HERMES.end}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
