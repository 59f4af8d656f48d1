from sharing_claims import SHARES, claim, short_for

from tierline.fleet.scaling.sharing import CALM_MS, SHORTAGE_MS, SharingMemory, allocate, plan_sharing

BATCH = claim("batch", priority=10, low=1, wanted=6, held=6)


def test_the_lowest_tier_that_may_give_gives_what_a_higher_one_lacks():
    caps = short_for(SHORTAGE_MS, [claim("gold", priority=100, wanted=4, held=2), BATCH], capacity=8)
    assert caps == {("demo", "batch"): 4}


def test_nobody_gives_below_its_minimum():
    caps = short_for(SHORTAGE_MS, [claim("gold", priority=100, wanted=9, held=2), BATCH], capacity=8)
    assert caps == {("demo", "batch"): 1}


def test_who_must_not_be_preempted_keeps_what_it_holds():
    steady = claim("steady", priority=10, may_give=False, wanted=6, held=6)
    assert short_for(SHORTAGE_MS, [claim("gold", priority=100, wanted=4, held=2), steady], capacity=8) == {}


def test_a_higher_tier_never_gives_to_a_lower_one():
    waiting = claim("batch", priority=10, low=1, wanted=6, held=2)
    assert short_for(SHORTAGE_MS, [claim("gold", priority=100, wanted=6, held=6), waiting], capacity=8) == {}


def test_a_shortage_counts_only_when_it_lasts():
    claims = [claim("gold", priority=100, wanted=4, held=2), BATCH]
    assert short_for(SHORTAGE_MS - 1, claims, capacity=8) == {}


def test_what_was_given_comes_back_when_all_has_fitted_for_a_while():
    claims = [claim("gold", priority=100, wanted=4, held=2), BATCH]
    memory = plan_sharing(SharingMemory(), claims, {"h100": 8}, SHARES, now_ms=0)
    memory = plan_sharing(memory, claims, {"h100": 8}, SHARES, now_ms=SHORTAGE_MS)
    calm = [claim("gold", priority=100, wanted=2, held=2), BATCH]
    memory = plan_sharing(memory, calm, {"h100": 8}, SHARES, now_ms=SHORTAGE_MS + 1)
    assert memory.caps == {("demo", "batch"): 4}
    memory = plan_sharing(memory, calm, {"h100": 8}, SHARES, now_ms=SHORTAGE_MS + 1 + CALM_MS)
    assert memory.caps == {}


def test_namespaces_share_one_tier_by_their_tenants_weights():
    claims = [
        claim("a", namespace="big", wanted=8, low=0),
        claim("b", namespace="small", wanted=8, low=0),
    ]
    assert allocate(claims, 8, {"big": 3, "small": 1}) == {("big", "a"): 6, ("small", "b"): 2}


def test_kinds_do_not_mix_and_pools_without_accelerators_stand_aside():
    other = claim("other", kind="l4", priority=1, wanted=9, held=9)
    cpu = claim("cpu", units=0, priority=1, wanted=9, held=9)
    caps = short_for(SHORTAGE_MS, [claim("gold", priority=100, wanted=4, held=2), BATCH, other, cpu], capacity=8)
    assert set(caps) == {("demo", "batch")}
