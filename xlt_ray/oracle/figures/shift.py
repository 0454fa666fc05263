"""Page and figures of a study of prior shift: improvement over zero-shot by total variation, and
zero-shot scores by the shift of features and of priors."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from xlt_ray.report.figures import COLOURS, MARKERS, Pictures, new_figure, pictures_of
from xlt_ray.report.tables import markdown_table

BINS = (0.0, 0.1, 0.2, 0.3, 0.4, 1.01)
"""Edges of the bands of total variation that the page has a column for."""

MOST_LINES = 60
"""Lines up to which the page has the table of weights."""


Unit = Literal["percent", "points"]
"""Of an improvement: relative to zero-shot, or in points of the score."""


@dataclass(frozen=True)
class Point:
    """A run on a subset, for one target.

    Attributes:
        subset: Number of the subset.
        row: Row of the comparison.
        seed: Seed of the run.
        target: Target language.
        tv: Total variation of the priors of source and target, in [0, 1].
        zero_shot: Score of the model that the run starts from.
        final: Score of its result.
        shares: [K] class shares of the target text.
        weights: [K] importance weights at the end, if the row has any.
        source: [K] class shares of the source.
        feature_shift: Conditional shift of the features of the zero-shot model; None: not measured.
        uncorrected: [K] class shares of what the zero-shot model predicts, if the row has weights.
    """

    subset: int
    row: str
    seed: int
    target: str
    tv: float
    zero_shot: float
    final: float
    shares: tuple[float, ...]
    weights: tuple[float, ...]
    source: tuple[float, ...]
    feature_shift: float | None = None
    uncorrected: tuple[float, ...] = ()

    def gain(self, unit: Unit) -> float:
        """Improvement over zero-shot, times 100; of a zero-shot score of 0 it is in points."""
        whole = self.zero_shot if unit == "percent" and self.zero_shot else 1.0
        return 100 * (self.final - self.zero_shot) / whole

    @property
    def weight_error(self) -> float | None:
        """Total variation between the implied and the true prior of the target."""
        if not self.weights:
            return None
        implied = np.array(self.weights) * np.array(self.source)
        return float(0.5 * np.abs(implied - np.array(self.shares)).sum())

    @property
    def uncorrected_error(self) -> float | None:
        """The same of the shares of the zero-shot model's predictions, without any correction."""
        if not self.uncorrected:
            return None
        return float(0.5 * np.abs(np.array(self.uncorrected) - np.array(self.shares)).sum())


def trend(points: Sequence[Point], unit: Unit) -> tuple[float, float]:
    """Least-squares line of the gain by total variation: its value at 0 and its slope."""
    x, y = np.array([p.tv for p in points]), np.array([p.gain(unit) for p in points])
    if len(points) < 2 or np.ptp(x) == 0:
        return float(y.mean()), 0.0
    slope, level = np.polyfit(x, y, 1)
    return float(level), float(slope)


def shift_figure(points: Sequence[Point], *, heading: str, unit: Unit) -> Pictures:
    """A dot per run and target, and the least-squares line of each row."""
    rows = list(dict.fromkeys(point.row for point in points))
    note = "dots: single runs and targets; lines: least squares"
    with new_figure(7.0, 4.6, heading, note) as figure:
        axes = figure.subplots()
        for look, row in enumerate(rows):
            own = [point for point in points if point.row == row]
            colour, marker = COLOURS[look % len(COLOURS)], MARKERS[look % len(MARKERS)]
            x = [point.tv for point in own]
            axes.plot(x, [point.gain(unit) for point in own], marker, color=colour, markersize=3,
                      alpha=0.6, linestyle="")  # fmt: skip
            level, slope = trend(own, unit)
            ends = np.array([min(x), max(x)])
            axes.plot(ends, level + slope * ends, color=colour, linewidth=1.4, label=row)
        axes.axhline(0, color="#000000", linewidth=0.8)
        axes.set(xlabel="total variation of the class priors of source and target",
                 ylabel=f"improvement over zero-shot ({_SIGNS[unit]})")  # fmt: skip
        axes.legend()
        return pictures_of(figure)


_SIGNS: dict[Unit, str] = {"percent": "%", "points": "points"}


