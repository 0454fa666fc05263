"""Claims: the page is what the data give, every claim can be measured, and figures by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.claims import __main__ as command
from benchmarks.claims import proof, records, schema
from benchmarks.claims.kept import read_kept, runs_to_keep, write_kept
from benchmarks.claims.measure import NotMeasuredError, Runs, figure_of, measure, runs_of
from benchmarks.claims.measured import (
    Figure,
    Measured,
    Setting,
    read_measured,
    write_measured,
)
from benchmarks.claims.page import PAGE, render, shown
from benchmarks.claims.printed import published_figures
from benchmarks.claims.schema import Claim, Records, missing, read_claims, titles_of
from tests.unit.test_significance import compared_rows
from xlt_ray.commands.compare import run_name
from xlt_ray.commands.presets import presets
from xlt_ray.config.errors import ConfigError
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.report.comparison import Comparison, ComparisonRow
from xlt_ray.report.significance import compared
from xlt_ray.store.artifacts import Store

CLAIMS, MEASURED = read_claims(), read_measured()


def claim(test: dict[str, Any], **changes: Any) -> Claim:
    fields = {"id": "x", "paper": "CLTP", "source": "Table 1", "sentence": "It holds"}
    return Claim.model_validate({**fields, "comparison": "cmp", "test": test, **changes})


def test_the_page_is_what_the_data_give() -> None:
    """`make claims` writes it."""
    assert PAGE.read_text(encoding="utf-8") == render(CLAIMS, MEASURED)


def test_every_preset_and_row_is_there() -> None:
    assert list(missing(CLAIMS)) == []


def test_what_was_not_shown_says_why() -> None:
    assert MEASURED.unexplained(CLAIMS) == []


def test_measured_figures_belong_to_claims_as_they_are() -> None:
    """Of a claim that was changed the figure is an old one."""
    known = {item.id: item for item in CLAIMS}
    for name, figure in MEASURED.claims.items():
        test = known[name].test
        assert figure.bound == getattr(test, "bound", 0.0)
        default = "below" if test.kind == "gain_where_low" else "above"
        assert figure.claimed == getattr(test, "claimed", default)
        assert known[name].comparison in MEASURED.comparisons


@pytest.mark.parametrize("item", CLAIMS, ids=lambda item: item.id)
def test_printed_figures_are_in_the_tables(item: Claim) -> None:
    """A claim is one of its paper's own signs: the printed row is above the other."""
    figures = published_figures(item)
    assert (figures == "-") == (item.printed is None and item.published is None)
    if item.printed is not None and figures.startswith("correlation"):
        assert float(figures.split()[1]) < 0
    elif item.printed is not None:
        first, second = map(float, figures.split(" and "))
        assert first > second


def test_all_papers_have_claims() -> None:
    assert len(CLAIMS) >= 35
    for paper in schema.PAPERS:
        assert sum(item.paper == paper for item in CLAIMS) >= 5


@pytest.mark.parametrize(
    ("low", "high", "claimed", "expected"),
    [
        (0.01, 0.02, "above", "shown"),
        (-0.02, -0.01, "above", "opposite"),
        (-0.01, 0.02, "above", "not shown"),
        (0.0, 0.02, "above", "not shown"),
        (-0.02, -0.01, "below", "shown"),
        (0.01, 0.02, "below", "opposite"),
    ],
)
def test_verdicts(low: float, high: float, claimed: Any, expected: str) -> None:
    assert Figure(0.0, (low, high), [0], claimed=claimed).verdict == expected
    moved = Figure(0.5, (low + 0.5, high + 0.5), [0], bound=0.5, claimed=claimed)
    assert moved.verdict == expected


def test_a_single_number_is_its_own_interval() -> None:
    assert Figure(0.2, None, [0], bound=0.1).verdict == "shown"
    assert Figure(0.0, None, [0], bound=0.1).verdict == "opposite"
    assert shown(Figure(0.25, None, [0], bound=0.1, unit="number")) == ("0.250, above 0.1?", "-")
    assert shown(Figure(-0.015, (-0.02, 0.0), [0])) == ("-1.50", "-2.00 to +0.00")
    assert shown(Figure(-0.5, (-1, 0.5), [0], unit="correlation")) == (
        "correlation -0.50", "-1.00 to +0.50",
    )  # fmt: skip


