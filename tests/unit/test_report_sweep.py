"""The tables, files and figure of a finished sweep."""

import csv
import io

import pytest
import yaml

from xlt_ray.report.surface import cells, surface_figure, values_of
from xlt_ray.report.sweep import (
    Scope,
    Sweep,
    SweepTrial,
    best_yaml,
    markdown,
    table_csv,
    write_sweep,
)


def trial(lam: float, tau: float, score: float | None, error: str | None = None) -> SweepTrial:
    parameters, scores = {"lambda": lam, "tau": tau}, [0.5, 0.6]
    if score is None:
        return SweepTrial(parameters, "failed" if error else "ended early", scores, error=error)
    computed, found = {"model": 2}, {"model": 1, "text": 3}
    return SweepTrial(parameters, "done", scores, score, 10.4, computed, found)


TRIALS = [
    trial(2, 5, 0.7),
    trial(4, 5, 0.9),
    trial(2, 10, None),
    trial(4, 10, 0.9),
    trial(8, 10, None, "ValueError: no"),
]
SCOPE = Scope("all", ["de", "nl"], TRIALS)
SWEEP = Sweep("test", ["lambda", "tau"], [SCOPE], 61.2, {"method": {"name": "cltp"}, "run": {}})


def test_the_best_is_the_first_of_the_highest() -> None:
    assert SCOPE.best is TRIALS[1]
    assert [item.source_dev for item in SCOPE.ranked] == [0.9, 0.9, 0.7, None, None]
    assert Scope("none", ["de"], [TRIALS[2]]).best is None


def test_a_line_of_the_log() -> None:
    assert TRIALS[0].line() == "lambda 2, tau 5: source dev 70.00 (10 s, 2 steps, 4 found)"
    assert TRIALS[2].line() == "lambda 2, tau 10: ended early after 2 models"
    assert TRIALS[4].line().endswith("failed after 2 models: ValueError: no")


def test_csv_has_all_digits() -> None:
    rows = list(csv.DictReader(io.StringIO(table_csv(SWEEP))))
    assert [row["source_dev"] for row in rows] == ["0.7", "0.9", "", "0.9", ""]
    assert rows[0]["scores"] == "0.5 0.6"
    assert rows[0]["steps_found"] == "4"


def test_markdown_counts_steps_and_names_failures() -> None:
    page = markdown(SWEEP)
    assert "| 4 | 5 | 90.00 | done |" in page
    assert "| model | 6 | 3 |" in page
    assert "ValueError: no" in page
    assert SWEEP.steps() == {"computed": {"model": 6}, "found": {"model": 3, "text": 9}}


def test_files() -> None:
    files: dict[str, bytes] = {}
    best = {"all": {"method": {"name": "cltp", "lambda": 4}, "run": {"name": "x"}}}
    names = write_sweep(SWEEP, best, files.__setitem__)
    assert set(names) == set(files) == {"sweep.md", "sweep.csv", "sweep.json", "best.yaml"}
    assert yaml.safe_load(files["best.yaml"]) == {"method": {"name": "cltp", "lambda": 4}}
    two = Sweep("test", ["lambda", "tau"], [SCOPE, SCOPE], 1.0, {})
    assert "best-all.yaml" in write_sweep(two, best, files.__setitem__)
    assert best_yaml({"run": {}, "seed": 3}) == "seed: 3\n"


def test_values_and_cells() -> None:
    done = [item for item in TRIALS if item.source_dev is not None]
    assert values_of(done, "lambda") == [2, 4]
    assert cells(done, "tau", "lambda") == {(5, 2): 70.0, (5, 4): 90.0, (10, 4): 90.0}
    words = [SweepTrial({"by": name}, "done", source_dev=0.1) for name in ("b", "a", "b")]
    assert values_of(words, "by") == ["b", "a"]


@pytest.mark.slow
@pytest.mark.parametrize("keys", [["lambda", "tau"], ["lambda"], ["lambda", "tau", "lambda"]])
def test_the_surface_is_drawn_the_same_each_time(keys: list[str]) -> None:
    pytest.importorskip("matplotlib")
    drawn = surface_figure(SCOPE, keys, heading="test, all")
    assert drawn == surface_figure(SCOPE, keys, heading="test, all")
    assert drawn["png"].startswith(b"\x89PNG")
    text = drawn["svg"].decode()
    assert "<svg" in text
    if len(keys) == 2:
        assert "<!-- 90.00 -->" in text
    assert "<!-- lambda -->" in text
