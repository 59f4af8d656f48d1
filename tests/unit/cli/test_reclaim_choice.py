"""Which spot node the demo takes away."""

from tierline_cli.demo.gateway_debug import LiveStream
from tierline_cli.demo.reclaim import choose_victim

NODES = {"w1": "spot-b", "w2": "spot-c"}


def stream(worker: str, emitted: int = 10, max_tokens: int = 400) -> LiveStream:
    return LiveStream(f"{worker}-{emitted}", "acme", "fast", "RUNNING", worker, emitted, max_tokens)


def test_the_worker_with_most_streams_mid_decode() -> None:
    victim = choose_victim([stream("w1"), stream("w2"), stream("w2", 11)], NODES, frozenset())
    assert victim is not None
    assert (victim.node, victim.worker, len(victim.streams)) == ("spot-c", "w2", 2)


def test_streams_that_have_not_begun_or_end_before_the_notice_does_do_not_count() -> None:
    assert choose_victim([stream("w1", emitted=0), stream("w1", emitted=150)], NODES, frozenset()) is None


def test_short_streams_beside_a_lasting_one_are_told_too() -> None:
    victim = choose_victim([stream("w1"), stream("w1", emitted=150), stream("w1", emitted=395)], NODES, frozenset())
    assert victim is not None
    assert [each.emitted_tokens for each in victim.streams] == [10, 150]


def test_workers_elsewhere_do_not_count() -> None:
    assert choose_victim([stream("on-demand-worker")], NODES, frozenset()) is None


def test_the_gateways_node_is_spared() -> None:
    assert choose_victim([stream("w1")], NODES, frozenset({"spot-b"})) is None
