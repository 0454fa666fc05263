"""Runs and predictions whose annotators compute in int8."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.world import TARGETS, World, artifacts, begun_again, computed
from xlt_ray.commands.export import configure as configure_export
from xlt_ray.commands.export import export
from xlt_ray.commands.predict import configure as configure_predictions
from xlt_ray.commands.predict import predict
from xlt_ray.commands.serve import configure as configure_service
from xlt_ray.commands.serve import served_by, session_of
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.readers.rows import Text
from xlt_ray.run.check import configure_run
from xlt_ray.run.rehearsal import followed
from xlt_ray.run.session import connected, run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

INT8 = "resources.precision=int8"
KEYS = (
    "method.rounds=1", "method.one_hot_rounds=0", "method.source_epochs=4",
    "method.final_epochs=0", INT8,
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(
    ray_cluster: str, world: World, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A CLTP run that annotates in int8."""
    store = tmp_path_factory.mktemp("int8")
    return store, run(world.config(store, *KEYS))


def graphs(store: Path) -> set[str]:
    return {path.parent.name for path in store.glob("artifacts/int8/*/manifest.json")}


def manifests(store: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(x.read_text()) for x in store.glob(f"artifacts/{kind}/*/manifest.json")]


def test_each_model_has_one_graph_and_trains_in_floats(finished: Any) -> None:
    store, report = finished
    models = [step["fingerprint"] for step in report["steps"] if step["kind"] == "model"]
    found = manifests(store, "int8")
    assert sorted(x["params"]["model"] for x in found) == sorted(models)
    assert all(x["info"]["equal_labels"] > 0.9 for x in found)
    precision = [
        {x["params"]["arithmetic"]["precision"] for x in manifests(store, kind)}
        for kind in ("annotation", "model")
    ]
    assert precision == [{"int8"}, {"fp32"}]
    session = (store / "runs/test/events.jsonl").read_text().splitlines()[0]
    assert json.loads(session)["resources"]["annotation"]["precision"] == "int8"
    assert set(report["final"]) > set(TARGETS)


def test_a_graph_that_is_built_again_has_the_same_bytes(
    finished: Any, world: World, tmp_path: Path
) -> None:
    """And so has what is annotated with it."""
    store, report = finished
    again = begun_again(
        store, report, tmp_path,
        lambda step: step["kind"] == "int8" or step["title"] == "round 1 annotation",
    )  # fmt: skip
    assert computed(run(world.config(tmp_path, *KEYS))) == again
    assert artifacts(tmp_path) == artifacts(store)


def test_actors_write_the_same(finished: Any, world: World, tmp_path: Path) -> None:
    store, report = finished
    title = "round 1 annotation"
    left = begun_again(store, report, tmp_path, lambda step: step["title"] == title)
    assert computed(run(world.config(tmp_path, *KEYS, "resources.annotators=1"))) == left
    assert artifacts(tmp_path) == artifacts(store)


def test_another_precision_is_another_annotation_of_the_same_source_model(
    finished: Any, world: World
) -> None:
    store, _ = finished
    dry = followed(world.config(store, *KEYS[:-1], "run.name=floats"))
    cached = {step["title"]: step["cached"] for step in dry.steps}
    assert cached["source"]
    assert not cached["round 1 annotation"]
    assert not any(step["kind"] == "int8" for step in dry.steps)


