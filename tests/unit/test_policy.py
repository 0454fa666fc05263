"""Where runs, dry runs and trials differ."""

from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event

import pytest

from tests.step_tasks import artifact
from tests.unit.test_plan import PLAN
from xlt_ray.commands.cli import run_job
from xlt_ray.commands.trial import Trial
from xlt_ray.config.errors import ConfigError
from xlt_ray.recipe.corpus import Model, Start
from xlt_ray.run.check import configure_run
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.dry_run import DryRun
from xlt_ray.run.exit_codes import BAD_CONFIG, DONE
from xlt_ray.run.policy import RunPolicy
from xlt_ray.run.rehearsal import rehearse
from xlt_ray.run.steps import PLANNED
from xlt_ray.store.artifacts import Artifact, Store

FOUND = Model(artifact("found", "model"))


def refuse() -> Model:
    raise ConfigError("backbone x: no such folder")


def no_start() -> Start:
    raise ConfigError("no such run")


def test_a_run_ends_with_what_is_missing() -> None:
    policy = RunPolicy()
    assert policy.backbone(lambda: FOUND) is FOUND
    with pytest.raises(ConfigError, match="no such folder"):
        policy.backbone(refuse)
    with pytest.raises(ConfigError, match="no such run"):
        policy.start("x", no_start)
    with pytest.raises(ValueError, match="cut"):
        policy.unreadable("dev text", "text", ValueError("cut"))
    assert not policy.judges_left_out


def test_a_dry_run_notes_it_and_goes_on(tmp_path: Path) -> None:
    dry = DryRun(Store(str(tmp_path)), PLAN, ["earlier"])
    assert dry.backbone(lambda: FOUND) is FOUND
    assert dry.missing == []
    assert dry.backbone(refuse).artifact.fingerprint == PLANNED
    assert dry.start("earlier", no_start).model.artifact.fingerprint == PLANNED
    assert dry.start("other", no_start).model.artifact.fingerprint == PLANNED
    stands = dry.unreadable("dev text", "text", ValueError("cut"))
    assert (stands.kind, stands.fingerprint) == ("text", PLANNED)
    assert dry.missing == ["backbone: x: no such folder", "start: no such run", "dev text: cut"]
    assert [step["title"] for step in dry.steps] == ["backbone", "start", "dev text"]


def test_a_dry_run_counts_what_would_be_at_work(tmp_path: Path) -> None:
    dry = DryRun(Store(str(tmp_path)), PLAN)
    calls = [lambda n=n: n for n in range(5)]
    assert RunPolicy().together(calls, 2) == dry.together(calls, 2) == [0, 1, 2, 3, 4]
    assert dry.trainings == 2
    dry.together(calls, 8)
    assert dry.trainings == 5


def test_what_is_read_beside_a_training_is_read_while_it_goes_on(tmp_path: Path) -> None:
    """Each waits for the other to have begun; a dry run plans one after the other."""
    both = Barrier(2, timeout=30)
    assert RunPolicy().beside(both.wait, lambda: both.wait() in (0, 1))
    told: list[str] = []
    dry = DryRun(Store(str(tmp_path)), PLAN)
    assert dry.beside(lambda: told.append("text"), lambda: told.append("model") or "m") == "m"
    assert told == ["text", "model"]
    assert dry.trainings == 1


def test_text_that_cannot_be_read_ends_a_run_after_its_training() -> None:
    begun, over = Event(), Event()

    def read() -> None:
        assert begun.wait(30)
        raise ValueError("row 3: no text")

    def train() -> None:
        begun.set()
        over.wait(0.2)
        over.set()

    with pytest.raises(ValueError, match="row 3"):
        RunPolicy().beside(read, train)
    assert over.is_set()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_driver_that_trains_itself_reads_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Where workers train, the reading waits here until the training has begun."""
    begun, told = Event(), list[str]()

    def read(driver: RayDriver) -> None:
        assert begun.wait(30 if workers else 0) == bool(workers)
        told.append("text")

    def train() -> str:
        begun.set()
        if not workers:
            told.append("model")
        return "model"

    monkeypatch.setattr(RayDriver, "unlabelled", read)
    monkeypatch.setattr(RayDriver, "__init__", lambda driver: None)
    driver = RayDriver()  # type: ignore[call-arg]
    driver.plan, driver.policy = replace(PLAN, train_workers=workers), RunPolicy()
    assert driver.while_reading(train) == "model"
    assert told == (["text"] if workers else ["text", "model"])


def test_a_trial_tells_its_scores_and_may_judge_itself() -> None:
    told: list[float] = []
    trial = Trial(told.append)
    trained = Artifact("", "model", "m", {"info": {"source_dev": 0.5}, "files": {}})
    trial.trained(Model(trained))
    assert told == [0.5]
    assert trial.judges_left_out
    RunPolicy().trained(Model(trained))


def test_the_plan_of_a_sweep_has_a_trials_rights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A source that is left out may be judged by its own dev text in trials, and in their plan."""
    benchmark = {"name": "toy", "source": ["mira", "nolu"], "targets": ["mira"], "dev": ["mira"],
                 "leave_one_out": True, "max_rows": 6}  # fmt: skip
    values = {"benchmark": benchmark, "backbone": "toy", "method": {"name": "hard"},
              "store": {"root": str(tmp_path)}}  # fmt: skip
    assert run_job(values, argv=["--dry-run"]) == BAD_CONFIG
    assert "mira is a target, and its own labels may not" in capsys.readouterr().err
    assert rehearse(configure_run(values), is_trial=True) == DONE
