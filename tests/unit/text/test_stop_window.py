from hypothesis import given
from hypothesis import strategies as st

from tierline.text.stops import StopWindow


def drive(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    window = StopWindow(stops)
    shown = ""
    for piece in pieces:
        result = window.feed(piece)
        shown += result.text
        if result.stopped:
            return shown, True
    return shown + window.flush(), False


def test_a_stop_string_across_pieces_is_found_and_not_shown() -> None:
    assert drive(["END"], ["abc E", "N", "D tail"]) == ("abc ", True)


def test_a_false_start_is_shown_in_the_end() -> None:
    assert drive(["END"], ["abc E", "N"]) == ("abc EN", False)


def test_without_stops_nothing_is_held_back() -> None:
    window = StopWindow([])
    assert window.feed("abc").text == "abc"


def test_the_earliest_stop_wins() -> None:
    assert drive(["cd", "b"], ["abcd"]) == ("a", True)


@given(
    stops=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
    pieces=st.lists(st.text("abc", max_size=4), max_size=12),
)
def test_borders_between_pieces_change_nothing(stops: list[str], pieces: list[str]) -> None:
    shown, stopped = drive(stops, pieces)
    whole = "".join(pieces)
    assert whole.startswith(shown)
    assert stopped == any(stop in whole for stop in stops)
    if not stopped:
        assert shown == whole
    assert not any(stop in shown for stop in stops)
