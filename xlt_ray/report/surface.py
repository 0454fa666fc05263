"""The response surface of a sweep: the score on source dev over what was searched."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xlt_ray.report.figures import COLOURS, Pictures, new_figure, pictures_of
from xlt_ray.report.sweep import Scope, SweepTrial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 12
"""A key with at most so many values is drawn with a place for each."""
_PER_LINE = 3


def surface_figure(scope: Scope, keys: Sequence[str], *, heading: str) -> Pictures:
    """The score of every finished trial over each key; two keys of few values as one map.

    Args:
        scope: A search with at least one finished trial.
        keys: What was searched.
        heading: Title of the figure.
    """
    trials = [trial for trial in scope.trials if trial.source_dev is not None]
    note = "score on source dev (%); ringed: the best trial"
    if len(keys) == 2 and all(len(values_of(trials, key)) <= FEW for key in keys):
        with new_figure(5.2, 4.2, heading, note) as figure:
            _draw_map(figure.subplots(), trials, keys[0], keys[1], scope.best)
            return pictures_of(figure)
    lines = -(-len(keys) // _PER_LINE)
    with new_figure(3.4 * min(len(keys), _PER_LINE), 2.8 * lines + 0.6, heading, note) as figure:
        axes = figure.subplots(lines, min(len(keys), _PER_LINE), squeeze=False).flat
        for own, key in zip(axes, keys, strict=False):
            _draw_key(own, trials, key, scope.best)
        for own in list(axes)[len(keys) :]:
            own.set_axis_off()
        return pictures_of(figure)


def values_of(trials: Sequence[SweepTrial], key: str) -> list[Any]:
    """The distinct values of a key, numbers in their order, others as they came up."""
    found = list(dict.fromkeys(trial.parameters[key] for trial in trials))
    return sorted(found) if all(isinstance(item, (int, float)) for item in found) else found


def cells(trials: Sequence[SweepTrial], across: str, down: str) -> Mapping[tuple[Any, Any], float]:
    """The score by values of two keys, times 100; the best where several trials share a cell."""
    found: dict[tuple[Any, Any], float] = {}
    for trial in trials:
        cell = (trial.parameters[across], trial.parameters[down])
        found[cell] = max(found.get(cell, 0.0), 100 * (trial.source_dev or 0.0))
    return found


def _draw_map(
    axes: "Axes", trials: Sequence[SweepTrial], down: str, across: str, best: SweepTrial | None
) -> None:
    columns, rows = values_of(trials, across), values_of(trials, down)
    found = cells(trials, across, down)
    grid = [[found.get((column, row), float("nan")) for column in columns] for row in rows]
    axes.imshow(grid, cmap="cividis", aspect="auto")
    middle = (min(found.values()) + max(found.values())) / 2
    for (column, row), score in found.items():
        axes.text(
            columns.index(column), rows.index(row), f"{score:.2f}", ha="center", va="center",
            color="white" if score <= middle else "black",
        )  # fmt: skip
    if best is not None:
        place = (columns.index(best.parameters[across]), rows.index(best.parameters[down]))
        axes.plot(*place, "o", markersize=34, fillstyle="none", color=COLOURS[1])
    axes.set_xticks(range(len(columns)), [f"{value}" for value in columns])
    axes.set_yticks(range(len(rows)), [f"{value}" for value in rows])
    axes.grid(visible=False)
    axes.set(xlabel=across, ylabel=down)


def _draw_key(
    axes: "Axes", trials: Sequence[SweepTrial], key: str, best: SweepTrial | None
) -> None:
    values = values_of(trials, key)
    has_places = len(values) <= FEW

    def place(trial: SweepTrial) -> float:
        value = trial.parameters[key]
        return values.index(value) if has_places else value

    scores = [100 * (trial.source_dev or 0.0) for trial in trials]
    axes.plot([place(trial) for trial in trials], scores, "o", color=COLOURS[0], markersize=4)
    if best is not None:
        score = 100 * (best.source_dev or 0.0)
        axes.plot(place(best), score, "o", markersize=9, fillstyle="none", color=COLOURS[1])
    if has_places:
        axes.set_xticks(range(len(values)), [f"{value}" for value in values])
    elif min(values) > 0 and max(values) > 20 * min(values):
        axes.set_xscale("log")
    axes.set(xlabel=key, ylabel="source dev (%)")
