from pathlib import Path

import pytest
from fake_wire_worker import letter_tokenizer

from tierline.text.chat import ChatTemplate, ChatTemplateError, usable_template
from tierline.text.load import load_tokenizer

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


@pytest.mark.parametrize("source", ["{% generation %}x{% endgeneration %}", "{% for %}", "{{ x | unheard_of }}"])
def test_a_template_that_cannot_be_compiled_is_left_out_with_a_warning(
    source: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert usable_template(source) is None
    assert "chat requests will be refused" in caplog.text


def test_a_folder_with_a_broken_template_still_has_its_tokenizer(tmp_path: Path) -> None:
    letter_tokenizer().backend.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "chat_template.jinja").write_text("{% generation %}x{% endgeneration %}")
    loaded = load_tokenizer(tmp_path)
    assert loaded.chat_template is None
    assert loaded.encode("ab") == (1, 2)
