"""When a fleet says that its change is through: `kubectl wait --for=condition=RolledOut` believes it."""

from dataclasses import replace

import pytest
from fleet_builders import FLEET

from tierline.fleet.rollout.status import fleet_rollout_verdict


def pool(name="chat-main", generation=1, seen=1, status="True", reason="UpToDate"):
    told = {"type": "RolledOut", "status": status, "reason": reason, "message": "so", "observedGeneration": seen}
    return {"metadata": {"name": name, "generation": generation}, "status": {"conditions": [told] if seen else []}}


def standing(status="True", generation=1, reason="UpToDate"):
    return {
        "type": "RolledOut",
        "status": status,
        "reason": reason,
        "message": "as it was",
        "observedGeneration": generation,
    }


def said(*pools, stands=None, generation=1):
    fleet = replace(FLEET, generation=generation, conditions=(stands,) if stands else ())
    verdict = fleet_rollout_verdict(fleet, pools)
    return verdict.status, verdict.reason


def test_pools_that_follow_their_specs_make_the_fleet_rolled_out():
    assert said(pool(), pool("chat-prefill", 4, 4)) == ("True", "UpToDate")


def test_what_a_pool_said_of_its_old_spec_is_no_answer_to_the_new_one():
    assert said(pool(generation=2), stands=standing(), generation=2) == ("False", "Updating")


def test_a_new_pool_has_said_nothing_yet():
    assert said(pool(seen=0)) == ("False", "Updating")


@pytest.mark.parametrize("stands", [standing(), standing("False", reason="Updating")])
def test_while_a_pool_is_only_scaled_the_condition_stands(stands):
    assert said(pool(generation=2), stands=stands) == (stands["status"], stands["reason"])


def test_the_pool_whose_change_is_not_through_is_told_of_first():
    held = pool("chat-prefill", 2, 2, "False", "RolledBack")
    assert said(pool(generation=2), held, stands=standing(), generation=2) == ("False", "RolledBack")


def test_that_an_older_change_was_taken_back_is_no_answer_to_the_new_spec():
    taken_back = pool(generation=3, seen=2, status="False", reason="RolledBack")
    assert said(taken_back, stands=standing("False", 1, "RolledBack"), generation=2) == ("False", "Updating")
