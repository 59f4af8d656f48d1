"""Which answers the grammar of calls lets a model write, token by token, in each form."""

import itertools

import pytest
from character_tokenizer import character_tokenizer
from llguidance import LLMatcher, LLTokenizer

from tierline.text.grammar import grammar_limits, grammar_problem, guidance_of
from tierline.text.tools.formats import FORMATS, ToolFormat
from tierline.text.tools.grammar import CallableFunction, CallRules, call_grammar

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
FUNCTIONS = (CallableFunction("weather", CITY), CallableFunction("time.in-zone_2"))
NUMBER = {"type": "object", "properties": {"k": {"type": "integer"}}, "required": ["k"], "additionalProperties": False}
TOKENIZER = character_tokenizer("")
FORMS = pytest.mark.parametrize("form", list(FORMATS.values()), ids=list(FORMATS))


def written(form: ToolFormat, *calls: tuple[str, str]) -> str:
    objects = [f'{{"name": "{name}", "{form.arguments_key}": {arguments}}}' for name, arguments in calls]
    if form.end:
        return form.separator.join(f"{form.begin}\n{one}\n{form.end}" for one in objects)
    return form.opening + form.separator.join(objects) + form.closing


def allows(form: ToolFormat, rules: CallRules, answer: str) -> bool:
    grammar = call_grammar(form, rules)
    assert not grammar_problem(grammar)
    model = LLTokenizer(TOKENIZER.backend.to_str(), eos_token=[0])
    matcher = LLMatcher(model, guidance_of(grammar), log_level=0, limits=grammar_limits())
    ids = list(TOKENIZER.encode(answer))
    return matcher.consume_tokens(ids) and matcher.is_accepting()


@FORMS
@pytest.mark.parametrize(("required", "several"), list(itertools.product([True, False], repeat=2)))
def test_calls_follow_their_schemas(form: ToolFormat, required: bool, several: bool) -> None:
    rules = CallRules(FUNCTIONS, several=several, required=required)
    good, other = ("weather", '{"city": "Rome"}'), ("time.in-zone_2", '{"any": [1]}')
    assert allows(form, rules, written(form, good))
    assert allows(form, rules, written(form, good, other)) == several
    assert not allows(form, rules, written(form, ("weather", '{"town": "Rome"}')))
    assert not allows(form, rules, written(form, ("weather", "7")))
    assert not allows(form, rules, written(form, ("forecast", "{}")))
    assert allows(form, rules, "It is warm.") == (not required)


@FORMS
def test_text_before_calls_where_the_form_has_marks(form: ToolFormat) -> None:
    rules = CallRules(FUNCTIONS, several=True, required=False)
    answer = f"I look it up: {form.begin}" + written(form, ("weather", '{"city": 7}')).removeprefix(form.begin)
    assert allows(form, rules, answer) == (not form.end)
    assert allows(form, rules, answer.replace("7", '"Rome"'))


@FORMS
def test_an_answer_of_a_shape_or_a_call(form: ToolFormat) -> None:
    if not (form.end or form.opening):
        return
    rules = CallRules(FUNCTIONS, several=False, required=False, answer=NUMBER)
    assert allows(form, rules, '{"k": 7}')
    assert allows(form, rules, written(form, ("weather", '{"city": "Rome"}')))
    assert not allows(form, rules, "text")