def zero_shot_figure(points: Sequence[Point], *, heading: str) -> Pictures:
    """Zero-shot scores by the shift of features, by that of priors, and by both (the darker a dot,
    the higher the score); each subset, target and seed once.

    Args:
        points: Points with a feature shift.
        heading: Title of the figure.
    """
    own = list({(p.subset, p.target, p.seed): p for p in points}.values())
    shift, tv = ([p.feature_shift for p in own], [p.tv for p in own])
    scores = [100 * p.zero_shot for p in own]
    note = "dots: subsets, targets and seeds; gold was counted after the runs"
    shifts, priors = "shift of features (L1)", "total variation of priors"
    with new_figure(10.5, 3.8, heading, note) as figure:
        left, middle, joint = figure.subplots(1, 3)
        for axes, x, label in ((left, shift, shifts), (middle, tv, priors)):
            axes.plot(x, scores, MARKERS[0], color=COLOURS[0], markersize=3, linestyle="")
            axes.set(xlabel=label, ylabel="zero-shot score (%)")
        joint.scatter(shift, tv, c=scores, cmap="Greys", edgecolors=COLOURS[0], s=16)
        joint.set(xlabel=shifts, ylabel=priors)
        return pictures_of(figure)


def markdown(name: str, points: Sequence[Point], unit: Unit = "points") -> str:
    """The page: mean gain by band of total variation, the line of each row, errors of weights."""
    rows = list(dict.fromkeys(point.row for point in points))
    bands = [f"{low:g} to {min(high, 1):g}" for low, high in pairwise(BINS)]
    lines = []
    for row in rows:
        own = [point for point in points if point.row == row]
        cells = []
        for low, high in pairwise(BINS):
            inside = [point.gain(unit) for point in own if low <= point.tv < high]
            cells.append(f"{statistics.fmean(inside):+.2f} ({len(inside)})" if inside else "-")
        level, slope = trend(own, unit)
        errors = [point.weight_error for point in own if point.weight_error is not None]
        error = f"{statistics.fmean(errors):.3f}" if errors else "-"
        line = f"{round(level, 2) + 0.0:+.2f} {round(slope, 2) + 0.0:+.2f} TV"
        bare = [p.uncorrected_error for p in own if p.uncorrected_error is not None]
        lines.append([row, *cells, line, error, f"{statistics.fmean(bare):.3f}" if bare else "-"])
    scores = statistics.fmean(100 * point.zero_shot for point in points)
    parts = [
        f"# {name}",
        f"Improvement over zero-shot ({_SIGNS[unit]}) by total variation of the class priors of "
        "source and target; in brackets how many runs and targets. Line: least squares. Weights: "
        "total variation between the target prior that the last importance weights imply and the "
        "true one; uncorrected: of what the zero-shot model predicts. "
        f"Zero-shot is at {scores:.2f} on average. Gold was counted after the runs, for this "
        "page alone.",
        markdown_table(["row", *bands, "line", "weights", "uncorrected"], lines, left=1),
    ]
    weighted = weights_table(points)
    if 0 < len(weighted) <= MOST_LINES:
        classes = [f"w{label}" for label in range(1, len(points[0].shares) + 1)]
        head = ["row", "subset", "target", "TV", *classes]
        parts += [
            "Importance weights by class at the end, mean of the seeds; in brackets the true ones.",
            markdown_table(head, weighted, left=3),
        ]
    return "\n\n".join(parts) + "\n"


def weights_table(points: Sequence[Point]) -> list[list[str]]:
    """Estimated and true weights of every row that has some, subset and target."""
    keys = dict.fromkeys((p.row, p.subset, p.target) for p in points if p.weights)
    lines = []
    for key in keys:
        own = [p for p in points if (p.row, p.subset, p.target) == key]
        found = np.mean([p.weights for p in own], axis=0)
        source, target = (np.array(own[0].source), np.array(own[0].shares))
        true = np.divide(target, source, out=np.zeros_like(target), where=source > 0)
        cells = [f"{w:.2f} ({known:.2f})" for w, known in zip(found, true, strict=True)]
        lines.append([key[0], str(key[1]), key[2], f"{own[0].tv:.2f}", *cells])
    return lines
