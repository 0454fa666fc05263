"""Page and figure of target scores by optimiser step."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from xlt_ray.report.figures import Curve, Panel, Pictures, draw_lines
from xlt_ray.report.tables import markdown_table, percent

Record = Mapping[str, Any]


def points(records: Sequence[Record], row: str, target: str) -> list[tuple[str, float, float]]:
    """Training, mean step and mean score of each model on the way, over the seeds that have it.

    A model is the same in two seeds if it is the one of the same number in the same training, since
    seeds may select different numbers of rows and so take different numbers of steps.

    Args:
        records: Records of `xlt_ray.oracle.steps.Scored`.
        row: Title of the row.
        target: The target.
    """
    of_place: dict[tuple[str, int], list[Record]] = {}
    counts: dict[tuple[int, str], int] = {}
    for record in records:
        if (record["row"], record["target"]) != (row, target):
            continue
        own = (record["seed"], record["training"])
        counts[own] = counts.get(own, 0) + 1
        of_place.setdefault((record["training"], counts[own]), []).append(record)
    return [
        (
            training,
            statistics.fmean(item["step"] for item in found),
            statistics.fmean(item["score"] for item in found),
        )
        for (training, _), found in of_place.items()
    ]


def _distinct(records: Sequence[Record], key: str) -> list[Any]:
    return list(dict.fromkeys(record[key] for record in records))


def markdown(findings: Mapping[str, Any]) -> str:
    """The page: every model on the way; scores times 100."""
    records = findings["records"]
    lines = []
    for row in _distinct(records, "row"):
        for target in _distinct(records, "target"):
            for training, step, score in points(records, row, target):
                lines.append([row, target, training or "zero-shot", f"{step:.0f}", percent(score)])
    seeds = ", ".join(map(str, findings["seeds"]))
    parts = [
        f"# {findings['name']}: target scores by step",
        f"{findings['benchmark']}, seeds {seeds}: {findings['metric']} on the test text of the "
        "targets, by optimiser steps since the zero-shot model, means over the seeds. Gold was "
        "read after the runs, for this page alone; nothing of it chose a model.",
        markdown_table(["row", "target", "training", "step", "score"], lines, left=3),
    ]
    return "\n\n".join(parts) + "\n"


def figure(findings: Mapping[str, Any]) -> Pictures:
    """A panel for each target, with a line for each row."""
    records, panels = findings["records"], []
    for target in _distinct(records, "target"):
        curves = []
        for look, row in enumerate(_distinct(records, "row")):
            found = points(records, row, target)
            x, y = [step for _, step, _ in found], [100 * score for _, _, score in found]
            curves.append(Curve(row, x, y, look=look))
        panels.append([Panel(target, "optimiser steps", findings["metric"] + " (%)", curves)])
    heading = f"Target scores by step: {findings['benchmark']}"
    return draw_lines(panels, heading=heading, note="gold was read after the runs, for this alone")
