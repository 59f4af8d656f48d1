from core_steps import core_of, phase, planned, request, rows, step

from tierline.scheduling.batching.planner import BYPASS_LIMIT
from tierline.scheduling.slots import Phase


class TestMemoryPressure:
    def test_a_request_without_blocks_does_not_block_others(self) -> None:
        core = core_of(total_blocks=10, max_running_requests=3)
        core.submit(request("first", 20, 10))
        step(core)
        core.submit(request("big", 28, 4))
        core.submit(request("small", 6, 2))
        assert set(rows(core, planned(core))) == {"first", "small"}
        assert phase(core, "big") is Phase.WAITING

    def test_a_request_is_passed_only_so_often(self) -> None:
        core = core_of(total_blocks=10, max_running_requests=4)
        core.submit(request("first", 20, 19))
        core.submit(request("big", 28, 4))
        passed = 0
        while phase(core, "big") is Phase.WAITING:
            if core.headroom.free_requests and passed <= 3 * BYPASS_LIMIT:
                core.submit(request(f"s{passed}", 2, 1))
                passed += 1
            step(core)
            if "first" not in core.slots.slot_of and passed <= BYPASS_LIMIT:
                core.submit(request("first", 20, 19))
        assert passed <= BYPASS_LIMIT + 4

    def test_the_lowest_priority_with_least_progress_yields(self) -> None:
        core = core_of(total_blocks=12, max_batched_tokens=64)
        for name, prompt, priority in (("vip", 12, 2), ("most", 12, 0), ("least", 8, 0), ("mid", 12, 1)):
            core.submit(request(name, prompt, 20, priority=priority))
        while not (core.slots.phase == Phase.PARKED).any():
            step(core)
        assert phase(core, "least") is Phase.PARKED
        assert {phase(core, name) for name in ("vip", "most", "mid")} == {Phase.RUNNING}

    def test_a_higher_priority_takes_blocks_to_start(self) -> None:
        core = core_of(total_blocks=10, max_running_requests=4)
        core.submit(request("old", 18, 8))
        core.submit(request("low", 16, 8))
        step(core)
        core.submit(request("vip", 12, 8, priority=1))
        step(core)
        assert phase(core, "low") is Phase.PARKED
        assert "vip" in rows(core, planned(core))

    def test_what_may_not_be_preempted_waits_until_it_surely_fits(self) -> None:
        core = core_of(total_blocks=10, max_running_requests=4)
        core.submit(request("a", 4, 20, preemptible=False))
        core.submit(request("b", 4, 20, preemptible=False))
        assert set(rows(core, planned(core))) == {"a"}
        assert phase(core, "b") is Phase.WAITING

    def test_a_parked_request_keeps_its_slot_and_is_not_announced_again(self) -> None:
        core = core_of(total_blocks=8, max_running_requests=2)
        core.submit(request("a", 12, 20))
        core.submit(request("b", 12, 20))
        announced: list[str] = []
        parked = False
        slot_of = dict(core.slots.slot_of)
        while not core.empty:
            plan = step(core)
            announced += [admitted.request_id for admitted in plan.admitted]
            parked |= bool((core.slots.phase == Phase.PARKED).any())
            assert core.slots.slot_of.items() <= slot_of.items()
        assert parked
        assert announced == ["a", "b"]
