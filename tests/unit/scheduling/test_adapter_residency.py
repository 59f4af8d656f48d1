"""Adapters share the pool with KV: who is loaded, who makes room, who waits, who is refused."""

from core_steps import commit, core_of, phase, planned, request, rows, step

from tierline.scheduling.invariants import CheckedSchedulerCore, check_invariants
from tierline.scheduling.slots import Phase
from tierline.wire.frames import NackReason


def core_with(adapters: dict[str, int], **limits: int) -> CheckedSchedulerCore:
    core = core_of(**{"max_adapters": 2, **limits})
    for key, pages in adapters.items():
        assert core.adapters.register(key, pages) == ""
    return core


def loaded(core: CheckedSchedulerCore) -> list[str]:
    """Step; return the adapters that were loaded."""
    return [load.adapter for load in step(core).adapters]


def resident(core: CheckedSchedulerCore) -> set[str]:
    return {adapter.key for adapter in core.adapters.resident}


class TestLoading:
    def test_it_is_loaded_with_the_first_request_and_stays_for_the_next(self) -> None:
        core = core_with({"red": 3})
        core.submit(request("a", 4, 2, adapter="red"))
        plan = planned(core)
        (load,) = plan.adapters
        assert (load.adapter, len(load.blocks)) == ("red", 3)
        assert plan.adapter_tokens == 4
        assert not set(load.blocks.tolist()) & set(plan.block_updates[:, 2].tolist())
        assert core.memory.used == 4
        core = core_with({"red": 3})
        core.submit(request("a", 4, 2, adapter="red"))
        assert loaded(core) == ["red"]
        while not core.empty:
            assert loaded(core) == []
        core.submit(request("b", 4, 2, adapter="red"))
        assert loaded(core) == []
        assert core.counters.adapter_loads == 1

    def test_the_model_alone_needs_none(self) -> None:
        core = core_with({"red": 3})
        core.submit(request("a", 4, 2))
        plan = planned(core)
        assert (plan.adapters, plan.adapter_tokens) == ((), 0)

    def test_several_adapters_and_none_run_in_one_batch(self) -> None:
        core = core_with({"red": 3, "blue": 2})
        for name, adapter in (("a", "red"), ("b", "blue"), ("c", ""), ("d", "red")):
            core.submit(request(name, 4, 8, adapter=adapter))
        plan = planned(core)
        assert {load.adapter for load in plan.adapters} == {"red", "blue"}
        assert set(rows(core, plan)) == {"a", "b", "c", "d"}
        assert plan.adapter_tokens == 12

    def test_its_pages_are_not_made_of_the_prefix_that_its_request_was_found(self) -> None:
        core = core_with({"red": 5}, prefix_caching=True, total_blocks=8)
        for name, keys in (("old", (b"1", b"2")), ("new", (b"3", b"4"))):
            core.submit(request(name, 9, 1, block_keys=keys))
            while not core.empty:
                step(core)
        core.submit(request("a", 9, 1, adapter="red", block_keys=(b"1", b"2")))
        plan = planned(core)
        assert rows(core, plan) == {"a": (8, 1, True)}
        assert not set(plan.adapters[0].blocks.tolist()) & set(plan.block_updates[:, 2].tolist())


class TestEviction:
    def test_the_one_used_longest_ago_goes(self) -> None:
        core = core_with({"red": 1, "blue": 1, "green": 1})
        for number, adapter in enumerate(("red", "blue", "red", "green")):
            core.submit(request(f"r{number}", 4, 3, adapter=adapter))
            while not core.empty:
                step(core)
        assert resident(core) == {"red", "green"}
        assert (core.counters.adapter_loads, core.counters.adapter_evictions) == (3, 1)

    def test_one_that_a_waiting_request_needs_goes_last(self) -> None:
        core = core_with({"red": 1, "blue": 1, "green": 1}, max_running_requests=3, max_batched_tokens=4)
        for adapter in ("red", "blue"):
            core.submit(request(adapter, 4, 1, adapter=adapter))
            step(core)
        core.submit(request("first", 4, 8, adapter="green"))
        core.submit(request("next", 4, 8, adapter="red"))
        step(core)
        assert resident(core) == {"red", "green"}

    def test_one_in_use_is_never_evicted_and_who_needs_its_place_waits(self) -> None:
        core = core_with({"red": 1, "blue": 1, "green": 1}, max_running_requests=4)
        for name, adapter in (("a", "red"), ("b", "blue"), ("c", "green"), ("d", "")):
            core.submit(request(name, 4, 6, adapter=adapter))
        plan = planned(core)
        assert set(rows(core, plan)) == {"a", "b", "d"}
        commit(core, plan)
        assert phase(core, "c") == Phase.WAITING
        while not core.empty:
            step(core)
        assert "green" in resident(core)

    def test_unused_adapters_make_room_before_anyone_is_preempted(self) -> None:
        core = core_with({"red": 6}, total_blocks=12)
        core.submit(request("first", 4, 2, adapter="red"))
        while not core.empty:
            step(core)
        core.submit(request("long", 20, 28))
        while not core.empty:
            step(core)
            assert not (core.slots.phase == Phase.PARKED).any()
        assert core.counters.adapter_evictions == 1
        assert resident(core) == set()

    def test_a_growing_answer_takes_the_pages_of_an_unused_adapter(self) -> None:
        core = core_with({"red": 3}, total_blocks=12)
        core.submit(request("red", 4, 1, adapter="red"))
        step(core)
        for name in ("long", "longer"):
            core.submit(request(name, 4, 21))
        while not core.counters.adapter_evictions:
            step(core)
            assert not (core.slots.phase == Phase.PARKED).any()
        assert core.memory.used > 12 - 3

    def test_nothing_is_evicted_in_vain(self) -> None:
        core = core_with({"red": 2, "huge": 9}, total_blocks=12)
        core.submit(request("a", 4, 2, adapter="red"))
        while not core.empty:
            step(core)
        core.submit(request("base", 16, 6))
        step(core)
        core.submit(request("b", 4, 2, adapter="huge"))
        step(core)
        assert phase(core, "b") == Phase.WAITING
        assert resident(core) == {"red"}


