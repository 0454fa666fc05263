"""Pages for the browser: whole by themselves, text of users is no markup, all is told."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from tests.reports import example
from tests.unit.test_report_compare import comparison
from xlt_ray.report import svg
from xlt_ray.report.page import comparison_page, printed, run_page, usage, warnings
from xlt_ray.report.record import Report, RoundReport, StepReport
from xlt_ray.report.tables import NOTHING_SCORED
from xlt_ray.report.timeline import IDLE, timeline

VOID = {"meta", "br", "img", "input", "link", "hr"}
STEPS = [
    StepReport("source train text", "text", "a", 7.0, False),
    StepReport("source <b>", "model", "b", 120.0, True),
    StepReport("round 1", "model", "c", 60.0, False),
]


def ledger(bad: int = 0) -> list[dict[str, Any]]:
    return [
        {"title": step.title, "kind": step.kind, "fingerprint": step.fingerprint,
         "seconds": step.seconds, "cached": step.cached, "info": {"quarantined": bad}}
        for step in STEPS
    ]  # fmt: skip


def events() -> list[dict[str, Any]]:
    """Two sessions, an hour apart; step b was computed by another run."""
    resources = {"annotators": [2, 4], "annotator_cpus": 1, "annotator_gpus": 0.0,
                 "train_workers": 0, "train_cpus": 2, "train_gpus": 0.0}  # fmt: skip
    return [
        {"event": "session", "time": 100.0, "resources": resources},
        {"event": "started", "time": 101.0, "fingerprint": "a"},
        {"event": "finished", "time": 108.0, "fingerprint": "a", "cached": False},
        {"event": "finished", "time": 108.5, "fingerprint": "b", "cached": True},
        {"event": "started", "time": 109.0, "fingerprint": "c"},
        {"event": "session", "time": 3700.0, "resources": resources},
        {"event": "finished", "time": 3701.0, "fingerprint": "a", "cached": True},
        {"event": "started", "time": 3702.0, "fingerprint": "c"},
        {"event": "finished", "time": 3762.0, "fingerprint": "c", "cached": False},
        {"event": "scored", "time": 3770.0, "driver_mb": 1234},
    ]


def run(**changes: Any) -> Report:
    rounds = [
        RoundReport(1, {"nl": 120, "de": 80}, {"1": 200}, 0.61),
        RoundReport(2, {"nl": 110, "de": 0}, {"1": 60, "2": 50}, 0.655, None, 0.1234),
    ]
    return example(**{"rounds": rounds, "steps": STEPS, "benchmark": "wikiann", **changes})


class Tags(HTMLParser):
    """Checks that every element is closed where it should be, and gathers what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.fetched == []
    assert not {"script", "link", "img", "iframe"} & tags.seen
    assert not re.search(r"https?:|url\(|@import", page)
    return tags


def test_a_run_is_one_page_that_fetches_nothing() -> None:
    page = run_page(run(), ledger(3), events())
    assert {"table", "svg", "style"} <= checked(page).seen
    for text in (
        "cltp-toy-s0",
        "33.33",
        "+25.00",
        "12.34 %",
        "1,234 MB",
        "2 to 4; CPUs 1",
        "source &lt;b&gt;",
        "3 rows could not be used",
        "Round 2 selected nothing of de",
    ):
        assert text in page, text


def test_printed_rows_of_the_method_stand_beside_it() -> None:
    ((table, rows),) = printed(run())
    assert (table.paper, table.table) == ("CLTP", "1")
    assert {row.method for row in rows} == {"BL-Direct", "CLTP"}
    page = run_page(run(), ledger(), events())
    assert "Not measured here" in page
    assert "75.5" in page
    assert printed(run(benchmark="toy")) == []
    assert "Not measured here" not in run_page(run(benchmark="toy"), ledger(), events())


def test_text_of_users_is_no_markup() -> None:
    report = run(run="<i>x</i>", notes=["a <script> & b"], targets=["<u>"], final={}, zero_shot={})
    page = run_page(report, ledger(), events())
    checked(page)
    assert "<i>x" not in page
    assert "a &lt;script&gt; &amp; b" in page


