"""What a waiting request takes over instead of computing it, and from whom."""

from core_steps import commit, core_of, phase, planned, request, rows, step

from tierline.scheduling.invariants import CheckedSchedulerCore
from tierline.scheduling.memory.blocks import BlockState
from tierline.scheduling.slots import Phase

KEYS = tuple(b"k%d" % index for index in range(8))


def caching(**limits: int) -> CheckedSchedulerCore:
    return core_of(prefix_caching=True, **limits)


def finish(core: CheckedSchedulerCore) -> None:
    while not core.empty:
        step(core)


def table(core: CheckedSchedulerCore, name: str) -> list[int]:
    slot = core.slots.slot_of[name]
    return core.memory.table[slot, : core.memory.owned[slot]].tolist()


class TestHits:
    def test_a_known_prefix_is_not_computed_again(self) -> None:
        core = caching()
        core.submit(request("a", 10, 2, block_keys=KEYS[:2]))
        finish(core)
        core.submit(request("b", 14, 2, block_keys=(*KEYS[:2], b"other")))
        assert rows(core, planned(core)) == {"b": (8, 6, True)}
        assert (core.counters.prefix_query_tokens, core.counters.prefix_hit_tokens) == (10 + 14, 8)

    def test_the_last_token_is_always_computed(self) -> None:
        core = caching()
        core.submit(request("a", 8, 2, block_keys=KEYS[:2]))
        finish(core)
        core.submit(request("b", 8, 2, block_keys=KEYS[:2]))
        assert rows(core, planned(core)) == {"b": (4, 4, True)}

    def test_running_requests_share_blocks_and_each_one_counts_once(self) -> None:
        core = caching()
        core.submit(request("a", 10, 9, block_keys=KEYS[:2]))
        step(core)
        core.submit(request("b", 10, 9, block_keys=KEYS[:2]))
        step(core)
        assert table(core, "a")[:2] == table(core, "b")[:2]
        assert core.memory.used == 4

    def test_what_others_hold_is_not_owed(self) -> None:
        core = caching(total_blocks=16)
        core.submit(request("a", 10, 9, block_keys=KEYS[:2]))
        step(core)
        free = core.headroom.free_blocks
        core.submit(request("b", 10, 9, block_keys=KEYS[:2]))
        assert core.headroom.free_blocks == free - 1
        assert core.reuse.held_blocks(KEYS[:2], 10) == 2
        assert core.reuse.held_blocks(KEYS[:2], 8) == 1
        finish(core)
        assert core.reuse.held_blocks(KEYS[:2], 10) == 0

    def test_a_prefix_is_shared_only_once_its_iteration_is_committed(self) -> None:
        core = caching()
        core.submit(request("a", 10, 9, block_keys=KEYS[:2]))
        first = planned(core)
        core.submit(request("b", 10, 9, block_keys=KEYS[:2]))
        second = planned(core)
        assert rows(core, second)["b"] == (0, 10, True)
        assert table(core, "a")[0] != table(core, "b")[0]
        commit(core, first)
        commit(core, second)
        assert table(core, "a")[:2] == table(core, "b")[:2]
        update = planned(core).block_updates
        slot = core.slots.slot_of["b"]
        assert update[:2].tolist() == [[slot, index, table(core, "a")[index]] for index in range(2)]

    def test_without_the_cache_nothing_is_shared(self) -> None:
        core = core_of()
        core.submit(request("a", 10, 2, block_keys=KEYS[:2]))
        finish(core)
        core.submit(request("b", 10, 2, block_keys=KEYS[:2]))
        assert rows(core, planned(core)) == {"b": (0, 10, True)}

    def test_generated_blocks_are_found_too(self) -> None:
        core = caching()
        core.submit(request("a", 6, 7, block_keys=KEYS[:1]))
        for _ in range(3):
            step(core)
        core.name_block("a", 1, KEYS[1])
        finish(core)
        core.name_block("a", 2, KEYS[2])
        core.submit(request("b", 12, 2, block_keys=KEYS[:3]))
        assert rows(core, planned(core)) == {"b": (8, 4, True)}

    def test_a_preempted_request_finds_what_it_had_computed(self) -> None:
        core = caching(total_blocks=12, max_running_requests=4, max_batched_tokens=64)
        core.submit(request("old", 18, 8))
        core.submit(request("low", 16, 8, block_keys=KEYS[:4]))
        step(core)
        core.submit(request("vip", 14, 1, priority=1))
        step(core)
        assert phase(core, "low") is Phase.PARKED
        step(core)
        assert core.counters.evicted_blocks == 1
        assert rows(core, planned(core))["low"] == (12, 6, True)

    def test_hits_count_neither_as_backlog_nor_as_a_long_prompt(self) -> None:
        core = caching(max_running_requests=4)
        core.submit(request("a", 30, 2, block_keys=KEYS[:7]))
        finish(core)
        core.submit(request("b", 30, 2, block_keys=KEYS[:7]))
        assert core.signals().backlog_tokens == 30 - 28

    def test_a_hit_makes_room_that_a_miss_does_not_have(self) -> None:
        core = caching(total_blocks=10)
        core.submit(request("a", 24, 12, block_keys=KEYS[:6]))
        step(core)
        core.submit(request("hit", 25, 4, block_keys=KEYS[:6]))
        core.submit(request("miss", 25, 4, priority=-1))
        assert set(rows(core, planned(core))) == {"a", "hit"}


