"""Cycles are freed while they are young, and old ones when there are many more objects; Python's own looks are off."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from tierline_gateway import garbage
from tierline_gateway.garbage import Garbage


class Knot:
    """An object that keeps itself alive until somebody looks."""

    def __init__(self) -> None:
        self.itself: Knot | None = self


@pytest.fixture(autouse=True)
def gc_as_it_was() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


@pytest.fixture
def busy() -> Garbage:
    return Garbage(lambda: False)


def young_knot() -> weakref.ref[Knot]:
    return weakref.ref(Knot())


def old_knot(found: Garbage) -> weakref.ref[Knot]:
    knot = Knot()
    found.look()
    return weakref.ref(knot)


def test_python_does_not_look_by_itself(busy: Garbage) -> None:
    knot, kept = young_knot(), [[each] for each in range(100_000)]
    assert knot() is not None, len(kept)


def test_what_is_young_is_freed(busy: Garbage) -> None:
    knot = young_knot()
    busy.look()
    assert knot() is None


def test_what_was_kept_for_a_while_is_not_looked_at_each_time(busy: Garbage) -> None:
    knot = old_knot(busy)
    busy.look()
    assert knot() is not None


def test_when_there_are_many_more_objects_all_are_looked_at(busy: Garbage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "GROWN_OBJECTS", 5_000)
    knot = old_knot(busy)
    kept = [[each] for each in range(5_000)]
    busy.look()
    assert knot() is None, len(kept)
    knot = old_knot(busy)
    busy.look()
    assert knot() is not None, "it began to count anew"


def test_at_rest_all_are_looked_at_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "GROWN_AT_REST_OBJECTS", 5_000)
    resting = False
    found = Garbage(lambda: resting)
    knot, kept = old_knot(found), [[each] for each in range(5_000)]
    found.look()
    assert knot() is not None, len(kept)
    resting = True
    found.look()
    assert knot() is None
