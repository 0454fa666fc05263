"""Studies of prior shift: their subsets, what is refused, page and figure."""

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.encoders import commit
from xlt_ray.config.errors import ConfigError
from xlt_ray.oracle.figures.shift import Point, markdown, shift_figure, trend, zero_shot_figure
from xlt_ray.oracle.prior_shift import configure, dry_run, keys, said_prior
from xlt_ray.store.artifacts import Store

ROOT = Path(__file__).resolve().parents[2]


def values(**study: Any) -> dict[str, Any]:
    return {
        "benchmark": {"name": "toy_rating", "source": ["mira"], "targets": ["teska", "kaldi"],
                      "unlabelled_split": "train", "prior": {"mira": [1, 1, 1, 1, 1]}},
        "backbone": "toy",
        "study": study,
        "compare": {"methods": {"st": {}, "iwda": {}, "bound": {"name": "iwda_oracle"}},
                    "seeds": [0, 1]},
    }  # fmt: skip


def test_every_subset_is_a_comparison_of_its_own() -> None:
    config = configure(values(shares=[[1, 2, 3, 4, 5]], random=2, rows=50))
    assert [subset.name for subset in config.subsets] == [f"shift-toy_rating-{n}" for n in range(3)]
    for number, subset in enumerate(config.subsets):
        assert len(subset.runs) == 6
        benchmark = subset.first.benchmark
        assert benchmark.prior["mira"] == (1, 1, 1, 1, 1)
        assert benchmark.prior["teska"] == ((1, 2, 3, 4, 5) if number == 0 else "random")
        assert benchmark.prior_rows == {"teska": 50, "kaldi": 50}
        assert benchmark.prior_seed == {"teska": number, "kaldi": number}


@pytest.mark.parametrize(
    ("study", "benchmark", "message"),
    [
        ({}, {}, "study: needs shares or a number of random ones"),
        ({"random": 1}, {"targets": "all"}, "study: needs benchmark.targets by name"),
        ({"random": 1}, {"prior": {"kaldi": [1, 0, 0, 0, 0]}}, "whose priors it sets itself"),
        ({"random": 1}, {"prior_seed": 3}, "study: takes benchmark.prior_seed by language"),
        ({"random": 1}, {"prior_rows": 9}, "study: takes benchmark.prior_rows by language"),
        ({"shares": [[1]]}, {}, "study.shares: .* got .1."),
        ({"shares": [[1, -1]]}, {}, "study.shares: .*greater than or equal to 0, got -1"),
        ({"shares": [[1, 2, 3]]}, {}, "benchmark.prior"),
    ],
)
def test_what_is_refused(study: dict[str, Any], benchmark: dict[str, Any], message: str) -> None:
    asked = values(**study)
    asked["benchmark"] |= benchmark
    with pytest.raises(ConfigError, match=message):
        configure(asked)


@pytest.mark.slow
def test_dry_run_and_keys(capsys: pytest.CaptureFixture[str]) -> None:
    asked = values(random=2, rows=20)
    asked["benchmark"]["max_rows"] = 40
    assert dry_run(configure(asked)) == 0
    printed = capsys.readouterr().out
    assert "subset 1: shift-toy_rating-1, priors {" in printed
    assert "2 subsets with the runs of this one" in printed
    lines = keys(values())
    assert any("study.shares" in line for line in lines)
    assert any("compare.methods" in line for line in lines)


def point(row: str, tv: float, gain: float, weights: tuple[float, ...] = ()) -> Point:
    return Point(
        subset=0, row=row, seed=0, target="xx", tv=tv, zero_shot=0.5, final=0.5 + gain / 100,
        shares=(0.5 + tv, 0.5 - tv), weights=weights, source=(0.5, 0.5),
    )  # fmt: skip


POINTS = [
    point("none", 0.05, 2.0),
    point("none", 0.25, 0.0),
    point("none", 0.45, -2.0),
    point("iwda", 0.05, 1.0, (1.1, 0.9)),
    point("iwda", 0.45, 1.0, (1.5, 0.5)),
]


def test_gain_and_error_of_a_point() -> None:
    assert POINTS[0].gain("points") == pytest.approx(2)
    assert POINTS[0].gain("percent") == pytest.approx(4), "of a zero-shot score of 0.5"
    assert replace(POINTS[0], uncorrected=(0.5, 0.5)).uncorrected_error == pytest.approx(0.05)
    assert POINTS[0].weight_error is None
    assert POINTS[3].weight_error == pytest.approx(0)
    assert POINTS[4].weight_error == pytest.approx(0.2)


def test_the_line_is_that_of_least_squares() -> None:
    level, slope = trend(POINTS[:3], "points")
    assert (level, slope) == (pytest.approx(2.5), pytest.approx(-10))
    assert trend(POINTS[:1], "points") == (pytest.approx(2.0), 0.0)


def test_the_page_has_bands_lines_and_errors() -> None:
    page = markdown("mine", POINTS)
    assert "| none | +2.00 (1) | - | +0.00 (1) | - | -2.00 (1) | +2.50 -10.00 TV | - | - |" in page
    assert "| iwda | +1.00 (1) | - | - | - | +1.00 (1) | +1.00 +0.00 TV | 0.100 | - |" in page
    assert "Zero-shot is at 50.00 on average." in page
    assert "| iwda | 0 | xx | 0.45 | 1.50 (1.90) | 0.50 (0.10) |" in markdown("mine", POINTS[4:])
    assert "in brackets the true ones" not in markdown("mine", POINTS[:3])


@pytest.mark.slow
def test_the_figure_has_every_row() -> None:
    pictures = shift_figure(POINTS, heading="mine", unit="percent")
    assert set(pictures) == {"svg", "png"}
    words = pictures["svg"].decode()
    for word in ("mine", "none", "iwda", "improvement over zero-shot (%)"):
        assert f"<!-- {word} -->" in words
    again = shift_figure(POINTS, heading="mine", unit="percent")
    assert pictures == again, "the same bytes each time"


@pytest.mark.slow
def test_zero_shot_scores_are_drawn_by_both_shifts() -> None:
    own = [replace(point, feature_shift=1.0 + point.tv) for point in POINTS]
    words = zero_shot_figure(own, heading="mine")["svg"].decode()
    for word in ("mine", "shift of features (L1)", "total variation of priors"):
        assert f"<!-- {word} -->" in words


def test_shares_of_what_is_predicted(tmp_path: Path) -> None:
    table = pa.table(
        {"language": ["a", "b", "a"], "labels": pa.array([[0], [1], [2]], pa.list_(pa.int16()))}
    )
    said = commit(Store(str(tmp_path)), "annotation", "said", {"p0": table})
    assert said_prior(said, language="a", num_classes=4)[1] == {"prior": [0.5, 0, 0.5, 0]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "subsets", "runs"), [("toy", 5, 10), ("marc", 500, 5), ("conll", 500, 5)]
)
def test_shipped_files(name: str, subsets: int, runs: int) -> None:
    job = runpy.run_path(str(ROOT / "jobs/prior_shift.py"))["DEFAULTS"]
    config = configure(job, [str(ROOT / f"jobs/presets/shift-{name}.yaml")])
    assert (len(config.subsets), len(config.subsets[0].runs)) == (subsets, runs)
    benchmark = config.subsets[0].first.benchmark
    assert benchmark.metric == "macro_f1"
    assert benchmark.source is not None
    own = set() if name == "conll" else set(benchmark.source)
    assert set(benchmark.prior) == own | set(benchmark.targets)
    if name != "toy":
        assert config.subsets[0].first.train.batch_size == 8
        assert (config.section.improvement, config.section.features) == ("percent", True)
