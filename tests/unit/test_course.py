"""How far a training is told to be."""

from pathlib import Path

import pytest

from xlt_ray.engine.train import course
from xlt_ray.engine.train.checkpoints import Checkpoints
from xlt_ray.engine.train.course import Course, course_of
from xlt_ray.engine.train.loop import Position
from xlt_ray.run.at_work import _of_training
from xlt_ray.store.artifacts import Store


def test_the_course_of_a_training_is_read_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, clock = Store(str(tmp_path)), [100.0]
    monkeypatch.setattr(course.time, "monotonic", lambda: clock[0])
    told, position = Course(Checkpoints(str(tmp_path), "abc"), steps=40, epochs=4), Position()
    assert course_of(store.fs, store.base, "abc") is None
    assert _of_training(store, "abc") is None
    for step in range(1, 12):
        position.total, position.tokens, position.epoch = step, 500 * step, step // 10
        clock[0] += 1.0
        if step == 10:
            position.history.append({"loss": 0.4567, "source_dev": 0.712, "epoch": 1})
        told.at(position)
    found = _of_training(store, "abc")
    assert found is not None
    assert found.text() == (
        "[##........] epoch 2/4, step 10/40, loss 0.457, source dev 71.2, 500 sub-words/s, "
        "30.0 s left"
    ), "every two seconds"
