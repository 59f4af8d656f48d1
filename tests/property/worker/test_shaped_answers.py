"""Whatever the schema and whatever the model says, an answer is JSON of that schema, also when it moves."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_checkpoint import write_tiny_checkpoint

from tierline.text.load import load_tokenizer
from tierline.text.tokenizer import Tokenizer
from tierline.wire.frames import Grammar, Sampling
from tierline_worker.sampling.choice import choose
from tierline_worker.sampling.grammars import Grammars
from tierline_worker.slots import SlotLoad, SlotTable

VOCABULARY, EOS, LIMIT = 320, 258, 1200
LEAVES = st.sampled_from(
    [
        {"type": "boolean"},
        {"type": "null"},
        {"type": "integer", "minimum": 0, "maximum": 99},
        {"type": "string", "maxLength": 4},
        {"enum": ["a", 1, None]},
    ]
)


def _larger(schemas: st.SearchStrategy) -> st.SearchStrategy:
    names = st.dictionaries(st.sampled_from(["x", "y", "é"]), schemas, max_size=2)
    shape = {"type": "object", "additionalProperties": False}
    objects = names.map(lambda fields: shape | {"properties": fields, "required": [*fields]})
    return objects | schemas.map(lambda items: {"type": "array", "items": items, "maxItems": 2})


SCHEMAS = st.recursive(LEAVES, _larger, max_leaves=4)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return load_tokenizer(write_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "model"))


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    return Grammars(lambda: tokenizer, VOCABULARY, (EOS,))


def _generate(grammars: Grammars, sampling: Sampling, emitted: list[int]) -> list[int]:
    table = SlotTable(1, LIMIT + 2, 4, (EOS,), grammars)
    table.load(SlotLoad(0, [1, *emitted], sampling, emitted_tokens=len(emitted)))
    out = list(emitted)
    while len(out) < LIMIT and EOS not in out[-1:]:
        position = 1 + len(out)
        logits = np.random.default_rng((sampling.seed, position)).standard_normal((1, VOCABULARY), np.float32) * 4
        choice = choose(torch.from_numpy(logits), table.sampling, table.tokens, np.array([0]), np.array([position]))
        table.tokens[0, position] = choice.tokens[0]
        out.append(int(choice.tokens[0]))
    return out


def _follows(value: object, schema: dict) -> bool:
    if "enum" in schema:
        return value in schema["enum"]
    checks = {"object": _is_object, "array": _is_array, "string": _is_string, "integer": _is_integer}
    checks |= {"boolean": lambda found, _: isinstance(found, bool), "null": lambda found, _: found is None}
    return checks[schema["type"]](value, schema)


def _is_object(value: object, schema: dict) -> bool:
    fields = schema["properties"]
    same = isinstance(value, dict) and set(fields) <= set(value)
    return same and all(_follows(value[name], fields[name]) for name in fields)


def _is_array(value: object, schema: dict) -> bool:
    return isinstance(value, list) and len(value) <= 2 and all(_follows(item, schema["items"]) for item in value)


def _is_string(value: object, _: dict) -> bool:
    return isinstance(value, str) and len(value) <= 4


def _is_integer(value: object, _: dict) -> bool:
    return isinstance(value, int) and 0 <= value <= 99


@settings(max_examples=15)
@given(schema=SCHEMAS, seed=st.integers(0, 2**32), data=st.data())
def test_answers_follow_their_schemas(tokenizer, grammars, schema, seed, data):
    temperature = data.draw(st.sampled_from([0.0, 1.0]))
    sampling = Sampling(LIMIT, temperature=temperature, seed=seed, grammar=Grammar("json_schema", json.dumps(schema)))
    whole = _generate(grammars, sampling, [])
    assert whole[-1] == EOS
    assert _follows(json.loads(tokenizer.decode(whole)), schema)
    moved_at = data.draw(st.integers(0, len(whole) - 1))
    assert _generate(grammars, sampling, whole[:moved_at]) == whole
