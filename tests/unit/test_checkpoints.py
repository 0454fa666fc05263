"""Checkpoints inside a train step."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from xlt_ray.engine.train import checkpoints as module
from xlt_ray.engine.train.checkpoints import KEPT, Checkpoints

TENSORS = {
    "weight": torch.arange(6, dtype=torch.float32).reshape(2, 3).T,
    "step": torch.tensor(3.0),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "mask": torch.tensor([True, False]),
    "none": torch.zeros(0, 3),
}


@pytest.fixture(params=["local", "object"])
def kept(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Checkpoints]:
    if request.param == "local":
        yield Checkpoints(str(tmp_path), "f1")
        return
    memory, base = MemoryFileSystem(), f"/bucket-{uuid.uuid4().hex}"
    fs = pafs.PyFileSystem(pafs.FSSpecHandler(memory))
    monkeypatch.setattr(module, "open_root", lambda root: (fs, base))
    yield Checkpoints("memory://bucket/", "f1")
    if memory.exists(base):
        memory.rm(base, recursive=True)


def save(kept: Checkpoints, step: int) -> None:
    kept.save_part(step, "worker-0", TENSORS)
    kept.complete(step, {"step": step, "history": [{"f1": 0.5}]})


def test_what_was_saved_comes_back(kept: Checkpoints) -> None:
    kept.save_part(7, "worker-1", {"x": torch.ones(1)})
    save(kept, 7)
    assert kept.steps() == [7]
    assert kept.meta(7) == {"step": 7, "history": [{"f1": 0.5}]}
    found = kept.load_part(7, "worker-0")
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name
    assert kept.load_part(7, "worker-1")["x"].tolist() == [1]


def test_a_checkpoint_that_was_not_completed_does_not_exist(kept: Checkpoints) -> None:
    assert kept.steps() == []
    kept.save_part(3, "worker-0", TENSORS)
    assert kept.steps() == []
    save(kept, 2)
    assert kept.steps() == [2]


def test_only_the_newest_are_kept(kept: Checkpoints) -> None:
    for step in (5, 40, 300, 1000):
        save(kept, step)
    assert KEPT == 2
    assert kept.steps() == [300, 1000]
    found = kept.fs.get_file_info(pafs.FileSelector(kept.folder))
    assert sorted(item.base_name for item in found) == ["step-000000300", "step-000001000"]


def test_gradients_do_not_travel(kept: Checkpoints) -> None:
    kept.save_part(1, "model", {"x": torch.ones(2, requires_grad=True)})
    assert not kept.load_part(1, "model")["x"].requires_grad


def test_a_missing_part_is_named(kept: Checkpoints) -> None:
    save(kept, 1)
    with pytest.raises(AssertionError, match="checkpoint 1 lacks worker-1"):
        kept.load_part(1, "worker-1")


def test_a_committed_step_leaves_nothing(kept: Checkpoints) -> None:
    save(kept, 1)
    kept.drop()
    assert kept.steps() == []
    kept.drop()


def test_the_options_of_a_uri_are_no_part_of_the_folder() -> None:
    kept = Checkpoints("mock:///bucket/x?region=eu", "f1")
    assert kept.folder == "bucket/x/work/f1"
    save(kept, 1)
    assert kept.steps() == [1]


def test_steps_do_not_share(tmp_path: Path) -> None:
    one, other = Checkpoints(str(tmp_path), "f1"), Checkpoints(str(tmp_path), "f2")
    save(one, 1)
    assert other.steps() == []
    other.drop()
    assert one.steps() == [1]