def finished(root: Path) -> Comparison:
    """Two rows with predictions in the store; the seeds of a row have the same ones."""
    rows, _ = compared_rows(root)
    trials = {
        row.title: [
            replace(row.trials[0], report=replace(row.trials[0].report, config=config(root, seed)))
            for seed in (0, 1)
        ]
        for row in rows
    }
    made = [ComparisonRow(title, found) for title, found in trials.items()]
    return Comparison("cmp", made, [], {})


def config(root: Path, seed: int) -> dict[str, Any]:
    return {
        "seed": seed, "method": {"name": "cltp"}, "backbone": "models/tiny",
        "benchmark": {"name": "toy", "max_rows": {"test": 200}}, "store": {"root": str(root)},
    }  # fmt: skip


def runs(root: Path) -> Runs:
    found = finished(root)
    return runs_of([(Store(str(root)), found)])["cmp"]


def test_a_claim_about_rows_is_their_difference(tmp_path: Path) -> None:
    """The same numbers as the table of differences, for all targets and for one."""
    found = runs(tmp_path)
    figure = figure_of(claim({"kind": "above", "row": "good", "against": "bad"}), found)
    counts = {row: found.counts(row, [0, 1], "final") for row in ("good", "bad")}
    (expected,) = compared("f1", counts, against="bad")
    assert figure.value == pytest.approx(expected.difference, rel=1e-12)
    assert figure.interval == pytest.approx(expected.interval, rel=1e-12)
    assert (figure.seeds, figure.verdict) == ([0, 1], "shown")
    back = figure_of(claim({"kind": "above", "row": "bad", "against": "good"}), found)
    assert back.verdict == "opposite"
    one = claim({"kind": "above", "row": "good", "against": "bad", "targets": ["de"]})
    counts = {row: [{"de": x["de"]} for x in of] for row, of in counts.items()}
    (expected,) = compared("f1", counts, against="bad")
    assert figure_of(one, found).value == pytest.approx(expected.difference, rel=1e-12)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    found = runs(tmp_path)
    with pytest.raises(NotMeasuredError, match="no row 'kd' was run, there are: good, bad"):
        figure_of(claim({"kind": "above", "row": "good", "against": "kd"}), found)
    with pytest.raises(NotMeasuredError, match="zero-shot predictions of run-good are gone"):
        figure_of(claim({"kind": "above_zero_shot", "row": "good"}), found)
    test = {"kind": "above", "row": "good", "against": "bad", "targets": ["xx"]}
    with pytest.raises(NotMeasuredError, match="no target xx, there are: nl, de"):
        figure_of(claim(test), found)


