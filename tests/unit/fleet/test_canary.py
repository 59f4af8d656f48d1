"""When a change may be spread, and when it has to be taken back."""

import pytest

from tierline.fleet.rollout.canary import CanaryFigures, Judgement, TierFigures, judge_canary, wilson_lower

GOLD = {"gold": 95}


def figures(canary, stable=(1000, 0)):
    return CanaryFigures({"gold": TierFigures(*canary)}, {"gold": TierFigures(*stable)})


def test_wilsons_interval_as_in_his_paper():
    assert wilson_lower(0, 10) == 0.0
    assert wilson_lower(0, 0) == 0.0
    # 10 of 20: 0.5 +- about 0.18 at 95 % one-sided.
    assert wilson_lower(10, 20) == pytest.approx(0.327, abs=0.001)


@pytest.mark.parametrize(
    ("why", "seen", "judgement", "reason"),
    [
        ("all is well", figures((40, 1)), Judgement.PASSED, "WithinBudget"),
        ("nobody has asked enough", figures((19, 0)), Judgement.UNSURE, "TooFewRequests"),
        ("nobody tells", None, Judgement.UNSURE, "MetricsSilent"),
        ("half of the requests miss", figures((20, 10)), Judgement.BURNING, "BudgetBurnt"),
        ("even few requests may be proof enough", figures((4, 4)), Judgement.BURNING, "BudgetBurnt"),
        ("2 of 22 is above 5 % but may be chance", figures((22, 2)), Judgement.UNSURE, "BudgetBurning"),
        ("an overload hits both revisions", figures((40, 20), stable=(40, 20)), Judgement.PASSED, "WithinBudget"),
        (
            "the change is worse even under overload",
            figures((200, 160), stable=(40, 20)),
            Judgement.BURNING,
            "BudgetBurnt",
        ),
    ],
)
def test_a_change_is_judged_by_its_error_budget(why, seen, judgement, reason):
    verdict = judge_canary(seen, GOLD, min_requests=20)
    assert (verdict.judgement, verdict.reason) == (judgement, reason), why


def test_one_bad_tier_takes_the_change_back_however_well_the_others_fare():
    seen = CanaryFigures({"gold": TierFigures(30, 25), "batch": TierFigures(10_000, 0)}, {})
    verdict = judge_canary(seen, {"gold": 95, "batch": 50}, 20)
    assert verdict.judgement is Judgement.BURNING
    assert verdict.message == "tier gold: 25 of 30 requests on canaries missed or failed, 5.0% may."


def test_a_tier_without_a_budget_forgives_nothing():
    assert judge_canary(figures((1, 1)), {"gold": 100}, 20).judgement is Judgement.BURNING


def test_a_change_that_asks_for_no_requests_passes_by_readiness_unless_it_burns():
    assert judge_canary(None, GOLD, 0).judgement is Judgement.PASSED
    assert judge_canary(figures((9, 9)), GOLD, 0).judgement is Judgement.BURNING
