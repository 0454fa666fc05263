"""What stands behind the averages of a comparison: rounds, settings, and parts that did nothing."""

from collections.abc import Mapping
from typing import Any

from xlt_ray.report.comparison import Comparison, ComparisonRow, Grid, mean_of
from xlt_ray.report.tables import percent

NOT_SETTINGS = {"name"}


def course_grid(comparison: Comparison) -> Grid | None:
    """Averages of every row after each round, over the seeds; None where no round was scored.

    A round that some seed did not reach is left empty.
    """
    courses = [_course(row) for row in comparison.rows]
    longest = max((len(course) for course in courses), default=0)
    if not longest:
        return None
    rows = []
    for row, course in zip(comparison.rows, courses, strict=True):
        known = [value for value in course if value is not None]
        rows.append(
            [
                row.title,
                percent(row.zero_shot_average),
                *(percent(value) for value in course),
                *["-"] * (longest - len(course)),
                percent(mean_of([trial.report.last_round_average for trial in row.trials])),
                percent(mean_of(known)),
                percent(row.average),
            ]
        )
    numbers = [str(number + 1) for number in range(longest)]
    columns = ["method", comparison.before, *numbers, "last round", "mean of rounds", "chosen"]
    return Grid(columns, rows)


def _course(row: ComparisonRow) -> list[float | None]:
    """Mean over the seeds of the averages after each round."""
    courses = [trial.report.course for trial in row.trials]
    longest = max((len(course) for course in courses), default=0)
    return [
        mean_of([course[at] if at < len(course) else None for course in courses])
        for at in range(longest)
    ]


def settings_grid(comparison: Comparison) -> Grid | None:
    """Keys that several rows have with different values; None where there are none."""
    methods = [_flat({**row.method, **row.target_labels}) for row in comparison.rows]
    keys = list(dict.fromkeys(key for method in methods for key in method))
    shown = []
    for key in keys:
        values = [method[key] for method in methods if key in method]
        if len(values) > 1 and any(value != values[0] for value in values[1:]):
            shown.append(key)
    if not shown:
        return None
    rows = [
        [row.title, *(_shown(method[key]) if key in method else "-" for key in shown)]
        for row, method in zip(comparison.rows, methods, strict=True)
    ]
    return Grid(["method", *shown], rows)


def at_work_lines(comparison: Comparison) -> list[str]:
    """A line for each part of a row's method that was not at work, with the seeds."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for row in comparison.rows:
        for trial in row.trials:
            for item in trial.report.mechanisms:
                if item.warning is not None:
                    found.setdefault((row.title, item.part, item.warning), []).append(trial.seed)
    return [
        f"{title}, {part}: {warning} (seed {', '.join(map(str, seeds))})"
        for (title, part, warning), seeds in found.items()
    ]


def _flat(method: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in method.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" not in NOT_SETTINGS:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    words = {None: "none", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
