"""Encoders in int8: graphs that say nearly the same, refusals, and what a step's name holds."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.encoders import commit, tokenised, write_tagger
from tests.families import FAMILIES, Family, Kind, Trial
from xlt_ray.commands.confidence import Confident
from xlt_ray.config import extras
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import ResourcesConfig
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.batches.examples import examples_of
from xlt_ray.data.batches.layout import layout_of
from xlt_ray.data.batches.tokenise import load_tokenizer
from xlt_ray.engine.annotate import AnnotateTask, ShardAnnotator
from xlt_ray.engine.arithmetic import Arithmetic, autocast
from xlt_ray.engine.int8 import Int8Task, run_int8
from xlt_ray.engine.resources import settle
from xlt_ray.labels import LabelSet
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.int8 import (
    ENCODER,
    Int8Encoder,
    Int8Error,
    check_family,
    computed_by,
    openvino,
    write_encoder,
)
from xlt_ray.models.tagger import load_tagger
from xlt_ray.recipe.corpus import Corpus
from xlt_ray.recipe.task import TaskContext
from xlt_ray.run.steps import Step
from xlt_ray.store.artifacts import Artifact, Store

LABELS = ("O", "B-PER", "I-PER")
CONTEXT = TaskContext(LabelSet(LABELS), ())
TRIED: dict[str, Kind] = {
    "BERT": "text", "XLM-R": "token", "DeBERTa-v2, v3": "token", "ModernBERT, mean": "text",
    "EuroBERT": "span", "mT5": "token", "Qwen3": "text",
}  # fmt: skip
"""Families that differ in what their graph is made of; all others take minutes together."""
REFUSED = {
    ("X-MOD", "token"): "its layers have an adapter for each language",
    ("CANINE", "text"): "it has no embeddings of tokens",
    ("T5", "text"): "a decoder reads the texts",
    ("mT5", "pair"): "a decoder reads the texts",
    ("Gemma 3, both sides", "text"): "OpenVINO has no graph of its attention to both sides",
}
"""Families that have no graph, and why."""
WITHOUT = {("mT5, encoder alone", "text"), ("Gemma 3", "token"), ("Gemma 3, both sides", "token")}
"""Families without a classifier of that kind at all."""


def rows(count: int = 40, seed: int = 0) -> Any:
    draw = np.random.default_rng(seed)
    sizes = draw.integers(3, 14, count)
    return tokenised([[[int(x)] for x in draw.integers(5, 250, size)] for size in sizes])


def tagger_and_text(folder: Path) -> tuple[Classifier, list[Batch]]:
    saved = write_tagger(folder, LABELS)
    layout = layout_of(load_tokenizer(str(saved)), 32)
    examples = examples_of(rows(), layout)
    model = load_tagger(saved, LABELS).eval()
    return model, [examples.collate(range(i, i + 10)) for i in range(0, 40, 10)]


def logits_of(model: Classifier, texts: list[Batch]) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model(batch).logits for batch in texts])


@pytest.mark.slow
def test_linear_layers_are_int8_and_labels_nearly_the_same(tmp_path: Path) -> None:
    """Rounding moves a value by half a step of 127 at most; of twelve layers: queries, keys,
    values, outputs and two of the feed-forward part, in each of two layers of the encoder."""
    model, texts = tagger_and_text(tmp_path)
    facts = write_encoder(model, texts, tmp_path, block=16)
    assert facts == {"layers": 12, "block": 16}
    graph = openvino().Core().read_model(str(tmp_path / ENCODER))
    kinds = [x.get_element_type().get_type_name() for x in graph.get_ops() if is_constant(x)]
    assert kinds.count("i8") == 12
    wanted = logits_of(model, texts)
    with computed_by(model, Int8Encoder(tmp_path, model, block=16, threads=1)):
        found = logits_of(model, texts)
    assert 0 < float((found - wanted).abs().max() / wanted.abs().max()) < 0.05
    equal = (found.argmax(dim=1) == wanted.argmax(dim=1)).float().mean()
    assert equal >= 0.97
    assert torch.equal(logits_of(model, texts), wanted), "it is computed by itself again"


def is_constant(node: Any) -> bool:
    return node.get_type_name() == "Constant"


def test_the_same_model_has_the_same_graph(tmp_path: Path) -> None:
    """Byte by byte, though the library numbers its nodes on and on."""
    model, texts = tagger_and_text(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_encoder(model, texts, tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["encoder.bin", "encoder.xml"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_several_threads_may_ask_at_once(tmp_path: Path) -> None:
    model, texts = tagger_and_text(tmp_path)
    write_encoder(model, texts, tmp_path)
    alone = Int8Encoder(tmp_path, model, block=128, threads=1)
    several = Int8Encoder(tmp_path, model, block=128, threads=1, at_once=2)
    with torch.no_grad():
        wanted = [alone(**given(batch))["last_hidden_state"] for batch in texts]
        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(several, **given(batch)) for _ in range(5) for batch in texts]
            found = [job.result()["last_hidden_state"] for job in jobs]
    for number, states in enumerate(found):
        assert torch.equal(states, wanted[number % len(texts)])


def given(batch: Batch) -> dict[str, torch.Tensor]:
    return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}


def families() -> list[Any]:
    found = []
    for family in FAMILIES:
        for kind in ("token", "text", "span"):
            if (family.name, kind) in {*REFUSED, *WITHOUT}:
                continue
            if kind == "text" and "T5" in family.name:
                continue
            if kind == "span" and family.name in ("X-MOD", "CANINE", "Gemma 3, both sides"):
                continue
            if family.name in ("X-MOD", "CANINE"):
                continue
            marks = [] if TRIED.get(family.name) == kind else [pytest.mark.long]
            found.append(pytest.param(family, kind, marks=marks, id=f"{family.name}, {kind}"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("family", "kind"), families())
def test_families_have_graphs(family: Family, kind: Kind, tmp_path: Path) -> None:
    trial = Trial(family, kind, tmp_path)
    folder = tmp_path / "encoder"
    model, texts = trial.load(folder), [trial.batch(folder)]
    check_family(model.model.config.to_dict(), "backbone", trial.task)
    write_encoder(model, texts, tmp_path)
    wanted = logits_of(model, texts)
    with computed_by(model, Int8Encoder(tmp_path, model, block=128, threads=1)):
        found = logits_of(model, texts)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), sorted(REFUSED))
def test_families_without_graph_are_named(name: str, kind: Kind, tmp_path: Path) -> None:
    """Before any work, by their configuration; and there is no graph of them indeed."""
    (family,) = (family for family in FAMILIES if family.name == name)
    trial = Trial(family, kind, tmp_path)
    folder = tmp_path / "encoder"
    model = trial.load(folder)
    shape = model.model.config.to_dict()
    with pytest.raises(Int8Error, match=f"backbone X: the family .* {REFUSED[name, kind]}; resour"):
        check_family(shape, "backbone X", trial.task)
    with pytest.raises(Int8Error, match="cannot compute in int8"):
        write_encoder(model, [trial.batch(folder)], tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Artifact]]:
    """A model, tokenised text, and the graph."""
    folder = tmp_path_factory.mktemp("int8")
    store = Store(str(folder / "store"))
    attempt = store.attempt("model", "m")
    attempt.write_folder(write_tagger(folder, LABELS))
    model = store.commit(attempt, {"info": {}, "seconds": 0.0})
    tables = {"part-000000": rows(), "part-000001": rows(30, seed=1)}
    tables["part-000001"] = tables["part-000001"].set_column(
        0, "id", [[f"t{number:04d}" for number in range(30)]]
    )
    tokens = commit(store, "tokens", "t", tables)
    graph = carried_out(task_of(model, tokens), store, "g")
    return store, {"model": model, "tokens": tokens, "graph": graph}


def task_of(model: Artifact, tokens: Artifact, **changes: Any) -> Int8Task:
    common: dict[str, Any] = {"context": CONTEXT, "dim_reduce": None, "max_length": 32}
    return Int8Task(model=model, text=tokens, spans=None, **common | changes)


def carried_out(task: Int8Task, store: Store, name: str) -> Artifact:
    attempt = store.attempt("int8", name)
    info = run_int8(task.into(attempt))
    return store.commit(attempt, {"info": info, "seconds": 0.0})


def annotated(store: Store, made: dict[str, Artifact], name: str, **changes: Any) -> Artifact:
    attempt = store.attempt("annotation", name)
    work = ShardAnnotator(annotation(made, **changes).into(attempt))
    work({"shard": made["tokens"].names})
    return store.commit(attempt, {"info": {}, "seconds": 0.0})


def annotation(made: dict[str, Artifact], **changes: Any) -> AnnotateTask:
    common: dict[str, Any] = {
        "corpus": Corpus(made["tokens"]), "model": made["model"], "annotator": Confident(),
        "context": CONTEXT, "dim_reduce": None, "max_length": 32, "batch_tokens": 64,
        "arithmetic": Arithmetic(precision="int8"), "graph": made["graph"],
    }  # fmt: skip
    return AnnotateTask(**common | changes)


IN_FLOATS: dict[str, Any] = {"graph": None, "arithmetic": Arithmetic()}


@pytest.mark.slow
def test_a_step_says_how_many_labels_are_equal(built: Any) -> None:
    store, made = built
    info = made["graph"].info
    assert {name: info[name] for name in ("rows", "layers", "block")} == {
        "rows": 70, "layers": 12, "block": 128,
    }  # fmt: skip
    assert 0.97 <= info["equal_labels"] <= 1
    few = carried_out(task_of(made["model"], made["tokens"], rows=8), store, "few")
    assert few.info["rows"] == 8
    again = carried_out(task_of(made["model"], made["tokens"]), store, "again")
    assert again.digest == made["graph"].digest != few.digest


@pytest.mark.slow
def test_annotations_are_near_and_the_same_twice(built: Any) -> None:
    store, made = built
    plain = annotated(store, made, "plain", **IN_FLOATS)
    one, two = (annotated(store, made, name) for name in ("one", "two"))
    assert one.digest == two.digest != plain.digest
    labels = [np.concatenate(x.table()["labels"].to_pylist()) for x in (plain, one)]
    assert len(labels[0]) == sum(
        made["tokens"].table()["lengths"].combine_chunks().value_lengths().to_pylist()
    )
    assert (labels[0] == labels[1]).mean() >= 0.97
    assert (labels[0] != labels[0][0]).any()


def test_int8_is_another_step(built: Any) -> None:
    """As is another graph of the same model."""
    _, made = built
    other = Artifact("", "int8", "other", {"info": {}, "files": {}})
    tasks = (annotation(made), annotation(made, graph=other), annotation(made, **IN_FLOATS))
    assert len({Step("title", task).fingerprint() for task in tasks}) == 3
    assert made["graph"] in annotation(made).inputs


def test_without_text_there_is_no_graph(tmp_path: Path, built: Any) -> None:
    store, made = built
    empty = commit(store, "tokens", "empty", {"part-000000": rows()[:0]})
    with pytest.raises(ValueError, match="int8 needs text to be built, and there is none"):
        run_int8(task_of(made["model"], empty).into(store.attempt("int8", "empty")))


def test_training_is_in_floats_and_annotation_is_not() -> None:
    plan = settle(ResourcesConfig(precision="int8"), [{"CPU": 4.0}])
    assert (plan.annotation.precision, plan.training.precision) == ("int8", "fp32")
    assert plan.annotation.in_floats == Arithmetic("cpu", "fp32", 1)
    assert plan.training.in_floats == plan.training
    with autocast(torch.device("cpu"), "int8"):
        assert not torch.is_autocast_enabled("cpu")
    apart = settle(
        ResourcesConfig(precision="int8", annotators=1, annotator_gpus=0),
        [{"CPU": 4.0, "GPU": 1.0, "accelerator_type:A100": 1.0}],
    )
    assert (apart.annotation.device, apart.annotation.precision) == ("cpu", "int8")
    assert apart.training.device == "cuda"
    assert apart.training.precision in ("bf16", "fp32")


def test_auto_is_never_int8() -> None:
    assert settle(ResourcesConfig(), [{"CPU": 4.0}]).annotation.precision == "fp32"


def test_gpus_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"resources\.precision: int8 is for CPUs, and anno"):
        settle(ResourcesConfig(precision="int8"), [{"CPU": 4.0, "GPU": 1.0}])
    with pytest.raises(ValueError, match="annotator_gpus: int8 is for CPUs; annotator_gpus=0"):
        ResourcesConfig(precision="int8", annotator_gpus=0.5)


def test_it_is_not_compiled() -> None:
    with pytest.raises(ValueError, match="compile: OpenVINO computes in int8"):
        ResourcesConfig(precision="int8", compile=True)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "is_there", lambda module: module != "openvino")
    extras.require_precision("fp32")
    wanted = r"resources.precision: int8 needs openvino: pip install 'xlt-ray\[int8\]'"
    with pytest.raises(ConfigError, match=wanted):
        extras.require_precision("int8")


INTERRUPTED = """
import signal
from openvino import opset15 as ops
from openvino import Model
from xlt_ray.models.int8 import Runtime, core
core()
row = ops.parameter([1, 4])
graph = Model([ops.relu(row)], [row])
runs = [Runtime(graph, block=0, threads=1) for _ in range(2)]
while runs:
    del runs[0]  # in the order in which they came
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.slow
def test_an_interrupt_comes_through_when_graphs_have_gone() -> None:
    """Cores of the library that go out of order leave a stack for signals that is not there."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


QUIET = """
import socket, sys
def watched(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.fork"):
        print(event, arguments)
sys.addaudithook(watched)
from xlt_ray.models.int8 import openvino
found = openvino()
assert openvino() is found
assert found.Core().available_devices == ["CPU"]
print(sorted(name for name in sys.modules if "openvino_telemetry" in name))
"""


@pytest.mark.slow
def test_its_use_is_not_reported(tmp_path: Path) -> None:
    """An import of the library alone writes a number into the home and sends an event."""
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", QUIET], capture_output=True, text=True, env=env,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
    assert not list(tmp_path.iterdir())
