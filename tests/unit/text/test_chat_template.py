import pytest

from tierline.text.chat import ChatTemplate, ChatTemplateError

USER = [{"role": "user", "content": "<b>Hi</b>"}]


def test_text_is_not_escaped_and_specials_are_offered() -> None:
    template = ChatTemplate(
        "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}{{ eos_token }}", "<s>", "</s>"
    )
    assert template.render(USER) == "<s><b>Hi</b></s>"


def test_the_generation_prompt_can_be_left_out() -> None:
    template = ChatTemplate("{% if add_generation_prompt %}A:{% endif %}")
    assert template.render(USER) == "A:"
    assert template.render(USER, add_generation_prompt=False) == ""


def test_a_template_may_refuse_messages_in_its_own_words() -> None:
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}")
    with pytest.raises(ChatTemplateError, match="roles must alternate"):
        template.render(USER)


def test_broken_jinja_is_named() -> None:
    with pytest.raises(ChatTemplateError, match="not valid Jinja"):
        ChatTemplate("{% for %}")


def test_foreign_templates_cannot_reach_python() -> None:
    template = ChatTemplate("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(ChatTemplateError):
        template.render(USER)


def test_json_keeps_unicode_and_loop_controls_work() -> None:
    template = ChatTemplate("{% for m in messages %}{{ m | tojson }}{% break %}{% endfor %}")
    assert template.render([{"c": "é"}, {"c": "x"}]) == '{"c": "é"}'