def test_gains_are_over_the_own_zero_shot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracies of three targets, without noise: zero-shot 0, 1/2, 3/4, final 1, 3/4, 3/4. Gains
    1, 1/4, 0, mean 5/12; the correlation with zero-shot is -1."""
    right = {"zero-shot": (0, 2, 3), "final": (4, 3, 3)}

    def counts(self: Runs, row: str, seeds: list[int], stage: str) -> Any:
        targets = {f"t{k}": np.array([[n / 4, 1.0]] * 6) for k, n in enumerate(right[stage])}
        return [targets for _ in seeds]

    found = runs(tmp_path)
    monkeypatch.setattr(Runs, "counts", counts)
    first = found.first
    reports = {"good": {0: (Store(str(tmp_path)), replace(first, metric="accuracy"))}}
    figure = figure_of(claim({"kind": "above_zero_shot", "row": "good"}), Runs(reports))
    assert figure.value == pytest.approx(5 / 12)
    assert figure.interval == pytest.approx((5 / 12, 5 / 12))
    some = claim({"kind": "above_zero_shot", "row": "good", "targets": ["t2"]})
    assert figure_of(some, Runs(reports)).verdict == "not shown"
    low = figure_of(claim({"kind": "gain_where_low", "row": "good"}), Runs(reports))
    assert (low.value, low.verdict) == (pytest.approx(-1.0), "shown")


def test_mechanisms_are_means_over_figures_and_seeds(tmp_path: Path) -> None:
    """Means 0.2 and 0.4 of the finite figures of two seeds; drawn twice, the mean is one of 0.2,
    0.3 and 0.4."""
    found, parts = runs(tmp_path), ({"a": 0.1, "b": 0.3, "c": float("nan")}, {"a": 0.3, "b": 0.5})
    store, report = found.reports["good"][0]
    reports = {
        seed: (store, replace(report, mechanisms=[Mechanism("kept, share", figures)]))
        for seed, figures in enumerate(parts)
    }
    test = {"kind": "mechanism", "row": "good", "part": "kept", "bound": 0.15}
    figure = figure_of(claim(test), Runs({"good": reports}))
    assert figure.value == pytest.approx(0.3)
    assert figure.interval == pytest.approx((0.2, 0.4))
    assert figure.verdict == "shown"
    one = figure_of(claim({**test, "figure": "a"}), Runs({"good": {0: reports[0]}}))
    assert (one.value, one.interval, one.verdict) == (0.1, None, "opposite")
    with pytest.raises(NotMeasuredError, match="no part 'lost', there are: kept, share"):
        figure_of(claim({**test, "part": "lost"}), Runs({"good": reports}))


def test_seeds_of_several_folders_are_put_together(tmp_path: Path) -> None:
    found, store = finished(tmp_path), Store(str(tmp_path))
    halves = [
        replace(found, rows=[replace(row, trials=[row.trials[k]]) for row in found.rows])
        for k in (0, 1)
    ]
    both = runs_of([(store, half) for half in halves])["cmp"]
    assert both.seeds("good", "bad") == [0, 1]
    with pytest.raises(ConfigError, match="cmp: row 'good', seed 0 is in two of the folders"):
        runs_of([(store, found), (store, halves[0])])


def test_kept_runs_measure_as_those_in_a_store(tmp_path: Path) -> None:
    """A run of an unfinished comparison is kept, and again read; one that is in a folder, too, is
    taken from there."""
    found = finished(tmp_path)
    section = {"methods": {"good": {}, "bad": {}, "later": {}}, "seeds": [0, 1]}
    write(tmp_path / "runs/cmp", "config.json", {"compare": section})
    names = dict[tuple[str, int], str]()
    for row in found.rows:
        for trial in row.trials:
            name = run_name("cmp", row.title, trial.seed)
            names[row.title, trial.seed] = name
            config = {**trial.report.config, "backbone": str(tmp_path / "encoder")}
            report = replace(trial.report, run=name, config=config)
            write(tmp_path / "runs" / name, "report.json", report.to_json())
            write(tmp_path / "runs" / name, "config.json", dict(report.config))
            ledger = tmp_path / "runs" / trial.report.run / "ledger.jsonl"
            (tmp_path / "runs" / name / "ledger.jsonl").write_bytes(ledger.read_bytes())
    write(tmp_path / "runs" / names["bad", 1], "config.json", {"seed": 1, "other": True})
    for run in runs_to_keep([tmp_path / "runs"]):
        write_kept(run, tmp_path / "kept")
    again = read_kept(tmp_path / "kept")
    for path in (tmp_path / "kept").glob("*/*.json"):
        assert str(tmp_path) not in path.read_text()
    assert {run.report.config["backbone"] for run in again} == {"FOLDER/encoder"}
    assert sorted((run.title, run.seed) for run in again) == [("bad", 0), ("good", 0), ("good", 1)]
    test = claim({"kind": "above", "row": "good", "against": "bad"})
    alone = figure_of(test, runs_of([], again)["cmp"])
    assert alone.seeds == [0]
    halves = [replace(row, trials=row.trials[:1]) for row in found.rows]
    one = [(Store(str(tmp_path)), replace(found, rows=halves))]
    assert figure_of(test, runs_of(one)["cmp"]) == alone
    assert runs_of(one, again)["cmp"].seeds("good") == [0, 1]
    assert runs_of(one, again)["cmp"].reports["good"][0][0] is not None


def write(folder: Path, file: str, content: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text(json.dumps(content), encoding="utf-8")


SHIFT = [
    {"row": row, "seed": seed, "subset": subset, "tv": 0.1 * subset, "zero_shot": 0.5,
     "final": 0.5 + gain * subset}
    for row, gain in (("iwda", 0.02), ("none", -0.1)) for seed in (0, 1) for subset in (1, 2, 3)
]  # fmt: skip


def test_records_of_prior_shift(tmp_path: Path) -> None:
    """Gains over three subsets: 0.02 * 2 against -0.1 * 2 on average, 0.24 apart; the gain of the
    second row falls with the shift in all points."""
    write(tmp_path / "shift", "shift.json", SHIFT)
    test = {"kind": "records", "files": "shift/*.json", "where": {"row": "iwda"},
            "against": {"row": "none"}, "value": "final", "minus": "zero_shot",
            "pair": ["subset"]}  # fmt: skip
    figure = records.figure_of(Records.model_validate(test), [tmp_path])
    assert figure is not None
    assert figure.value == pytest.approx(0.24)
    assert figure.interval is not None
    assert figure.interval[0] == pytest.approx(0.12)  # the first subset, three times
    falls = {"kind": "records", "files": "shift/*.json", "where": {"row": "none"}, "by": "tv",
             "value": "final", "minus": "zero_shot", "pair": ["subset"],
             "claimed": "below"}  # fmt: skip
    figure = records.figure_of(Records.model_validate(falls), [tmp_path])
    assert figure is not None
    assert (figure.value, figure.unit) == (pytest.approx(-1.0), "correlation")
    absent = Records.model_validate({**falls, "where": {"row": "kd"}})
    assert records.figure_of(absent, [tmp_path]) is None
    absent = Records.model_validate({**falls, "files": "other/*.json"})
    assert records.figure_of(absent, [tmp_path]) is None


def test_records_within_records_and_the_last_epoch(tmp_path: Path) -> None:
    """Of the entities of the last epoch 6 of 8 kept labels are right and 1 of 4 others, whatever
    the O spans; in the first epoch 5 of 10. The folders' names say the seeds."""

    def noise(epoch: int, said: str, reliable: bool, right: int, spans: int) -> dict[str, Any]:
        counts = {"right": right, "spans": spans}
        return {"epoch": epoch, "said": said, "reliable": reliable, **counts}

    listed = [noise(0, "PER", True, 5, 10), noise(1, "PER", True, 4, 4),
              noise(1, "LOC", True, 2, 4), noise(1, "PER", False, 1, 4),
              noise(1, "O", True, 99, 100)]  # fmt: skip
    for seed in (0, 1):
        content = {"records": [{"target": "hi", "noise": listed}]}
        write(tmp_path / f"maral-s{seed}", "oracle.json", content)
    test = {"kind": "records", "files": "maral-s*/oracle.json", "at": "records", "inner": "noise",
            "where": {"epoch": "last", "reliable": True}, "against": {"reliable": False},
            "without": {"said": "O"}, "value": "right", "over": "spans"}  # fmt: skip
    figure = records.figure_of(Records.model_validate(test), [tmp_path])
    assert figure is not None
    assert (figure.value, figure.seeds) == (pytest.approx(6 / 8 - 1 / 4), [0, 1])
    test |= {"where": {"epoch": "last"}, "against": {"epoch": "first"}}
    figure = records.figure_of(Records.model_validate(test), [tmp_path])
    assert figure is not None
    assert figure.value == pytest.approx(7 / 12 - 5 / 10)


