"""Chat templates in the manner of model families that know tools, as short as they can be."""

QWEN_LIKE = """\
{%- if tools %}<|im_start|>system
# Tools
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
Write calls within <tool_call></tool_call>.<|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role == "tool" %}<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% else %}<|im_start|>{{ message.role }}
{{ message.content }}
{%- for call in message.tool_calls or [] %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>
{%- endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

LLAMA_LIKE = """\
{%- if not tools is defined %}{% set tools = none %}{% endif %}
{%- for message in messages %}[{{ message.role }}] {{ message.content }}{% endfor %}
{%- if tools %}Respond as {"name": function, "parameters": arguments}.
{%- for tool in tools %}{{ tool | tojson }}{% endfor %}
{%- endif %}[assistant]"""

MISTRAL_LIKE = """\
{%- if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}{% endif %}
{%- for message in messages %}
{%- for call in message.tool_calls or [] %}
{%- if call.id | length != 9 %}{{ raise_exception("ids have nine characters") }}{% endif -%}
[TOOL_CALLS]{{ call.function.name }}
{%- endfor %}{{ message.content }}
{%- endfor %}"""

CODER_LIKE = "{% if tools %}<tool_call><function=name>{% endif %}"

WITHOUT_TOOLS = """\
{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}<|im_start|>assistant
"""
