import pytest

from tierline.wire.frames import Sampling, TokenBatch
from tierline_gateway.streams.journal import Journal, JournalGap


def journal(epoch: int = 1) -> Journal:
    made = Journal("r", (5, 6), Sampling(max_tokens=10, seed=3))
    made.placed(epoch)
    return made


def test_batches_in_order_are_all_new() -> None:
    one = journal()
    assert one.accept(TokenBatch("r", 1, 0, (7, 8))) == (7, 8)
    assert one.accept(TokenBatch("r", 1, 2, (9,))) == (9,)
    assert one.emitted_ids == [7, 8, 9]


def test_seen_positions_are_dropped_and_counted() -> None:
    one = journal()
    one.accept(TokenBatch("r", 1, 0, (7, 8)))
    assert one.accept(TokenBatch("r", 1, 1, (8, 9))) == (9,)
    assert one.duplicates_dropped == 1


def test_stale_epochs_are_dropped_whole() -> None:
    one = journal(epoch=2)
    assert one.accept(TokenBatch("r", 1, 0, (7, 8))) == ()
    assert (one.emitted_ids, one.duplicates_dropped) == ([], 2)


def test_a_gap_is_an_error_and_changes_nothing() -> None:
    one = journal()
    with pytest.raises(JournalGap, match="position 1 after 0"):
        one.accept(TokenBatch("r", 1, 1, (8,)))
    assert one.emitted_ids == []


def test_the_submit_of_a_replay_carries_what_was_emitted() -> None:
    one = journal()
    one.accept(TokenBatch("r", 1, 0, (7, 8)))
    one.replayed()
    one.placed(2)
    frame = one.submit(
        100,
        tenant="t",
        tier="x",
        priority=1,
        waited_ms=2,
        ttft_slack_ms=3,
        tpot_budget_ms=4,
        preemptible=False,
        cache_namespace="n/t",
        batching="Continuous",
        granularity="Token",
        save="Auto",
        speculate=True,
    )
    assert (frame.prompt_ids, frame.emitted_ids, frame.epoch, frame.sampling.seed) == ((5, 6), (7, 8), 2, 3)
    assert one.recomputed_tokens == 4
