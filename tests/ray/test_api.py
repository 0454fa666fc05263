"""The Python door, with runs: text in memory, a running Ray, a method of one's own, errors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import ray
import yaml

import xlt_ray
from tests.world import SOURCE, TARGETS, World, artifacts, jsonl
from xlt_ray.api.inputs import places_of
from xlt_ray.data.benchmarks.toy import LABELS, make_source
from xlt_ray.labels import LabelSet
from xlt_ray.run.inventory import unused
from xlt_ray.store.artifacts import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SHORT: dict[str, Any] = {
    "source_epochs": 4, "source_lr": 4e-3, "rounds": 1, "one_hot_rounds": 0, "round_epochs": 1,
    "round_lr": 1e-3, "final_epochs": 1, "ratio": 0.2,
}  # fmt: skip
METHOD = '''
from typing import Literal

from xlt_ray.config.schema import MethodConfig
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.recipe.corpus import Mix
from xlt_ray.recipe.method import Method, Outcome
from xlt_ray.recipe.schedule import Schedule


class PlainConfig(MethodConfig, frozen=True):
    name: Literal["plain"] = "plain"
    """Name of the method."""
    lr: float = 4e-3
    """Peak learning rate."""


class Plain(Method[PlainConfig]):
    Config = PlainConfig
    tasks = frozenset({"token"})

    def run(self, driver):
        mix, schedule = Mix(driver.source("train")), Schedule(self.config.lr, 4)
        model = driver.train(
            "plain", mix, CrossEntropy(), start=driver.backbone, schedule=schedule
        )
        return Outcome(model, model)
'''


def rows(language: str, split: str, size: int) -> list[dict[str, Any]]:
    names = LABELS["ner"]
    found = make_source("ner", language, split, {split: size}).examples(LabelSet(names))
    return [{"tokens": list(x.tokens), "tags": [names[y] for y in x.labels]} for x in found]  # type: ignore[union-attr]


def given(world: World, store: Path) -> dict[str, Any]:
    """Arguments of a small run."""
    target = TARGETS[0]
    return {
        "backbone": str(world.backbone),
        "source": {SOURCE: rows(SOURCE, "train", 200)},
        "dev": {SOURCE: rows(SOURCE, "dev", 60)},
        "unlabelled": {target: [" ".join(row["tokens"]) for row in rows(target, "dev", 80)]},
        "test": {target: pa.Table.from_pylist(rows(target, "test", 40))},
        "files": {"words": "blanks"},
        "train": {"batch_size": 8},
        "resources": {"annotators": 0, "train_workers": 0, "train_cpus": 1},
        "store": str(store),
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def run(ray_cluster: str, world: World, store: Path) -> Iterator[xlt_ray.Run]:
    """A run inside a Ray that is running already, which goes on running."""
    yield xlt_ray.self_train(method="cltp", name="first", **SHORT, **given(world, store))
    assert ray.is_initialized()


def computed(store: Path, name: str) -> list[str]:
    return [x["title"] for x in jsonl(store / f"runs/{name}/ledger.jsonl") if not x["cached"]]


def test_a_run_has_scores_a_page_and_a_configuration(run: xlt_ray.Run, store: Path) -> None:
    (target,) = (name for name, scores in run.scores.items() if scores)
    assert target == TARGETS[0]
    assert set(run.scores[target]) == {"f1", "support", "zero_shot"}
    assert run.average == pytest.approx(run.scores[target]["f1"])
    assert Path(run.report).read_text().startswith("<!doctype html>")
    assert run._repr_html_().startswith('<iframe srcdoc="<!doctype html>')
    assert run.config["method"]["rounds"] == 1
    assert run.languages == ()
    assert repr(run) == f"Run('first', store='{store}')"


def test_the_same_rows_are_found_again(run: xlt_ray.Run, world: World, store: Path) -> None:
    """Twice in one process, from other containers: nothing is computed, nothing is written."""
    before = artifacts(store)
    again = given(world, store)
    again["source"] = {SOURCE: pa.Table.from_pylist(again["source"][SOURCE])}
    again["unlabelled"] = {
        name: ray.data.from_items([{"text": text} for text in texts])
        for name, texts in again["unlabelled"].items()
    }
    second = xlt_ray.self_train(method="cltp", name="second", **SHORT, **again)
    assert computed(store, "second") == []
    assert artifacts(store) == before
    assert second.scores == run.scores


def test_the_model_labels_texts(run: xlt_ray.Run) -> None:
    words = rows(TARGETS[0], "test", 3)
    model = run.model
    by_words = model.predict([row["tokens"] for row in words])
    by_text = model.predict([" ".join(row["tokens"]) for row in words], words="blanks")
    assert by_words == by_text
    for row, found in zip(words, by_words, strict=True):
        assert found.words == tuple(row["tokens"])
        assert len(found.labels) == len(found.confidences) == len(found.words)
        assert set(found.uncertainty) == {"vacuity", "dissonance"}
        for span in found.spans:
            assert found.text[span.start : span.end] == span.text
            assert 0 <= span.confidence <= 1
    assert model.predict([]) == []
    with pytest.raises(xlt_ray.DataError, match=r"texts\[0\]: "):
        model.predict([3])
    with pytest.raises(xlt_ray.DataError, match="texts: a dict; give a list of texts"):
        model.predict({"text": "one"})  # type: ignore[call-overload]
    one = model.predict("  ka lo,ti ")
    assert one == model.predict(["  ka lo,ti "])[0]
    assert (one.text, one.words) == ("  ka lo,ti ", ("ka", "lo", ",", "ti"))


def test_a_loaded_model_says_what_the_cluster_says(run: xlt_ray.Run, store: Path) -> None:
    """`predict` labels rows with the same model by steps of a run; confidences have four digits."""
    texts = [" ".join(row["tokens"]) for row in rows(TARGETS[0], "test", 5)]
    table = xlt_ray.predict("first", texts, store=str(store), words="blanks")
    here = xlt_ray.load("first", store=str(store)).predict(texts, words="blanks")
    assert table["prediction"].to_pylist() == [list(found.labels) for found in here]
    for one, other in zip(table["confidence"].to_pylist(), here, strict=True):
        assert one == pytest.approx(list(other.confidences), abs=1e-3)
    folder = xlt_ray.load(f"{store}/runs/first/model")
    assert [x.labels for x in folder.predict(texts, words="blanks")] == [x.labels for x in here]


def test_a_comparison_takes_methods_as_classes(
    run: xlt_ray.Run, world: World, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a file of one's own, without an entry in METHODS."""
    (tmp_path / "plain_method.py").write_text(METHOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    from plain_method import Plain  # type: ignore[import-not-found]

    values = given(world, store)
    found = xlt_ray.compare(
        {"Plain": Plain, "short": {"name": Plain, "lr": 1e-3}, "CLTP": "cltp"},
        seeds=[0], name="both", **SHORT, **values,
    )  # fmt: skip
    assert [row["title"] for row in found.table] == ["Plain", "short", "CLTP"]
    assert found.table[2]["average"] == pytest.approx(run.average)
    assert found.table[0][TARGETS[0]] == found.table[0]["average"]
    assert Path(found.report).is_file()
    assert "source" not in computed(store, "both-cltp-s0"), "shared with the run before"
    assert xlt_ray.load("both-plain-s0", store=str(store)).task == "token"


def test_a_sweep_finds_settings_by_source_dev(run: xlt_ray.Run, world: World, store: Path) -> None:
    values: dict[str, Any] = {**given(world, store), "sweep": {"search": "grid", "concurrent": 1}}
    found = xlt_ray.sweep(
        method="bl_direct", space={"source_epochs": [3]}, source_lr=4e-3, name="found", **values
    )
    (best,) = found.best.values()
    assert best.keys() == {"source_epochs"}
    (config,) = found.configs
    chosen = yaml.safe_load(Path(config).read_text())
    assert chosen["method"]["source_epochs"] == best["source_epochs"]


def test_wrong_text_is_an_error_of_the_data(world: World, store: Path) -> None:
    values = given(world, store)
    values["source"] = {SOURCE: [{"tokens": ["a", "b"], "tags": ["O"]}]}
    with pytest.raises(xlt_ray.XltError, match=r"no row has labels|rows cannot be used"):
        xlt_ray.self_train(method="cltp", name="wrong", **SHORT, **values)


def test_rows_that_no_run_names_can_be_removed(run: xlt_ray.Run, store: Path) -> None:
    """Those of a finished run are named by its configuration."""
    (left,) = places_of(["nobody reads this"], Store(str(store)), "x")
    found = {Path(item.path) for item in unused(Store(str(store)), older=-60)}
    assert Path(left).parent in found
    named = [
        Path(path)
        for splits in run.config["files"]["paths"].values()
        for paths in splits.values()
        for path in paths
    ]
    assert named
    assert not found & {path.parent for path in named}
