"""What a step computes with is in its name."""

import sys
from pathlib import Path

import pytest

from tests.step_tasks import TASKS
from xlt_ray.run.steps import Step
from xlt_ray.store import libraries
from xlt_ray.store.libraries import COMPUTE, computing, version_of, versions
from xlt_ray.store.step_task import StepTask

TRAIN, MARAL = "xlt_ray.engine.train.processes", "xlt_ray.methods.maral.student"


def named(kind: str = "model", *modules: str) -> str:
    task = type("Made", (StepTask,), {"kind": kind, "inputs": (), "modules": modules or (TRAIN,)})
    return Step("title", task()).fingerprint()


def change(monkeypatch: pytest.MonkeyPatch, name: str, version: str) -> None:
    known = version_of
    monkeypatch.setattr(libraries, "version_of", lambda x: version if x == name else known(x))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind"),
    [("transformers", "model"), ("torch", "annotation"), ("tokenizers", "tokens"),
     ("seqeval", "scores"), ("numpy", "derived")],
)  # fmt: skip
def test_another_version_is_another_step(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    """Major and minor count; patches and builds do not."""
    before, own = named(kind), version_of(name).partition("+")[0].split(".")
    change(monkeypatch, name, ".".join([*own[:2], "99+cu130"]))
    assert named(kind) == before
    change(monkeypatch, name, ".".join([own[0], "999", "0"]))
    assert named(kind) != before


@pytest.mark.slow
def test_a_method_adds_what_it_computes_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """MARAL looks neighbours up through faiss; training by itself knows no faiss."""
    assert "faiss-cpu" not in computing("model", [TRAIN])
    assert "faiss-cpu" in computing("model", [TRAIN, MARAL])
    plain, with_faiss = named("model"), named("model", TRAIN, MARAL)
    change(monkeypatch, "faiss-cpu", "0.1")
    assert named("model") == plain
    assert named("model", TRAIN, MARAL) != with_faiss


def test_a_users_module_counts_with_all_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_method.py").write_text("import json\nimport hypothesis, xlt_ray.labels\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        found = computing("derived", ["my_method"])
        assert found.keys() == {"numpy", "hypothesis"}
    finally:
        sys.modules.pop("my_method", None)


def test_every_kind_of_step_says_what_it_computes_with() -> None:
    kinds = {task.kind for task in TASKS}
    assert {"model", "annotation", "derived", "scores", "tokens", "backbone"} <= kinds
    assert kinds <= COMPUTE.keys()


def test_versions_name_what_is_there() -> None:
    found = versions()
    assert {"xlt_ray", "python", "torch", "ray", "faiss-cpu"} <= found.keys()
    assert "faiss-gpu" not in found
