import pytest
from resource_samples import SAMPLES
from schema_cases import SchemaCase, all_schema_cases, dotted, fields, schema_of

from tierline.api.kinds import KINDS
from tierline.api.parsing import parse
from tierline.api.problems import FieldProblem, InvalidResource


def schema_problems(case: SchemaCase) -> list[FieldProblem]:
    """What parsing refuses, without cross-field rules: those have a table of their own."""
    from rule_cases import declared_rules

    rules = {entry["message"].rstrip(".") for _, entry in declared_rules(case.kind)}
    try:
        parse(KINDS[case.kind], case.build())
    except InvalidResource as error:
        return [p for p in error.problems if not any(f"{p.path} {p.message}".endswith(rule) for rule in rules)]
    return []


@pytest.mark.parametrize("kind", SAMPLES)
def test_the_samples_are_valid_and_set_every_field(kind):
    parse(KINDS[kind], SAMPLES[kind])
    for path, _ in fields(schema_of(kind)):
        part = SAMPLES[kind]
        for step in path:
            part = part[step]


@pytest.mark.parametrize("case", all_schema_cases(), ids=str)
def test_the_model_agrees_with_the_schema(case: SchemaCase):
    problems = schema_problems(case)
    if case.accepted:
        assert problems == []
    else:
        assert problems
        assert all(problem.path.startswith(dotted(case.path)) for problem in problems)
