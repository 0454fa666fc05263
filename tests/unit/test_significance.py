"""Significance: counts by hand and against the metrics, p-values of cases that are clear."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.encoders import commit
from tests.unit.test_report_compare import trial
from xlt_ray.commands import compare
from xlt_ray.commands.significance import significance
from xlt_ray.config.errors import ConfigError
from xlt_ray.labels import LabelSet
from xlt_ray.metrics import METRICS, Ragged, score
from xlt_ray.report.comparison import ComparisonRow
from xlt_ray.report.significance import (
    COUNTED,
    Difference,
    Floats,
    compared,
    draw,
    interval,
    rank_correlation,
    sentence_counts,
    shown,
    value_of,
)
from xlt_ray.store.artifacts import Store
from xlt_ray.store.run_folder import RunFolder

LABELS = LabelSet(("O", "B-X", "I-X", "B-Y", "I-Y"))
JOB: dict[str, Any] = {
    "benchmark": {"name": "toy", "targets": ["nolu", "teska"]},
    "backbone": "toy",
    "compare": {"methods": ["bl_direct", "cltp"]},
}


def text(seed: int, count: int = 60) -> Ragged:
    rng = np.random.default_rng(seed)
    return Ragged.of([rng.integers(0, 5, 1 + number % 7) for number in range(count)])


def changed(gold: Ragged, share: float, seed: int) -> Ragged:
    """With some labels drawn anew."""
    rng = np.random.default_rng(seed)
    new = np.where(
        rng.random(len(gold.flat)) < share, rng.integers(0, 5, len(gold.flat)), gold.flat
    )
    return Ragged(new, gold.offsets)


@pytest.mark.parametrize("metric", sorted(COUNTED))
def test_sums_over_sentences_make_the_metric(metric: str) -> None:
    """Words whose gold is not known count on neither side, and sentences may have none."""
    gold = text(0)
    flat = np.where(np.random.default_rng(9).random(len(gold.flat)) < 0.2, -100, gold.flat)
    flat[:3] = -100
    gold = Ragged(flat, gold.offsets)
    pred = changed(text(0), 0.4, 1)
    sums = sentence_counts(metric, gold, pred, LABELS).sum(axis=0)
    assert value_of(metric, sums) == pytest.approx(score(metric, gold, pred, LABELS)[metric])


def test_every_metric_can_be_tested() -> None:
    assert set(METRICS) == COUNTED


def test_counts_of_a_sentence_by_hand() -> None:
    gold, pred = Ragged.of([[1, 2, 0], [3]]), Ragged.of([[1, 2, 3], [0]])
    assert sentence_counts("f1", gold, pred, LABELS).tolist() == [[1, 2, 1], [0, 0, 1]]
    assert sentence_counts("accuracy", gold, pred, LABELS).tolist() == [[2, 3], [0, 1]]


def counts(share: float, seed: int, size: int = 300) -> dict[str, Floats]:
    gold = text(0, size)
    return {"xx": sentence_counts("accuracy", gold, changed(gold, share, seed), LABELS)}


def test_a_clear_difference_is_one_and_none_is_none() -> None:
    rows = {
        "good": [counts(0.2, 1), counts(0.2, 2)],
        "bad": [counts(0.5, 3), counts(0.5, 4)],
        "same": [counts(0.2, 1), counts(0.2, 2)],
    }
    bad, same = compared("accuracy", rows, against="good")
    assert (bad.row, bad.against) == ("bad", "good")
    assert bad.difference < -0.1
    assert bad.p == pytest.approx(2 / 1001)
    assert (same.difference, same.p, same.interval) == (0.0, 1.0, (0.0, 0.0))
    assert bad.interval is not None
    assert bad.interval[0] < bad.difference < bad.interval[1] < 0
    assert compared("accuracy", rows, against="good") == [bad, same]


@pytest.mark.slow
def test_p_is_about_uniform_without_a_difference() -> None:
    """Pairs of rows that are equally good: 5% of them, or not many more, have p below 0.05."""
    found = []
    for seed in range(60):
        rows = {"a": [counts(0.3, 2 * seed, 80)], "b": [counts(0.3, 2 * seed + 1, 80)]}
        found += [item.p for item in compared("accuracy", rows, against="a")]
    assert sum(p < 0.05 for p in found) <= 8
    assert 0.3 < float(np.mean(found)) < 0.7


def test_draws_equal_a_plain_loop() -> None:
    """Accuracy, draw by draw and sentence by sentence, from the same weights and seeds. The second
    sentence has no words."""
    rng, words = np.random.default_rng(1), {"xx": [3, 0, 2, 1, 4], "yy": [1, 2, 2]}
    rows = {
        row: [
            {name: np.array([[rng.integers(0, n + 1), n] for n in of]) * 1.0 for name, of in
             words.items()}
            for _ in range(3)
        ]
        for row in ("a", "b")
    }  # fmt: skip
    found = draw("accuracy", rows, number=50, seed=4)
    rng = np.random.default_rng(4)
    weights = {k: rng.multinomial(len(of), np.full(len(of), 1 / len(of)), 50)
               for k, of in words.items()}  # fmt: skip

    def accuracy(row: str, seed: int, name: str, times: Any) -> float:
        right = sum(w * x[0] for w, x in zip(times, rows[row][seed][name], strict=True))
        whole = sum(w * n for w, n in zip(times, words[name], strict=True))
        return right / whole if whole else 0.0

    for draw_number in range(50):
        for row in rows:
            for t, name in enumerate(words):
                of_seeds = [accuracy(row, r, name, weights[name][draw_number])
                            for r in found.seeds_BR[draw_number]]  # fmt: skip
                expected = sum(of_seeds) / 3
                assert found.over(row)[draw_number, t] == pytest.approx(expected, rel=1e-12)
    ones = [accuracy("a", r, "yy", [1, 1, 1]) for r in range(3)]
    assert found.at("a")[1] == pytest.approx(sum(ones) / 3, rel=1e-12)


def test_seeds_are_drawn_for_both_rows_alike() -> None:
    """Seed 0 has everything right in both rows, seed 1 nothing: their difference is always 0."""
    right, wrong = np.array([[1.0, 1.0]] * 4), np.array([[0.0, 1.0]] * 4)
    rows = {row: [{"xx": right}, {"xx": wrong}] for row in ("a", "b")}
    found = draw("accuracy", rows)
    assert set(np.unique(found.over("a"))) == {0.0, 0.5, 1.0}
    assert interval((found.over("a") - found.over("b")).mean(axis=1)) == (0.0, 0.0)


def test_an_interval_over_seeds_reaches_from_the_worst_to_the_best() -> None:
    """Gains of 0, 1/2 and 1 in three seeds, and no noise of sentences: all three draws take the
    worst seed in 1 of 27 cases, more than 2.5%."""
    none = np.array([[0.0, 2.0]] * 3)
    gains = [np.array([[float(k), 2.0]] * 3) for k in range(3)]
    rows = {"a": [{"xx": x} for x in gains], "b": [{"xx": none}] * 3}
    (found,) = compared("accuracy", rows, against="b")
    assert found.difference == pytest.approx(0.5)
    assert found.interval == (0.0, 1.0)
    (same,) = compared("accuracy", {"a": [{"xx": none}], "b": [{"xx": none}]}, against="b")
    assert same.interval == (0.0, 0.0)  # one seed, no difference


def test_a_target_without_test_sentences_counts_nowhere() -> None:
    empty = np.zeros((0, 2))
    full = {row: [{"xx": counts(share, 1)["xx"], "yy": empty}] for row, share in
            (("a", 0.1), ("b", 0.5))}  # fmt: skip
    alone = {row: [{"xx": found[0]["xx"]}] for row, found in full.items()}
    assert compared("accuracy", full, against="b") == compared("accuracy", alone, against="b")
    assert draw("accuracy", full).targets == ["xx"]
    none = {row: [{"xx": empty}] for row in ("a", "b")}
    assert compared("accuracy", none, against="b") == []


def test_rank_correlation_by_hand() -> None:
    """Ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / (4 * 15) = 0.6. Equal values share a rank: 1 2.5
    2.5 against 1 2 3 has a covariance of 1.5 and variances of 1.5 and 2: 1.5 / sqrt(3)."""
    x = np.array([[1.0, 5.0, 7.0, 9.0], [4.0, 4.0, 4.0, 4.0]])
    y = np.array([[3.0, 2.0, 8.0, 6.0], [1.0, 2.0, 3.0, 4.0]])
    assert rank_correlation(x, y) == pytest.approx(np.array([0.6, 0.0]), abs=1e-12)
    found = rank_correlation(np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 2.0]))
    assert float(found) == pytest.approx(1.5 / 3**0.5, abs=1e-12)


def test_an_interval_of_a_file_and_of_an_older_one() -> None:
    record = {"row": "a", "against": "b", "difference": 0.1, "p": 0.5}
    new = Difference.from_json({**record, "interval": [-0.01, 0.2]})
    assert shown(new.interval) == "-1.00 to +20.00"
    assert shown(Difference.from_json(record).interval) == "-"


def table(words: Ragged, *, backwards: bool) -> pa.Table:
    """Sentences of two languages as a step writes them."""
    lists = words.lists()
    order = range(len(lists))[:: -1 if backwards else 1]
    return pa.table({
        "id": [f"s{number:04d}" for number in order],
        "language": ["nl" if number % 2 else "de" for number in order],
        "labels": pa.array([lists[number] for number in order], pa.list_(pa.int16())),
    })  # fmt: skip


def compared_rows(root: Path, *, missing: bool = False) -> tuple[list[ComparisonRow], Any]:
    """Two rows of one seed, whose runs left predictions of both languages in the store."""
    config = compare.configure({**JOB, "store": {"root": str(root)}})
    store, gold = Store(str(root)), text(0, 200)
    split = table(gold, backwards=False)
    parts = {
        f"gold-{name}": split.filter(pc.call_function("equal", [split["language"], name]))
        for name in ("nl", "de")
    }
    known = commit(store, "gold", "gold", parts)
    for row, share in (("good", 0.1), ("bad", 0.6)):
        pred = table(changed(gold, share, 1), backwards=True)
        said = commit(store, "annotation", row, {"p": pred})
        entry = {"title": "final test scores", "inputs": [said.fingerprint, known.fingerprint]}
        other = {"title": "final de test scores", "inputs": ["gone", known.fingerprint]}
        folder = RunFolder(store, f"run-{row}")
        for number, step in enumerate([entry, other] if missing else [entry], start=1):
            rest = {"kind": "scores", "fingerprint": f"x{number}", "seconds": 0.0, "cached": False}
            folder.step({"step": number, "versions": {}, "info": {}, **rest, **step})
    rows = [
        ComparisonRow(row, [trial(0, f1, f1, run=f"run-{row}")])
        for row, f1 in (("good", 0.9), ("bad", 0.4))
    ]
    return rows, config.first


def test_predictions_of_runs_are_compared_by_id(tmp_path: Path) -> None:
    rows, config = compared_rows(tmp_path)
    (found,) = significance(rows, config, None)
    assert (found.row, found.against) == ("bad", "good")
    assert found.difference < -0.2
    assert found.p < 0.01
    (other,) = significance(rows, config, "bad")
    assert other.difference == -found.difference


def test_without_predictions_of_a_target_nothing_is_tested(tmp_path: Path) -> None:
    rows, config = compared_rows(tmp_path, missing=True)
    assert significance(rows, config, None) == []
    assert significance(rows[:1], config, None) == []


def test_rows_are_tested_against_one_of_them() -> None:
    with pytest.raises(ConfigError, match="'kd' is no row, there are: bl_direct, cltp"):
        compare.configure({**JOB, "compare": {**JOB["compare"], "against": "kd"}})
