"""The driver: the verbs that a recipe is written in, each a durable step on the cluster."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from xlt_ray.engine.annotate import AnnotateTask, run_annotate
from xlt_ray.engine.average import MeanTask, run_mean
from xlt_ray.engine.derive import DeriveTask, StepExecutor
from xlt_ray.engine.parallel import R
from xlt_ray.engine.train.checkpoints import Checkpoints
from xlt_ray.engine.train.launch import run_train
from xlt_ray.engine.train.task import TrainTask
from xlt_ray.recipe.annotator import Annotator
from xlt_ray.recipe.averaging import MeanModel
from xlt_ray.recipe.corpus import Corpus, Mix, Model
from xlt_ray.recipe.driver import Derivation
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.task import TaskContext
from xlt_ray.run.corpora import RunCorpora
from xlt_ray.run.int8 import Graphs
from xlt_ray.run.steps import Step, StepRunner
from xlt_ray.store.artifacts import Artifact


class RayDriver(RunCorpora):
    """Runs the verbs of one run on a cluster."""

    learned_few = learned_translations = False
    """Whether a training had the few labelled rows of targets, or source gold in translation."""

    @cached_property
    def executor(self) -> StepExecutor:
        """What carries out derive and score steps."""
        return StepExecutor()

    @cached_property
    def graphs(self) -> Graphs:
        """The graphs of models that annotate in int8."""
        train = self.config.train
        return Graphs(
            self.runner, self.context, dim_reduce=train.dim_reduce, max_length=train.max_length
        )

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
        config, chosen = self.config, self.config.benchmark
        self.learned_few |= any(part.spared for part in mix.all)
        own = self.translated_tokens
        self.learned_translations |= any(part.tokens is x for part in mix.all for x in own)
        task = TrainTask(
            mix=mix,
            dev=dev or self.dev(),
            start=self._begun_with(title, start),
            objective=objective,
            schedule=schedule,
            train=config.train,
            context=self._context_for(objective),
            metric=self.benchmark.metric,
            averages_dev=chosen.select_on == "target_dev",
            seed=self.seed,
            arithmetic=self.plan.training,
            batch_tokens=self.plan.batch_tokens,
            world=self.plan.world,
            seated=self.plan.fewest is not None,
            compiled=config.resources.compile,
        )
        step = Step(title, task)
        compute = partial(run_train, plan=self.plan, retries=config.resources.train_retries)
        drop = Checkpoints(self.runner.store.root, step.fingerprint()).drop
        model = Model(self.runner.run(step, compute, afterwards=drop))
        self.policy.trained(model)
        return model

    def _begun_with(self, title: str, start: Model) -> Artifact:
        """The model that a training begins with; a mean is taken before."""
        if not isinstance(start, MeanModel):
            return start.artifact
        task = MeanTask(models=(start.artifact, *start.others))
        return self.runner.run(Step(f"{title}, weights", task), run_mean)

    def annotate(self, title: str, corpus: Corpus, model: Model, annotator: Annotator) -> Artifact:
        """Columns for every row of a corpus."""
        config = self.config
        graph = None
        if self.plan.annotation.precision == "int8":
            text, spans = self.source("train").tokens, annotator.span_head
            graph = self.graphs.of(title, model.artifact, text, spans)
        task = AnnotateTask(
            corpus=corpus,
            model=model.artifact,
            annotator=annotator,
            context=self._context_for(annotator),
            dim_reduce=config.train.dim_reduce,
            max_length=config.train.max_length,
            batch_tokens=self.plan.batch_tokens,
            arithmetic=self.plan.annotation,
            compiled=config.resources.compile,
            graph=graph,
        )
        limit = config.data.max_fatal_rows
        compute = partial(run_annotate, pool=self.plan.annotators, limit=limit)
        return self.runner.run(Step(f"{title} annotation", task), compute)

    def derive(
        self, title: str, function: Derivation, *artifacts: Artifact, **parameters: Any
    ) -> Artifact:
        """A small decision over whole columns, in one task."""
        task = DeriveTask(function=function, artifacts=artifacts, arguments=parameters)
        return self.runner.run(Step(title, task), self.executor.derive)

    def while_reading(self, call: Callable[[], R]) -> R:
        """What a training gives that goes on elsewhere while the unlabelled text is read here."""
        if self.plan.train_workers:
            return self.policy.beside(self._read_unlabelled, call)
        self.unlabelled()
        return call()

    def _read_unlabelled(self) -> None:
        try:
            self.unlabelled()
        except Exception as error:
            if isinstance(self.runner, StepRunner):
                self.runner.progress.note(f"the run will end once its training is over: {error}")
            raise

    def together(self, calls: Sequence[Callable[[], R]]) -> list[R]:
        """Results of calls that do not depend on each other; at once if the cluster has room."""
        return self.policy.together(calls, self.plan.trainings)