def test_the_plan_names_graphs(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dry = followed(world.config(tmp_path, *KEYS))
    steps = {x["title"]: x["note"] for x in dry.steps if x["kind"] == "int8"}
    assert list(steps) == ["round 1 int8", "final test int8"]
    assert set(steps.values()) == {"100 sentences tell its scales"}
    assert "round 1 int8" in capsys.readouterr().out


def predictions(store: Path, to: Path, text: Path, model: str, *flags: str) -> list[Any]:
    keys = (f"predict.model={model}", f"predict.files={text}", f"predict.to={to}")
    predict(configure_predictions({}, (), [f"store.root={store}", *keys, *flags]))
    return [json.loads(line)["prediction"] for line in (to / "new.jsonl").read_text().splitlines()]


def text_of(folder: Path, world: World) -> Path:
    lines = (world.corpus / TARGETS[0] / "test.txt").read_text().split("\n\n")[:30]
    words = [[row.split("\t")[0] for row in part.splitlines()] for part in lines if part]
    path = folder / "new.jsonl"
    path.write_text("".join(json.dumps({"tokens": row}) + "\n" for row in words))
    return path


def test_predictions_find_the_graph_of_the_run(finished: Any, world: World, tmp_path: Path) -> None:
    store, _ = finished
    text, before = text_of(tmp_path, world), graphs(store)
    said = [predictions(store, tmp_path / name, text, "test", INT8) for name in ("a", "b")]
    assert said[0] == said[1]
    assert graphs(store) == before
    plain = predictions(store, tmp_path / "c", text, "test")
    pairs = [
        pair
        for one, other in zip(said[0], plain, strict=True)
        for pair in zip(one, other, strict=True)
    ]
    assert sum(one == other for one, other in pairs) > 0.97 * len(pairs)


def test_a_model_in_a_folder_is_built_of_what_it_labels(
    finished: Any, world: World, tmp_path: Path
) -> None:
    store, _ = finished
    export(
        configure_export(
            {}, (), [f"store.root={store}", "export.run=test", f"export.to={tmp_path}/m"]
        )
    )
    text, other = text_of(tmp_path, world), tmp_path / "store"
    said = [predictions(other, tmp_path / name, text, f"{tmp_path}/m", INT8) for name in ("a", "b")]
    assert said[0] == said[1]
    assert len(graphs(other)) == 1
    (made,) = manifests(other, "int8")
    assert made["info"]["rows"] == 30


def test_a_service_labels_with_the_graph_of_the_run(
    finished: Any, world: World, tmp_path: Path
) -> None:
    store, _ = finished
    before, text = graphs(store), text_of(tmp_path, world)
    keys = [f"store.root={store}", "serve.model=test"]
    rows = [json.loads(line)["tokens"] for line in text.read_text().splitlines()]
    said, sure = list[Any](), list[Any]()
    for flags in ([INT8], ["serve.port=1"]):
        config = configure_service({}, (), [*keys, *flags])
        with connected(config), session_of(config) as begun:
            labeller = served_by(config, begun).load()
            found = list(labeller.label_all([Text(tokens=tuple(row)) for row in rows]))
        said.append([label for item in found for label in item.labels])
        sure.append([number for item in found for number in item.confidences])
    assert graphs(store) == before
    assert sure[0] != sure[1]
    pairs = list(zip(*said, strict=True))
    assert sum(one == other for one, other in pairs) > 0.97 * len(pairs)


def test_a_service_of_a_folder_has_no_text_to_build_a_graph_with(
    finished: Any, tmp_path: Path
) -> None:
    store, _ = finished
    flags = [f"store.root={store}", f"serve.model={store}/runs/test/model", INT8]
    with pytest.raises(ConfigError, match=r"serve\.model: .* has no text of a run to build its"):
        configure_service({}, (), flags)


def test_span_models_compute_in_int8(world: World, tmp_path: Path, ray_cluster: str) -> None:
    values = world.values(tmp_path) | {
        "method": {"name": "bl_spans", "q": 16, "source_lr": 4e-3, "source_epochs": 2}
    }
    report = run(configure_run(values, flags=[INT8]))
    (made,) = manifests(tmp_path, "int8")
    assert made["params"]["spans"]["fields"]["q"] == 16
    assert made["info"]["equal_labels"] > 0.9
    (step,) = (x for x in report["steps"] if x["title"] == "final test annotation")
    found = tmp_path / f"artifacts/annotation/{step['fingerprint']}"
    assert sum(pq.read_metadata(x).num_rows for x in found.glob("*.parquet")) > 0
