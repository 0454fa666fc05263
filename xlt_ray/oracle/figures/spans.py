"""Page and figures of MARAL's pseudo-labels and classes: noise, geometry, scores, a projection."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xlt_ray.report.figures import COLOURS, MARKERS, Pictures, new_figure, pictures_of
from xlt_ray.report.tables import markdown_table

Record = Mapping[str, Any]
_NOTE = "gold was read after the run, for this figure alone"
_GREY = "#BBBBBB"


def noise_of(rows: Sequence[Record], epoch: int, *, reliable: bool | None) -> float | None:
    """Share of wrong labels among the entities of an epoch's pseudo-labels; None if there are none.

    Args:
        rows: What was counted.
        epoch: From 0.
        reliable: Those that are learnt from, the others, or (None) all.
    """
    own = [x for x in rows if x["epoch"] == epoch and x["said"] != "O"]
    own = [x for x in own if reliable is None or x["reliable"] == reliable]
    total = sum(x["spans"] for x in own)
    return 1 - sum(x["right"] for x in own) / total if total else None


def missed_of(rows: Sequence[Record], epoch: int, entities: int) -> float | None:
    """Share of the gold entities that an epoch's pseudo-labels say are none; None without any.

    Args:
        rows: What was counted.
        epoch: From 0.
        entities: Gold entities that a span can be.
    """
    own = [x for x in rows if x["epoch"] == epoch and x["said"] == "O"]
    return sum(x["spans"] - x["right"] for x in own) / entities if own and entities else None


def f1_of(rows: Sequence[Record], epoch: int, entities: int) -> float | None:
    """F1 of an epoch's pseudo-labels over the gold entities that a span can be."""
    own = [x for x in rows if x["epoch"] == epoch and x["said"] != "O"]
    said, right = sum(x["spans"] for x in own), sum(x["right"] for x in own)
    return 2 * right / (said + entities) if own and said + entities else None


def off_diagonal(cosines: Sequence[Sequence[float]]) -> np.ndarray:
    """The cosines of different classes."""
    matrix = np.asarray(cosines)
    return matrix[~np.eye(len(matrix), dtype=bool)]


def span_figure(record: Record) -> Pictures:
    """Six panels about one target: noise, reliable spans, geometry, centres, scores, projection."""
    with new_figure(12.0, 7.4, f"Spans of {record['target']}", _NOTE) as figure:
        axes = figure.subplots(2, 3)
        _draw_noise(axes[0][0], record)
        _draw_reliable(axes[0][1], record)
        _draw_geometry(axes[0][2], record)
        _draw_centres(axes[1][0], record)
        _draw_scores(axes[1][1], record)
        _draw_projection(axes[1][2], record)
        return pictures_of(figure)


def _line(axes: Any, label: str, values: Sequence[float | None], look: int, **more: Any) -> None:
    known = [(epoch, 100 * y) for epoch, y in enumerate(values, start=1) if y is not None]
    if known:
        x, y = zip(*known, strict=True)
        axes.plot(x, y, label=label, color=COLOURS[look], marker=MARKERS[look], ms=3, **more)


def _draw_noise(axes: Any, record: Record) -> None:
    epochs = range(len(record["epochs"]))
    for look, (label, which) in enumerate(
        {"all": None, "learnt from": True, "others": False}.items()
    ):
        values = [noise_of(record["noise"], epoch, reliable=which) for epoch in epochs]
        _line(axes, label, values, look)
    missed = [missed_of(record["noise"], epoch, record["entities"]) for epoch in epochs]
    _line(axes, "missed", missed, 3, ls="--")
    axes.set(title="False and missed pseudo-entities", xlabel="epoch", ylabel="percent")
    axes.legend()


def _draw_reliable(axes: Any, record: Record) -> None:
    for look, name in enumerate(record["classes"][: len(MARKERS)]):
        _line(axes, name, [epoch["reliable"][look] for epoch in record["epochs"]], look)
    axes.set(title="Target spans learnt from next", xlabel="epoch", ylabel="percent of the class")
    axes.legend()


def _draw_geometry(axes: Any, record: Record) -> None:
    epochs, best = record["epochs"], 1 - record["best_margin"]
    x = np.arange(1, len(epochs) + 1)
    cosines = [off_diagonal(epoch["cosines"]) for epoch in epochs]
    axes.plot(x, [c.max() for c in cosines], color=COLOURS[0], marker="o", ms=3, label="largest")
    axes.plot(x, [c.mean() for c in cosines], color=COLOURS[1], marker="s", ms=3, label="mean")
    axes.axhline(best, color="black", ls="--", lw=1, label=f"best, {best:.3f}")
    axes.set(title="Cosines of class centres", xlabel="epoch", ylabel="cosine")
    axes.legend()


