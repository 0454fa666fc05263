"""What tests of recipes share: batches by hand, and a driver that keeps a record in memory."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.encoders import commit, tokenised
from xlt_ray.config.schema import Split
from xlt_ray.data.batches.batch import Batch
from xlt_ray.data.keyed import items_of
from xlt_ray.data.schema import Task
from xlt_ray.engine.annotate import to_table
from xlt_ray.labels import UNLABELLED, LabelSet
from xlt_ray.methods import METHODS
from xlt_ray.methods.shared.sources import SourceLabels
from xlt_ray.models.classifier import Output
from xlt_ray.ops.spans import num_spans
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.corpus import Corpus, Mix, Model, Start
from xlt_ray.recipe.driver import Derivation, R
from xlt_ray.recipe.method import Outcome
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact, Store

FACTS = TaskContext(LabelSet(("O", "B-X", "I-X", "B-Y")), ("a", "b"), num_items=6)
C = FACTS.num_classes
WIDTH = 3
NOTHING = torch.zeros(0, C)


def batch_of(
    labels: Sequence[int],
    sets: Sequence[int] | None = None,
    items: Sequence[int] | None = None,
    languages: Sequence[int] | None = None,
    sentences: Sequence[int] | None = None,
    columns: Mapping[str, torch.Tensor] | None = None,
) -> Batch:
    count = len(labels)
    none = torch.zeros(count, dtype=torch.int64)
    return Batch(
        input_ids=torch.zeros(1, 3, dtype=torch.int64),
        attention_mask=torch.ones(1, 3, dtype=torch.int64),
        segments=torch.zeros(1, 3, dtype=torch.int64),
        items=none,
        labels=torch.tensor(labels, dtype=torch.int64),
        candidates=torch.tensor(sets) if sets is not None else none,
        item_ids=torch.tensor(items) if items is not None else torch.arange(count),
        languages=torch.tensor(languages) if languages is not None else none,
        sentences=torch.tensor(sentences) if sentences is not None else none,
        paired=torch.zeros(count, dtype=torch.bool),
        part=none,
        extra=torch.zeros(count, dtype=torch.bool),
        columns=dict(columns or {}),
    )


def logits_of(count: int, seed: int = 0, spread: float = 3.0) -> torch.Tensor:
    return torch.randn(count, C, generator=torch.Generator().manual_seed(seed)) * spread


def output_of(logits: torch.Tensor, extra: torch.Tensor | None = None) -> Output:
    """What a model says, with features that count up."""
    count = len(logits)
    features = torch.arange(count * WIDTH, dtype=torch.float32).view(count, WIDTH) / 10
    return Output(logits, features, extra)


@dataclass
class Call:
    """One verb, as the recipe called it."""

    verb: str
    title: str
    objective: Objective | None = None
    schedule: Schedule | None = None
    dev: Corpus | None = None
    start: Model | None = None
    parts: tuple[Corpus, ...] = ()
    paired: Corpus | None = None
    drawn_from: Corpus | None = None
    annotator: Annotator | None = None
    pool: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    result: Artifact | None = None


Talk = Callable[[str, int], torch.Tensor]


def random_talk(name: str, size: int) -> torch.Tensor:
    """Logits that depend on the sentence alone."""
    seed = zlib.crc32(name.encode())
    return torch.randn(size, C, generator=torch.Generator().manual_seed(seed)) * 3


class MemoryDriver:
    """Carries out derivations and annotations on random logits; training is made up."""

    seed = 3
    pools: tuple[str, ...] = ("a", "b")
    source_languages: tuple[str, ...] = ("s",)
    labellers: tuple[str, ...] = ()

    def __init__(
        self,
        folder: Path,
        *,
        scores: Sequence[float] = (),
        talk: Talk = random_talk,
        task: Task = "token",
    ):
        self.context = TaskContext(FACTS.labels, ("s", "a", "b"), task=task)
        self.store = Store(str(folder))
        self.scores, self.talk = list(scores), talk
        self.calls: list[Call] = []
        self.starts: dict[str, Start] = {}
        self.translated: Corpus | None = None
        self.backbone = self._model("backbone", {})
        sizes = {"a": 20, "b": 30}
        names = [f"{x}{i:02d}" for x, n in sizes.items() for i in range(n)]
        most = 3 if task == "token" else 1
        sentences = [[[1]] * (1 + i % most) for i in range(len(names))]
        table = tokenised(sentences, ids=names, languages=[name[0] for name in names])
        attempt = self.store.attempt("tokens", "targets")
        attempt.write_table("p0.parquet", table.slice(0, 25))
        attempt.write_table("p1.parquet", table.slice(25))
        info = {"rows": 50, "rows_by_language": sizes}
        self.targets = Corpus(self.store.commit(attempt, {"info": info, "seconds": 0.0}))

    def _model(self, name: str, info: Mapping[str, Any]) -> Model:
        attempt = self.store.attempt("model", name.replace(" ", "-"))
        return Model(self.store.commit(attempt, {"info": dict(info), "seconds": 0.0}))

    def source(self, split: Split, *languages: str) -> Corpus:
        wanted = languages or self.source_languages
        names = [f"{x}{i:02d}" for x in wanted for i in range(10)]
        owners = [name[0] for name in names]
        table = tokenised(
            [[[1]]] * len(names), ids=names, languages=owners, labels=[[1]] * len(names)
        )
        name = f"source-{split}-{'-'.join(wanted)}"
        tokens = commit(self.store, "tokens", name, {"p0": table.drop_columns(["labels"])})
        gold = commit(self.store, "gold", name, {"p0": table.select(["id", "labels"])})
        return Corpus(tokens).labelled(gold)

    def start_from(self, reference: str) -> Start:
        return self.starts[reference]

    def dev(self, target: str | None = None, *, source: str | None = None) -> Corpus:
        if source is not None:
            return self.source("dev", source)
        return self.source("dev", *(() if target is None else self.sources_of(target)))

    def sources_of(self, target: str) -> tuple[str, ...]:
        return tuple(name for name in self.source_languages if name != target)

    def together(self, calls: Sequence[Callable[[], R]]) -> list[R]:
        return [call() for call in calls]

    def while_reading(self, call: Callable[[], R]) -> R:
        self.unlabelled()
        return call()

    def unlabelled(self) -> Corpus:
        return self.targets

    def back_translated(self) -> Corpus | None:
        return self.translated

    def train(
        self,
        title: str,
        mix: Mix,
        objective: Objective,
        *,
        start: Model,
        schedule: Schedule,
        dev: Corpus | None = None,
    ) -> Model:
        score = self.scores.pop(0) if self.scores else 0.5
        model = self._model(title, {"source_dev": score})
        self.calls.append(
            Call(
                "train",
                title,
                objective,
                schedule,
                dev,
                start,
                mix.parts,
                mix.paired,
                mix.pool,
                result=model.artifact,
            )
        )
        return model

    def annotate(self, title: str, corpus: Corpus, model: Model, annotator: Annotator) -> Artifact:
        rows = corpus.rows()
        sizes = [len(x) for x in rows["lengths"].to_pylist()]
        names = rows["id"].to_pylist()
        words, head = np.cumsum([0, *sizes]), annotator.span_head
        if head is not None:
            sizes = num_spans(np.array(sizes), head.max_len).tolist()
        logits = [self.talk(name, size) for name, size in zip(names, sizes, strict=True)]
        offsets = np.cumsum([0, *sizes])
        own, output = (
            annotator.build(self.context, WIDTH),
            output_of(torch.cat(logits or [NOTHING])),
        )
        columns = {x: torch.tensor(items_of(rows[x])[0]) for x in rows.column_names if "." in x}
        with torch.no_grad():
            outputs = annotator.feature_outputs(own, output.features)
        output = output._replace(feature_outputs=outputs, own=own, columns=columns)
        table = to_table(
            rows, offsets, annotator.annotate(output, offsets, self.context), words=words
        )
        found = commit(self.store, "annotation", title.replace(" ", "-"), {"p0": table})
        self.calls.append(
            Call("annotate", title, start=model, annotator=annotator, pool=tuple(names))
        )
        return found

    def said(
        self, title: str, path: str, text: Corpus, *, languages: Sequence[str], key: str
    ) -> Artifact:
        """Random labels, whatever the file; the call has its path."""
        model = self._model(f"{title} of {Path(path).stem}", {})
        found = self.annotate(title, text, model, SourceLabels())
        asked = {"languages": tuple(languages)}
        self.calls[-1] = replace(self.calls[-1], verb="said", title=path, parameters=asked)
        return found

    def votes(self, name: str) -> Artifact:
        """Random labels of two thirds of the words: none of rows whose number is its place among
        the labellers, by three."""
        rows, k = self.targets.rows(), self.context.num_classes
        draw = np.random.default_rng(zlib.crc32(name.encode()))
        sizes = [len(x) for x in rows["lengths"].to_pylist()]
        at = [int(x[1:]) % 3 == self.labellers.index(name) % 3 for x in rows["id"].to_pylist()]
        labels = draw.integers(0, k, sum(sizes)).astype(np.int16)
        probs = (np.eye(k)[labels] * 0.8 + 0.2 / k).astype(np.float16)
        missing = np.repeat(at, sizes)
        labels[missing], probs[missing] = UNLABELLED, 0
        columns = Columns(items={"labels": labels, "probs": probs})
        table = to_table(rows, np.cumsum([0, *sizes]), columns)
        self.calls.append(Call("votes", name))
        return commit(self.store, "annotation", f"votes-{name}", {"p0": table})

    def derive(
        self, title: str, function: Derivation, *artifacts: Artifact, **parameters: Any
    ) -> Artifact:
        table, facts = function(*artifacts, **parameters)
        attempt = self.store.attempt("derived", title.replace(" ", "-"))
        attempt.write_table("rows.parquet", table)
        info = {"rows": len(table), **facts}
        found = self.store.commit(attempt, {"info": info, "seconds": 0.0})
        self.calls.append(Call("derive", title, parameters=parameters, result=found))
        return found

    def call(self, verb: str, title: str) -> Call:
        return next(x for x in self.calls if (x.verb, x.title) == (verb, title))

    def titles(self, verb: str) -> list[str]:
        return [call.title for call in self.calls if call.verb == verb]


class SeveralSources(MemoryDriver):
    """Sources s, t and u, whose models say different things."""

    source_languages = ("s", "t", "u")

    def annotate(self, title: str, corpus: Corpus, model: Model, annotator: Annotator) -> Artifact:
        voice = model.artifact.fingerprint

        def talk(name: str, size: int) -> torch.Tensor:
            seed = zlib.crc32(f"{voice} {name}".encode())
            return torch.randn(size, C, generator=torch.Generator().manual_seed(seed)) * 3

        self.talk = talk
        return super().annotate(title, corpus, model, annotator)


def run_method(name: str, driver: MemoryDriver, **options: Any) -> Outcome:
    kind = METHODS[name]
    return kind(kind.Config.model_validate(options)).run(driver)


def languages_of(corpus: Corpus) -> set[str]:
    return set(corpus.rows()["language"].to_pylist())


def ids(artifact: Artifact | None) -> set[str]:
    assert artifact is not None
    return set(artifact.table(["id"])["id"].to_pylist())
