"""Whatever workers do, the client gets every token exactly once and in order."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from tierline.wire.frames import Sampling, TokenBatch
from tierline_gateway.streams.journal import Journal, JournalGap

LENGTH = 24


def token(position: int) -> int:
    return 1000 + position


@dataclass
class Placement:
    """One worker's run of the request: the batches that are still on the wire."""

    epoch: int
    position: int
    wire: list[TokenBatch] = field(default_factory=list)

    def generate(self, count: int) -> None:
        ids = tuple(token(at) for at in range(self.position, min(self.position + count, LENGTH)))
        if ids:
            self.wire.append(TokenBatch("r", self.epoch, self.position, ids))
            self.position += len(ids)


STEPS = st.one_of(
    st.tuples(st.just("generate"), st.integers(1, 5)),
    st.tuples(st.just("arrive"), st.integers(0, 3)),
    st.tuples(st.just("repeat"), st.integers(0, 3)),
    st.tuples(st.just("move"), st.just(0)),
    st.tuples(st.just("late"), st.integers(0, 5)),
)


@given(steps=st.lists(STEPS, max_size=80))
def test_every_interleaving_gives_the_sequence_once(steps: list[tuple[str, int]]) -> None:
    journal = Journal("r", (1, 2, 3), Sampling(max_tokens=LENGTH))
    journal.placed(1)
    placements = [Placement(1, 0)]
    shown: list[int] = []
    for action, number in [*steps, ("generate", LENGTH)]:
        current = placements[-1]
        if action == "generate":
            current.generate(number)
        elif action == "arrive" and current.wire:
            shown += journal.accept(current.wire.pop(0))
        elif action == "repeat" and current.wire:
            shown += journal.accept(current.wire[0])
        elif action == "late":
            dead = placements[number % len(placements)]
            if dead is not current and dead.wire:
                assert journal.accept(dead.wire.pop(0)) == ()
        elif action == "move":
            journal.replayed()
            journal.placed(current.epoch + 1)
            placements.append(Placement(current.epoch + 1, len(journal.emitted_ids)))
        assert shown == journal.emitted_ids == [token(at) for at in range(len(shown))]
    for batch in placements[-1].wire:
        shown += journal.accept(batch)
    assert shown == [token(at) for at in range(LENGTH)]


@given(first=st.integers(0, 40), have=st.integers(0, 20))
def test_a_gap_is_never_swallowed(first: int, have: int) -> None:
    journal = Journal("r", (1,), Sampling(max_tokens=99), epoch=1, emitted_ids=[token(at) for at in range(have)])
    batch = TokenBatch("r", 1, first, (token(first),))
    try:
        fresh = journal.accept(batch)
    except JournalGap:
        assert first > have
    else:
        assert fresh == ((token(first),) if first == have else ())