class TestUrgency:
    def test_a_higher_priority_takes_the_place_of_a_lower_ones_adapter(self) -> None:
        core = core_with({"red": 1, "green": 1}, max_adapters=1)
        core.submit(request("old", 4, 20))
        core.submit(request("low", 4, 20, adapter="red"))
        step(core)
        core.submit(request("high", 4, 4, adapter="green", priority=5))
        assert loaded(core) == ["green"]
        assert phase(core, "low") == Phase.PARKED
        while not core.empty:
            step(core)
        assert core.counters.adapter_loads == 3

    def test_a_lower_priority_waits_for_a_place(self) -> None:
        core = core_with({"red": 1, "green": 1}, max_adapters=1)
        core.submit(request("high", 4, 6, adapter="red", priority=5))
        step(core)
        core.submit(request("low", 4, 4, adapter="green"))
        assert loaded(core) == []
        assert phase(core, "high") == Phase.RUNNING

    def test_a_burst_of_adapters_does_not_thrash(self) -> None:
        """Eight adapters, two places: each is loaded once for all its requests, not once a request."""
        core = core_with({f"a{number}": 1 for number in range(8)}, max_running_requests=32, max_batched_tokens=64)
        for number in range(32):
            core.submit(request(f"r{number}", 2, 4, adapter=f"a{number % 8}"))
        while not core.empty:
            step(core)
        assert core.counters.adapter_loads == 8

    def test_who_waits_for_a_place_is_not_passed_for_ever(self) -> None:
        core = core_with({"red": 1, "green": 1}, max_adapters=1, max_running_requests=4)
        core.submit(request("r0", 4, 3, adapter="red"))
        step(core)
        core.submit(request("patient", 4, 3, adapter="green"))
        for number in range(1, 400):
            if core.headroom.free_requests:
                core.submit(request(f"r{number}", 4, 3, adapter="red"))
            if "green" in loaded(core):
                return
        raise AssertionError("the other adapter is never loaded")


class TestRefusal:
    def test_an_unknown_adapter(self) -> None:
        core = core_with({"red": 1})
        assert core.submit(request("a", 4, 4, adapter="rad")) is NackReason.UNKNOWN_ADAPTER

    def test_what_can_never_fit_beside_its_adapter(self) -> None:
        core = core_with({"red": 6}, total_blocks=12)
        assert core.submit(request("a", 4, 21)) is None
        assert core.submit(request("b", 4, 22, adapter="red")) is NackReason.TOO_LONG
        assert core.submit(request("c", 4, 21, adapter="red")) is None
        while not core.empty:
            step(core)

    def test_an_adapter_as_large_as_the_pool_and_a_worker_without_adapters(self) -> None:
        core = core_of(total_blocks=12, max_adapters=1)
        assert "TIERLINE_KV_CACHE_BLOCKS" in core.adapters.register("huge", 12)
        assert "TIERLINE_MAX_ADAPTERS" in core_of().adapters.register("red", 1)


class TestUnloading:
    def test_its_pages_are_free_at_once_when_nobody_is_here_for_it(self) -> None:
        core = core_with({"red": 3})
        core.submit(request("a", 4, 2, adapter="red"))
        while not core.empty:
            step(core)
        core.adapters.retire("red")
        check_invariants(core)
        assert core.memory.free == core.memory.total
        assert not core.adapters.known("red")
        assert core.submit(request("b", 4, 2, adapter="red")) is NackReason.UNKNOWN_ADAPTER

    def test_requests_here_end_with_it(self) -> None:
        core = core_with({"red": 3})
        core.submit(request("a", 4, 6, adapter="red"))
        step(core)
        core.adapters.retire("red")
        assert core.submit(request("b", 4, 6, adapter="red")) is NackReason.UNKNOWN_ADAPTER
        assert resident(core) == {"red"}
        while not core.empty:
            step(core)
        assert core.memory.free == core.memory.total

    def test_it_may_come_back_before_its_last_request_ended(self) -> None:
        core = core_with({"red": 3})
        core.submit(request("a", 4, 6, adapter="red"))
        step(core)
        core.adapters.retire("red")
        assert core.adapters.register("red", 3) == ""
        assert core.submit(request("b", 4, 6, adapter="red")) is None
        while not core.empty:
            step(core)
        assert core.counters.adapter_loads == 1

    def test_pages_that_an_iteration_in_flight_reads_are_not_free(self) -> None:
        core = core_with({"red": 3})
        core.submit(request("a", 4, 6, adapter="red"))
        planned(core)
        core.cancel("a")
        core.adapters.retire("red")
        check_invariants(core)
        assert core.memory.cooling == 4


def test_unused_adapters_do_not_lessen_what_gateways_may_send() -> None:
    core = core_with({"red": 10}, total_blocks=12)
    core.submit(request("a", 4, 2, adapter="red"))
    step(core)
    assert core.headroom.free_blocks < 2
    while not core.empty:
        step(core)
    assert core.headroom.free_blocks == 12
