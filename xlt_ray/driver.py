"""The driver: the verbs that a recipe is written in, each a durable step on the cluster."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import ray

from xlt_ray.config import RunConfig, Split
from xlt_ray.data.corpus import Corpus, Mix, Model
from xlt_ray.data.registry import BENCHMARKS, resolve_targets, sources
from xlt_ray.data.sources import Source
from xlt_ray.engine.annotate import AnnotateTask, run_annotate
from xlt_ray.engine.backbone import backbone_of
from xlt_ray.engine.checkpoints import Checkpoints
from xlt_ray.engine.cluster import Plan
from xlt_ray.engine.corpora import Content, ReadTask, run_read, run_tokenise
from xlt_ray.engine.derive import run_derive, run_score
from xlt_ray.engine.train import run_train
from xlt_ray.engine.train_loop import TrainTask
from xlt_ray.labels import LabelSet
from xlt_ray.methods.base import (
    Annotator,
    Derivation,
    Facts,
    Objective,
    PredictLabels,
    Schedule,
    describe,
)
from xlt_ray.steps import Compute, Step, StepRunner
from xlt_ray.store import Artifact, Attempt

_READ = "xlt_ray.engine.corpora"


class RayDriver:
    """Runs the verbs of one run on a cluster."""

    def __init__(self, config: RunConfig[Any], runner: StepRunner, plan: Plan):
        self.config, self.runner, self.plan = config, runner, plan
        named = BENCHMARKS[config.benchmark.name]
        self.benchmark = replace(named, revision=config.benchmark.revision or named.revision)
        self.labels = LabelSet(self.benchmark.labels)
        self.seed = config.seed
        self.source_languages = tuple(config.benchmark.source or (named.source,))
        wanted = config.benchmark.targets
        self.targets = tuple(
            resolve_targets(
                self.benchmark,
                config.benchmark.root,
                wanted,
                source_languages=self.source_languages,
            )
        )
        self._sources: dict[Split, Corpus] = {}
        self._corpora: dict[tuple[tuple[str, ...], Split], Corpus] = {}

    @cached_property
    def facts(self) -> Facts:
        """Classes of the task; languages in a fixed order, sources first."""
        every = dict.fromkeys((*self.source_languages, *self.targets))
        return Facts(self.labels, tuple(every))

    # -- corpora ---------------------------------------------------------------------------------

    @cached_property
    def backbone(self) -> Model:
        """The pre-trained encoder, copied into the store."""
        found = backbone_of(self.config)
        step = Step("backbone", "backbone", found.identity, (), (found.module,), found.seed)
        return Model(self.runner.run(step, found.write))

    def source(self, split: Split) -> Corpus:
        """Gold-labelled text of the source languages."""
        if split not in self._sources:
            corpus = self._corpus(f"source {split}", self.source_languages, split)
            gold = self._gold(f"source {split}", self.source_languages, split)
            self._sources[split] = corpus.labelled(gold)
        return self._sources[split]

    def unlabelled(self) -> Corpus:
        """Text of the target languages without labels."""
        languages = tuple(name for name in self.targets if name not in self.source_languages)
        return self._corpus("unlabelled", languages, self.config.benchmark.unlabelled_split)

    def _corpus(self, title: str, languages: Sequence[str], split: Split) -> Corpus:
        key = (tuple(languages), split)
        if key not in self._corpora:
            text = self._read(title, languages, split, "text")
            task = self.benchmark.task
            step = Step(
                "tokens",
                f"{title} tokens",
                {"task": task},
                (text, self.backbone.artifact),
                (_READ, "xlt_ray.data.tokenise"),
                # Equal text gives equal tokens, whatever the files it came from say about labels.
                identities=(text.digest, self.backbone.artifact.fingerprint),
            )

            def compute(attempt: Attempt) -> dict[str, Any]:
                self.runner.store.adopt(attempt, ".parquet")
                return run_tokenise(text, self.backbone.artifact, attempt, task)

            self._corpora[key] = Corpus(self._run_tokens(step, compute))
        return self._corpora[key]

    def _gold(self, title: str, languages: Sequence[str], split: Split) -> Artifact:
        return self._read(title, languages, split, "gold")

    def _read(
        self, title: str, languages: Sequence[str], split: Split, content: Content
    ) -> Artifact:
        config, benchmark = self.config, self.benchmark
        found: list[Source] = sources(
            benchmark,
            root=config.benchmark.root,
            languages=languages,
            split=split,
            toy=config.benchmark.toy,
        )
        params = {
            "sources": [item.identity() for item in found],
            "languages": list(languages),
            "task": benchmark.task,
            "labels": list(benchmark.labels) if content == "gold" else None,
            "limit": config.benchmark.limit_of(split),
            "max_bad_fraction": config.data.max_bad_fraction,
            "shard_rows": config.data.shard_rows,
        }
        modules = (_READ, *sorted({type(item).__module__ for item in found}))
        step = Step(content, f"{title} {content}", params, (), modules)

        def compute(attempt: Attempt) -> dict[str, Any]:
            labels = self.labels if content == "gold" else None
            task = ReadTask(
                attempt,
                content,
                benchmark.task,
                labels,
                params["limit"],
                config.data.shard_rows,
                config.data.max_bad_fraction,
            )
            return run_read(found, task)

        return self._run_read(step, found, compute)

    def _run_read(self, step: Step, found: list[Source], compute: Compute) -> Artifact:
        return self.runner.run(step, compute)

    def _run_tokens(self, step: Step, compute: Compute) -> Artifact:
        return self.runner.run(step, compute)

    # -- verbs -----------------------------------------------------------------------------------

    def train(
        self, title: str, mix: Mix, objective: Objective, *, start: Model, schedule: Schedule
    ) -> Model:
        """Train a model on a mix, chosen on source dev."""
        config, dev = self.config, self.source("dev")
        params = {
            "mix": mix.describe(),
            "dev": dev.describe(),
            "objective": describe(objective),
            "schedule": asdict(schedule),
            "train": config.train.model_dump(exclude={"checkpoint_every"}),
            "labels": list(self.labels.names),
            "languages": list(self.facts.languages),
            "metric": self.benchmark.metric,
            "world": self.plan.world,
            "precision": config.resources.precision,
            "batch_tokens": config.data.batch_tokens,
        }
        modules = ("xlt_ray.engine.train_loop", type(objective).__module__)
        inputs = (start.artifact, *mix.inputs, *dev.inputs)
        step = Step("model", title, params, inputs, modules, self.seed)
        name = step.fingerprint()

        def compute(attempt: Attempt) -> dict[str, Any]:
            task = TrainTask(
                root=self.runner.store.root,
                fingerprint=name,
                attempt=attempt,
                mix=mix,
                dev=dev,
                start=start.artifact,
                objective=objective,
                schedule=schedule,
                train=config.train,
                labels=self.labels,
                languages=self.facts.languages,
                metric=self.benchmark.metric,
                seed=self.seed,
                threads=self.plan.train_cpus,
                precision=config.resources.precision,
                budget=config.data.batch_tokens,
            )
            return run_train(task, self.plan, retries=config.resources.train_retries)

        model = Model(self.runner.run(step, compute))
        Checkpoints(self.runner.store.root, name).drop()
        return model

    def annotate(self, title: str, corpus: Corpus, model: Model, annotator: Annotator) -> Artifact:
        """Columns for every row of a corpus."""
        config = self.config
        params = {
            "corpus": corpus.describe(),
            "annotator": describe(annotator),
            "labels": list(self.labels.names),
            "languages": list(self.facts.languages),
            "max_length": config.train.max_length,
            "batch_tokens": config.data.batch_tokens,
            "precision": config.resources.precision,
        }
        modules = ("xlt_ray.engine.annotate", type(annotator).__module__)
        inputs = (model.artifact, *corpus.inputs)
        step = Step("annotation", f"{title} annotation", params, inputs, modules)

        def compute(attempt: Attempt) -> dict[str, Any]:
            self.runner.store.adopt(attempt, ".parquet")
            task = AnnotateTask(
                attempt,
                corpus,
                model.artifact,
                annotator,
                self.facts,
                config.train.max_length,
                config.data.batch_tokens,
                config.resources.precision,
                self.plan.annotators.cpus,
            )
            return run_annotate(task, self.plan.annotators)

        return self.runner.run(step, compute)

    def derive(
        self, title: str, function: Derivation, *artifacts: Artifact, **parameters: Any
    ) -> Artifact:
        """A small decision over whole columns, in one task."""
        name = f"{function.__module__}.{function.__qualname__}"
        params = {"function": name, "parameters": parameters}
        step = Step("derived", title, params, artifacts, (function.__module__,))

        def compute(attempt: Attempt) -> dict[str, Any]:
            return ray.get(run_derive.remote(function, artifacts, parameters, attempt))

        return self.runner.run(step, compute)

    def evaluate(self, title: str, model: Model, split: Split) -> dict[str, dict[str, float]]:
        """Scores per language on gold labels; for the report, and for nothing that trains."""
        languages = self.facts.languages
        corpus = self._corpus(split, languages, split)
        predicted = self.annotate(f"{title} {split}", corpus, model, PredictLabels())
        gold = self._gold(split, languages, split)
        params = {"metric": self.benchmark.metric, "labels": list(self.labels.names)}
        modules = ("xlt_ray.engine.derive", "xlt_ray.evaluate")
        step = Step("scores", f"{title} {split} scores", params, (predicted, gold), modules)

        def compute(attempt: Attempt) -> dict[str, Any]:
            metric = self.benchmark.metric
            return ray.get(run_score.remote(predicted, gold, metric, self.labels, attempt))

        return dict(self.runner.run(step, compute).info["scores"])
