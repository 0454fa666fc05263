"""The configuration of a comparison: rows, seeds, messages, the plan."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.compare import JOB, CompareConfig, configure, dry_run, fingerprints_of, slug
from xlt_ray.config.errors import ConfigError
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.method import Outcome
from xlt_ray.run.exit_codes import BAD_CONFIG, DONE, RESUMABLE
from xlt_ray.run.gold_steps import read_gold
from xlt_ray.store.artifacts import Artifact, Store
from xlt_ray.store.lease import Lease

ROOT = Path(__file__).resolve().parents[2]
TOY: dict[str, Any] = {
    "benchmark": {"name": "toy", "max_rows": 6},
    "backbone": "toy",
    "resources": {"num_cpus": 2},
}


def of(*flags: str, **section: Any) -> CompareConfig:
    """The configuration with this section ``compare``."""
    return configure({**TOY, "compare": section}, flags=flags)


def method_of(config: CompareConfig, title: str) -> dict[str, Any]:
    """The method of a row with its first seed."""
    return next(iter(config.rows[title].values())).method.model_dump(by_alias=True)


def test_a_row_is_named_by_its_method_or_has_a_name_of_its_own() -> None:
    config = of(
        methods={
            "bl_direct": {},
            "cltp": None,
            "CLTP, one class": {"name": "cltp", "label": "one_hot"},
        }
    )
    assert list(config.rows) == ["bl_direct", "cltp", "CLTP, one class"]
    assert method_of(config, "bl_direct")["name"] == "bl_direct"
    assert method_of(config, "cltp")["label"] == "partial"
    row = method_of(config, "CLTP, one class")
    assert (row["name"], row["label"], row["lambda"]) == ("cltp", "one_hot", 4.0)


def test_every_row_has_every_seed() -> None:
    """Seeds run one after the other, so that after the first one there is a whole table."""
    config = of(methods={"bl_direct": {}, "CLTP, k = 2": {"name": "cltp"}}, seeds=[3, 1])
    assert config.runs == [
        ("bl_direct", 3), ("CLTP, k = 2", 3), ("bl_direct", 1), ("CLTP, k = 2", 1),
    ]  # fmt: skip
    runs = config.rows["CLTP, k = 2"]
    assert [run.seed for run in runs.values()] == [3, 1]
    assert [run.run_name for run in runs.values()] == [
        "compare-toy-cltp-k-2-s3",
        "compare-toy-cltp-k-2-s1",
    ]
    assert config.first is config.rows["bl_direct"][3]


def test_runs_differ_in_method_seed_and_name_alone() -> None:
    config = of(
        "run.name=mine", "run.score_rounds=true", "train.batch_size=4", methods="bl_direct,cltp"
    )
    assert config.name == "mine"
    dumps = [run.model_dump() for runs in config.rows.values() for run in runs.values()]
    for dump in dumps:
        assert dump["run"]["score_rounds"]
        for key in ("method", "seed", "run"):
            del dump[key]
        assert dump == dumps[0]
    plain = config.to_dict()
    assert plain["run"]["name"] == "mine"
    assert plain["train"]["batch_size"] == 4
    assert plain["compare"]["seeds"] == [0, 1, 2]
    assert not {"method", "seed"} & set(plain)


@pytest.mark.parametrize(
    ("flag", "titles"),
    [
        ("compare.methods=cltp, bl_direct", ["cltp", "bl_direct"]),
        ('compare.methods=["bl_direct"]', ["bl_direct"]),
        ('compare.methods={"x": {"name": "cltp"}}', ["cltp", "x"]),
        ("compare.methods.x.name=cltp", ["cltp", "x"]),
    ],
)
def test_rows_of_the_command_line(flag: str, titles: list[str]) -> None:
    """A list takes the place of the rows, keys are added to them."""
    config = of(flag, methods={"cltp": {"rounds": 2}})
    assert list(config.rows) == titles


@pytest.mark.parametrize(
    ("flag", "seeds"), [("5", (5,)), ("2,1", (2, 1)), ("[7]", (7,)), ("0", (0,))]
)
def test_seeds_of_the_command_line(flag: str, seeds: tuple[int, ...]) -> None:
    assert of(f"compare.seeds={flag}", methods="cltp").section.seeds == seeds


def test_shared_keys_reach_the_methods_that_have_them() -> None:
    """``lambda`` is a key of CLTP alone, and is called lam in Python; a row's own value wins."""
    config = of(
        shared={"source_lr": 0.5, "lambda": 8, "rounds": 2},
        methods={"bl_direct": {}, "cltp": {}, "sl_evi": {"rounds": 3}},
    )
    assert method_of(config, "bl_direct")["source_lr"] == 0.5
    assert "rounds" not in method_of(config, "bl_direct")
    assert method_of(config, "cltp")["lambda"] == 8
    assert method_of(config, "cltp")["rounds"] == 2
    assert method_of(config, "sl_evi")["rounds"] == 3


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "compare.methods: is required"),
        ({"methods": {}}, "compare.methods: Value should have at least 1 item"),
        ({"methods": "cltp,cltp"}, "cltp is listed twice"),
        ({"methods": {"cltp": 3}}, "compare.methods.cltp: Input should be a valid dictionary"),
        ({"methods": "cltp", "seeds": []}, "compare.seeds: Value should have at least 1 item"),
        ({"methods": "cltp", "seeds": "0,1,0"}, "0 is listed twice"),
        ({"methods": "cltp", "seeds": [-1]}, "compare.seeds: Input should be greater than or equ"),
        ({"methods": "cltp", "seed": 1}, "compare.seed: unknown key; allowed: against, figure, m"),
        (
            {"methods": {"a": {"name": "cltp"}, "A!": {"name": "cltp"}}},
            "would share the folder 'a'",
        ),
        ({"methods": {"方法": {"name": "cltp"}}}, "title '方法' has no letter a to z or digit"),
        ({"methods": "magic"}, "row 'magic': method.name: unknown method 'magic'; allowed: bl_"),
        ({"methods": {"x": {"name": ["cltp"]}}}, "row 'x': method.name: unknown method ['cltp']"),
        ({"methods": {"x": {"name": "cltp", "tau": 1}}}, "row 'x': method.tau: Input should be gr"),
        (
            {"methods": {"bl_direct": {"tau": 4}}},
            "row 'bl_direct': method.tau: unknown key; allowed",
        ),
        (
            {"methods": {"cltp": {"label": "top_k", "top_k": 7}}},
            "row 'cltp': method.top_k: 7, but has to be below",
        ),
        (
            {"methods": "bl_direct", "shared": {"tau": 4}},
            "compare.shared.tau: no method of the com",
        ),
        ({"methods": "cltp", "shared": {"name": "cltp"}}, "compare.shared.name: a row's method is"),
        ({"methods": {"a" * 98: {"name": "cltp"}}}, "makes a folder's name of 113 letters"),
        ({"methods": "cltp", "published": [{"paper": "X", "table": 1}]}, "no paper 'X', there are"),
        ({"methods": "cltp", "published": [{"paper": "CLTP", "table": 8}]}, "no table '8' of CLTP"),
    ],
)
def test_what_is_wrong_is_said(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        of(**section)


def test_a_fault_is_said_once_with_the_rows_that_have_it() -> None:
    with pytest.raises(ConfigError) as caught:
        of("train.max_grad_norm=0", methods="bl_direct,cltp,sl_evi", shared={"rounds": -1})
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    clip, rounds = sorted(lines, key=lambda line: "rounds" in line)
    assert clip.startswith("train.max_grad_norm: ")
    assert clip.endswith("got 0 (from --set train.max_grad_norm=0)")
    assert rounds.startswith("row 'cltp', 'sl_evi': method.rounds: ")


def test_a_fault_says_where_it_came_from(tmp_path: Path) -> None:
    """Of two wrong keys of one row, one is from the file and one from the flag."""
    path = tmp_path / "a.yaml"
    path.write_text("compare: {methods: {x: {name: cltp, tau: 0}}, shared: {beta: -1}}")
    with pytest.raises(ConfigError) as caught:
        configure(TOY, [str(path)], ["compare.methods.x.lambda=0"])
    lines = sorted(str(caught.value).splitlines())
    assert [line.partition("(from ")[2] for line in lines] == [
        f"{path})", "--set compare.methods.x.lambda=0)", f"{path})",
    ]  # fmt: skip
    assert [line.split()[2] for line in lines] == [
        "method.beta:", "method.lambda:", "method.tau:",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("method.name=cltp", "method: a comparison has compare.methods, and compare.shared for"),
        ("seed=1", "seed: a comparison has compare.seeds instead (from --set seed=1)"),
        ("run.name=../x", "run.name: String should match pattern"),
        (f"run.name={'x' * 98}", "makes a folder's name of 111 letters, at most 100"),
        ("benchmark.name=none", "benchmark.name: unknown benchmark 'none'"),
        ("benchmark.name=toy_tagging", "row 'cltp': method.name: cltp selects by entities"),
    ],
)
def test_what_does_not_fit_a_comparison(flag: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        of(flag, methods="bl_direct,cltp")


def test_without_a_file_the_job_says_what_it_needs() -> None:
    with pytest.raises(ConfigError, match=r"^compare: is required"):
        configure({})
    with pytest.raises(ConfigError, match=r"benchmark: is required(.|\n)*backbone: is required"):
        configure({}, flags=["compare.methods=cltp"])


@pytest.mark.parametrize("title", ["A  b", "a-b", "(a, b)"])
def test_a_title_as_a_folder_name(title: str) -> None:
    assert slug(title) == "a-b"


def test_published_tables_follow_the_benchmark() -> None:
    real = {"backbone": "folder", "compare": {"methods": "cltp"}}
    shown = {
        name: [
            (table.paper, table.table)
            for table in configure({**real, "benchmark": {"name": name}}).published
        ]
        for name in ("wikiann", "xnli", "toy")
    }
    assert shown == {"wikiann": [("CLTP", "1")], "xnli": [("CLTP", "2")], "toy": []}
    chosen = of(methods="cltp", published=[{"paper": "MARAL", "table": 1}])
    assert [table.dataset for table in chosen.published] == ["CoNLL-2002/2003", "WikiANN"]
    none = configure({**real, "benchmark": {"name": "wikiann"}}, flags=["compare.published=[]"])
    assert none.published == []


def test_the_comparisons_of_the_cltp_paper_have_its_settings() -> None:
    methods = ["bl_direct", "bl_single", "bl_joint", "sl_evi", "sl_leu", "sl_lou", "cltp"]
    configs = {
        name: configure({}, [str(ROOT / f"jobs/presets/{name}.yaml")])
        for name in ("compare-wikiann", "compare-xnli")
    }
    assert all(list(config.rows) == methods for config in configs.values())
    ner, nli = configs["compare-wikiann"], configs["compare-xnli"]
    assert len(ner.runs) == len(nli.runs) == 21
    assert ner.first.backbone == nli.first.backbone == "FacebookAI/xlm-roberta-large"
    shares = [method_of(config, "sl_lou")["src_ratio"] for config in (ner, nli)]
    assert shares == [0.6, 0.01]
    for config, epochs, rounds, samples, rate in ((ner, 10, 10, 20, 2e-5), (nli, 5, 8, 10, 5e-6)):
        for title in methods:
            method = method_of(config, title)
            assert (method["source_lr"], method["source_epochs"]) == (2e-5, epochs)
            if title.startswith("sl_"):
                assert (method["rounds"], method["round_lr"], method["ratio"]) == (4, 2e-5, 0.08)
        assert method_of(config, "sl_leu")["samples"] == samples
        cltp = method_of(config, "cltp")
        assert (cltp["rounds"], cltp["one_hot_rounds"], cltp["round_lr"]) == (rounds, 3, rate)
        assert (cltp["lambda"], cltp["tau"], cltp["beta"]) == (4, 10, 2)


def call(capsys: pytest.CaptureFixture[str], store: Path, *flags: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a comparison."""
    defaults = {**TOY, "compare": {"methods": {"bl_direct": {}, "cltp": {}}, "seeds": [4, 5]}}
    code = run_job(defaults, "A job.", ["--set", f"store.root={store}", *flags], job=JOB)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.slow
def test_a_dry_run_prints_rows_methods_and_steps(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, err = call(capsys, tmp_path, "--dry-run", "--set", "compare.shared.rounds=1")
    assert (code, err) == (DONE, "")
    runs, first, second = re.split(r"\n\n(?=bl_direct:|cltp:)", out)
    assert re.search(r"^ +4 cltp +5  compare-toy-cltp-s5$", runs, re.MULTILINE)
    assert "\ntrain.batch_size: 32\n" in runs
    assert "\n  source_epochs: 10\n" in first
    assert "\n  lambda: 4.0\n" in second
    assert "\n  rounds: 1\n" in second
    assert "round 1 selection" not in first
    assert "round 1 selection" in second
    assert first.count("missing: nothing") == second.count("missing: nothing") == 1
    written = json.loads((tmp_path / "runs/compare-toy/resolved.json").read_text())
    assert written["compare"]["shared"] == {"rounds": 1}
    assert not any((tmp_path / "artifacts").rglob("manifest.json"))


def test_what_is_read_first_is_in_the_plan(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = of(f"store.root={tmp_path}", methods="bl_direct", seeds=[0])
    assert dry_run(config, first=read_gold) == DONE
    out = capsys.readouterr().out
    assert 0 < out.index("oracle gold") < out.index("source train text")


def test_keys_of_a_list_of_names_are_refused() -> None:
    flags = ["compare.methods=bl_direct,cltp", "compare.methods.cltp.lambda=8"]
    message = r"compare.methods: --set compare.methods.cltp.lambda=8 gives keys, but --set compare"
    with pytest.raises(ConfigError, match=message):
        configure({}, flags=flags)


def test_shared_keys_of_rows_that_are_replaced_are_left_behind() -> None:
    """A job shares keys of its own rows; who names others does not have to know of them."""
    job = {"compare": {"methods": {"cltp": {}}, "shared": {"tau": 5, "source_lr": 1e-3}}}
    config = configure({**TOY, **job}, flags=["compare.methods=bl_direct"])
    assert config.rows["bl_direct"][0].method.source_lr == 1e-3
    flags = ["compare.methods=bl_direct", "compare.shared.tau=5"]
    with pytest.raises(ConfigError, match=r"compare\.shared\.tau: no method of the comparison"):
        configure({**TOY, **job}, flags=flags)
    with pytest.raises(ConfigError, match=r"compare\.shared\.tau: no method of the comparison"):
        configure({**TOY, "compare": {**job["compare"], "methods": {"bl_direct": {}}}})


def test_a_dry_run_with_something_missing_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = ["--set", f"backbone={tmp_path}/none", "--set", "compare.methods=bl_direct"]
    code, out, _ = call(capsys, tmp_path, "--dry-run", *flags)
    assert code == BAD_CONFIG
    assert re.search(r"missing: backbone: '.*/none': no such folder", out)


@pytest.mark.parametrize("dry", [True, False])
def test_a_bad_row_is_refused_before_anything_happens(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, dry: bool
) -> None:
    flags = [*(["--dry-run"] if dry else []), "--set", "compare.methods.cltp.tau=0"]
    code, out, err = call(capsys, tmp_path, *flags)
    assert (code, out) == (BAD_CONFIG, "")
    assert err.startswith("error: row 'cltp': method.tau: ")
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_that_another_driver_holds_can_be_started_again(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = Store(str(tmp_path))
    lease = Lease(store, store.run_folder("compare-toy"), seconds=3.0)
    lease.acquire()
    try:
        code, _, err = call(capsys, tmp_path)
    finally:
        lease.release()
    assert code == RESUMABLE
    assert "another driver is at work on this run" in err


def test_help_lists_the_keys_of_the_comparison_and_of_all_methods(
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = runpy.run_path(str(ROOT / "jobs/compare.py"))
    with pytest.raises(SystemExit) as caught:
        run_job(job["DEFAULTS"], job["__doc__"], ["--help"], job=job["JOB"])
    assert caught.value.code == 0
    shown = dict(
        re.findall(r"^  ((?:\w+: )?[a-z_.]+) +(\S+)", capsys.readouterr().out, re.MULTILINE)
    )
    assert shown["compare.methods"] == "(required)"
    assert shown["benchmark.name"] == "(required)"
    assert shown["train.batch_size"] == "32"
    assert shown["cltp: lambda"] == "4.0"
    assert shown["sl_leu: samples"] == "20"
    assert not {"seed", "method.name"} & set(shown)


def test_models_of_an_outcome() -> None:
    """By fingerprint; a method with a model per language has them all."""
    source, final, dutch = (Model(Artifact("", "model", name, {})) for name in ("s", "f", "n"))
    assert fingerprints_of(Outcome(source, final)) == {"zero-shot": "s", "final": "f"}
    assert fingerprints_of(Outcome(source, source, by_language={"nl": dutch})) == {
        "zero-shot": "s", "final": "s", "final nl": "n",
    }  # fmt: skip


def test_a_row_may_start_from_an_earlier_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows: dict[str, Any] = {"iwda": {}, "on top": {"name": "kd", "start_from": "iwda"}}
    stored, parts = f"store.root={tmp_path}", "benchmark.targets=nolu"
    config = of(stored, parts, methods={**rows, "mine": {"name": "st", "start_from": "other"}})
    begun = {title: configs[0].method for title, configs in config.rows.items() if title != "iwda"}
    assert begun["on top"].start_from == "compare-toy-iwda-s0"
    assert begun["mine"].start_from == "other", "no row, and so a run or a checkpoint"
    later = of(methods=dict(reversed(rows.items())))
    assert later.rows["on top"][0].method.start_from == "iwda", (
        "a later row is no row to start from"
    )
    assert dry_run(of(stored, parts, methods=rows)) == DONE
    assert "missing: nothing" in capsys.readouterr().out
    assert dry_run(config) == BAD_CONFIG
    assert (
        "missing: start: method.start_from: 'other' is no finished run" in capsys.readouterr().out
    )
