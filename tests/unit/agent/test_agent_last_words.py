"""The end of a log as the reason of a container's end."""

from pathlib import Path

import msgspec
import pytest

from tierline_devcluster.agent.pod.lastwords import last_words
from tierline_devcluster.agent.pod.spec import Container

ASKED = Container(name="main", termination_message_policy="FallbackToLogsOnError")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_text("".join(f"line {number}\n" for number in range(1000)))
    return path


def test_a_failure_is_explained_by_the_last_lines(log: Path) -> None:
    words = last_words(ASKED, log, 2)
    assert words.endswith("line 999\n")
    assert words.startswith("line 920\n")


def test_long_lines_are_cut_from_the_front(log: Path) -> None:
    log.write_text("x" * 5000 + "end")
    assert last_words(ASKED, log, -9) == "x" * 2045 + "end"


def test_nothing_is_quoted_after_success_or_unasked(log: Path) -> None:
    assert last_words(ASKED, log, 0) == ""
    assert last_words(msgspec.structs.replace(ASKED, termination_message_policy="File"), log, 1) == ""


def test_a_log_that_is_gone_says_nothing(tmp_path: Path) -> None:
    assert last_words(ASKED, tmp_path / "none.log", 1) == ""
