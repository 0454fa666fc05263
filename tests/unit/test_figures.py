"""Figures: what the panels show, by hand, and that the pictures are whole, alike and labelled."""

import re
import struct
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from tests.reports import example
from xlt_ray.config.errors import ConfigError
from xlt_ray.report.comparison import Comparison, ComparisonRow, ScoredRun
from xlt_ray.report.figures import (
    COLOURS,
    MARKERS,
    Bars,
    Curve,
    Panel,
    accuracy_figure,
    accuracy_panels,
    comparison_bars,
    comparison_figure,
    draw_bars,
    draw_lines,
    recall_figure,
    recall_panels,
    require_matplotlib,
)
from xlt_ray.report.published import published
from xlt_ray.report.record import Report


def recall_record(**changes: Any) -> dict[str, Any]:
    shares = {"recall": 0.9, "accuracy": 0.8, "mean_size": 1.25, "several": 0.2, "noise": 0.1}
    place = {"language": "all", "part": "all", "measure": "max_probability", "by": "share"}
    return {"row": "cltp", "seed": 0, "at": 10, "items": 40, **place, **shares, **changes}


def picked_record(**changes: Any) -> dict[str, Any]:
    shares = {"recall": 0.9, "accuracy": 0.8, "mean_size": 1.25, "several": 0.2, "noise": 0.1}
    place = {"language": "all", "part": "all", "row": "cltp", "seed": 0, "round": 1}
    return {"items": 40, "model": 0.65, **place, **shares, **changes}


def report(average: float, *, seed: int, zero_shot: float = 0.4) -> Report:
    """A report of two targets around an average, and a source that does not count."""

    def scores(mean: float) -> dict[str, dict[str, float]]:
        values = {"nl": mean - 0.1, "de": mean + 0.1, "en": 1.0}
        return {name: {"f1": value, "support": 5} for name, value in values.items()}

    config = {"seed": seed, "method": {}}
    return example(zero_shot=scores(zero_shot), final=scores(average), config=config)


def comparison(averages: dict[str, list[float]], **changes: Any) -> Comparison:
    rows = [
        ComparisonRow(
            title,
            [ScoredRun(report(value, seed=i, **changes), {}) for i, value in enumerate(values)],
        )
        for title, values in averages.items()
    ]
    return Comparison("test", rows, published("CLTP", "3"), {})


def texts(svg: bytes) -> list[str]:
    """The texts of a picture, which stand in comments above their outlines."""
    return re.findall(r"<!-- (.*?) -->", svg.decode(), re.DOTALL)


def test_recall_panels_by_hand() -> None:
    """Two seeds: recall 0.9 and 0.8 have mean 0.85 and deviation 0.0707; one seed has none."""
    records = [
        recall_record(at=20, recall=0.7),
        recall_record(),
        recall_record(seed=1, recall=0.8, accuracy=0.7, mean_size=1.75),
        recall_record(seed=1, at=20, recall=0.5),
        recall_record(measure="entropy", part="entities"),
        recall_record(language="xx", recall=0.0),
        recall_record(by="size", at=1, recall=0.0),
    ]
    (recall, size), (entities, _) = recall_panels(records)
    assert [curve.label for curve in recall.curves] == [
        "max probability", "max probability: likeliest class",
    ]  # fmt: skip
    sets, label = recall.curves
    assert sets.x == [10, 20]
    assert sets.y == pytest.approx([85, 60])
    assert sets.spread == pytest.approx([5 * 2**0.5, 10 * 2**0.5])
    assert label.y == pytest.approx([75, 80])
    assert (sets.is_dashed, label.is_dashed, sets.look) == (False, True, label.look)
    assert size.curves[0].y == pytest.approx([1.5, 1.25])
    assert recall.title == "all items: sets that hold the gold class"
    assert entities.title == "words in entities: sets that hold the gold class"
    assert (entities.curves[0].label, entities.curves[0].spread) == ("entropy", [])


def test_accuracy_panels_by_hand() -> None:
    """A method that stopped after one round; seeds that had different numbers of rounds."""
    records = [
        picked_record(row="bl_joint", items=100),
        picked_record(),
        picked_record(seed=1, accuracy=0.6),
        picked_record(round=2, accuracy=0.5, recall=0.75, items=30),
        picked_record(language="xx", accuracy=0.0),
        picked_record(part="entities", accuracy=0.1, model=None),
    ]
    (accuracy, share, items), (entities, *_) = accuracy_panels(records)
    joint, joint_model, cltp, model = accuracy.curves
    assert (model.label, model.is_dashed, model.look) == ("cltp: model", True, cltp.look)
    assert model.y == pytest.approx([65, 65])
    assert joint_model.look == joint.look
    assert (joint.label, joint.x, joint.look) == ("bl_joint", [1], 0)
    assert (cltp.label, cltp.x, cltp.look) == ("cltp", [1, 2], 1)
    assert cltp.y == pytest.approx([70, 50])
    assert cltp.spread == pytest.approx([10 * 2**0.5, 0])
    assert share.curves[1].y == pytest.approx([90, 75])
    assert items.curves[1].y == pytest.approx([40, 30])
    assert items.curves[0].y == [100]
    assert all(panel.has_whole_steps for panel in (accuracy, share, items))
    assert entities.curves[0].x == []
    assert entities.curves[1].y == pytest.approx([10])
    assert entities.curves[1].look == 1


