"""Graphs of models in int8, built once each, where annotators compute so."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.schema import Task
from xlt_ray.engine.int8 import Int8Task, run_int8
from xlt_ray.models.int8 import Int8Error, check_family
from xlt_ray.models.span_tagger import SpanHead
from xlt_ray.recipe.task import TaskContext
from xlt_ray.run.steps import PLANNED, Runner, Step
from xlt_ray.store.artifacts import Artifact, Store
from xlt_ray.store.run_folder import RunFolder

TEXT = "source train tokens"
"""Title of the step whose text tells the largest inputs, in runs."""


def check_encoder(config: Mapping[str, Any], what: str, task: Task) -> None:
    """See that an encoder is of a family that may have a graph.

    Args:
        config: Its config.json.
        what: What the message begins with.
        task: Kind of task.

    Raises:
        ConfigError: it is not; says why.
    """
    try:
        check_family(config, what, task)
    except Int8Error as error:
        raise ConfigError(str(error)) from None


class Graphs:
    """The graphs of one run's models.

    Args:
        runner: Carries out their steps.
        dim_reduce: Fraction of its width that a head projects to first.
        max_length: Longest input in sub-words.
        context: The task.
    """

    def __init__(
        self, runner: Runner, context: TaskContext, *, dim_reduce: int | None, max_length: int
    ):
        self._runner, self._context = runner, replace(context, languages=())
        self._shape: dict[str, Any] = {"dim_reduce": dim_reduce, "max_length": max_length}
        self._built = list[tuple[Int8Task, Artifact]]()

    def of(self, title: str, model: Artifact, text: Artifact, spans: SpanHead | None) -> Artifact:
        """The graph of a model; a step for its first annotation.

        Args:
            title: What the model's work is called.
            model: The model.
            text: Tokenised text that is like what it labels.
            spans: Its head over spans, if it has one.
        """
        task = Int8Task(model=model, text=text, context=self._context, spans=spans, **self._shape)
        for known, graph in self._built:
            same = known.model is model if model.fingerprint == PLANNED else known == task
            if same:
                return graph
        graph = self._runner.run(Step(f"{title} int8", task), run_int8)
        self._built.append((task, graph))
        return graph


def text_of_run(store: Store, name: str) -> Artifact | None:
    """The text that told the largest inputs in a finished run, or would have; None: it is not there
    any more."""
    for entry in RunFolder(store, name, create=False).read_lines("ledger.jsonl"):
        if entry["title"] == TEXT:
            return store.find(entry["kind"], entry["fingerprint"])
    return None
