import pytest
from core_steps import commit, core_of, planned, request, rows, step

from tierline.scheduling.batching.request_check import InvalidEngineRequest
from tierline.scheduling.invariants import InvariantBroken, check_invariants
from tierline.scheduling.latency import Coefficients
from tierline.scheduling.plans import Committed, EngineRequest
from tierline.wire.frames import NackReason


class TestSubmit:
    def test_refusals(self) -> None:
        core = core_of(max_running_requests=1, total_blocks=10)
        assert core.submit(request("a", 60, 5)) is NackReason.TOO_LONG
        assert core.submit(request("a", 30, 12)) is NackReason.TOO_LONG
        assert core.submit(request("a", 30, 11)) is None
        assert core.submit(request("a", 3, 3)) is NackReason.DUPLICATE
        assert core.submit(request("b", 3, 3)) is NackReason.NO_SLOT
        core.drain()
        assert core.submit(request("b", 3, 3)) is NackReason.DRAINING
        assert core.headroom.free_requests == 0

    @pytest.mark.parametrize(
        ("prompt", "output", "emitted", "field"),
        [(0, 3, 0, "prompt_tokens"), (3, 0, 0, "emitted_tokens"), (3, 3, 3, "nothing is left"), (3, 3, -1, "emitted")],
    )
    def test_senseless_numbers_name_the_field(self, prompt: int, output: int, emitted: int, field: str) -> None:
        with pytest.raises(InvalidEngineRequest, match=field):
            core_of().submit(EngineRequest("a", prompt, output, emitted))

    def test_limits_that_contradict_each_other_name_the_field(self) -> None:
        with pytest.raises(ValueError, match="total_blocks is 0"):
            core_of(total_blocks=0)
        with pytest.raises(ValueError, match="max_batched_tokens is 3, below max_running_requests"):
            core_of(max_batched_tokens=3)


class TestLife:
    def test_prompt_then_decodes_then_length(self) -> None:
        core = core_of()
        core.submit(request("a", 6, 3))
        plan = planned(core)
        assert rows(core, plan) == {"a": (0, 6, True)}
        assert [admitted.request_id for admitted in plan.admitted] == ["a"]
        assert plan.decodes == 0
        assert plan.block_updates[:, :2].tolist() == [[0, 0], [0, 1]]
        assert commit(core, plan) == Committed((0,), ())
        plan = planned(core)
        assert rows(core, plan) == {"a": (6, 1, True)}
        assert (plan.decodes, plan.admitted, len(plan.block_updates)) == (1, (), 0)
        commit(core, plan)
        plan = planned(core)
        committed = commit(core, plan)
        assert committed.delivered == (0,)
        assert [(ended.request_id, ended.reason) for ended in committed.finished] == [("a", "length")]
        assert core.empty
        assert core.memory.free == 64

    def test_a_stop_token_is_delivered_and_ends(self) -> None:
        core = core_of()
        core.submit(request("a", 6, 30))
        committed = commit(core, planned(core), stopped_rows=(0,))
        assert committed.delivered == (0,)
        assert committed.finished[0].reason == "stop"

    def test_emitted_tokens_are_context(self) -> None:
        core = core_of()
        core.submit(EngineRequest("a", 4, 5, emitted_tokens=3))
        plan = planned(core)
        assert rows(core, plan) == {"a": (0, 7, True)}
        commit(core, plan)
        assert rows(core, planned(core)) == {"a": (7, 1, True)}

    def test_one_step_ahead_plans_the_unknown_token_by_its_position(self) -> None:
        core = core_of()
        core.submit(request("a", 6, 9))
        first, second = planned(core), planned(core)
        assert rows(core, second) == {"a": (6, 1, True)}
        commit(core, first)
        commit(core, second)

    def test_one_step_ahead_never_plans_past_the_length(self) -> None:
        core = core_of()
        core.submit(request("a", 6, 1))
        first = planned(core)
        assert core.plan(0.0) is None
        commit(core, first)
        assert core.empty

    def test_row_of_a_request_that_stopped_meanwhile_is_not_delivered(self) -> None:
        core = core_of()
        core.submit(request("a", 6, 9))
        first, second = planned(core), planned(core)
        assert commit(core, first, stopped_rows=(0,)).finished
        assert core.headroom.free_requests == 3
        assert commit(core, second) == Committed()
        assert core.headroom.free_requests == 4


class TestCancel:
    def test_waiting_request_is_gone_at_once(self) -> None:
        core = core_of()
        core.submit(request("a", 6, 9))
        assert core.cancel("a")
        assert not core.cancel("a")
        assert core.empty

    def test_blocks_are_free_at_once_when_no_iteration_uses_them(self) -> None:
        core = core_of()
        core.submit(request("a", 6, 9))
        step(core)
        core.cancel("a")
        assert core.memory.free == 64
        assert core.headroom.free_requests == 4

    def test_blocks_in_flight_are_reusable_only_after_it(self) -> None:
        core = core_of(total_blocks=4)
        core.submit(request("a", 12, 4))
        flying = planned(core)
        core.cancel("a")
        assert (core.memory.free, core.memory.cooling, core.headroom.free_blocks) == (1, 3, 4)
        core.submit(request("a", 12, 4))
        assert core.plan(0.0) is None
        assert commit(core, flying) == Committed()
        assert rows(core, planned(core)) == {"a": (0, 12, True)}