def test_records_of_bins(tmp_path: Path) -> None:
    """Right of all texts in the last two bins: 3 of 4 after, 1 of 4 before."""
    place = {"row": "a", "seed": 0, "target": "de", "texts": [9, 2, 2]}
    bins = {"before": [9, 1, 0], "after": [0, 1, 2]}
    listed = [{**place, "when": when, "right": right} for when, right in bins.items()]
    write(tmp_path / "cal", "calibration.json", {"records": listed})
    test = {"kind": "records", "files": "cal/calibration.json", "at": "records",
            "where": {"when": "after"}, "against": {"when": "before"}, "value": "right",
            "over": "texts", "bins": [1, 3]}  # fmt: skip
    figure = records.figure_of(Records.model_validate(test), [tmp_path])
    assert figure is not None
    assert (figure.value, figure.interval) == (pytest.approx(0.5), None)


def test_measuring_a_folder(tmp_path: Path) -> None:
    """A claim of a comparison in the folder, one of an analysis, one whose row is missing, and one
    of a preset that was not run."""
    found = finished(tmp_path)
    write(tmp_path / "runs/cmp", "compare.json", found.to_json())
    write(tmp_path / "runs/shift", "shift.json", SHIFT)
    write(tmp_path / "runs/shift", "config.json", {"backbone": "e5", "benchmark": {"name": "z"}})
    shift = {"kind": "records", "files": "shift/shift.json", "where": {"row": "iwda"},
             "value": "final", "minus": "zero_shot", "pair": ["subset"]}  # fmt: skip
    claims = [
        claim({"kind": "above", "row": "good", "against": "bad"}, id="rows"),
        claim({"kind": "above", "row": "good", "against": "kd"}, id="no-row"),
        claim({"kind": "above", "row": "good", "against": "bad"}, id="no-run", comparison="other"),
        claim(shift, id="records", comparison="shift"),
    ]
    said: list[str] = []
    new = measure(claims, [tmp_path / "runs"], said.append)
    assert set(new.claims) == {"rows", "records"}
    assert said[1] == "no-row: not measured: no row 'kd' was run, there are: good, bad"
    assert new.comparisons["cmp"].backbone == "tiny"
    assert new.comparisons["cmp"].max_rows == {"test": 200}
    assert new.comparisons["shift"].benchmark == "z"
    with pytest.raises(ConfigError, match="no folder"):
        measure(claims, [tmp_path / "none"])