def _draw_centres(axes: Any, record: Record) -> None:
    names, matrix = record["classes"], np.asarray(record["epochs"][-1]["cosines"])
    axes.imshow(matrix, cmap="RdBu_r", vmin=-1.0, vmax=1.0)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False)
    for (i, j), value in np.ndenumerate(matrix):
        colour = "white" if abs(value) > 0.6 else "black"
        axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set(title="Cosines after the last epoch")


def _draw_scores(axes: Any, record: Record) -> None:
    points = {name: np.asarray(values) for name, values in record["points"].items()}
    right = points["said"] == points["true"]
    for look, shift, own in ((2, -0.18, right), (1, 0.18, ~right)):
        boxes = [
            points["score"][own & (points["said"] == k)] for k in range(len(record["classes"]))
        ]
        places = [k + shift for k, values in enumerate(boxes) if len(values)]
        shown = axes.boxplot(
            [values for values in boxes if len(values)] or [[]],
            positions=places or [0], widths=0.3, patch_artist=True, showfliers=False,
        )  # fmt: skip
        for box in shown["boxes"]:
            box.set(facecolor=COLOURS[look], alpha=0.6)
    for look, label in ((2, "right"), (1, "wrong")):
        axes.plot([], [], color=COLOURS[look], lw=6, alpha=0.6, label=label)
    axes.set_xticks(range(len(record["classes"])), record["classes"])
    axes.legend()
    axes.set(title="Score of the class that is said, final model", xlabel="class", ylabel="score")


def _draw_projection(axes: Any, record: Record) -> None:
    points = {name: np.asarray(values) for name, values in record["points"].items()}
    for number, name in enumerate(record["classes"]):
        own = points["true"] == number
        colour = _GREY if number == 0 else COLOURS[(number - 1) % len(COLOURS)]
        axes.scatter(points["x"][own], points["y"][own], s=6, color=colour, label=name, lw=0)
    axes.set(title="Spans by gold class, two principal axes", xlabel="first", ylabel="second")
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(markerscale=2)


def markdown(findings: Mapping[str, Any]) -> str:
    """The page: a table of epochs for every target."""
    parts = [
        f"# {findings['run']}: pseudo-labels and classes by epoch",
        "Wrong: share of the pseudo-labels of entities that gold does not have, of all, of those "
        "that the next epoch learns from, and of the others; missed: share of the gold entities, "
        "of those that a span can be, that are labelled as none; F1: of the pseudo-labels over "
        "these entities. All times 100. Cosines are those of "
        "different class centres; the margin is the mean over spans. Gold was read after the run, "
        "for this page alone.",
    ]
    head = ["epoch", "wrong", "learnt from", "others", "missed", "F1",
            "mean cosine", "largest", "margin", "alpha"]  # fmt: skip
    for record in findings["records"]:
        k, margin = len(record["classes"]), record["best_margin"]
        parts.append(f"## {record['target']}")
        parts.append(
            f"Best possible with {k} classes: cosine {1 - margin:.3f}, margin {margin:.3f}."
        )
        moved = record["moved"]
        parts.append(
            f"From the first epoch to the last {moved['to_entity']:,} spans of O became entities, "
            f"{moved['right']:,} of them rightly; {moved['overlap']:,} of the others overlap an "
            f"entity. {moved['to_o']:,} became O."
        )
        lines = [_epoch(record, number) for number in range(len(record["epochs"]))]
        parts.append(markdown_table(head, lines))
        parts.append(f"![spans of {record['target']}](figure-{record['target']}.svg)")
    return "\n\n".join(parts) + "\n"


def _epoch(record: Record, number: int) -> list[str]:
    own, rows = record["epochs"][number], record["noise"]
    noise = [noise_of(rows, number, reliable=which) for which in (None, True, False)]
    noise += [found(rows, number, record["entities"]) for found in (missed_of, f1_of)]
    cosines = off_diagonal(own["cosines"])
    strength = own["alpha"]
    return [
        str(number + 1),
        *("-" if x is None else f"{100 * x:.1f}" for x in noise),
        f"{cosines.mean():.3f}",
        f"{cosines.max():.3f}",
        f"{own['gamma_mean']:.3f}",
        "-" if strength is None else f"{strength:.3f}",
    ]