class TestBatching:
    def test_decodes_come_first_and_prompts_fill_the_rest(self) -> None:
        core = core_of(max_batched_tokens=10, max_running_requests=3)
        core.submit(request("a", 4, 9))
        step(core)
        core.submit(request("b", 30, 9))
        plan = planned(core)
        assert rows(core, plan) == {"a": (4, 1, True), "b": (0, 9, False)}
        assert plan.decodes == 1

    def test_tightest_time_per_token_bounds_the_chunk(self) -> None:
        core = core_of(max_batched_tokens=64, max_running_requests=3)
        core.submit(request("tight", 4, 9, tpot_budget_ms=9.1))
        core.submit(request("loose", 4, 9, tpot_budget_ms=900.0))
        step(core)
        core.submit(request("new", 50, 9))
        count = rows(core, planned(core))["new"][1]
        assert 5.0 + 0.1 * count <= 9.1 / (1 + core.latency.chunk_margin) < 5.0 + 0.1 * (count + 1)

    def test_prompts_advance_although_decodes_alone_break_the_budget(self) -> None:
        core = core_of(max_batched_tokens=64, max_running_requests=3)
        core.submit(request("tight", 4, 50, tpot_budget_ms=0.001))
        step(core)
        core.submit(request("new", 40, 9))
        for _ in range(10):
            step(core)
        assert int(core.slots.confirmed[core.slots.slot_of["new"]]) > 40

    def test_partial_prefills_are_capped_but_short_prompts_pass(self) -> None:
        core = core_of(max_batched_tokens=20, max_running_requests=5, max_partial_prefills=1)
        core.submit(request("long", 50, 5, ttft_deadline_ms=1.0))
        step(core)
        for name, prompt in (("long2", 40), ("short", 5)):
            core.submit(request(name, prompt, 5))
        assert rows(core, planned(core)) == {"long": (20, 15, False), "short": (0, 5, True)}

    def test_two_long_prompts_share_a_batch(self) -> None:
        core = core_of(max_batched_tokens=20)
        core.submit(request("a", 50, 5))
        core.submit(request("b", 50, 5))
        assert rows(core, planned(core)) == {"a": (0, 10, False), "b": (0, 10, False)}

    def test_order_is_priority_then_deadline_then_arrival(self) -> None:
        core = core_of(max_batched_tokens=10, max_running_requests=5)
        core.submit(request("late", 4, 2))
        core.submit(request("later", 4, 2))
        core.submit(request("soon", 4, 2, ttft_deadline_ms=10.0))
        core.submit(request("vip", 4, 2, priority=1, ttft_deadline_ms=1e9))
        assert list(rows(core, planned(core)))[:3] == ["vip", "soon", "late"]

    def test_a_higher_priority_goes_before_a_begun_prompt(self) -> None:
        core = core_of(max_batched_tokens=10, max_running_requests=3)
        core.submit(request("bulk", 50, 2))
        step(core)
        core.submit(request("vip", 8, 2, priority=1))
        assert rows(core, planned(core)) == {"vip": (0, 8, True), "bulk": (10, 2, False)}


class TestSignals:
    def test_counts(self) -> None:
        core = core_of(max_batched_tokens=10, max_partial_prefills=1, total_blocks=40)
        core.submit(request("a", 4, 9))
        core.submit(request("b", 30, 9))
        core.submit(request("c", 30, 9))
        step(core)
        signals = core.signals()
        assert (signals.running_requests, signals.waiting_requests) == (2, 1)
        assert (signals.used_blocks, signals.total_blocks) == (1 + 8, 40)
        assert signals.backlog_tokens == 24 + 30
        assert signals.iteration_ms == 6.0
        assert signals.latency_samples == 1
        assert len(signals.latency_coefficients) == len(Coefficients._fields)
        assert core.headroom.free_blocks == 40 - 9 - 8
        assert core.headroom.free_requests == 1


def test_a_broken_core_is_noticed() -> None:
    core = core_of()
    core.submit(request("a", 6, 9))
    step(core)
    core.memory.table[0, 0] = core.memory.table[0, 1]
    with pytest.raises(InvariantBroken, match="block"):
        check_invariants(core)


def test_results_must_come_in_order() -> None:
    core = core_of()
    core.submit(request("a", 6, 9))
    planned(core)
    second = planned(core)
    with pytest.raises(AssertionError, match="expected 1"):
        commit(core, second)
