from typing import cast

from tierline_gateway.instruments import Instruments
from tierline_gateway.streams.answer_text import AnswerText
from tierline_gateway.streams.delivery import DeliveryTimes


def test_times_of_a_delivery() -> None:
    times = DeliveryTimes()
    assert times.tpot_ms() is None
    for tokens, at in ((1, 100.0), (0, 150.0), (1, 120.0), (2, 220.0)):
        times.delivered(tokens, at)
    assert (times.first_ms, times.last_ms, times.tokens, times.max_gap_ms) == (100.0, 220.0, 4, 100.0)
    assert times.tpot_ms() == 40.0


def spell(ids: object) -> str:
    return "".join(chr(one) for one in cast("list[int]", ids))


def test_text_stops_at_a_stop_string_across_tokens() -> None:
    text = AnswerText(spell, ["END"])
    shown = "".join(text.feed(ord(letter)) for letter in "abEN")
    assert (shown, text.stopped) == ("ab", False)
    assert text.feed(ord("D")) == ""
    assert text.stopped
    assert text.finish() == ""


def test_held_back_text_comes_at_the_end() -> None:
    text = AnswerText(spell, ["END"])
    shown = "".join(text.feed(ord(letter)) for letter in "abEN")
    assert shown + text.finish() == "abEN"


def test_tenants_beyond_the_cap_share_a_label() -> None:
    instruments = Instruments()
    labels = {instruments.tenant_label(f"t{at}") for at in range(500)}
    assert len(labels) == 201
    assert instruments.tenant_label("t0") == "t0"
    assert instruments.tenant_label("t499") == "_other"
