"""Page and figure of calibration: accuracy and noise by confidence, before and after runs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xlt_ray.report.figures import Curve, Panel, Pictures, draw_lines
from xlt_ray.report.tables import markdown_table

BINS = 20
"""Equal bins of confidence that are counted."""

BANDS = (("high", 18, 20), ("mid", 10, 18), ("low", 0, 10), ("all", 0, 20))
"""Name of each band with its first bin, and the bin after its last."""

_NAMES = {"high": "high (0.9 and more)", "mid": "mid (0.5 to 0.9)", "low": "low (below 0.5)",
          "all": "all"}  # fmt: skip

Record = Mapping[str, Any]


def sums(records: Sequence[Record], **place: Any) -> tuple[np.ndarray, np.ndarray]:
    """[20] texts and [20] right ones, over the records of a place."""
    own = [x for x in records if all(x[key] == value for key, value in place.items())]
    texts, right = (np.sum([x[key] for x in own], axis=0) for key in ("texts", "right"))
    return np.asarray(texts), np.asarray(right)


def band(texts: np.ndarray, right: np.ndarray, first: int, end: int) -> tuple[float, float | None]:
    """Share of all texts that are in a band, and accuracy there; None where there are none."""
    count = int(texts[first:end].sum())
    share = count / max(int(texts.sum()), 1)
    return share, int(right[first:end].sum()) / count if count else None


def markdown(findings: Mapping[str, Any]) -> str:
    """The page; shares and accuracies times 100, all seeds counted together."""
    records = findings["records"]
    rows = list(dict.fromkeys(x["row"] for x in records))
    targets = list(dict.fromkeys(x["target"] for x in records))
    parts = [
        f"# {findings['name']}",
        f"{findings['benchmark']}, seeds {', '.join(map(str, findings['seeds']))}: accuracy of "
        f"predictions on the {findings['split']} text of the targets by their confidence, and the "
        "share of texts that have it, before a run and after. Gold was read for this page alone; "
        "nothing of it fed back.",
        "## All targets",
        markdown_table(
            ["row", "band", "share before", "share after", "accuracy before", "accuracy after"],
            [_line(records, [row], name, {"row": row}) for row in rows for name, _, _ in BANDS],
            left=2,
        ),
        "## By target",
        markdown_table(
            [
                "row",
                "target",
                "band",
                "share before",
                "share after",
                "accuracy before",
                "accuracy after",
            ],
            [
                _line(records, [row, target], name, {"row": row, "target": target})
                for row in rows
                for target in targets
                for name, _, _ in BANDS
            ],
            left=3,
        ),
    ]
    if findings["kept"]:
        parts += [
            "## What self-training kept",
            markdown_table(
                ["row", "iteration", "texts kept", "of them wrong"],
                _kept_lines(findings["kept"]),
                left=2,
            ),
        ]
    return "\n\n".join(parts) + "\n"


def _kept_lines(kept: Sequence[Record]) -> list[list[str]]:
    """Share of texts and noise of each row's iterations; all targets and seeds together."""
    lines = []
    for row, number in sorted({(x["row"], x["round"]) for x in kept}):
        own = [x for x in kept if (x["row"], x["round"]) == (row, number)]
        texts, some, right = (sum(x[key] for x in own) for key in ("texts", "kept", "right"))
        noise = "-" if not some else f"{100 * (1 - right / some):.1f}"
        lines.append([row, str(number), f"{100 * some / max(texts, 1):.1f}", noise])
    return lines


def _line(
    records: Sequence[Record], begin: Sequence[str], name: str, place: Mapping[str, Any]
) -> list[str]:
    first, end = next((x, y) for band_name, x, y in BANDS if band_name == name)
    found = [band(*sums(records, when=when, **place), first, end) for when in ("before", "after")]
    shares = [f"{100 * share:.1f}" for share, _ in found]
    accuracies = ["-" if accuracy is None else f"{100 * accuracy:.1f}" for _, accuracy in found]
    return [*begin, _NAMES[name], *shares, *accuracies]


def figure(findings: Mapping[str, Any]) -> Pictures:
    """For every row: share of wrong labels by confidence, and the texts that have it."""
    records = findings["records"]
    centres = (np.arange(BINS) + 0.5) / BINS
    lines = []
    for row in dict.fromkeys(x["row"] for x in records):
        noise, counts = [], []
        for look, when in enumerate(("before", "after")):
            texts, right = sums(records, row=row, when=when)
            there = texts > 0
            wrong = 100 * (1 - right[there] / texts[there])
            noise.append(Curve(when, centres[there].tolist(), wrong.tolist(), look=look))
            shares = 100 * texts / max(int(texts.sum()), 1)
            counts.append(Curve(when, centres.tolist(), shares.tolist(), look=look))
        lines.append(
            [
                Panel(f"{row}: noise", "confidence", "wrong labels (%)", noise),
                Panel(f"{row}: texts", "confidence", "texts (%)", counts),
            ]
        )
    heading = f"Noise of pseudo-labels by confidence: {findings['benchmark']}"
    note = "all targets and seeds together; gold was read for this figure alone"
    return draw_lines(lines, heading=heading, note=note)
