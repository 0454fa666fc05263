"""The encoder of the embedded benchmark, wherever it is pre-trained."""

from functools import partial
from pathlib import Path

import pytest

from xlt_ray.engine import backbone
from xlt_ray.models import pretrain
from xlt_ray.run.check import configure_run
from xlt_ray.store.artifacts import Store

SMALL = partial(
    pretrain.PretrainSettings, layers=1, hidden=16, heads=2, feed_forward=16, max_length=64, steps=3
)


@pytest.mark.usefixtures("ray_cluster")
def test_a_task_gives_what_the_drivers_process_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pretrain, "PretrainSettings", SMALL)
    monkeypatch.setattr(backbone, "SENTENCES", 40)
    values = {"benchmark": {"name": "toy"}, "backbone": "toy", "method": {"name": "cltp"}}
    made = backbone.backbone_of(configure_run(values))
    files, facts = [], []
    for here in (True, False):
        monkeypatch.setattr(backbone, "is_own", lambda here=here: here)
        folder = tmp_path / str(here)
        attempt = Store(str(folder)).attempt("backbone", "one")
        facts.append(made.write(attempt))
        files.append({path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert facts[0] == facts[1]
    assert facts[0]["steps"] == 3
    assert {"model.safetensors", "tokenizer.json"} <= set(files[0])
    assert files[0] == files[1]
