import cel
import pytest
from resource_samples import SAMPLES
from rule_cases import CASES, TRANSITIONS, RuleCase, all_rule_cases, declared_rules
from schema_cases import at

from tierline.api.kinds import KINDS
from tierline.api.parsing import parse, transition_problems
from tierline.api.problems import FieldProblem, InvalidResource


def problems_of(case: RuleCase) -> tuple[FieldProblem, ...]:
    model = KINDS[case.kind]
    try:
        new = parse(model, case.obj())
    except InvalidResource as error:
        return error.problems
    return transition_problems(new, parse(model, case.former_obj())) if case.former is not None else ()


def blamed(case: RuleCase) -> str:
    """The problem's text as the table knows it, relative to the object that declares the rule."""
    return "\n".join(f"{problem.path} {problem.message}." for problem in problems_of(case))


def test_every_rule_has_an_object_that_keeps_it_and_one_that_breaks_it():
    declared = {entry["message"] for kind in SAMPLES for _, entry in declared_rules(kind)}
    assert declared == CASES.keys() | TRANSITIONS.keys()
    assert all(kept and broken for kept, broken in [*CASES.values(), *TRANSITIONS.values()])


@pytest.mark.parametrize("case", all_rule_cases(), ids=str)
def test_cel_judges_the_case_as_the_table_does(case: RuleCase):
    subject = {"self": at(case.obj(), case.path)}
    if case.former is not None:
        subject["oldSelf"] = at(case.former_obj(), case.path)
    assert cel.evaluate(case.cel, subject) is case.holds


@pytest.mark.parametrize("case", all_rule_cases(), ids=str)
def test_python_judges_the_case_as_the_table_does(case: RuleCase):
    found = blamed(case)
    if case.holds:
        assert found == ""
    else:
        assert case.message in found


def test_a_transition_rule_speaks_only_where_it_has_cel_for_old_and_new():
    for kind in SAMPLES:
        for _, entry in declared_rules(kind):
            assert ("oldSelf" in entry["rule"]) == (entry["message"] in TRANSITIONS)
