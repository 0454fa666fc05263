"""Runs that train adapters: what they write, where they begin, and what is published."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

import xlt_ray
from tests.world import World, artifacts, begun_again, computed
from xlt_ray.commands.export import configure as configure_export
from xlt_ray.commands.export import export
from xlt_ray.config.errors import ConfigError
from xlt_ray.models.files import ADAPTER_SETTINGS, ADAPTERS
from xlt_ray.run.check import configure_run
from xlt_ray.run.inventory import referred, unused
from xlt_ray.run.session import run
from xlt_ray.store.artifacts import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow]

KEYS = ("train.lora.rank=4", "method.rounds=2", "method.one_hot_rounds=1", "method.source_epochs=4")


@pytest.fixture(scope="module")
def adapted(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A CLTP run whose every training is of adapters."""
    store = tmp_path_factory.mktemp("adapted")
    return store, run(world.config(store, *KEYS))


def models(store: Path) -> list[Path]:
    return [path.parent for path in store.glob("artifacts/model/*/manifest.json")]


def test_rounds_write_adapters_of_the_one_encoder(adapted: Any) -> None:
    store, report = adapted
    (encoder,) = store.glob("artifacts/backbone/*/model.safetensors")
    assert len(models(store)) == 4
    for folder in models(store):
        names = {path.name for path in folder.iterdir()}
        assert {ADAPTERS, ADAPTER_SETTINGS, "config.json"} <= names
        assert not {"model.safetensors", "tokenizer.json"} & names
        info = json.loads((folder / "manifest.json").read_text())["info"]
        assert info["base"] == {"kind": "backbone", "fingerprint": encoder.parent.name}
    scores = [item["scores"] for item in report["rounds"]]
    assert all(score["f1"] >= 0 for score in scores[0].values())


def test_a_round_that_is_repeated_has_the_same_bytes(
    adapted: Any, world: World, tmp_path: Path
) -> None:
    store, report = adapted
    titles = begun_again(store, report, tmp_path, lambda step: step["title"] == "round 2")
    assert computed(run(world.config(tmp_path, *KEYS))) == titles
    assert artifacts(tmp_path) == artifacts(store)


def test_the_finished_model_is_a_stock_one(adapted: Any, world: World) -> None:
    store, _ = adapted
    folder = store / "runs/test/model"
    assert not (folder / ADAPTERS).exists()
    stock = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=False)
    AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    before = AutoModelForTokenClassification.from_pretrained(
        world.backbone, trust_remote_code=False, config=stock.config
    )
    moved = [
        name
        for name, value in stock.base_model.state_dict().items()
        if not torch.equal(value, before.base_model.state_dict()[name])
    ]
    assert moved
    assert all(".layer." in name and "LayerNorm" not in name for name in moved)
    words = ["a", "b", "c"]
    (found,) = xlt_ray.load("test", store=str(store)).predict([words])
    (other,) = xlt_ray.load(str(folder)).predict([words])
    assert found.labels == other.labels


def test_the_encoder_stays_as_long_as_its_adapters(adapted: Any, tmp_path: Path) -> None:
    store = Store(str(shutil.copytree(adapted[0], tmp_path / "store")))
    path = Path(store.base, "runs/test/ledger.jsonl")
    lines = [x for x in path.read_text().splitlines() if json.loads(x)["kind"] != "backbone"]
    path.write_text("".join(f"{line}\n" for line in lines))
    assert any(kind == "backbone" for kind, _ in referred(store))
    assert not [item for item in unused(store, older=0.0) if item.kind in ("backbone", "model")]


def test_adapters_are_exported_for_peft(adapted: Any, world: World, tmp_path: Path) -> None:
    store, _ = adapted
    flags = [f"store.root={store}", "export.run=test", f"export.to={tmp_path}/out"]
    export(configure_export({}, (), [*flags, "export.adapters=true"]))
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert {ADAPTERS, ADAPTER_SETTINGS, "tokenizer.json", "README.md"} <= found
    assert "model.safetensors" not in found
    settings = json.loads((tmp_path / "out" / ADAPTER_SETTINGS).read_text())
    assert settings["base_model_name_or_path"] == str(world.backbone)
    with pytest.raises(ConfigError, match=r"export.onnx: of the merged model alone"):
        configure_export({}, (), [*flags, "export.adapters=true", "export.onnx=true"])


def test_a_run_goes_on_from_adapters_with_the_same_or_with_none(
    adapted: Any, world: World, tmp_path: Path
) -> None:
    store = shutil.copytree(adapted[0], tmp_path / "store")
    values = world.values(store) | {
        "method": {"name": "st", "iterations": 1, "share": 0.3, "lr": 1e-3, "start_from": "test"}
    }
    before = set(models(store))
    for rank, files in ((0, {"model.safetensors"}), (4, {ADAPTERS})):
        run(configure_run(values, flags=[f"train.lora.rank={rank}", f"run.name=st-{rank}"]))
        (new,) = set(models(store)) - before
        before.add(new)
        assert files <= {path.name for path in new.iterdir()}
    with pytest.raises(ValueError, match=r"train.lora: the model to start from has adapters"):
        run(configure_run(values, flags=["train.lora.rank=2", "run.name=other"]))
