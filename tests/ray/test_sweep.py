"""Sweeps on a real Ray: shared steps, source dev alone, early ends, a second start."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.world import SOURCE, TARGETS, World
from xlt_ray.commands.sweep import SweepError, sweep
from xlt_ray.commands.sweep_config import configure
from xlt_ray.run.check import configure_run
from xlt_ray.run.session import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = {"rounds": 2, "one_hot_rounds": 1, "round_epochs": 1, "final_epochs": 1, "ratio": 0.2}


def values(world: World, store: Path, **section: Any) -> dict[str, Any]:
    found = world.values(store)
    found["method"] = {"name": "cltp", "source_lr": 4e-3, "source_epochs": 4, **ROUNDS}
    found["resources"] = {"num_cpus": 2, "train_cpus": 1}
    found["run"] = {"name": "sweep"}
    found["sweep"] = {"concurrent": 1, **section}  # one process, which imports once
    return found


def carry_out(found: Mapping[str, Any], *flags: str) -> dict[str, Any]:
    return sweep(configure(ROOT / "tune_spaces", found, flags=flags))


@pytest.fixture(scope="module")
def blind(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus without any test split, and without tags where text is unlabelled."""
    root = tmp_path_factory.mktemp("blind") / "corpus"
    shutil.copytree(world.noisy, root)
    for path in root.glob("*/test.txt"):
        path.unlink()
    return root


@pytest.fixture(scope="module")
def grid(ray_cluster: str, world: World, blind: Path, tmp_path_factory: pytest.TempPathFactory):
    """Two trials that differ in the round with sets."""
    store = tmp_path_factory.mktemp("grid")
    found = values(world, store, search="grid", keys={"lambda": [1, 2], "tau": [1.5]})
    found["benchmark"]["root"] = str(blind)
    return found, carry_out(found), store


def test_what_trials_share_is_computed_once(grid: Any):
    _, result, store = grid
    (scope,) = result["scopes"]
    assert [trial["state"] for trial in scope["trials"]] == ["done"] * 2
    models = [trial["computed"].get("model", 0) for trial in scope["trials"]]
    different = len(list((store / "artifacts/model").glob("*/manifest.json")))
    assert sum(models) == different
    # The source model and the first round are common to both.
    assert different <= 2 + 2 * 2
    assert all(len(trial["scores"]) == 4 for trial in scope["trials"])
    assert not (store / "artifacts/scores").exists(), "nothing was scored on targets"


def test_the_best_is_a_file_that_a_job_takes(grid: Any, world: World):
    _, result, store = grid
    (scope,) = result["scopes"]
    best = max(scope["trials"], key=lambda trial: trial["source_dev"])
    folder = store / "runs/sweep"
    config = configure_run(
        {}, [str(folder / "best.yaml")], [f"benchmark.root={world.corpus}", "run.name=best"]
    )
    assert config.method.model_dump(by_alias=True) | best["parameters"] == (
        config.method.model_dump(by_alias=True)
    )
    lines = (folder / "sweep.csv").read_text().splitlines()
    assert lines[0].startswith("scope,lambda,tau,source_dev,state")
    assert len(lines) == 3
    assert "source dev" in (folder / "sweep.md").read_text()
    assert yaml.safe_load((folder / "best.yaml").read_text())["resources"]["train_workers"] == 0
    run(config)
    final = json.loads((store / "runs/best/models.json").read_text())["final"]
    manifest = (store / final["folder"] / "manifest.json").read_text()
    assert json.loads(manifest)["info"]["source_dev"] == best["source_dev"]


def test_a_second_start_computes_nothing(grid: Any):
    found, result, _ = grid
    again = carry_out(found)
    for scope, before in zip(again["scopes"], result["scopes"], strict=True):
        for trial, earlier in zip(scope["trials"], before["trials"], strict=True):
            assert trial["computed"] == {}
            assert trial["source_dev"] == earlier["source_dev"]
            assert trial["scores"] == earlier["scores"]


@pytest.mark.long
def test_each_language_has_a_sweep_of_its_own(
    ray_cluster: str, world: World, tmp_path: Path
) -> None:
    found = values(world, tmp_path, search="asha", trials=2, per="language", grace=1,
                   reduction=2, keys={"round_lr": [1e-3, 1e-5]})  # fmt: skip
    found["method"] |= {"rounds": 1}
    result = carry_out(found)
    assert [scope["name"] for scope in result["scopes"]] == list(TARGETS)
    assert [scope["targets"] for scope in result["scopes"]] == [(name,) for name in TARGETS]
    for scope in result["scopes"]:
        states = [trial["state"] for trial in scope["trials"]]
        assert "done" in states
        assert set(states) <= {"done", "ended early"}
        assert (tmp_path / f"runs/sweep/best-{scope['name']}.yaml").exists()
    sources = [
        json.loads(path.read_text())["title"]
        for path in (tmp_path / "artifacts/model").glob("*/manifest.json")
    ]
    assert sources.count("source") == 1


@pytest.mark.long
def test_optuna_goes_on_with_what_it_knows(ray_cluster: str, world: World, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    found = values(world, tmp_path, search="optuna", trials=2, keys={"beta": [0, 1, 2]})
    found["method"] |= {"rounds": 1, "final_epochs": 0, "one_hot_rounds": 0}
    before = carry_out(found)["scopes"][0]["trials"]
    after = carry_out(found, "sweep.trials=3")["scopes"][0]["trials"]
    known = [trial["parameters"] for trial in before]
    again = [trial["computed"] for trial in after if trial["parameters"] in known]
    assert len(after) == 3
    assert len(again) >= len({str(one) for one in known}), "it may ask for the same twice"
    assert not any(again)


def test_bad_text_is_one_error(ray_cluster: str, world: World, tmp_path: Path) -> None:
    found = values(world, tmp_path, search="grid", keys={"beta": [0, 1]})
    root = tmp_path / "corpus"
    shutil.copytree(world.corpus, root)
    (root / SOURCE / "dev.txt").unlink()
    found["benchmark"]["root"] = str(root)
    with pytest.raises(ValueError, match="dev"):
        carry_out(found)
    assert not (tmp_path / "artifacts/model").exists()


def test_a_trial_that_fails_is_named_and_the_others_stay(
    ray_cluster: str, world: World, tmp_path: Path
) -> None:
    found = values(world, tmp_path, search="grid", keys={"source_lr": [4e-3, 1e30]})
    found["method"] |= {"rounds": 1, "final_epochs": 0, "one_hot_rounds": 0}
    with pytest.raises(SweepError, match=r"1 trials failed; the first: "):
        carry_out(found)
    page = (tmp_path / "runs/sweep/sweep.md").read_text()
    assert "| failed |" in page
    assert "| done |" in page
