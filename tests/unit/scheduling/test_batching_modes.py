"""The three modes as their papers tell them, and what holds for all: blocks come back without blocking others."""

from core_steps import core_of, phase, planned, request, rows, step

from tierline.scheduling.memory.transfers import Direction, TransferResult
from tierline.scheduling.slots import Phase


class TestContinuous:
    def test_who_waits_takes_a_place_in_the_next_iteration(self) -> None:
        core = core_of()
        core.submit(request("first", 4, 9))
        step(core)
        core.submit(request("second", 4, 9))
        assert set(rows(core, planned(core))) == {"first", "second"}


class TestDiscrete:
    def test_a_batch_runs_to_its_end_before_the_next_begins(self) -> None:
        core = core_of()
        core.submit(request("short", 4, 2, batching="Discrete"))
        core.submit(request("long", 4, 6, batching="Discrete"))
        step(core)
        core.submit(request("next", 4, 2, batching="Discrete"))
        while "long" in core.slots.slot_of:
            assert phase(core, "next") is Phase.WAITING
            step(core)
        assert set(rows(core, planned(core))) == {"next"}

    def test_other_modes_and_other_classes_do_not_wait_for_it(self) -> None:
        core = core_of()
        core.submit(request("batch", 4, 9, batching="Discrete"))
        step(core)
        core.submit(request("late", 4, 9, batching="Discrete"))
        core.submit(request("chat", 4, 9))
        core.submit(request("urgent", 4, 9, batching="Discrete", priority=1))
        assert set(rows(core, planned(core))) == {"batch", "chat", "urgent"}

    def test_a_batch_fits_at_full_length(self) -> None:
        core = core_of(total_blocks=20)
        for name in ("a", "b", "c"):
            core.submit(request(name, 8, 25, batching="Discrete"))
        step(core)
        assert [phase(core, name) for name in ("a", "b", "c")] == [Phase.RUNNING, Phase.RUNNING, Phase.WAITING]


class TestSlice:
    def test_who_used_its_slice_up_yields_its_blocks_and_goes_on_later(self) -> None:
        core = core_of(total_blocks=10, slice_tokens=4)
        core.submit(request("long", 20, 20, batching="Slice"))
        for _ in range(2):
            step(core)
        core.submit(request("short", 24, 2, batching="Slice"))
        step(core)
        assert phase(core, "short") is Phase.WAITING
        while phase(core, "short") is Phase.WAITING:
            step(core)
        assert int(core.slots.known[core.slots.slot_of["long"]]) - 20 >= 4
        assert phase(core, "long") is Phase.PARKED
        order = []
        while not core.empty:
            before = set(core.slots.slot_of)
            step(core)
            order += sorted(before - set(core.slots.slot_of))
        assert order == ["short", "long"]

    def test_without_need_nobody_yields(self) -> None:
        core = core_of(slice_tokens=2)
        core.submit(request("a", 4, 20, batching="Slice"))
        core.submit(request("b", 4, 20, batching="Slice"))
        while not core.empty:
            step(core)
        assert core.counters.preemptions_recompute == 0


class TestLoads:
    def test_a_request_whose_blocks_are_not_there_yet_blocks_nobody(self) -> None:
        core = core_of(host_blocks=16)
        core.submit(request("victim", 16, 9, save="CPU"))
        step(core)
        core.preemptor.park(core.slots.slot_of["victim"])
        (save,) = step_transfers(core)
        assert save.direction is Direction.SAVE
        core.transferred(TransferResult(save.ticket, 1.0))
        core.submit(request("other", 4, 4))
        plan = planned(core)
        assert set(rows(core, plan)) == {"other"}
        (load,) = plan.transfers
        assert load.direction is Direction.LOAD
        assert phase(core, "victim") is Phase.LOADING

    def test_the_pressure_threshold_takes_from_low_priorities_before_blocks_run_out(self) -> None:
        core = core_of(total_blocks=20, pressure_percent=80)
        core.submit(request("low", 28, 20))
        step(core)
        core.submit(request("vip", 20, 20, priority=1))
        while phase(core, "low") is not Phase.PARKED:
            assert "vip" in core.slots.slot_of
            step(core)
        assert core.memory.free + core.memory.owned[core.slots.slot_of["low"]] >= 1
        assert core.counters.preemptions_recompute == 1


def step_transfers(core):
    from_plan = step(core)
    return from_plan.transfers
