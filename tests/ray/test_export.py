"""Models of finished runs as folders that others load; a tagger of spans as a stock one, too."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from huggingface_hub import ModelCard, ModelCardData
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

import xlt_ray
from tests.world import SOURCE, TARGETS, World
from xlt_ray.commands import main as console
from xlt_ray.commands.cli import run_job
from xlt_ray.commands.export import JOB, export
from xlt_ray.commands.export import configure as configure_export
from xlt_ray.config.errors import ConfigError
from xlt_ray.models.int8 import openvino
from xlt_ray.models.span_tagger import SpanTagger
from xlt_ray.run.check import configure_run
from xlt_ray.run.session import run
from xlt_ray.store.artifacts import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow]

RESOURCES = {"annotators": 0, "train_workers": 0, "train_cpus": 1, "num_cpus": 2}


@pytest.fixture(scope="module")
def store(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two finished runs: a baseline of words, and a tagger of spans per target."""
    root = tmp_path_factory.mktemp("export")
    methods = {
        "words": {"name": "bl_direct"},
        "spans": {"name": "maral", "epochs": 2, "lr": 2e-3, "warmup": 1, "k": 20, "q": 16},
    }
    for name, method in methods.items():
        values = world.values(root)
        values["method"] = {"source_lr": 4e-3, "source_epochs": 3, **method}
        values["resources"] = RESOURCES
        values["run"] = {"name": name}
        run(configure_run(values))
    return root


def settings(store: Path, **keys: Any) -> list[str]:
    """Flags of an export."""
    values = {"store.root": str(store), **{f"export.{key}": x for key, x in keys.items()}}
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def test_a_tagger_of_words_is_copied_as_it_is(store: Path, tmp_path: Path) -> None:
    record = export(configure_export({}, (), settings(store, run="words", to=f"{tmp_path}/out")))
    assert record["method"] == "bl_direct"
    assert record["distilled"] is None
    folder = tmp_path / "out"
    assert json.loads((folder / "xlt_ray.json").read_text()) == record
    found = {path.name for path in folder.iterdir()}
    assert found == {"README.md", "config.json", "model.safetensors", "tokenizer.json",
                     "tokenizer_config.json", "xlt_ray.json"}  # fmt: skip
    published = store / "runs/words/model/model.safetensors"
    assert (folder / "model.safetensors").read_bytes() == published.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_card_says_where_the_model_is_from(store: Path, world: World, tmp_path: Path) -> None:
    flags = settings(store, run="words", to=f"{tmp_path}/out", licence="cc-by-4.0")
    export(configure_export({}, (), flags))
    card = ModelCard.load(tmp_path / "out/README.md")
    data = cast(ModelCardData, card.data)
    known = data.to_dict()
    assert known["license"] == "cc-by-4.0"
    assert known["pipeline_tag"] == "token-classification"
    assert {"self-training", "bl_direct"} <= set(known["tags"])
    report = json.loads((store / "runs/words/report.json").read_text())
    results = {item.dataset_config: item.metric_value for item in data.eval_results or ()}
    assert results == {name: round(x["f1"], 4) for name, x in report["final"].items()}
    digest = hashlib.sha256((world.corpus / SOURCE / "train.txt").read_bytes()).hexdigest()
    assert f"| source train | {SOURCE}/train.txt | `{digest[:16]}` |" in card.text
    for name in TARGETS:
        assert f"| test | {name}/test.txt |" in card.text
    assert "Labels of target languages were not used." in card.text


def test_openvino_gives_nearly_the_same_labels(store: Path, tmp_path: Path) -> None:
    """The whole model, of which the head alone is not int8."""
    record = export(
        configure_export({}, (), settings(store, run="words", to=f"{tmp_path}/out", int8=True))
    )
    assert record["int8"]["block"] == 128
    assert record["int8"]["equal_labels"] > 0.97
    graph = openvino().Core().read_model(str(tmp_path / "out/openvino_model.xml"))
    kinds = [x.get_element_type().get_type_name() for x in graph.get_ops()
             if x.get_type_name() == "Constant"]  # fmt: skip
    assert kinds.count("i8") == record["int8"]["layers"]
    stock = AutoModelForTokenClassification.from_pretrained(
        tmp_path / "out", trust_remote_code=False
    )
    linear = [x for x in stock.base_model.modules() if isinstance(x, torch.nn.Linear)]
    assert len(linear) == record["int8"]["layers"]
    ids = torch.arange(5, 45).reshape(2, 20)
    run = openvino().Core().compile_model(graph, "CPU")
    theirs = torch.from_numpy(
        run({"input_ids": ids, "attention_mask": torch.ones_like(ids)})["logits"]
    )
    with torch.inference_mode():
        ours = stock(input_ids=ids).logits
    assert 0 < float((theirs - ours).abs().max() / ours.abs().max()) < 0.1
    assert (theirs.argmax(dim=-1) == ours.argmax(dim=-1)).float().mean() > 0.9
    flags = settings(store, run="spans", to=f"{tmp_path}/x", language=TARGETS[0], int8=True)
    with pytest.raises(ConfigError, match=r"export\.int8: run 'spans' has a model of spans"):
        configure_export({}, (), flags)


