"""A run's numbers for those who watch it elsewhere: TensorBoard, and if asked for MLflow and W&B.

Every step that passes is told, also one that was found in the store, so that a run that was taken
up again is whole. What fails at a tracker is told once, and the run goes on without it.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import pyarrow.fs as pafs

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.extras import require
from xlt_ray.config.schema import first_line
from xlt_ray.store.run_folder import RunFolder

PROJECT = "xlt_ray"
"""Experiment of MLflow and project of W&B, unless their own variables name another."""
FOLDER = "tensorboard"


class Tracker(Protocol):
    """Takes numbers by name."""

    def log(self, values: Mapping[str, float], at: int) -> None:
        """Numbers at a position: optimiser steps so far."""
        ...

    def close(self) -> None:
        """There will be no more."""
        ...


class TensorBoard:
    """Event files in a folder."""

    def __init__(self, folder: Path):
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder), flush_secs=10)

    def log(self, values: Mapping[str, float], at: int) -> None:
        """One point of each curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, at)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class MLflow:
    """A run of MLflow, at the server that MLFLOW_TRACKING_URI names."""

    def __init__(self, name: str, config: Mapping[str, Any]):
        from ray.air.integrations.mlflow import setup_mlflow

        self._mlflow = setup_mlflow(
            config=flat(config), run_name=name,
            experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT),
            create_experiment_if_not_exists=True,
        )  # fmt: skip

    def log(self, values: Mapping[str, float], at: int) -> None:
        """One point of each metric."""
        self._mlflow.log_metrics({_plain(name): x for name, x in values.items()}, step=at)

    def close(self) -> None:
        """End the run."""
        self._mlflow.end_run()


class Wandb:
    """A run of Weights & Biases, with the login of the machine."""

    def __init__(self, name: str, config: Mapping[str, Any]):
        from ray.air.integrations.wandb import setup_wandb

        self._run: Any = setup_wandb(
            config=flat(config), project=os.environ.get("WANDB_PROJECT", PROJECT),
            trial_name=name, trial_id=name,
        )  # fmt: skip

    def log(self, values: Mapping[str, float], at: int) -> None:
        """One point of each chart."""
        self._run.log({**values, "steps": at})

    def close(self) -> None:
        """End the run."""
        self._run.finish()


MORE: Mapping[str, Callable[[str, Mapping[str, Any]], Tracker]] = {"mlflow": MLflow, "wandb": Wandb}
"""Trackers that have to be asked for, by name."""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as one level, with dots between."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, int | float) else str(value)
    return found


def _plain(name: str) -> str:
    """A name of characters that MLflow takes."""
    return "".join(x if x.isalnum() or x in "_-./ " else "_" for x in name)


@dataclass
class Trackers:
    """What a run tells of its steps, to all trackers.

    Attributes:
        trackers: By name.
        note: Is told when one of them fails.
        at: Optimiser steps of all models so far.
    """

    trackers: dict[str, Tracker]
    note: Callable[[str], None]
    at: int = 0

    def step(self, title: str, kind: str, info: Mapping[str, Any]) -> None:
        """A step is done, now or earlier.

        Args:
            title: Its title.
            kind: Its kind.
            info: What it said about its result.
        """
        for entry in info.get("history") or ():
            values = {f"loss/{title}": entry["loss"], "source_dev": entry["source_dev"]}
            self._log(values, self.at + entry["step"])
        self.at += info.get("steps") or 0
        if kind == "derived" and "selection" in title and info.get("rows") is not None:
            self._log({"selected": info["rows"]}, self.at)
        if kind == "derived" and info.get("items") and "changed" in info:
            self._log({"labels_changed": info["changed"] / info["items"]}, self.at)
        if kind == "scores":
            for language, scores in (info.get("scores") or {}).items():
                named = {f"{title.removesuffix(' scores')}/{language}/{name}": value
                         for name, value in scores.items() if name != "support"}  # fmt: skip
                self._log(named, self.at)

    def _log(self, values: Mapping[str, float], at: int) -> None:
        for name, tracker in list(self.trackers.items()):
            try:
                tracker.log(values, at)
            except Exception as error:  # of a library, a disk or a network: the run is worth more
                self._give_up(name, error)

    def close(self) -> None:
        """End all of them."""
        for name, tracker in list(self.trackers.items()):
            try:
                tracker.close()
            except Exception as error:
                self._give_up(name, error)

    def _give_up(self, name: str, error: Exception) -> None:
        self.trackers.pop(name, None)
        self.note(f"{name} is not told any more: {first_line(error)}")


def begin(names: Sequence[str], run: str, config: Mapping[str, Any]) -> dict[str, Tracker]:
    """Some trackers of `MORE`, begun.

    Args:
        names: Their names.
        run: Name of the run that they are told of.
        config: Its configuration.

    Raises:
        ConfigError: one of them is not installed, or its service does not answer.
    """
    found: dict[str, Tracker] = {}
    for name in names:
        try:
            found[name] = MORE[name](run, config)
        except Exception as error:  # of a library or a network: no base class of their own
            for tracker in found.values():
                with suppress(Exception):
                    tracker.close()
            reason = first_line(error)
            advice = "pip install 'xlt-ray[track]'"
            raise ConfigError(f"run.trackers: {name}: {reason}; {advice}") from None
    return found


def check_installed(names: Sequence[str]) -> None:
    """See that the trackers that are asked for are installed; they may still not answer.

    Raises:
        ConfigError: one of them is not.
    """
    for name in names:
        require(name, "track", "run.trackers: needs")


@contextmanager
def open_trackers(
    names: Sequence[str],
    folder: RunFolder,
    note: Callable[[str], None],
    config: Mapping[str, Any],
) -> Iterator[Trackers]:
    """TensorBoard and those trackers of `MORE` that are named, until the block ends.

    TensorBoard's files are in the run's folder; on object storage they are put there at the end.
    What an earlier session had written goes: its steps are told again.
    """
    with TemporaryDirectory() as distant:
        local = Path(folder.path, FOLDER) if folder.store.is_local else Path(distant)
        shutil.rmtree(local, ignore_errors=True)
        trackers = Trackers(begin(names, folder.name, config), note)
        trackers.trackers["tensorboard"] = TensorBoard(local)
        try:
            yield trackers
        finally:
            trackers.close()
            if not folder.store.is_local and local.is_dir():
                target = f"{folder.path}/{FOLDER}"
                with suppress(OSError):
                    pafs.copy_files(str(local), target, pafs.LocalFileSystem(), folder.store.fs)