class TestPoison:
    def test_what_a_discarded_request_computed_is_not_found_again(self) -> None:
        core = caching()
        core.submit(request("a", 10, 9, block_keys=KEYS[:2]))
        step(core)
        blocks = table(core, "a")
        assert core.discard("a").tolist() == blocks
        core.submit(request("b", 10, 9, block_keys=KEYS[:2]))
        assert rows(core, planned(core)) == {"b": (0, 10, True)}

    def test_shared_blocks_lose_their_name_but_not_their_other_owner(self) -> None:
        core = caching()
        core.submit(request("a", 10, 9, block_keys=KEYS[:2]))
        step(core)
        core.submit(request("b", 10, 9, block_keys=KEYS[:2]))
        step(core)
        own = table(core, "a")[2:]
        assert core.discard("a").tolist() == own
        assert len(core.discard("b")) == 3
        assert core.discard("gone").tolist() == []


class TestForks:
    def test_forks_share_full_blocks_and_copy_the_partial_one(self) -> None:
        core = core_of()
        core.submit(request("a", 10, 9))
        step(core)
        core.submit(request("b", 10, 9, fork_of="a"))
        core.submit(request("c", 10, 9, fork_of="a"))
        plan = planned(core)
        assert rows(core, plan) == {"a": (10, 1, True), "b": (9, 1, True), "c": (9, 1, True)}
        assert table(core, "a")[:2] == table(core, "b")[:2] == table(core, "c")[:2]
        source = table(core, "a")[2]
        assert plan.copies.tolist() == [[source, table(core, "b")[2]], [source, table(core, "c")[2]]]
        assert core.counters.copied_blocks == 2
        commit(core, plan)

    def test_a_prompt_that_ends_with_a_block_copies_that_block(self) -> None:
        core = core_of()
        core.submit(request("a", 8, 9))
        step(core)
        core.submit(request("b", 8, 9, fork_of="a"))
        plan = planned(core)
        assert rows(core, plan)["b"] == (7, 1, True)
        assert plan.copies.tolist() == [[table(core, "a")[1], table(core, "b")[1]]]

    def test_a_fork_waits_while_its_prompt_is_computed(self) -> None:
        core = core_of(max_batched_tokens=10)
        core.submit(request("a", 16, 9))
        core.submit(request("b", 16, 9, fork_of="a"))
        assert rows(core, step(core)) == {"a": (0, 10, False)}
        assert rows(core, step(core)) == {"a": (10, 6, True)}
        assert rows(core, step(core))["b"] == (15, 1, True)

    def test_a_fork_whose_parent_is_gone_begins_by_itself(self) -> None:
        core = core_of(max_batched_tokens=10)
        core.submit(request("a", 16, 9))
        core.submit(request("b", 16, 9, fork_of="a"))
        step(core)
        core.cancel("a")
        assert rows(core, step(core)) == {"b": (0, 10, False)}

    def test_a_fork_does_not_wait_for_a_lower_priority(self) -> None:
        core = core_of(max_batched_tokens=10)
        core.submit(request("a", 16, 9))
        step(core)
        core.submit(request("b", 16, 9, priority=1, fork_of="a"))
        assert rows(core, step(core))["b"] == (10, 6, True)

    def test_a_fork_that_moved_here_computes_what_was_emitted_elsewhere(self) -> None:
        core = core_of()
        core.submit(request("a", 10, 9))
        step(core)
        core.submit(request("b", 10, 9, emitted_tokens=3, fork_of="a"))
        assert rows(core, planned(core))["b"] == (10, 3, True)

    def test_the_source_of_a_copy_that_is_in_flight_is_given_to_nobody(self) -> None:
        core = caching()
        core.submit(request("a", 10, 2))
        step(core)
        last = planned(core)
        core.submit(request("b", 10, 9, fork_of="a"))
        copying = planned(core)
        [[source, _]] = copying.copies.tolist()
        [finished] = commit(core, last).finished
        assert finished.request_id == "a"
        assert core.memory.state[source] == BlockState.COOLING
        commit(core, copying)
        assert core.memory.state[source] == BlockState.FREE

    def test_a_fork_of_a_fork_does_not_read_a_copy_before_it_is_made(self) -> None:
        core = core_of()
        core.submit(request("a", 10, 9))
        step(core)
        core.submit(request("b", 10, 9, fork_of="a"))
        core.submit(request("c", 10, 9, fork_of="b"))
        assert "c" not in rows(core, step(core))
        assert rows(core, step(core))["c"] == (9, 1, True)