def test_onnx_runtime_gives_the_same_logits(store: Path, tmp_path: Path) -> None:
    flags = settings(store, run="words", to=f"{tmp_path}/out", onnx=True)
    record = export(configure_export({}, (), flags))
    assert 0 <= record["onnx"]["largest_difference"] < 1e-3
    assert (tmp_path / "out/model.onnx").stat().st_size > 100_000
    flags = settings(store, run="spans", to=f"{tmp_path}/x", language=TARGETS[0], onnx=True)
    with pytest.raises(ConfigError, match=r"export\.onnx: run 'spans' has a model of spans"):
        configure_export({}, (), flags)


def test_a_push_that_fails_leaves_the_folder(store: Path, tmp_path: Path) -> None:
    flags = settings(store, run="words", to=f"{tmp_path}/out", push="owner/name")
    with pytest.raises(ConfigError, match=r"export\.push: owner/name: .*hf upload owner/name"):
        export(configure_export({}, (), flags))
    assert (tmp_path / "out/README.md").exists()


def test_a_tagger_of_spans_says_that_it_is_no_stock_model(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = settings(store, run="spans", to=f"{tmp_path}/out", language=TARGETS[0])
    export(configure_export({}, (), flags))
    assert "a model of spans is no stock model" in capsys.readouterr().out
    card = (tmp_path / "out/README.md").read_text()
    assert "pipeline_tag" not in card
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    exec(code.replace("FOLDER", f"{tmp_path}/out"), {})
    found = xlt_ray.load(f"{tmp_path}/out").predict("ka lo ti")
    assert found.words == ("ka", "lo", "ti")


def test_sentences_of_a_tagger_of_spans_are_shown(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model of words, which the source alone taught, beside each target's own of spans."""
    assert console.main(["look", "spans", "--store", str(store), "--rows", "20"]) == 0
    index = Path(capsys.readouterr().out.split()[-1])
    for name in TARGETS:
        page = index.with_name(f"{name}.html").read_text()
        assert page.count("<article") == 40
        assert "final and gold differ" in page


def test_a_tagger_of_spans_is_loaded_by_its_own_class(store: Path, tmp_path: Path) -> None:
    flags = settings(store, run="spans", to=f"{tmp_path}/out", language=TARGETS[0])
    assert export(configure_export({}, (), flags))["language"] == TARGETS[0]
    tagger = SpanTagger.from_pretrained(tmp_path / "out")
    assert len(tagger.tag([["ka", "lo"], ["ka"]])) == 2


def test_a_tagger_of_spans_is_distilled_into_a_stock_one(store: Path, tmp_path: Path) -> None:
    """The folder gives the labels with which it was scored, without any code of this package."""
    to = tmp_path / "stock"
    flags = [*settings(store, run="spans", to=str(to), distil=True, lr=4e-3, epochs=3),
             "resources.annotators=0"]  # fmt: skip
    record = export(configure_export({}, (), flags))
    found = record["distilled"]
    assert set(found["scores"]) == set(found["teacher"]) == {SOURCE, *TARGETS}
    assert found["scores"][SOURCE] > 0.3
    assert not (to / "spans.json").exists()
    assert found["artifact"] != record["artifact"]

    model = AutoModelForTokenClassification.from_pretrained(to, trust_remote_code=False).eval()
    assert type(model).__module__.startswith("transformers.")
    tokenizer: Any = AutoTokenizer.from_pretrained(to, trust_remote_code=False)
    steps = (store / "runs/spans-export/ledger.jsonl").read_text().splitlines()
    titles = {entry["title"]: entry for entry in map(json.loads, steps)}
    said = Store(str(store)).find("annotation", titles["distilled test annotation"]["fingerprint"])
    text = Store(str(store)).find("text", titles["test text"]["fingerprint"])
    assert said is not None
    assert text is not None
    labels = {row["id"]: row["labels"] for row in said.table(["id", "labels"]).to_pylist()}
    rows = text.table(["id", "tokens"]).to_pylist()[:40]
    for row in rows:
        batch = tokenizer(row["tokens"], is_split_into_words=True, return_tensors="pt")
        with torch.inference_mode():
            best = model(**batch).logits[0].argmax(dim=1).tolist()
        words = batch.word_ids()
        firsts = [best[words.index(word)] for word in range(len(row["tokens"]))]
        assert firsts == labels[row["id"]]
    entities = pipeline(
        "token-classification", model=model, tokenizer=tokenizer, trust_remote_code=False
    )(" ".join(rows[0]["tokens"]))
    assert {item["entity"] for item in entities} <= set(model.config.label2id)


def test_a_dry_run_names_what_would_be_trained(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = settings(store, run="spans", to=f"{tmp_path}/x", distil=True, epochs=7)
    sets = [part for flag in flags for part in ("--set", flag)]
    assert run_job({}, argv=[*sets, "--dry-run"], job=JOB) == 0
    shown = capsys.readouterr().out
    assert "export.epochs: 7" in shown
    assert f"{TARGETS[0]} teacher's annotation" in shown
    assert "up to 7 epochs" in shown
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ({"run": "nobody"}, "export.run: no finished run 'nobody' in "),
        ({"run": "spans"}, f"export.language: run 'spans' has a model for each: {TARGETS[0]}, "),
        ({"run": "spans", "language": "xx"}, "export.language: 'xx' has no model, there are: "),
        ({"run": "words", "language": "xx"}, "export.language: run 'words' has one model for all"),
        ({"run": "words", "distil": True}, "export.distil: run 'words' has a stock model already"),
        ({"run": "words", "epochs": 0}, "export.epochs: "),
    ],
)
def test_what_cannot_be_exported_is_named(
    store: Path, tmp_path: Path, keys: dict[str, Any], part: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        configure_export({}, (), settings(store, to=f"{tmp_path}/x", **keys))
    assert part in str(raised.value)


def test_what_belongs_to_the_run_stays(store: Path, tmp_path: Path) -> None:
    flags = [*settings(store, run="words", to=f"{tmp_path}/x"), "method.source_epochs=9"]
    with pytest.raises(ConfigError, match=r"method\.source_epochs: that of the run 'words' stays"):
        configure_export({}, (), flags)


def test_nothing_is_written_over(store: Path, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("kept")
    with pytest.raises(ConfigError, match=r"export\.to: .* is there already"):
        configure_export({}, (), settings(store, run="words", to=str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


@pytest.mark.parametrize("benchmark", ["toy", "toy_rating", "toy_pair"])
def test_pipelines_of_transformers_predict_the_same(
    benchmark: str, world: World, tmp_path: Path
) -> None:
    """500 sentences, or pairs: the labels that the run was scored with."""
    run(configure_run({
        "benchmark": {"name": benchmark, "targets": [TARGETS[0]],
                      "toy": {"train": 200, "dev": 60, "test": 250, "target_train": 20}},
        "backbone": str(world.backbone), "method": {"name": "bl_direct", "source_lr": 4e-3,
                                                    "source_epochs": 2},
        "train": {"batch_size": 8}, "resources": RESOURCES, "store": {"root": str(tmp_path)},
        "run": {"name": "model"},
    }))  # fmt: skip
    export(configure_export({}, (), settings(tmp_path, run="model", to=f"{tmp_path}/out")))
    store, entries = Store(str(tmp_path)), dict[str, Any]()
    for line in (tmp_path / "runs/model/ledger.jsonl").read_text().splitlines():
        entry = json.loads(line)
        entries[entry["title"]] = store.find(entry["kind"], entry["fingerprint"])
    names = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=False)
    said = {
        row["id"]: row["labels"] for row in entries["final test annotation"].table().to_pylist()
    }
    rows = entries["test text"].table().to_pylist()
    assert len(rows) == 500
    if benchmark == "toy":
        tag = pipeline("token-classification", model=str(tmp_path / "out"), tokenizer=names,
                       ignore_labels=[], trust_remote_code=False)  # fmt: skip
        found = tag([" ".join(row["tokens"]) for row in rows])
        classes = tag.model.config.label2id or {}
        for row, items in zip(rows, found, strict=True):
            at, labels = 0, []
            for word in row["tokens"]:  # that of its first sub-word, which may begin with the space
                first = next(item for item in items if int(item["end"]) > at)
                labels.append(classes[first["entity"]])
                at += len(word) + 1
            assert labels == said[row["id"]]
        return
    judge = pipeline(
        "text-classification", model=str(tmp_path / "out"), tokenizer=names, trust_remote_code=False
    )
    classes = judge.model.config.label2id or {}
    texts = [{key: row[key] for key in ("text", "text_pair") if key in row} for row in rows]
    found = judge(texts, truncation=True, max_length=128)
    for row, item in zip(rows, found, strict=True):
        assert [classes[item["label"]]] == said[row["id"]]
