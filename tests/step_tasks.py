"""A task of every kind of step, made by hand."""

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

import xlt_ray
from xlt_ray.config.schema import TrainConfig
from xlt_ray.data.readers.base import NamedSource
from xlt_ray.data.readers.user_source import UserSource
from xlt_ray.engine.annotate import AnnotateTask
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.asking import AskTask
from xlt_ray.engine.average import MeanTask
from xlt_ray.engine.backbone import Backbone
from xlt_ray.engine.bring_back import BringBackTask
from xlt_ray.engine.derive import DeriveTask, OracleTask, ScoreTask
from xlt_ray.engine.given import GivenTask
from xlt_ray.engine.gold_in_translation import JoinTask
from xlt_ray.engine.int8 import Int8Task
from xlt_ray.engine.mark import MarkTask
from xlt_ray.engine.project import ProjectTask
from xlt_ray.engine.read import ReadGold, ReadText, TokeniseTask
from xlt_ray.engine.train.snapshots import SnapshotTask
from xlt_ray.engine.train.task import TrainTask
from xlt_ray.engine.translate import Route, TranslateTask
from xlt_ray.engine.votes import VotesTask
from xlt_ray.engine.words_in_translation import ReplaceTask
from xlt_ray.labels import LabelSet
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.recipe.annotator import Annotator, Columns, PredictLabels
from xlt_ray.recipe.corpus import Corpus, Mix
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.step_task import StepTask


