"""Which of equal pools gets the next accelerator: QLM's order of request groups where models change by scaling."""

from sharing_claims import SHARES, claim

from tierline.fleet.scaling.claims import Claim, Waiting
from tierline.fleet.scaling.sharing import SHORTAGE_MS, SharingMemory, allocate, plan_sharing
from tierline.fleet.scaling.turns import OFFER_MS, TURN_MS, Turn, Turns, in_turn

NOTHING, FIRST = Turns(), SharingMemory()


def sleeping(name: str, due_ms: float, priority: int = 50, **said: object) -> Claim:
    """A fleet at zero that wants one worker for what waits."""
    standard = {"low": 0, "wanted": 1, "held": 0, "start_ms": 20_000.0}
    return claim(name, queue=(Waiting(priority, due_ms),), **{**standard, **said})


def names(*claims: Claim, before: Turns = NOTHING, now_ms: int = 0) -> list[str]:
    return [it.key[1] for it in in_turn(claims, before, now_ms)]


def shared(claims: list[Claim], capacity: int, memory: SharingMemory = FIRST, now_ms: int = 0):
    return plan_sharing(memory, claims, {"h100": capacity}, SHARES, now_ms=now_ms)


def test_the_group_that_is_due_first_comes_first():
    assert names(sleeping("code", 90_000), sleeping("math", 60_000)) == ["math", "code"]


def test_what_is_late_anyhow_delays_nobody():
    """As in QLM's example of a group whose deadline has passed: a start of 20 s cannot help what is due in 10 s."""
    assert names(sleeping("code", 90_000), sleeping("lost", 10_000)) == ["code", "lost"]


def test_a_learned_start_decides_who_can_still_be_helped():
    quick = sleeping("quick", 40_000, start_ms=5_000.0)
    slow = sleeping("slow", 39_000, start_ms=60_000.0)
    assert names(quick, slow) == ["quick", "slow"]


def test_groups_of_higher_tiers_come_first_and_pools_for_which_nothing_waits_last():
    idle = claim("a-idle", low=0, wanted=3, held=2)
    base = sleeping("base", 30_000, priority=10)
    gold = sleeping("gold", 90_000, priority=50)
    assert names(idle, base, gold) == ["gold", "base", "a-idle"]


def test_equals_in_everything_go_by_name():
    assert names(sleeping("b", 60_000), sleeping("a", 60_000)) == ["a", "b"]


def test_the_only_free_accelerator_goes_to_whose_turn_it_is_and_the_other_does_not_ask():
    claims = [sleeping("code", 90_000), sleeping("math", 60_000)]
    memory = shared(claims, capacity=1)
    assert memory.caps == {}
    assert memory.turns.waiting == {("demo", "code"): Turn(0, "math")}
    assert memory.most(("demo", "math"), 1) == 1


def test_once_it_has_its_worker_the_others_ask_and_an_autoscaler_sees_it():
    before = shared([sleeping("code", 90_000), sleeping("math", 60_000)], capacity=1)
    after = shared([sleeping("code", 90_000), sleeping("math", 60_000, held=1)], 1, before, 5_000)
    assert after.turns.waiting == {}


def test_nothing_that_is_held_is_taken_for_a_turn():
    claims = [claim("holds", wanted=8, held=7, low=1), sleeping("waits", 60_000)]
    memory = shared(claims, capacity=8, now_ms=0)
    memory = shared(claims, 8, memory, SHORTAGE_MS)
    assert memory.caps == {}
    assert memory.turns.waiting == {("demo", "holds"): Turn(7, "waits")}


def test_what_comes_back_in_a_long_shortage_is_kept_for_whose_turn_it_is():
    claims = [claim("a", wanted=6, held=4), sleeping("z", 60_000, wanted=5, held=4)]
    memory = shared(claims, 8)
    assert memory.turns.waiting == {}
    memory = shared(claims, 8, memory, SHORTAGE_MS)
    assert memory.turns.waiting == {("demo", "a"): Turn(4, "z")}


def test_a_turn_lasts_however_deadlines_move():
    memory = shared([sleeping("a", 60_000, held=1, wanted=2), sleeping("b", 61_000, held=1, wanted=2)], 2)
    moved = [sleeping("a", 63_000, held=1, wanted=2), sleeping("b", 61_000, held=1, wanted=2)]
    assert names(*moved, before=memory.turns, now_ms=TURN_MS - 1) == ["a", "b"]
    assert names(*moved, before=memory.turns, now_ms=TURN_MS) == ["b", "a"]


def test_who_cannot_take_what_is_due_to_it_holds_up_nobody():
    """Four accelerators of one worker that no single node has free."""
    claims = [sleeping("huge", 60_000, units=4), sleeping("small", 90_000, wanted=6)]
    memory = shared(claims, capacity=4)
    assert memory.turns.waiting == {("demo", "small"): Turn(0, "huge")}
    memory = shared(claims, 4, memory, OFFER_MS)
    assert memory.turns.waiting == {("demo", "huge"): Turn(0, "small")}
    assert memory.most(("demo", "small"), 6) == 6


def test_free_accelerators_go_round_a_worker_each():
    claims = [sleeping("a", 90_000, wanted=3), sleeping("b", 60_000, wanted=3)]
    assert allocate(claims, 3, SHARES, [in_turn(claims, Turns(), 0)]) == {("demo", "a"): 1, ("demo", "b"): 2}


def test_namespaces_keep_their_shares_whatever_waits():
    rushed = sleeping("a", 30_000, namespace="small", wanted=8)
    calm = claim("b", namespace="big", wanted=8, low=0, held=0)
    orders = [in_turn([rushed], Turns(), 0), in_turn([calm], Turns(), 0)]
    assert allocate([rushed, calm], 8, {"big": 3, "small": 1}, orders) == {("small", "a"): 2, ("big", "b"): 6}
