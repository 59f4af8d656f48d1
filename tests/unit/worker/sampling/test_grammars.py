"""Grammars at work: what comes out follows them, moves and repeats change nothing, failures name the field."""

import json
import re

import numpy as np
import pytest
import torch
from sampling_testing import choose_with

from tierline.text.load import load_tokenizer
from tierline.text.tokenizer import Tokenizer
from tierline.wire.frames import Grammar, Sampling
from tierline_worker.sampling.choice import choose
from tierline_worker.sampling.grammars import GrammarError, Grammars
from tierline_worker.slots import SlotLoad, SlotTable

VOCABULARY = 320
EOS = 258
PROMPT = [40, 41]
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "maximum": 999, "minimum": 0},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
PERSON = Grammar("json_schema", json.dumps(SCHEMA))


@pytest.fixture(scope="module")
def tokenizer(tiny_path) -> Tokenizer:
    return load_tokenizer(tiny_path)


@pytest.fixture(scope="module")
def grammars(tokenizer) -> Grammars:
    return Grammars(lambda: tokenizer, VOCABULARY, (EOS,))


def _logits(seed: int, position: int) -> torch.Tensor:
    """A model that babbles: its logits are keyed by position, as a real one's are by what went before."""
    return torch.from_numpy(np.random.default_rng((seed, position)).standard_normal((1, VOCABULARY), np.float32) * 3)


def _generate(grammars: Grammars, sampling: Sampling, emitted: list[int], seed: int, limit: int = 400) -> list[int]:
    """Generate to the end, as a worker does that gets the request with `emitted` tokens."""
    table = SlotTable(1, 600, 4, (EOS,), grammars)
    table.load(SlotLoad(0, PROMPT + emitted, sampling, emitted_tokens=len(emitted)))
    out = list(emitted)
    while len(out) < limit:
        position = len(PROMPT) + len(out)
        choice = choose(_logits(seed, position), table.sampling, table.tokens, np.array([0]), np.array([position]))
        table.tokens[0, position] = choice.tokens[0]
        out.append(int(choice.tokens[0]))
        if table.sampling.stops(np.array([0]), choice.tokens)[0]:
            break
    return out


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_an_answer_is_json_of_its_schema_also_when_moved_at_any_token(grammars, tokenizer, seed, temperature):
    sampling = Sampling(400, temperature=temperature, seed=seed, grammar=PERSON)
    whole = _generate(grammars, sampling, [], seed)
    assert whole[-1] == EOS
    parsed = json.loads(tokenizer.decode(whole))
    assert set(parsed) == {"name", "age"}
    assert len(parsed["name"]) <= 8
    assert 0 <= parsed["age"] <= 999
    for moved_at in range(1, len(whole), 7):
        assert _generate(grammars, sampling, whole[:moved_at], seed) == whole


def test_white_space_comes_to_an_end(grammars, tokenizer):
    """A model that wants nothing but spaces still has to give its object."""
    table = SlotTable(1, 1000, 4, (EOS,), grammars)
    table.load(SlotLoad(0, PROMPT, Sampling(900, grammar=PERSON)))
    space, text = tokenizer.encode(" ")[0], ""
    for position in range(2, 902):
        logits = _logits(1, position)
        logits[0, space] += 50
        choice = choose(logits, table.sampling, table.tokens, np.array([0]), np.array([position]))
        table.tokens[0, position] = choice.tokens[0]
        if choice.tokens[0] == EOS:
            break
        text += tokenizer.decode(choice.tokens.tolist())
    assert set(json.loads(text)) == {"name", "age"}


@pytest.mark.parametrize(
    ("grammar", "shape"),
    [
        (Grammar("regex", "[ab]{3}-[0-9]{2}"), r"[ab]{3}-[0-9]{2}"),
        (Grammar("lark", 'start: "yes" | "no" | "maybe"'), "yes|no|maybe"),
    ],
)
def test_regular_expressions_and_lark(grammars, tokenizer, grammar, shape):
    text = tokenizer.decode(_generate(grammars, Sampling(99, temperature=1.0, grammar=grammar), [], 1))
    assert re.fullmatch(shape, text)


def test_a_complete_answer_ends_although_it_is_short_or_ends_are_ignored(grammars):
    grammar = Grammar("regex", "[ab]{3}")
    for sampling in (Sampling(99, grammar=grammar, min_tokens=50), Sampling(99, grammar=grammar, ignore_eos=True)):
        out = _generate(grammars, sampling, [], 1)
        assert (len(out), out[-1]) == (4, EOS)


def test_min_tokens_holds_an_answer_open_where_its_grammar_allows(grammars):
    out = _generate(grammars, Sampling(99, grammar=Grammar("regex", "[ab]*"), min_tokens=20), [], 1)
    assert len(out) >= 21


def test_the_same_step_again_gives_the_same_token(grammars):
    """The engine computes a failed batch's rows again, so a constraint may be asked about the past."""
    table = SlotTable(1, 60, 4, (EOS,), grammars)
    table.load(SlotLoad(0, PROMPT, Sampling(40, grammar=PERSON)))
    seen = []
    for position in (2, 3, 4, 5, 3, 4, 5, 2):
        choice = choose(_logits(0, position), table.sampling, table.tokens, np.array([0]), np.array([position]))
        table.tokens[0, position] = choice.tokens[0]
        seen.append(int(choice.tokens[0]))
    assert seen[1:4] == seen[4:7]
    assert seen[0] == seen[7]


def test_company_without_a_grammar_is_left_alone(grammars):
    logits = torch.cat([_logits(1, 1), _logits(2, 2)])
    choose_with(
        logits, [Sampling(9), Sampling(9, grammar=PERSON)], [PROMPT] * 2, [[], []], eos=(EOS,), grammars=grammars
    )
    assert torch.equal(logits[:1], _logits(1, 1))
    assert torch.isinf(logits[1]).sum() > 300


@pytest.mark.parametrize(
    ("grammar", "words"),
    [
        (Grammar("json_schema", '{"type": "objekt"}'), "objekt"),
        (Grammar("json_schema", "no json"), "json_schema"),
        (Grammar("regex", "[ab"), "unclosed"),
        (Grammar("lark", 'start: "x'), "lexer error"),
    ],
)
def test_what_cannot_be_compiled_fails_by_name(grammars, grammar, words):
    with pytest.raises(GrammarError, match=r"sampling\.grammar") as failure:
        choose_with(_logits(0, 0), [Sampling(9, grammar=grammar)], [PROMPT], [[]], eos=(EOS,), grammars=grammars)
    assert words in str(failure.value)


def test_an_answer_that_left_its_grammar_elsewhere_fails(grammars):
    with pytest.raises(GrammarError, match="cannot follow"):
        choose_with(_logits(0, 0), [Sampling(9, grammar=PERSON)], [PROMPT], [[88, 88]], eos=(EOS,), grammars=grammars)


def test_without_a_tokenizer_only_grammars_fail():
    choose_with(_logits(0, 0), [Sampling(9, min_tokens=3)], [PROMPT], [[]], eos=(EOS,))
    with pytest.raises(GrammarError, match="without a tokenizer"):
        choose_with(_logits(0, 0), [Sampling(9, grammar=PERSON)], [PROMPT], [[]], eos=(EOS,))
