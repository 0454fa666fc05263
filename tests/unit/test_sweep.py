"""The configuration of a sweep: what is searched for whom, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.sweep import job
from xlt_ray.commands.sweep_config import SweepConfig, configure
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.data.benchmarks.toy import LANGUAGES
from xlt_ray.engine.tune import Ended, draw
from xlt_ray.methods import METHODS
from xlt_ray.run.exit_codes import BAD_CONFIG, DONE
from xlt_ray.run.few import few_of

ROOT = Path(__file__).resolve().parents[2]
SPACES = ROOT / "tune_spaces"
TOY = {"benchmark": {"name": "toy", "targets": ["nolu", "teska", "pavri"]}, "backbone": "toy"}


def of(method: str = "cltp", **section: Any) -> SweepConfig:
    toy = TOY if "token" in METHODS[method].tasks else {**TOY, "benchmark": {"name": "toy_pair"}}
    return configure(SPACES, {**toy, "method": {"name": method}, "sweep": section})


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(SPACES.glob("*.py")), ids=lambda path: path.stem)
def test_every_space_is_one_of_its_method(path: Path) -> None:
    assert path.stem in METHODS
    config = of(path.stem, trials=20)
    assert all(set(config.make("all", one).method.model_dump(by_alias=True)) >= set(one)
               for one in draw(config.space, 20, seed=0))  # fmt: skip


def test_every_self_training_method_has_a_space() -> None:
    have = {path.stem for path in SPACES.glob("*.py")}
    assert set(METHODS) - have == {"bl_direct", "bl_single", "bl_joint", "bl_spans", "dt"}


@pytest.mark.parametrize(
    ("flags", "searched"),
    [
        ([], {"lambda", "tau"}),
        (["sweep.concurrent=1", "method.name=cltp"], {"lambda", "tau"}),
        (['sweep.keys={"beta": [0, 1]}'], {"beta"}),
        ([f"sweep.space={SPACES / 'cltp.py'}", "sweep.search=random"], {"lambda", "beta"}),
        (["method.name=sl_leu", "sweep.search=random"], {"samples", "ratio", "round_lr"}),
    ],
)
def test_what_the_user_searches_takes_the_place_of_the_default(
    flags: list[str], searched: set[str]
) -> None:
    own = {"search": "grid", "keys": {"lambda": [1, 2], "tau": [5, 10]}}
    config = configure(SPACES, {**TOY, "method": {"name": "cltp"}, "sweep": own}, flags=flags)
    assert set(config.space) >= searched
    assert "lambda" in searched or "lambda" not in config.space


def test_a_trial_finds_its_files_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "encoder").mkdir()
    for language in ("en", "de"):
        (tmp_path / "data" / language).mkdir(parents=True)
        (tmp_path / "data" / language / "train.txt").touch()
    monkeypatch.chdir(tmp_path)
    values: dict[str, Any] = {"backbone": "encoder", "store": {"root": "store"}}
    values["benchmark"] = {"name": "wikiann", "root": "data", "targets": ["de"]}
    trial = configure(SPACES, {**values, "method": {"name": "cltp"}}).make("all", {"lambda": 2})
    assert trial.store.root == str(tmp_path / "store")
    assert trial.benchmark.root == str(tmp_path / "data")
    assert trial.backbone == str(tmp_path / "encoder")
    elsewhere = {**TOY, "method": {"name": "cltp"}, "store": {"root": "s3://bucket/store"}}
    trial = configure(SPACES, elsewhere).make("all", {"lambda": 2})
    assert (trial.store.root, trial.backbone) == ("s3://bucket/store", "toy")


@pytest.mark.parametrize("names", [("a 1", "a-1"), ("中", "b")])
def test_groups_need_folders_of_their_own(names: tuple[str, str]) -> None:
    groups = {names[0]: ["nolu"], names[1]: ["teska"]}
    with pytest.raises(ConfigError, match=r"sweep.groups: names need"):
        of(per="group", groups=groups)


def test_searches_have_names_that_folders_may_have() -> None:
    with pytest.raises(ConfigError, match=r"would have names of 1\d\d letters, at most 100"):
        of(per="group", groups={"a" * 90: ["nolu"]})


def test_a_trial_has_its_parameters_and_a_run_of_its_own() -> None:
    config = of(keys={"lambda": [2, 4], "tau": [5, 10]}, search="grid")
    first = config.make("all", {"lambda": 2, "tau": 5})
    assert (first.method.lam, first.method.tau) == (2.0, 5.0)
    names = {config.make("all", {"lambda": a, "tau": b}).run_name for a in (2, 4) for b in (5, 10)}
    assert len(names) == 4
    assert all(name.startswith("sweep-cltp-toy-s0-all-") for name in names)
    again = of(keys={"lambda": [2, 4], "tau": [5, 10]}, search="grid")
    assert again.make("all", {"lambda": 2, "tau": 5}).run_name == first.run_name


def test_one_search_for_all_for_each_or_for_groups() -> None:
    keys = {"beta": [0, 1]}
    assert of(keys=keys).scopes == {"all": ("nolu", "teska", "pavri")}
    each = of(keys=keys, per="language")
    assert each.scopes == {"nolu": ("nolu",), "teska": ("teska",), "pavri": ("pavri",)}
    assert each.make("teska", {"beta": 1}).benchmark.targets == ("teska",)
    groups = {"a": "nolu,teska", "b": ["pavri"]}
    config = of(keys=keys, per="group", groups=groups)
    assert config.scopes == {"a": ("nolu", "teska"), "b": ("pavri",)}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"keys": {"lamda": [2]}}, "method.lamda: cltp has no such key; allowed: beta, "),
        ({"keys": {"tau": [5, 0.5]}}, "method.tau: Input should be greater than 1"),
        ({"keys": {"tau": []}}, "sweep.keys.tau: "),
        ({"search": "annealing"}, "sweep.search: Input should be 'random', 'grid', 'asha'"),
        ({"search": "grid", "trials": 3}, "sweep.trials: a grid has as many trials as cells"),
        ({"grace": 2}, "sweep.grace: belongs to sweep.search asha, and it is random"),
        ({"space": "none.py"}, "sweep.space: no file none.py; give one, or sweep.keys; methods"),
        ({"space": "x.py", "keys": {"tau": [5]}}, "sweep.space: sweep.keys takes the place"),
        ({"per": "group"}, "sweep.per: group, but sweep.groups has none"),
        ({"groups": {"a": "nolu"}}, "sweep.groups: goes with sweep.per group, and it is run"),
        (
            {"per": "group", "groups": {"a": "nolu,kaldi"}},
            "sweep.groups.a: kaldi; allowed: nolu, teska, pavri",
        ),
    ],
)
def test_what_is_refused(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as found:
        of(**section)
    assert str(found.value).startswith(message)


def test_a_space_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text('from ray import tune\n\nSPACE = {"beta": tune.uniform(0, 2)}\n')
    assert list(of(space=str(path)).space) == ["beta"]
    with pytest.raises(ConfigError, match=r"sweep.search: beta: a grid needs a list of values"):
        of(space=str(path), search="grid")
    path.write_text("")
    with pytest.raises(ConfigError, match=r"mine.py has no SPACE"):
        of(space=str(path))


def test_methods_without_a_space_need_keys() -> None:
    with pytest.raises(ConfigError, match=r"no file .*bl_direct.py; give one, or sweep.keys"):
        of("bl_direct")
    assert list(of("bl_direct", keys={"source_lr": [1e-5, 2e-5]}).space) == ["source_lr"]


def test_how_a_trial_ended() -> None:
    assert Ended({}).state == "ended early"
    assert Ended({}, facts={"source_dev": 0.5}).state == "done"
    assert Ended({}, error="no").state == "failed"


def test_a_dry_run_prints_trials_and_steps(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    defaults = {**TOY, "method": {"name": "cltp"}, "sweep": {"keys": {"beta": [0, 1]}}}
    flags = ["--dry-run", "--set", f"store.root={tmp_path}", "--set", "sweep.search=grid"]
    assert run_job(defaults, "A job.", flags, job=job(SPACES)) == DONE
    out = capsys.readouterr().out
    assert "\nsweep.search: grid\n" in f"\n{out}"
    assert "\none search (grid) of 2 trials, " in out
    assert "\nsearch all: nolu, teska, pavri\n  beta 0.0\n  beta 1.0\n" in out
    assert "round 10 annotation" in out
    assert "test" not in out.split("steps of the first trial")[1].split("store:")[0]
    assert not any((tmp_path / "artifacts").rglob("manifest.json"))


def test_a_bad_sweep_is_refused_before_anything_happens(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    defaults = {**TOY, "method": {"name": "cltp"}, "sweep": {"keys": {"tau": [0.5]}}}
    flags = ["--set", f"store.root={tmp_path}"]
    assert run_job(defaults, "A job.", flags, job=job(SPACES)) == BAD_CONFIG
    assert capsys.readouterr().err.startswith("error: method.tau: ")
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_is_left_out_is_searched_too() -> None:
    values: dict[str, Any] = {
        **TOY,
        "benchmark": {"name": "toy", "source": ["mira", "nolu"], "targets": ["mira", "pavri"],
                      "leave_one_out": True},
        "method": {"name": "lvm"},
    }  # fmt: skip
    config = configure(SPACES, {**values, "sweep": {"per": "language", "trials": 1}})
    assert config.scopes == {"mira": ("mira",), "pavri": ("pavri",)}
    values["benchmark"]["targets"] = "all"
    config = configure(SPACES, {**values, "sweep": {"trials": 1}})
    assert set(config.scopes["all"]) == set(LANGUAGES)


def test_text_that_was_drawn_by_its_labels_is_refused() -> None:
    asked: dict[str, Any] = {**TOY, "method": {"name": "cltp"}, "sweep": {"keys": {"tau": [5]}}}
    asked["benchmark"] = {**TOY["benchmark"], "prior": {"nolu": "random"}}
    with pytest.raises(ConfigError, match=r"benchmark.prior: draws text by its gold labels"):
        configure(SPACES, asked)


def own_files(folder: Path) -> dict[str, Any]:
    """English, and two targets with few labelled rows each."""
    paths: dict[str, Any] = {}
    for name, splits in (("en", ("train",)), ("sw", ("few", "unlabelled")),
                         ("tr", ("few", "unlabelled"))):  # fmt: skip
        for split in splits:
            path = folder / f"{name}.{split}.{'txt' if split == 'unlabelled' else 'conll'}"
            text = "w{n}." if split == "unlabelled" else "w{n}\tB-PER\nz\tO\n"
            path.write_text("\n".join(text.format(n=f"{name}{split}{n}") for n in range(20)))
            paths.setdefault(name, {})[split] = [str(path)]
    return {"benchmark": {"name": "files", "source": ["en"]}, "files": {"paths": paths},
            "backbone": "toy", "method": {"name": "cltp"},
            "store": {"root": str(folder / "store")}}  # fmt: skip


@pytest.mark.parametrize("few", [None, 5, {"sw": 5, "tr": 3}])
@pytest.mark.parametrize(
    "section",
    [
        {"per": "language"},
        {"per": "group", "groups": {"sw": ["sw"], "tr": "tr"}},
        {"per": "group", "groups": {"sw": ["sw"]}},
    ],
)
def test_a_search_has_the_few_rows_of_its_own_targets(
    tmp_path: Path, section: Any, few: Any
) -> None:
    values = own_files(tmp_path)
    values["benchmark"]["few"] = few
    config = configure(SPACES, {**values, "sweep": {"keys": {"beta": [0, 1]}, **section}})
    asked = few if isinstance(few, dict) else {"sw": few, "tr": few}
    for scope in config.scopes:
        for run in (config.make(scope, {"beta": 1}), config.corpora(scope, config.resources)):
            found = few_of(run, benchmark_of(run), ("en",), run.benchmark.targets or ())
            assert found == {scope: asked[scope]}


def test_few_rows_of_no_target_stay_an_error_in_a_search(tmp_path: Path) -> None:
    values = own_files(tmp_path)
    values["benchmark"]["few"] = {"sw": 5, "xx": 3}
    config = configure(SPACES, {**values, "sweep": {"keys": {"beta": [0]}, "per": "language"}})
    run = config.make("tr", {"beta": 0})
    with pytest.raises(ConfigError, match=r"benchmark.few: xx is no target, there are: tr;"):
        few_of(run, benchmark_of(run), ("en",), ("tr",))
