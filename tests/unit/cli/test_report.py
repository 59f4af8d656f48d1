"""The report is one file that shows the run, and hides nothing that is unknown."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from synthetic_run import synthetic_run

from tierline.telemetry.records import Outcome
from tierline.telemetry.scorecard import build_scorecard
from tierline_cli.report.contents import ReportContents
from tierline_cli.report.page import render, unknowns, write_report

VOID = {"meta", "br", "img", "link", "use", "path", "rect", "line"}


class Page(HTMLParser):
    """Checks that tags nest, and remembers text, ids and references."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.external: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        links = [attributes.get(name) or "" for name in ("src", "href", "xlink:href")]
        self.external += [link for link in links if link.startswith(("http", "//"))]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def contents() -> ReportContents:
    records, facts = synthetic_run()
    return ReportContents("Demo", records, facts, build_scorecard(records, facts), environment={"Model": "<tiny>"})


@pytest.fixture(scope="module")
def page(contents: ReportContents) -> Page:
    return Page(render(contents))


def test_tags_nest_and_ids_are_unique(page: Page) -> None:
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))


def test_nothing_is_loaded_from_a_network(page: Page) -> None:
    assert page.external == []


def test_it_says_what_happened(page: Page, contents: ReportContents) -> None:
    moved = sum(record.interrupted for record in contents.records)
    assert f"1 spot node reclaimed, {moved} streams moved mid-answer" in page.text
    assert "spot notice: spot-0" in page.text
    for tier in contents.facts.tiers:
        assert tier.name in page.text


def test_every_unknown_is_explained(page: Page, contents: ReportContents) -> None:
    found = list(unknowns(contents.scorecard.document()))
    assert ("resources.sm_occupancy", "CPU workers have no streaming multiprocessors") in found
    for path, reason in found:
        assert path in page.text
        assert reason in page.text


def test_text_from_outside_is_escaped(page: Page) -> None:
    assert "<tiny>" in page.text


def test_a_run_that_fails_says_why(contents: ReportContents) -> None:
    text = Page(render(replace(contents, problems=("3 tokens lost, 0 doubled",)))).text
    assert "This run does not pass" in text
    assert "3 tokens lost, 0 doubled" in text


def test_a_run_in_which_nothing_was_served_still_has_a_report(contents: ReportContents, tmp_path) -> None:
    refused = tuple(
        replace(record, outcome=Outcome.REJECTED, token_times_ms=(), placements=(), interrupted=False)
        for record in contents.records
    )
    card = build_scorecard(refused, contents.facts)
    write_report(replace(contents, records=refused, scorecard=card), tmp_path / "report.html")
    assert "never served" in (tmp_path / "report.html").read_text()
