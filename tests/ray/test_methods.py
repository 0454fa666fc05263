"""Every method on a real Ray: words and pairs, parts of its own, shared prefixes, comparisons."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from tests.world import SOURCE, TARGETS, World
from xlt_ray.commands import main as console
from xlt_ray.commands.compare import compare
from xlt_ray.commands.compare import configure as configure_comparison
from xlt_ray.methods import METHODS
from xlt_ray.run.check import configure_run
from xlt_ray.run.session import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROUNDS = {"rounds": 2, "round_epochs": 1, "ratio": 0.2, "final_epochs": 1}
OPTIONS: dict[str, dict[str, Any]] = {
    "bl_direct": {},
    "bl_single": {"round_epochs": 1},
    "bl_joint": {"round_epochs": 1},
    "sl_evi": ROUNDS,
    "sl_leu": {**ROUNDS, "samples": 4},
    "sl_lou": ROUNDS,
    "cltp": {**ROUNDS, "one_hot_rounds": 1, "tau": 1.5, "lambda": 1},
    "st": {"iterations": 2, "share": 0.2, "lr": 1e-3},
    "dt": {},
    "hard": {"epochs": 1},
    "hard_cat": {"epochs": 1},
    "hard_vote": {"epochs": 1},
    "kd_re": {"epochs": 1, "frozen_layers": 1},
    "kd": {"epochs": 1, "frozen_layers": 1, "lr": 1e-3},
    "conlst": {"stage1_lr": 1e-4, "lr": 1e-4, "iterations": 2, "gamma": 0.5, "k_neg": 4},
    "nl": {"stage1_lr": 1e-4},
    "flexmatch": {"epochs": 1, "lr": 1e-4, "t0": 0.5},
    "iwda": {"epochs": 1, "lr": 1e-3, "critic_hidden": 32},
    "mrt": {"epochs": 1, "lr": 1e-3},
    "lvm": {"epochs": 1, "lr": 1e-3, "labels": "hard", "predict": "q"},
    "maral": {"epochs": 3, "lr": 1e-3, "warmup": 1, "k": 20, "q": 16},
    "bl_spans": {"q": 16},
}
SELF_TRAINING = {"sl_evi", "sl_leu", "sl_lou", "cltp", "st"}


def values(world: World, store: Path, benchmark: str) -> dict[str, Any]:
    found = world.values(store)
    found["method"] = {}
    found["resources"] = {"annotators": 0, "train_workers": 0, "train_cpus": 1, "num_cpus": 2}
    if benchmark != "wikiann":
        found["benchmark"] = {"name": benchmark, "source": [SOURCE], "targets": list(TARGETS),
                              "max_rows": {"train": 200, "dev": 60, "test": 40}}  # fmt: skip
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("methods")


def carry_out(world: World, store: Path, benchmark: str, name: str, **resources: Any) -> dict:
    base = values(world, store, benchmark)
    common = {"source_lr": 4e-3, "source_epochs": 4, "name": name}
    base["method"] = {**common, **OPTIONS[name]}
    base["resources"] |= resources
    base["run"] = {"name": f"{name}-{benchmark}-{len(resources)}"}
    return run(configure_run(base))


SHORT = {
    "wikiann": {"bl_single", "st", "hard_vote", "maral"},
    "toy_pair": {"cltp", "conlst", "flexmatch"},
}
"""What `make test` has of each: methods of every kind."""
TASK = {"wikiann": "token", "toy_pair": "pair"}
CASES = [
    pytest.param(benchmark, name, marks=[] if name in short else [pytest.mark.long])
    for benchmark, short in SHORT.items()
    for name in sorted(METHODS)
    if TASK[benchmark] in METHODS[name].tasks
]


@pytest.mark.parametrize(("benchmark", "name"), CASES)
def test_every_method_runs_on_words_and_on_pairs(
    ray_cluster: str, world: World, store: Path, name: str, benchmark: str
) -> None:
    report = carry_out(world, store, benchmark, name)
    assert set(report["final"]) == {SOURCE, *TARGETS}
    assert bool(report["rounds"]) == (name in SELF_TRAINING)
    assert all(sum(item["selected"].values()) > 0 for item in report["rounds"])
    if name in ("bl_direct", "bl_spans", "dt"):
        assert report["final"] == report["zero_shot"]
    if name == "bl_single":
        assert report["final"][SOURCE] == report["zero_shot"][SOURCE]
        assert (store / f"runs/bl_single-{benchmark}-0/models.json").exists()
    named = f"{name}-{benchmark}-0"
    assert console.main(["ask", named, "--store", str(store), "--rows", "4", "--of", "9"]) == 0
    for target in TARGETS:
        lines = (store / f"runs/{named}/ask/{target}.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        assert len(rows) == 2
        assert all(0 < row["uncertainty"] <= 2 for row in rows)
        assert all(isinstance(row["label"], list) == (benchmark == "wikiann") for row in rows)
        assert all(("text_pair" in row) == (benchmark == "toy_pair") for row in rows)


@pytest.mark.long
@pytest.mark.parametrize("name", ["conlst", "nl", "flexmatch"])
def test_rows_are_joined_on_two_workers(
    ray_cluster: str, world: World, store: Path, name: str
) -> None:
    """Passes with few texts, and passes of one worker without any."""
    base = values(world, store, "toy_pair")
    base["method"] = {"source_lr": 4e-3, "source_epochs": 1, "name": name, **OPTIONS[name]}
    base["resources"] |= {"train_workers": 2}
    base["train"] = {**base["train"], "max_tokens": 256}
    base["run"] = {"name": f"{name}-two"}
    report = run(configure_run(base))
    assert set(report["final"]) == {SOURCE, *TARGETS}


@pytest.mark.long
def test_two_workers_share_classes_and_neighbours(
    ray_cluster: str, world: World, store: Path
) -> None:
    """Every target span is in the findings of one worker, and both have the same class means."""
    report = carry_out(world, store, "wikiann", "maral", train_workers=2)
    found = next(x["fingerprint"] for x in report["steps"] if x["title"].endswith("student"))
    folder = store / f"artifacts/model/{found}"
    parts = [pq.read_table(folder / f"labels-{rank:03d}.parquet") for rank in range(2)]
    names = [set(part["id"].to_pylist()) for part in parts]
    assert all(names)
    assert not names[0] & names[1]
    target = next(x["title"] for x in report["steps"] if x["title"].endswith("student")).split()[0]
    assert all(name.startswith(target) for name in names[0] | names[1])
    classes = load_file(folder / "spans.safetensors")
    assert np.isfinite(classes["classes.mean"]).all()
    assert classes["classes.count"].sum() > sum(
        len(item) for part in parts for item in part["epoch-0"].to_pylist()
    ), "spans of both workers, of source and target"


@pytest.mark.long
def test_the_noise_of_languages_is_learnt_on_two_workers(
    ray_cluster: str, world: World, store: Path
) -> None:
    """The variances are averaged over the workers and go on from round to round."""
    report = carry_out(world, store, "wikiann", "sl_lou", train_workers=2)
    models = [step["fingerprint"] for step in report["steps"] if step["kind"] == "model"]
    own = [load_file(store / f"artifacts/model/{x}/objective.safetensors")["s"] for x in models]
    assert all(s.shape == (1 + len(TARGETS),) for s in own)
    assert own[0][0] != 0, "the source is noisy"
    assert (own[0][1:] == 0).all(), "nothing of the targets was seen"
    assert (own[1][1:] != 0).all()


def test_a_comparison_computes_what_rows_share_once(
    ray_cluster: str, world: World, store: Path
) -> None:
    """CLTP with one class per item is SL-EVI with its loss: the same fingerprints, step by step."""
    base = values(world, store, "wikiann")
    del base["method"]
    base["run"] = {"name": "table"}
    base["compare"] = {
        "seeds": [0],
        "shared": {"source_lr": 4e-3, "source_epochs": 4},
        "methods": {
            "bl_direct": {},
            "sl_evi": {**ROUNDS, "evi_loss": "digamma"},
            "one class": {**ROUNDS, "name": "cltp", "label": "one_hot"},
            "cltp": OPTIONS["cltp"],
        },
    }
    config = configure_comparison(base)
    found = compare(config)
    assert len(found["significance"]) == len(found["rows"]) - 1
    rows = {row["title"]: row for row in found["rows"]}
    models = {title: row["trials"][0]["models"] for title, row in rows.items()}
    assert models["one class"] == models["sl_evi"]
    assert models["cltp"]["zero-shot"] == models["sl_evi"]["zero-shot"]
    assert models["cltp"]["final"] != models["sl_evi"]["final"]
    assert models["bl_direct"]["zero-shot"] != models["cltp"]["zero-shot"]
    steps = rows["one class"]["trials"][0]["report"]["steps"]
    assert all(step["cached"] for step in steps), "another row has computed them"
    for kind in ("md", "json", "tex"):
        assert (store / f"runs/table/compare.{kind}").stat().st_size > 0
    again = {row["title"]: row for row in compare(config)["rows"]}
    for title, row in rows.items():
        assert {**again[title], "trials": []} == {**row, "trials": []}
        assert all(step["cached"] for step in again[title]["trials"][0]["report"]["steps"])
