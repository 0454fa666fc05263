"""The driver: the verbs that a recipe is written in, each a durable step on the cluster."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

from xlt_ray.engine.annotate import AnnotateTask, run_annotate
from xlt_ray.engine.derive import StepExecutor
from xlt_ray.engine.parallel import R, at_once
from xlt_ray.engine.train.checkpoints import Checkpoints
from xlt_ray.engine.train.launch import run_train
from xlt_ray.engine.train.loop import TrainTask
from xlt_ray.recipe.annotator import Annotator
from xlt_ray.recipe.corpus import Corpus, Mix, Model
from xlt_ray.recipe.driver import Derivation
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.task import TaskContext
from xlt_ray.run.corpora import RunCorpora
from xlt_ray.run.steps import Step
from xlt_ray.store.artifacts import Artifact, Attempt
from xlt_ray.store.fingerprint import describe


class RayDriver(RunCorpora):
    """Runs the verbs of one run on a cluster."""

    @cached_property
    def desk(self) -> StepExecutor:
        """What carries out derive and score steps."""
        return StepExecutor()

    def _context_for(self, user: Objective | Annotator) -> TaskContext:
        """The task as an objective or annotator sees it; one that does not look at languages is
        not told them, so that its results serve runs with other targets too."""
        return self.context if user.uses_languages else replace(self.context, languages=())

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
        """Train a model on a mix, chosen on source dev."""
        config, context = self.config, self._context_for(objective)
        dev = dev or self.dev()
        params = {
            "mix": mix.describe(),
            "dev": dev.describe(),
            "objective": describe(objective),
            "schedule": asdict(schedule),
            "train": config.train.model_dump(exclude={"checkpoint_seconds"}),
            "task": context.task,
            "labels": list(self.labels.names),
            "languages": list(context.languages),
            "metric": self.benchmark.metric,
            "world": self.plan.world,
            "arithmetic": self.plan.training.describe(),
            "compile": config.resources.compile,
            "batch_tokens": self.batch_tokens,
        }
        modules = ("xlt_ray.engine.train.loop", type(objective).__module__)
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
                task=context.task,
                labels=self.labels,
                languages=context.languages,
                metric=self.benchmark.metric,
                seed=self.seed,
                arithmetic=self.plan.training,
                budget=self.batch_tokens,
                compiled=config.resources.compile,
            )
            return run_train(task, self.plan, retries=config.resources.train_retries)

        drop = Checkpoints(self.runner.store.root, name).drop
        model = Model(self.runner.run(step, compute, afterwards=drop))
        self._trained(model, mix, schedule)
        return model

    def _trained(self, model: Model, mix: Mix, schedule: Schedule) -> None:
        """Is told of every trained model; for drivers that do more about it."""

    def annotate(self, title: str, corpus: Corpus, model: Model, annotator: Annotator) -> Artifact:
        """Columns for every row of a corpus."""
        config, context = self.config, self._context_for(annotator)
        params = {
            "corpus": corpus.describe(),
            "annotator": describe(annotator),
            "task": context.task,
            "labels": list(self.labels.names),
            "languages": list(context.languages),
            "max_length": config.train.max_length,
            "dim_reduce": config.train.dim_reduce,
            "batch_tokens": self.batch_tokens,
            "arithmetic": self.plan.annotation.describe(),
            "compile": config.resources.compile,
        }
        modules = ("xlt_ray.engine.annotate", type(annotator).__module__)
        inputs = (model.artifact, *corpus.inputs)
        step = Step("annotation", f"{title} annotation", params, inputs, modules)

        def compute(attempt: Attempt) -> dict[str, Any]:
            self.runner.store.adopt(attempt)
            task = AnnotateTask(
                attempt,
                corpus,
                model.artifact,
                annotator,
                context,
                config.train.dim_reduce,
                config.train.max_length,
                self.batch_tokens,
                self.plan.annotation,
                config.resources.compile,
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
            return self.desk.derive(function, artifacts, parameters, attempt)

        return self.runner.run(step, compute)

    def together(self, calls: Sequence[Callable[[], R]]) -> list[R]:
        """Results of calls that do not depend on each other; at once if the cluster has room."""
        return at_once(calls, most=self.plan.trainings)