def test_figures_that_are_there_stay(tmp_path: Path) -> None:
    """Through the file, to six digits; what belongs to no claim goes."""
    own = [claim({"kind": "above", "row": "a", "against": "b"}, id=name) for name in ("p", "q")]
    setting = Setting("toy", "tiny", ["de"], [0], {}, ["ab12"])
    old = Measured(
        {"cmp": setting, "old": setting},
        {"p": Figure(0.1, None, [0]), "gone": Figure(1.0, None, [0])},
    )
    new = Measured({"cmp": setting}, {"q": Figure(1 / 3, (0.1, 0.5), [0])})
    write_measured(old.updated(new, own), tmp_path / "measured.json")
    again = read_measured(tmp_path / "measured.json")
    assert set(again.comparisons) == {"cmp"}
    assert again.claims == {
        "p": Figure(0.1, None, [0]),
        "q": Figure(0.333333, (0.1, 0.5), [0]),
    }
    assert read_measured(tmp_path / "none.json") == Measured()


def test_reasons_are_on_the_page_once() -> None:
    above = {"kind": "above", "row": "a", "against": "b"}
    why = {"text": "Too little text.", "command": "xlt-ray runs"}
    bad, none = Figure(-0.1, (-0.2, -0.05), [0, 1]), Figure(0.0, (-0.1, 0.1), [0, 1])
    listed = [
        claim(above, id="p", sentence="P", why=why),
        claim(above, id="q", sentence="Q", why=why),
        claim(above, id="r", sentence="R"),
        claim({"kind": "not_testable", "reason": "No data"}, id="s", sentence="S", comparison=None),
    ]
    setting = Setting("toy", "tiny", ["de"], [0, 1], {"test": 9}, ["ab12"])
    found = Measured({"cmp": setting}, {"p": bad, "q": none, "r": none})
    page = render(listed, found)
    assert "Of 4 claims: 1 opposite, 2 not shown, 1 not testable here." in page
    assert "| P | Table 1 | - | cmp | -10.00 | -20.00 to -5.00 | 2 | opposite |" in page
    assert "| CLTP: P (opposite); CLTP: Q (not shown) | Too little text. | `xlt-ray runs` |" in page
    assert "| cmp | toy | tiny | de | 0, 1 | test 9 | `ab12` |" in page
    assert "| CLTP, Table 1 | S | - | No data |" in page
    assert found.unexplained(listed) == ["r"]