def test_a_run_without_rounds_scores_or_history_has_a_page() -> None:
    page = run_page(run(rounds=[], final={}, zero_shot={}, steps=[]), [], [])
    checked(page)
    assert NOTHING_SCORED in page
    assert "<th>zero-shot</th>" not in page
    assert "final, average" not in page


def test_what_a_reader_has_to_know() -> None:
    report = run(final={"en": {"f1": 0.9}, "nl": {"f1": 0.4}}, notes=["few companions"])
    assert warnings(report, ledger(2))[:3] == [
        "few companions.",
        "Not scored, for they have no test text: de.",
        "source train text: 2 rows could not be used and are quarantined.",
    ]
    assert warnings(report, [])[-1] == "Worse than the source model alone: nl."


def test_usage_is_that_of_the_last_session() -> None:
    assert usage(events()) == [
        ("Annotators", "2 to 4; CPUs 1, GPUs 0 each"),
        ("Training", "in the driver's process; CPUs 2"),
        ("Sessions", "2"),
        ("Last session", "1 min 10 s"),
        ("Memory of the driver, peak", "1,234 MB"),
    ]
    assert usage([]) == []


def test_the_time_line_leaves_pauses_out() -> None:
    bars, length = timeline(ledger(), events())
    assert [bar.title for bar in bars] == [step.title for step in STEPS]
    assert (bars[0].start, bars[0].end) == (0.0, 7.0)
    assert (bars[1].start, bars[1].end, bars[1].cached) == (None, None, True)
    assert (bars[2].start, bars[2].end) == (7.0 + IDLE, 67.0 + IDLE)
    assert length == 67.0 + IDLE
    assert timeline([], []) == ([], 0.0)


def test_steps_at_once_overlap_on_the_time_line() -> None:
    history = [
        {"event": "started", "time": 10.0, "fingerprint": "a"},
        {"event": "started", "time": 12.0, "fingerprint": "c"},
        {"event": "finished", "time": 30.0, "fingerprint": "c", "cached": False},
        {"event": "finished", "time": 40.0, "fingerprint": "a", "cached": False},
    ]
    bars, length = timeline(ledger(), history)
    assert [(bar.start, bar.end) for bar in bars] == [(0.0, 30.0), (None, None), (2.0, 20.0)]
    assert length == 30.0


@pytest.mark.parametrize(
    "picture",
    [
        svg.moved(0.2, 0.4, 0.2, 0.4),
        svg.moved(None, None, 0.0, 0.0),
        svg.bar(3, 0, "none"),
        svg.interval(0.5, None, 0.5, 0.5),
        svg.interval(None, None, 0.0, 1.0),
        svg.stack({}, []),
        svg.stack({}, ["1"]),
        svg.course([None, None], ["1", "2"]),
        svg.course([0.5, None, 0.5], ["<1>", "2", "3"]),
        svg.span(1.0, 1.0, '"', "bar"),
    ],
)
def test_pictures_of_what_is_missing_or_the_same_are_well_formed(picture: str) -> None:
    checked(picture)
    assert "nan" not in picture
    for share in re.findall(r"(-?[\d.]+)%", picture):
        assert 0 <= float(share) <= 100


def test_pictures_show_what_they_are_told() -> None:
    up, down = svg.moved(0.2, 0.3, 0.0, 0.4), svg.moved(0.3, 0.2, 0.0, 0.4)
    assert 'class="way up"' in up
    assert 'class="way down"' in down
    assert 'cx="50.00%"' in up
    assert 'width="25.00%"' in svg.bar(1, 4, "x")
    both = svg.stack({"1": 3, "2": 1}, ["1", "2"])
    assert 'class="part part0" y="3" height="12" x="0.00%" width="75.00%"' in both
    assert 'class="part part1" y="3" height="12" x="75.00%" width="25.00%"' in both
    assert svg.signed(-0.025) == "\N{MINUS SIGN}2.50"


def test_a_comparison_is_one_page() -> None:
    found = comparison()
    page = comparison_page(found)
    checked(page)
    for row in found.rows:
        assert row.title in page
    for table in found.published:
        assert f"Published: {table.paper}, Table {table.table}" in page
    assert 'class="best"' in page