def test_comparison_bars_by_hand() -> None:
    measured, printed = comparison_bars(comparison({"a": [0.5, 0.6], "b": [0.7, 0.7]}))
    assert measured.names == ["a", "b"]
    assert measured.values == pytest.approx([55, 70])
    assert measured.spread == pytest.approx([5 * 2**0.5, 0])
    assert [list(values) for values in measured.points] == [
        pytest.approx([50, 60]), pytest.approx([70, 70]),
    ]  # fmt: skip
    assert measured.line is not None
    assert measured.line == ("zero-shot", pytest.approx(40))
    assert "toy, seeds 0, 1" in measured.title
    assert "mean of 2 targets" in measured.x_label
    assert printed.values == [74.6, 72.9, 75.5, 73.4]
    assert printed.names[1] == "lambda=4, tau=5"
    assert "not comparable" in printed.title
    assert "XLM-R-large" in printed.x_label
    assert (printed.points, printed.spread, printed.line) == ((), (), None)


def test_one_seed_has_no_whiskers() -> None:
    measured, _ = comparison_bars(comparison({"a": [0.5]}))
    assert (measured.points, measured.spread) == ((), ())
    assert measured.title.endswith("seed 0")


def test_rows_with_starts_of_their_own_share_no_line() -> None:
    rows = [*comparison({"a": [0.5]}).rows, *comparison({"b": [0.5]}, zero_shot=0.3).rows]
    assert comparison_bars(Comparison("test", rows, [], {}))[0].line is None


def draw_all() -> dict[str, dict[str, bytes]]:
    recall = [
        recall_record(measure=measure, at=at)
        for measure in ("dissonance", "max_probability", "entropy")
        for at in range(10, 101, 10)
    ]
    picked = [picked_record(round=number, seed=seed) for number in (1, 2) for seed in (0, 1)]
    return {
        "recall": recall_figure(recall, heading="Sets on toy, seed 0"),
        "accuracy": accuracy_figure(picked, heading="Labels on toy, seed 0"),
        "bars": comparison_figure(comparison({"a": [0.5, 0.6]}), heading="Penalty"),
    }


@pytest.fixture(scope="module")
def drawn() -> dict[str, dict[str, bytes]]:
    return draw_all()


@pytest.mark.slow
def test_pictures_are_whole(drawn: dict[str, dict[str, bytes]]) -> None:
    for pictures in drawn.values():
        assert set(pictures) == {"svg", "png"}
        assert ElementTree.fromstring(pictures["svg"]).tag == "{http://www.w3.org/2000/svg}svg"
        assert pictures["png"].startswith(b"\x89PNG")
        width, height = struct.unpack(">II", pictures["png"][16:24])
        assert 500 < width < 2500
        assert 300 < height < 2500


@pytest.mark.slow
def test_pictures_repeat_to_the_byte(drawn: dict[str, dict[str, bytes]]) -> None:
    assert draw_all() == drawn
    assert not any(b"<dc:date>" in pictures["svg"] for pictures in drawn.values())


@pytest.mark.slow
def test_pictures_say_what_they_show(drawn: dict[str, dict[str, bytes]]) -> None:
    shown = {name: texts(pictures["svg"]) for name, pictures in drawn.items()}
    assert any(text.startswith("Sets on toy, seed 0") for text in shown["recall"])
    for wanted in ("recall (%)", "mean size (classes)", "dissonance", "entropy: likeliest class"):
        assert wanted in shown["recall"]
    for wanted in ("round", "accuracy (%)", "share (%)", "items", "cltp"):
        assert wanted in shown["accuracy"]
    for wanted in ("55.0", "74.6", "lambda=4, tau=10", "zero-shot 40.0"):
        assert wanted in shown["bars"]


def test_rounds_are_whole_numbers() -> None:
    panel = Panel("t", "round", "y", [Curve("c", [1, 2], [1.0, 2.0])], has_whole_steps=True)
    ticks = texts(draw_lines([[panel]], heading="h", note="")["svg"])
    assert {"1", "2"} <= set(ticks)
    assert "1.2" not in ticks[: ticks.index("round")]


def test_bars_start_at_zero() -> None:
    """A bar twice as long is twice the value: the outlines are 0 to 40 and 0 to 80 wide."""
    bars = Bars("t", "x", ["a", "b"], [40.0, 80.0])
    svg = draw_bars([bars], heading="h", note="")["svg"].decode()
    paths = re.findall(
        rf'<path d="M (\S+) \S+ \nL (\S+) [^"]*"[^>]*fill: {COLOURS[5].lower()}', svg
    )
    widths = [float(right) - float(left) for left, right in paths]
    assert widths[1] == pytest.approx(2 * widths[0], rel=1e-4)


def test_every_look_differs() -> None:
    assert len(set(COLOURS)) == len(COLOURS) == len(set(MARKERS)) == len(MARKERS)


@pytest.mark.slow
def test_the_users_own_style_does_not_matter() -> None:
    import matplotlib

    bars = [Bars("t", "x", ["a"], [1.0])]
    want = draw_bars(bars, heading="h", note="")
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "none"}):
        assert draw_bars(bars, heading="h", note="") == want
        assert matplotlib.rcParams["font.size"] == 30


def test_without_matplotlib_a_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_matplotlib()
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"pip install 'xlt-ray\[plots\]'"):
        require_matplotlib()
