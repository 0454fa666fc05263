"""Calibration: counts by confidence, bands, page and figure."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.encoders import commit
from xlt_ray.commands.compare import configure
from xlt_ray.config.errors import ConfigError
from xlt_ray.oracle.calibration import confidence_bins, dry_run
from xlt_ray.oracle.figures.calibration import BANDS, BINS, band, figure, markdown, sums
from xlt_ray.store.artifacts import Store


@pytest.mark.slow
@pytest.mark.parametrize("name", ["toy", "xnli-small"])
def test_shipped_files_have_rows_of_the_comparisons(name: str) -> None:
    """With the same settings, so that a store has their steps already."""
    folder = Path(__file__).resolve().parents[2] / "jobs/presets"
    flags = ["backbone=folder"] if name != "toy" else []
    config = configure({}, [str(folder / f"calibration-{name}.yaml")], flags=flags)
    whole = configure({}, [str(folder / f"compare-conlst-{name}.yaml")], flags=flags)
    assert list(config.rows) == ["nl", "conlst, stage 1", "conlst"]
    twin = {"conlst, stage 1": "conlst, no self-training"}
    for title, runs in config.rows.items():
        for seed, run in runs.items():
            other = whole.rows[twin.get(title, title)][seed]
            assert (run.method, run.train) == (other.method, other.train)
            assert run.benchmark == other.benchmark


def test_texts_and_right_labels_are_counted_by_confidence(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    best = [0.34, 0.5, 0.5, 0.89, 0.9, 1.0]
    q = [[x, (1 - x) / 2, (1 - x) / 2] for x in best]
    ids = [f"t{i}" for i in range(6)]
    said = pa.table({"id": ids, "labels": pa.array([[0]] * 6, pa.list_(pa.int16())), "q": q})
    gold = pa.table(
        {"id": [*ids[::-1], "other"],
         "labels": pa.array([[0], [1], [0], [0], [2], [0], [1]], pa.list_(pa.int16()))}
    )  # fmt: skip
    table, _ = confidence_bins(
        commit(store, "annotation", "s", {"p0": said}), commit(store, "gold", "g", {"p0": gold}),
        bins=BINS,
    )  # fmt: skip
    texts, right = (np.array(table[name]) for name in ("texts", "right"))
    assert {i: int(n) for i, n in enumerate(texts) if n} == {6: 1, 10: 2, 17: 1, 18: 1, 19: 1}
    assert {i: int(n) for i, n in enumerate(right) if n} == {6: 1, 10: 1, 17: 1, 19: 1}
    found = {name: band(texts, right, first, end) for name, first, end in BANDS}
    assert found["high"] == (2 / 6, 0.5)
    assert found["mid"] == (3 / 6, pytest.approx(2 / 3))
    assert found["low"] == (1 / 6, 1.0)
    assert found["all"] == (1.0, pytest.approx(4 / 6))


def record(row: str, seed: int, when: str, at: int, texts: int, right: int) -> dict:
    counts, good = [0] * BINS, [0] * BINS
    counts[at], good[at] = texts, right
    return {"row": row, "seed": seed, "target": "de", "when": when, "texts": counts, "right": good}


FINDINGS = {
    "name": "x", "benchmark": "xnli", "split": "dev", "seeds": [0, 1], "bins": BINS,
    "records": [
        record("one", 0, "before", 19, 30, 15), record("one", 1, "before", 5, 10, 5),
        record("one", 0, "after", 19, 20, 18), record("one", 1, "after", 12, 20, 10),
    ],
    "kept": [
        {"row": "one", "seed": seed, "target": "de", "round": number, "texts": 40, "kept": kept,
         "right": 6}
        for seed, number, kept in ((0, 1, 8), (1, 1, 12), (0, 2, 0))
    ],
}  # fmt: skip


def test_seeds_are_counted_together() -> None:
    texts, right = sums(FINDINGS["records"], row="one", when="before")
    assert (texts[19], texts[5], right.sum()) == (30, 10, 20)
    page = markdown(FINDINGS)
    assert "| one | high (0.9 and more) | 75.0 | 50.0 | 50.0 | 90.0 |" in page
    assert "| one | low (below 0.5) | 25.0 | 0.0 | 50.0 | - |" in page
    assert "| one | 1 | 25.0 | 40.0 |" in page
    assert "| one | 2 | 0.0 | - |" in page
    assert "| one | de | all | 100.0 | 100.0 | 50.0 | 70.0 |" in page


@pytest.mark.slow
def test_the_figure_has_a_line_for_each_row() -> None:
    pictures = figure(FINDINGS)
    assert {"png", "svg"} <= set(pictures)
    assert b"one: noise" in pictures["svg"]


def test_words_have_no_calibration_here() -> None:
    config = configure(
        {"benchmark": {"name": "toy"}, "backbone": "toy",
         "compare": {"methods": {"bl_direct": {}}}}
    )  # fmt: skip
    with pytest.raises(ConfigError, match="calibration is that of texts"):
        dry_run(config)
