"""Derive and score steps: one call each over columns of whole artifacts, by an actor of the run, or
in the driver's process where little is looked at."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import pyarrow as pa
import ray
from ray.actor import ActorProxy

from xlt_ray import metrics
from xlt_ray.data.keyed import Ids, of_language, positions, without_ids
from xlt_ray.data.quarantine import lost_rows, write_lost
from xlt_ray.engine.driver_node import here
from xlt_ray.engine.same_code import guarded
from xlt_ray.labels import LabelSet
from xlt_ray.metrics import Ragged
from xlt_ray.recipe.driver import Derivation
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.step_task import StepTask

T = TypeVar("T", bound=StepTask)


@dataclass(frozen=True, kw_only=True)
class DeriveTask(StepTask):
    """A function over whole artifacts.

    Attributes:
        function: It, of a module.
        artifacts: What it is called with.
        arguments: What it is called with by name.
    """

    kind = "derived"

    function: Derivation
    artifacts: tuple[Artifact, ...]
    arguments: Mapping[str, Any]

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """What it is called with."""
        return self.artifacts

    @property
    def modules(self) -> tuple[str, ...]:
        """The module of the function."""
        return (self.function.__module__,)


@dataclass(frozen=True, kw_only=True)
class OracleTask(DeriveTask):
    """A function over gold labels that no recipe sees."""

    kind = "oracle"


@dataclass(frozen=True, kw_only=True)
class ScoreTask(StepTask):
    """What a score step compares.

    Attributes:
        predicted: Labels that a model gave.
        gold: Those that are right.
        metric: How they are compared.
        labels: Classes of the task.
        language: The one language that is scored; None: all.
        longest: Words of the longest entity that the model can find; None: of any length.
    """

    kind = "scores"

    predicted: Artifact
    gold: Artifact
    metric: str
    labels: LabelSet
    language: str | None = None
    longest: int | None = None

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """Predictions and gold."""
        return (self.predicted, self.gold)

    @property
    def modules(self) -> tuple[str, ...]:
        """This one, and the metrics."""
        return (__name__, "xlt_ray.metrics")


def derive(task: DeriveTask) -> dict[str, Any]:
    """Call a derivation, write its table, and return its facts."""
    table, facts = task.function(*task.artifacts, **task.arguments)
    task.out.write_table("rows.parquet", table)
    write_lost(task.out, lost_rows(*task.artifacts))
    return {"rows": len(table), **facts}


def score_predictions(task: ScoreTask) -> dict[str, Any]:
    """Score predictions per language; entity F1 by seqeval. Rows that are lost have none."""
    predicted, gold = task.predicted.table(["id", "language", "labels"]), gold_table(task.gold)
    if task.language is not None:
        gold = of_language(gold, task.language)
    count, lost = len(gold), Ids(pa.array([x.id for x in lost_rows(task.predicted)], pa.string()))
    gold = without_ids(gold, lost) if len(lost) else gold
    pairs = pairs_by_language(predicted, gold)
    scores = score_by_language(pairs, task.metric, task.labels, longest=task.longest)
    by_class = {
        name: metrics.by_class(task.metric, *pair, task.labels) for name, pair in pairs.items()
    }
    task.out.write_json("scores.json", scores)
    facts = {"scores": scores, "by_class": by_class}
    return {**facts, "quarantined": count - len(gold)} if count > len(gold) else facts


SMALL = 100_000
"""Rows that the driver's process looks at itself: an actor takes seconds to start, and its idle
threads disturb training afterwards."""


def is_small(*artifacts: Artifact) -> bool:
    """Whether some artifacts have few rows, all together."""
    return sum(item.info.get("rows", math.inf) for item in artifacts) <= SMALL


class StepExecutor:
    """Where the derive and score steps of a run are carried out."""

    @cached_property
    def actor(self) -> ActorProxy["StepActor"]:
        """The actor; it is there once there was something that is not small."""
        return start_step_actor()

    def derive(self, task: DeriveTask) -> dict[str, Any]:
        """`derive`, here or by the actor."""
        return self._call(derive, task)

    def score(self, task: ScoreTask) -> dict[str, Any]:
        """`score_predictions`, here or by the actor."""
        return self._call(score_predictions, task)

    def _call(self, work: Callable[[T], dict[str, Any]], task: T) -> dict[str, Any]:
        if is_small(*task.inputs):
            return work(task)
        return ray.get(self.actor.call.remote(guarded(work), task))


class StepActor:
    """Carries out derive and score steps; one actor a run, so that modules are imported once.

    It holds no CPU between calls: a trial or a pool may have them all.
    """

    @ray.method
    def call(self, work: Callable[[Any], dict[str, Any]], task: Any) -> dict[str, Any]:
        """Do one of them."""
        return work(task)


def start_step_actor() -> ActorProxy[StepActor]:
    """Start the actor; it is replaced if it dies, and repeats what it was at.

    It stays on the driver's node, since a node with an actor on it is never idle.
    """
    strategy = here()
    remote = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=3)(StepActor)
    return remote.options(scheduling_strategy=strategy).remote()


def gold_table(gold: Artifact) -> pa.Table:
    """All rows of a gold artifact."""
    names = [name for name in gold.names if name.startswith("gold-")]
    return pa.concat_tables([gold.shard(name) for name in names])


def pairs_by_language(predicted: pa.Table, gold: pa.Table) -> dict[str, tuple[Ragged, Ragged]]:
    """Gold and predicted classes of every language of the gold table.

    Args:
        predicted: ``id`` and ``labels``, at least for every gold row.
        gold: ``id``, ``language`` and ``labels``.
    """
    pairs = {}
    for name in sorted(set(gold["language"].to_pylist())):
        rows = of_language(gold, name)
        position = positions(rows, predicted)
        assert position.null_count == 0, f"{name}: gold rows without predictions"
        found = predicted["labels"].take(position).combine_chunks()
        pairs[name] = Ragged.from_arrow(rows["labels"]), Ragged.from_arrow(found)
    return pairs


def score_by_language(
    pairs: Mapping[str, tuple[Ragged, Ragged]],
    metric: str,
    labels: LabelSet,
    *,
    longest: int | None = None,
) -> dict[str, dict[str, float]]:
    """Scores of every language.

    Args:
        pairs: Gold and predicted classes.
        metric: A name of :data:`xlt_ray.metrics.METRICS`.
        labels: Classes of the task.
        longest: Words of the longest entity that could be found; None: of any length.

    Returns:
        {language: {metric: fraction, "support": n}}; with ``longest`` also ``reachable``, the share
        of the gold entities that could be found, and ``f1_reachable``, F1 over them alone.
    """
    scores = {}
    for name, (wanted, given) in pairs.items():
        scores[name] = metrics.score(metric, wanted, given, labels, final=True)
        if longest is not None:
            near, share = metrics.reachable(wanted, labels, longest)
            found = metrics.score(metric, near, given, labels)
            scores[name] |= {"reachable": share, f"{metric}_reachable": found[metric]}
    return scores