@dataclass
class Loss(Objective):
    strength: float = 1.0

    def loss(self, output: Any, batch: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Said(Annotator):
    most: int = 1

    def annotate(self, output: Any, offsets: Any, context: Any) -> Columns:
        raise NotImplementedError


def first(*artifacts: Artifact, **arguments: Any) -> tuple[pa.Table, dict[str, Any]]:
    raise NotImplementedError


def second(*artifacts: Artifact, **arguments: Any) -> tuple[pa.Table, dict[str, Any]]:
    raise NotImplementedError


def artifact(name: str, kind: str = "tokens") -> Artifact:
    return Artifact("", kind, name, {"info": {}, "files": {name: {"sha256": name}}})


def source(name: str, language: str = "a", split: str = "train") -> NamedSource:
    return NamedSource(UserSource((name,), language, split, "token"), {"name": name})


LABELS = LabelSet(("O", "B-X"))
ONE, OTHER = artifact("one"), artifact("other")
GOLD = Corpus(ONE).labelled(artifact("gold", "gold"))
SHARED: dict[str, Any] = {"batch_tokens": 64, "arithmetic": Arithmetic(), "compiled": False}
READ: dict[str, Any] = {"sources": (source("x"),), "task": "token", "limits": {"train": None},
                        "shard_rows": 8, "max_bad_fraction": 0.5}  # fmt: skip
DERIVED: dict[str, Any] = {"function": first, "artifacts": (ONE,), "arguments": {"ratio": 0.5}}

TASKS: tuple[StepTask, ...] = (
    Backbone(identity={"folder": "x"}, code=("xlt_ray.labels",), write=lambda attempt: {}),
    ReadText(**READ),
    ReadGold(**READ, labels=LABELS),
    TokeniseTask(text=ONE, backbone=ONE, task="token"),
    TranslateTask(
        text=ONE, task="pair", routes={"a": Route("a", "en", ONE)}, whole=False, codes={}, beams=1,
        max_new_tokens=8, batch_tokens=64, arithmetic=Arithmetic(),
    ),
    MarkTask(text=ONE, gold=ONE, labels=LABELS, brackets=True, bare=False),
    ProjectTask(
        text=ONE, gold=ONE, task="token", labels=LABELS, language="b", plain=ONE, marked=ONE,
        encoder=ONE, layer=1, threshold=0.5, cut="marks", max_length=32, batch_tokens=64,
        arithmetic=Arithmetic(),
    ),
    JoinTask(text=ONE, gold=ONE, projections={"b": ONE}, task="token", weight=1),
    ReplaceTask(text=ONE, translation=ONE, languages=("a",), cut="marks"),
    BringBackTask(
        text=ONE, read=ONE, predicted=ONE, languages=("a",), pivot="b", labels=LABELS, encoder=ONE,
        layer=1, threshold=0.5, max_length=32, batch_tokens=64, arithmetic=Arithmetic(),
    ),
    TrainTask(
        mix=Mix(GOLD), dev=GOLD, start=ONE, objective=Loss(), schedule=Schedule(0.1, 1),
        train=TrainConfig(), context=TaskContext(LABELS, ("a",)), metric="f1", seed=0, world=1,
        **SHARED,
    ),
    SnapshotTask(model=ONE, step=3),
    MeanTask(models=(ONE, OTHER)),
    Int8Task(
        model=ONE, text=ONE, context=TaskContext(LABELS, ("a",)), dim_reduce=None, max_length=32,
        spans=None,
    ),
    AnnotateTask(
        corpus=GOLD, model=ONE, annotator=Said(), context=TaskContext(LABELS, ("a",)),
        dim_reduce=None, max_length=32, **SHARED,
    ),
    GivenTask(
        text=ONE, languages=("a",), labels=LABELS, sha256="x", row_bytes=9, path="said", key="k"
    ),
    VotesTask(
        text=ONE, languages=("a",), task="token", labels=LABELS, name="anna", column="labels.anna",
        source=source("x"), max_bad_fraction=0.1,
    ),
    AskTask(
        text=ONE, languages=("a",), task="token", labels=LABELS, name="anna", call="Rules",
        code="c", args={"n": 1}, version="", module="rules.py", source="", batch_size=2,
        timeout=1.0, retries=1, wait=0.0, max_bad_fraction=0.1,
    ),
    DeriveTask(**DERIVED),
    OracleTask(**DERIVED),
    ScoreTask(predicted=ONE, gold=ONE, metric="f1", labels=LABELS, language=None),
)  # fmt: skip
"""One of each class."""

CHANGES: dict[str, list[Any]] = {
    "identity": [{"folder": "y"}],
    "longest": [4],
    "code": [("xlt_ray.metrics",)],
    "source": [source("y"), source("x", "b"), source("x", split="dev")],
    "name": ["ben"],
    "call": ["Others"],
    "args": [{"n": 2}],
    "version": ["2"],
    "column": [None, "labels"],
    "sources": [(source("y"),), (source("x", "b"),), (source("x", split="dev"),)],
    "task": ["sentence"],
    "labels": [LabelSet(("O", "B-Y"))],
    "limits": [{"train": 3}, {"train": None, "dev": None}],
    "text": [OTHER],
    "backbone": [OTHER],
    "routes": [{"b": Route("a", "en", ONE)}, {"a": Route("a", "en", OTHER)},
               {"a": Route("a", "de", ONE)}, {"a": Route("a", "en", ONE, must=True)}],
    "codes": [{"a": "aa"}],
    "plain": [OTHER, None],
    "marked": [OTHER, None],
    "encoder": [OTHER],
    "cut": ["blanks"],
    "read": [OTHER],
    "translation": [OTHER],
    "pivot": ["c"],
    "projections": [{"b": OTHER}, {"c": ONE}],
    "mix": [Mix(GOLD, GOLD), Mix(GOLD, paired=GOLD), Mix(GOLD.of("a"))],
    "dev": [GOLD.of("a")],
    "start": [OTHER],
    "objective": [Loss(2.0)],
    "schedule": [Schedule(0.2, 1), Schedule(0.1, 1, keep="last"),
                 Schedule(0.1, 1, epoch_of="paired")],
    "train": [TrainConfig(dropout=0.2), TrainConfig(max_length=64)],
    "context": [TaskContext(LABELS, ("b",)), TaskContext(LABELS, ("a",), task="pair"),
                TaskContext(LabelSet(("O",)), ("a",))],
    "metric": ["accuracy"],
    "arithmetic": [Arithmetic(threads=2), Arithmetic(precision="bf16")],
    "corpus": [GOLD.of("a"), Corpus(ONE)],
    "model": [OTHER],
    "models": [(ONE,), (OTHER, ONE)],
    "annotator": [Said(2), PredictLabels()],
    "dim_reduce": [2],
    "graph": [OTHER],
    "spans": [SpanHead(), SpanHead(max_len=2)],
    "function": [second],
    "artifacts": [(OTHER,), (ONE, OTHER)],
    "arguments": [{"ratio": 0.25}, {}],
    "predicted": [OTHER],
    "gold": [OTHER],
    "language": ["a"],
    "languages": [("a", "b"), ()],
    "sha256": ["y"],
}  # fmt: skip
"""Other values of fields; of numbers and flags it is clear what another one is."""


def others(name: str, value: Any) -> list[Any]:
    """Values that a field may have in place of the one that it has."""
    if name in CHANGES:
        return CHANGES[name]
    if isinstance(value, bool):
        return [not value]
    assert isinstance(value, int | float), f"say in CHANGES what else {name} may be"
    return [value / 2 if isinstance(value, float) else value + 1]


def task_classes() -> set[type[StepTask]]:
    """Every class of the package that a step can be made of."""
    for module in pkgutil.walk_packages(xlt_ray.__path__, "xlt_ray."):
        importlib.import_module(module.name)
    found, pending = set[type[StepTask]](), [StepTask]
    while pending:
        below = pending.pop().__subclasses__()
        pending += below
        found |= {x for x in below if x.__module__.startswith("xlt_ray.") and "kind" in vars(x)}
    return found