def test_presets_and_rows_that_are_missing_are_named() -> None:
    above = {"kind": "above", "row": "cltp", "against": "nix"}
    listed = [claim(above, comparison="compare-toy"), claim(above, comparison="no-such")]
    assert list(missing(listed)) == [
        "x: preset compare-toy has no row 'nix'",
        "there is no preset no-such",
    ]
    study = next(item for item in presets() if item.name == "shift-toy")
    assert {"st", "alignment", "iwda (oracle)"} <= set(titles_of(study.keys))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"comparison": None}, "needs a comparison"),
        ({"test": {"kind": "not_testable", "reason": "No data"}}, "needs a comparison"),
        ({"test": {"kind": "higher", "row": "a"}}, "higher"),
        ({"paper": "BERT"}, "BERT"),
    ],
)
def test_a_wrong_claim_is_an_error(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    fields = {"id": "x", "paper": "CLTP", "source": "Table 1", "sentence": "It holds",
              "comparison": "cmp", "test": {"kind": "above_zero_shot", "row": "a"}}  # fmt: skip
    path = tmp_path / "claims.yaml"
    path.write_text(json.dumps({"claims": [{**fields, **changes}]}))
    with pytest.raises(ConfigError, match=words):
        read_claims(path)
    path.write_text(json.dumps({"claims": [fields, fields]}))
    with pytest.raises(ConfigError, match="x is there twice"):
        read_claims(path)


@pytest.mark.slow
def test_proofs_are_of_all_methods_and_name_rows_that_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("wikiann", "udpos", "xnli", "sentiment"):
        (tmp_path / name).mkdir()
    for asked in (
        proof.Asked(None, None, tmp_path),
        proof.Asked(tmp_path, None, tmp_path),
        proof.Asked(tmp_path, "FOLDER", tmp_path),
    ):
        found = proof.proofs(asked)
        assert {item.claim.paper for item in found} == set(schema.PAPERS)
        for item in found:
            assert set(item.claim.rows) == set(titles_of(item.keys))
            assert item.keys["backbone"] == asked.encoder
    assert proof.Asked(None, None, tmp_path).encoder == "toy"
    assert proof.Asked(tmp_path, None, tmp_path).encoder == proof.HUB
    assert proof.Asked(tmp_path, "FOLDER", tmp_path).encoder == "FOLDER"
    monkeypatch.chdir(tmp_path)
    assert proof.Asked(tmp_path, "xnli", tmp_path).encoder == str(tmp_path.resolve() / "xnli")
    (tmp_path / "xnli").rmdir()
    with pytest.raises(ConfigError, match=r"proof: no folder .*xnli"):
        proof.proofs(proof.Asked(tmp_path, None, tmp_path))


def test_an_encoder_needs_text_that_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["proof", "--backbone", "FOLDER"]) == 2
    assert "an encoder of yours needs --data" in capsys.readouterr().err


def test_a_proof_prints_what_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three claims about comparisons that are finished: one holds, one does not, and one has not
    ended. The exit code says so."""
    found = finished(tmp_path)
    holds, fails = ({"kind": "above", "row": x, "against": y} for x, y in
                    (("good", "bad"), ("bad", "good")))  # fmt: skip
    listed = [proof.Proof(name, claim(test, sentence=f"{name} holds"), {}) for name, test in
              (("cltp", holds), ("lvm", fails), ("iwda", holds))]  # fmt: skip
    for item in listed[:2]:
        record = replace(found, name=f"proof-{item.name}").to_json()
        write(tmp_path / f"runs/proof-{item.name}", "compare.json", record)
    made: list[str] = []

    def run(item: proof.Proof, store: Path) -> proof.Ended:
        assert store == tmp_path
        return proof.Ended(int(item.name == "iwda"), 90.0)

    monkeypatch.setattr(proof, "proofs", lambda asked: listed)
    monkeypatch.setattr(proof, "make_encoder", lambda item: made.append(item.name))
    monkeypatch.setattr(proof, "run", run)
    asked = proof.Asked(None, None, tmp_path)
    assert proof.carry_out(asked, at_once=2) == 1
    lines = capsys.readouterr().out.splitlines()
    assert made == ["cltp"]
    (first,) = (line for line in lines if line.startswith("| cltp"))
    assert first.startswith("| cltp | cltp holds (Table 1) | +")
    assert first.endswith("| held | 1.5 |")
    assert any(x.startswith("| lvm") and x.endswith("| did not hold | 1.5 |") for x in lines)
    assert "| iwda | iwda holds (Table 1) | - | - | did not end | 1.5 |" in lines
    assert lines.count(asked.words) == 2
    assert proof.carry_out(asked, at_once=1, only=["lvm"]) == 0
