"""Figures as SVG and PNG: what oracle analyses count, and the bars of a comparison.

Panels are data: what they show is worked out here and drawn by `draw_lines` and `draw_bars`. The
same data and the same version of matplotlib give the same bytes. Shares are drawn times 100.
matplotlib comes with the extra ``plots`` and is imported when something is drawn.
"""

import io
import statistics
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from xlt_ray.config.extras import require
from xlt_ray.report.comparison import Comparison
from xlt_ray.report.published import PublishedTable
from xlt_ray.report.tables import metric_name
from xlt_ray.report.write import WriteBytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
"""The palette of Okabe and Ito, which colour-blind readers can tell apart, without its yellow."""
MARKERS = "osD^vPX"
_LABEL_WIDTH = 40
"""Characters of a line of a label under bars, beside which names need room."""
PARTS = {
    "all": "all items",
    "entities": "words in entities",
    "predicted": "words predicted in entities",
}
"""What titles call the parts that are counted."""

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that every machine draws the same
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "xlt_ray",
    "savefig.dpi": 150,
}
_METADATA = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}

Pictures = dict[str, bytes]
"""A picture by format: "svg" and "png"."""
Record = Mapping[str, Any]
"""A row of an oracle analysis: what it is about, and its shares."""


@dataclass(frozen=True)
class Curve:
    """A line of a panel.

    Attributes:
        label: What the legend calls it.
        x: Positions, rising.
        y: Means over seeds.
        spread: Sample standard deviations over seeds, 0 where there is one; empty for one seed.
        look: Number of its colour and marker.
        is_dashed: Whether it is dashed and has no markers.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()
    look: int = 0
    is_dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """A pair of axes with lines.

    Attributes:
        title: Its title.
        x_label: What x is, with its unit.
        y_label: What y is, with its unit.
        curves: The lines.
        has_whole_steps: Whether x is numbered: 1, 2, 3 and nothing between.
    """

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    has_whole_steps: bool = False


@dataclass(frozen=True)
class Bars:
    """A pair of axes with one bar per name.

    Attributes:
        title: Its title.
        x_label: What the length is, with its unit.
        names: Names of the bars, from the top.
        values: Their lengths.
        points: Single values behind each mean, drawn as dots where there are several.
        spread: Sample standard deviations; empty for single values.
        line: A value to compare with, and its name.
    """

    title: str
    x_label: str
    names: Sequence[str]
    values: Sequence[float]
    points: Sequence[Sequence[float]] = ()
    spread: Sequence[float] = ()
    line: tuple[str, float] | None = None


def require_matplotlib() -> None:
    """Raises ConfigError, which says what to install, if matplotlib is missing."""
    require("matplotlib", "plots", "figures need")


def recall_panels(records: Sequence[Record]) -> list[list[Panel]]:
    """Recall and size of candidate sets by measure, over the items of least u (Figures 3, 4).

    Args:
        records: Rows with ``language`` "all" and ``by`` "share" are drawn: ``part``, ``measure``,
            ``at`` (percent), ``seed``, ``recall``, ``accuracy`` and ``mean_size``.

    Returns:
        A line of panels per part: recall, dashed the accuracy of the likeliest class in the same
        order where it is another, and the mean size.
    """
    drawn = [row for row in records if row["language"] == "all" and row["by"] == "share"]
    x_label = "items taken in the order of least u (%)"
    lines = []
    for part in _distinct(drawn, "part"):
        of_part = [row for row in drawn if row["part"] == part]
        recall, size = [], []
        for look, measure in enumerate(_distinct(of_part, "measure")):
            rows = [row for row in of_part if row["measure"] == measure]
            name = measure.replace("_", " ")
            recall.append(_curve(name, rows, x="at", y=_percent_of("recall"), look=look))
            if any(row["accuracy"] != row["recall"] for row in rows):
                label = _curve(f"{name}: likeliest class", rows, x="at", y=_percent_of("accuracy"))
                recall.append(replace(label, look=look, is_dashed=True))
            size.append(_curve(name, rows, x="at", y=_value_of("mean_size"), look=look))
        lines.append([
            Panel(f"{PARTS[part]}: sets that hold the gold class", x_label, "recall (%)", recall),
            Panel(f"{PARTS[part]}: classes per set", x_label, "mean size (classes)", size),
        ])  # fmt: skip
    return lines


def accuracy_panels(records: Sequence[Record]) -> list[list[Panel]]:
    """Accuracy of newly selected labels by round, a line per method (Figure 5).

    Args:
        records: Rows with ``language`` "all" are drawn: ``row`` (of the comparison), ``seed``,
            ``round``, ``part``, ``items``, ``accuracy``, ``recall`` and ``model``, the accuracy of
            the model that labelled them on all of the text that it labelled.

    Returns:
        A line of panels per part: accuracy of the labels and, dashed, of the model; share of the
        sets that hold the gold class; and how many items were selected.
    """
    drawn = [row for row in records if row["language"] == "all"]
    looks = {name: look for look, name in enumerate(_distinct(drawn, "row"))}
    accuracy = _percent_of("accuracy")
    views: list[tuple[str, str, Callable[[Record], float]]] = [
        ("labels that are right", "accuracy (%)", accuracy),
        ("sets that hold the gold class", "share (%)", _percent_of("recall")),
        ("newly selected", "items", _value_of("items")),
    ]
    lines = []
    for part in _distinct(drawn, "part"):
        of_part = [row for row in drawn if row["part"] == part]
        panels = []
        for title, y_label, y in views:
            curves = []
            for name, look in looks.items():
                rows = [row for row in of_part if row["row"] == name]
                curves.append(_curve(name, rows, x="round", y=y, look=look))
                known = [row for row in rows if row["model"] is not None]
                if y is accuracy and known:
                    own = _curve(f"{name}: model", known, x="round", y=_percent_of("model"))
                    curves.append(replace(own, look=look, is_dashed=True))
            panels.append(
                Panel(f"{PARTS[part]}: {title}", "round", y_label, curves, has_whole_steps=True)
            )
        lines.append(panels)
    return lines


def comparison_bars(comparison: Comparison) -> list[Bars]:
    """Measured averages of a comparison and, each on axes of its own, the published ones.

    The measured ones stand beside their common zero-shot average, if they have one.
    """
    first = comparison.first
    several = len(comparison.seeds) > 1
    averages = [[_known(t.report.average) for t in row.trials] for row in comparison.rows]
    zero_shot = {_known(row.zero_shot_average) for row in comparison.rows}
    measured = Bars(
        title=f"measured: {first.benchmark}, {_seeds(comparison.seeds)}",
        x_label=f"{metric_name(first.metric)}, mean of {len(first.counted)} targets (%)",
        names=[row.title for row in comparison.rows],
        values=[statistics.fmean(values) for values in averages],
        points=averages if several else (),
        spread=[statistics.stdev(values) for values in averages] if several else (),
        line=(comparison.before, zero_shot.pop()) if len(zero_shot) == 1 else None,
    )
    return [measured, *(_published_bars(table) for table in comparison.published)]


def recall_figure(records: Sequence[Record], *, heading: str) -> Pictures:
    """Figure of `recall_panels`; the heading says what was measured, with which seeds."""
    note = "u: uncertainty of the set; dashed: the likeliest class alone, in the same order"
    return draw_lines(recall_panels(records), heading=heading, note=note)


def accuracy_figure(records: Sequence[Record], *, heading: str) -> Pictures:
    """Figure of `accuracy_panels`; the heading says what was measured, with which seeds."""
    note = "gold was read after the runs, for this figure alone; dashed: the model that labelled"
    return draw_lines(accuracy_panels(records), heading=heading, note=note)


def comparison_figure(comparison: Comparison, *, heading: str) -> Pictures:
    """Figure of `comparison_bars`."""
    several = len(comparison.seeds) > 1
    note = "whiskers: sample standard deviation over seeds; dots: single seeds" if several else ""
    return draw_bars(comparison_bars(comparison), heading=heading, note=note)


def write_pictures(name: str, pictures: Pictures, write_bytes: WriteBytes) -> None:
    """Writes each format of a picture as a file of that name."""
    for kind, data in pictures.items():
        write_bytes(f"{name}.{kind}", data)


def draw_lines(lines: Sequence[Sequence[Panel]], *, heading: str, note: str) -> Pictures:
    """Panels with lines.

    Args:
        lines: Panels from the top, from the left; at least one, and as many in every line. Curves
            with one label look alike everywhere, and the legend has each label once.
        heading: Title of the figure.
        note: A sentence below that.
    """
    columns = len(lines[0])
    with new_figure(3.6 * columns, 2.9 * len(lines) + 1.0, heading, note) as figure:
        axes = figure.subplots(len(lines), columns, squeeze=False)
        for line, row in zip(lines, axes, strict=True):
            for panel, own in zip(line, row, strict=True):
                _draw_panel(own, panel)
        found = {}
        for own in axes.flat:
            handles, labels = own.get_legend_handles_labels()
            found |= dict(zip(labels, handles, strict=True))
        figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=columns + 1)
        return pictures_of(figure)


def draw_bars(panels: Sequence[Bars], *, heading: str, note: str) -> Pictures:
    """Panels of horizontal bars side by side, each with axes of its own from 0.

    Args:
        panels: The panels, at least one.
        heading: Title of the figure.
        note: A sentence below that.
    """
    most = max(len(panel.names) for panel in panels)
    with new_figure(5.2 * len(panels), 0.5 * most + 1.9, heading, note) as figure:
        (row,) = figure.subplots(1, len(panels), squeeze=False)
        for own, panel in zip(row, panels, strict=True):
            _draw_bars(own, panel)
        return pictures_of(figure)


def _draw_panel(axes: "Axes", panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    for curve in panel.curves:
        colour = COLOURS[curve.look % len(COLOURS)]
        axes.errorbar(
            curve.x,
            curve.y,
            yerr=list(curve.spread) or None,
            label=curve.label,
            color=colour,
            marker="" if curve.is_dashed else MARKERS[curve.look % len(MARKERS)],
            linestyle="--" if curve.is_dashed else "-",
            linewidth=1.2,
            markersize=4,
            capsize=2,
        )
    if panel.has_whole_steps:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)


def _draw_bars(axes: "Axes", panel: Bars) -> None:
    places = range(len(panel.names))
    axes.barh(places, panel.values, height=0.6, color=COLOURS[5], xerr=list(panel.spread) or None,
              capsize=3)  # fmt: skip
    for place, value in zip(places, panel.values, strict=True):
        axes.text(0.01 * max(panel.values), place, f"{value:.1f}", va="center")
    for place, values in zip(places, panel.points, strict=False):
        axes.plot(values, [place] * len(values), ".", color=COLOURS[4], markersize=4)
    if panel.line is not None:
        name, value = panel.line
        axes.axvline(value, color=COLOURS[1], linestyle="--", linewidth=1.2)
        axes.annotate(f"{name} {value:.1f}", (value, -0.6), color=COLOURS[1], ha="right",
                      xytext=(-3, 0), textcoords="offset points", va="center")  # fmt: skip
    axes.set_yticks(list(places), list(panel.names))
    axes.set_ylim(len(panel.names) - 0.5, -0.5 if panel.line is None else -0.9)
    axes.grid(axis="y", visible=False)
    axes.set(title=panel.title, xlabel="\n".join(textwrap.wrap(panel.x_label, _LABEL_WIDTH)))


@contextmanager
def new_figure(width: float, height: float, heading: str, note: str) -> Iterator["Figure"]:
    """An empty figure in the project's style, whatever the user's own matplotlibrc says."""
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle(f"{heading}\n{note}".strip(), fontsize=10)
        yield figure


def pictures_of(figure: "Figure") -> Pictures:
    """A finished figure in every format."""
    found = {}
    for name, metadata in _METADATA.items():
        sink = io.BytesIO()
        figure.savefig(sink, format=name, metadata=metadata)
        found[name] = sink.getvalue()
    return found


def _curve(
    label: str, rows: Sequence[Record], *, x: str, y: Callable[[Record], float], look: int = 0
) -> Curve:
    """Mean and standard deviation over the rows of one x, which are the seeds."""
    places = sorted({row[x] for row in rows})
    values = [[y(row) for row in rows if row[x] == place] for place in places]
    spread = []
    if any(len(group) > 1 for group in values):
        spread = [statistics.stdev(group) if len(group) > 1 else 0.0 for group in values]
    return Curve(label, places, [statistics.fmean(group) for group in values], spread, look)


def _percent_of(name: str) -> Callable[[Record], float]:
    return lambda row: 100 * row[name]


def _value_of(name: str) -> Callable[[Record], float]:
    return lambda row: row[name]


def _published_bars(table: PublishedTable) -> Bars:
    rows = [row for row in table.rows if row.average is not None]
    backbones = ", ".join(dict.fromkeys(row.backbone for row in rows))
    return Bars(
        title=f"published, not comparable: {table.paper}, Table {table.table}",
        x_label=f"{table.metric}, {backbones}, {table.dataset}",
        names=[row.setting or row.method for row in rows],
        values=[row.average for row in rows if row.average is not None],
    )


def _known(average: float | None) -> float:
    assert average is not None, "a comparison has targets besides the source"
    return 100 * average


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _distinct(rows: Sequence[Record], key: str) -> list[str]:
    return list(dict.fromkeys(row[key] for row in rows))
