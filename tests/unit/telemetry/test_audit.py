"""The audit finds lost and doubled tokens, also where counts agree."""

import pytest

from tierline.telemetry.audit import StreamEvidence, audit_stream

IDS = (11, 12, 13, 14, 15, 16)


def audit(received: tuple[int, ...], **witnesses: object):
    return audit_stream(StreamEvidence(demanded_tokens=len(IDS), received_ids=received, **witnesses))  # type: ignore[arg-type]


def test_a_clean_stream() -> None:
    found = audit(IDS, reported_tokens=6, journal_ids=IDS, undisturbed_ids=IDS)
    assert (found.lost, found.doubled, found.problems) == (0, 0, ())


def test_a_short_stream_lost_tokens() -> None:
    found = audit(IDS[:4])
    assert (found.lost, found.doubled) == (2, 0)
    assert "received 4 tokens, the request demands 6" in found.problems[0]


def test_a_long_stream_doubled_tokens() -> None:
    assert audit((*IDS, 16)).doubled == 1


def test_usage_that_disagrees() -> None:
    assert audit(IDS, reported_tokens=7).lost == 1


@pytest.mark.parametrize("at", range(1, 5))
def test_a_doubled_token_that_pushed_out_the_last_one(at: int) -> None:
    received = (*IDS[:at], IDS[at - 1], *IDS[at:-1])
    found = audit(received, undisturbed_ids=IDS)
    assert (found.lost, found.doubled) == (0, 1)
    assert f"from position {at} on" in found.problems[0]


@pytest.mark.parametrize("at", range(1, 5))
def test_a_lost_token_made_up_for_at_the_end(at: int) -> None:
    found = audit((*IDS[:at], *IDS[at + 1 :], 17), undisturbed_ids=(*IDS, 17)[:6])
    assert found.lost == 1 or at == 5


def test_other_tokens_are_neither_lost_nor_doubled_but_told() -> None:
    found = audit((11, 12, 99, 98, 97, 96), undisturbed_ids=IDS)
    assert (found.lost, found.doubled) == (0, 0)
    assert "other tokens" in found.problems[0]


def test_the_journal_is_ahead_of_the_client() -> None:
    assert audit(IDS[:5], journal_ids=IDS).lost == 1
