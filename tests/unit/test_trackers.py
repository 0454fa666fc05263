"""What trackers are told, and that none of them can end a run."""

from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto import event_pb2

from xlt_ray.config.errors import ConfigError
from xlt_ray.engine import trackers
from xlt_ray.engine.trackers import TensorBoard, Trackers, begin, flat, open_trackers
from xlt_ray.run.check import configure_run
from xlt_ray.store.artifacts import Store
from xlt_ray.store.run_folder import RunFolder

PROTO: Any = event_pb2
HISTORY = [
    {"epoch": 1, "step": 10, "loss": 0.5, "source_dev": 0.25},
    {"epoch": 2, "step": 20, "loss": 0.25, "source_dev": 0.5},
]


class Recorder:
    """Keeps what it is told; fails if asked to."""

    def __init__(self, fails: bool = False):
        self.told: list[tuple[dict[str, float], int]] = []
        self.fails, self.closed = fails, False

    def log(self, values: Any, at: int) -> None:
        if self.fails:
            raise OSError("no space left\non the disk")
        self.told.append((dict(values), at))

    def close(self) -> None:
        self.closed = True


def tell(found: Trackers) -> None:
    """The steps of a small run."""
    found.step("source", "model", {"history": HISTORY, "steps": 20})
    found.step("round 1 selection", "derived", {"rows": 7})
    found.step("round 1", "model", {"history": HISTORY[:1], "steps": 10})
    found.step("round 2 drift", "derived", {"items": 8, "changed": 2})
    found.step("final test scores", "scores", {"scores": {"de": {"f1": 0.75, "support": 9}}})
    found.step("unlabelled text", "text", {"rows": 100})


def test_positions_are_steps_of_all_models_so_far() -> None:
    recorder = Recorder()
    tell(Trackers({"one": recorder}, print))
    assert recorder.told == [
        ({"loss/source": 0.5, "source_dev": 0.25}, 10),
        ({"loss/source": 0.25, "source_dev": 0.5}, 20),
        ({"selected": 7}, 20),
        ({"loss/round 1": 0.5, "source_dev": 0.25}, 30),
        ({"labels_changed": 0.25}, 30),
        ({"final test/de/f1": 0.75}, 30),
    ]


def test_a_tracker_that_fails_is_given_up_once() -> None:
    good, bad, notes = Recorder(), Recorder(fails=True), list[str]()
    found = Trackers({"good": good, "bad": bad}, notes.append)
    tell(found)
    assert len(good.told) == 6
    assert notes == ["bad is not told any more: no space left"]
    found.close()
    assert good.closed
    assert not bad.closed


def events(folder: Path) -> list[tuple[str, float, int]]:
    """Points of the event files in a folder."""
    found = []
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = PROTO.Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            found += [(x.tag, x.simple_value, event.step) for x in event.summary.value]
    return found


def test_tensorboard_files_hold_the_points(tmp_path: Path) -> None:
    found = Trackers({"board": TensorBoard(tmp_path)}, print)
    tell(found)
    found.close()
    points = events(tmp_path)
    assert ("source_dev", 0.5, 20) in points
    assert ("selected", 7.0, 20) in points
    assert ("final_test/de/f1", 0.75, 30) in points or ("final test/de/f1", 0.75, 30) in points


def test_a_later_session_begins_anew(tmp_path: Path) -> None:
    folder = RunFolder(Store(str(tmp_path)), "x")
    for _ in range(2):
        with open_trackers((), folder, print, {}) as found:
            tell(found)
    points = events(Path(folder.path) / "tensorboard")
    assert len([point for point in points if point[0] == "selected"]) == 1


def test_trackers_that_are_asked_for_are_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure_run({"benchmark": {"name": "toy"}, "backbone": "toy",
                            "method": {"name": "cltp"},
                            "run": {"trackers": "mlflow,wandb"}})  # fmt: skip
    assert config.run.trackers == ("mlflow", "wandb")
    first = Recorder()

    def refuse(name: str, config: Any) -> Any:
        assert (name, config) == ("x", {"seed": 1})
        raise RuntimeError("not logged in\nsee wandb login")

    monkeypatch.setattr(trackers, "MORE", {"mlflow": lambda name, config: first, "wandb": refuse})
    assert begin(("mlflow",), "x", {"seed": 1}) == {"mlflow": first}
    with pytest.raises(ConfigError, match=r"run\.trackers: wandb: not logged in; pip install"):
        begin(("mlflow", "wandb"), "x", {"seed": 1})
    assert first.closed


def test_configurations_are_one_level_for_trackers() -> None:
    assert flat({"a": {"b": 1, "c": {"d": True}}, "e": [1, 2], "f": None}) == {
        "a.b": 1, "a.c.d": True, "e": "[1, 2]", "f": "None",
    }  # fmt: skip
