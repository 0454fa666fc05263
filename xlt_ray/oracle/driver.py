"""Durable steps that read gold labels of the unlabelled text.

They need the right to gold, which a run hands out beside its driver. No recipe is given it, and
what the steps give is neither a corpus nor a model, so that nothing of it can be trained on. Only
`xlt_ray.oracle.channel` and `xlt_ray.oracle.iwda` train with what they make of gold, which is their
subject.
"""

from functools import cached_property
from typing import Any

from xlt_ray.data.corpus import Model
from xlt_ray.driver import RayDriver
from xlt_ray.gold import Gold
from xlt_ray.methods.base import Derivation
from xlt_ray.methods.oracle_sets import MeasuredSets
from xlt_ray.oracle.measures import Counted, candidate_recall, outside_of, picked_accuracy
from xlt_ray.steps import Step
from xlt_ray.store import Artifact, Attempt


class Oracle:
    """Looks at gold labels of the unlabelled text of a run."""

    def __init__(self, driver: RayDriver, gold: Gold):
        self.driver, self._right = driver, gold

    @cached_property
    def gold(self) -> Artifact:
        """Gold labels of the unlabelled text."""
        return self._right.read("oracle", self.driver.pools, "unlabelled")

    def derive(
        self, title: str, function: Derivation, *artifacts: Artifact, **parameters: Any
    ) -> Artifact:
        """What a function makes of gold labels, as a durable step that says so by its kind."""
        params = {"function": function.__qualname__, "parameters": parameters}
        step = Step("oracle", title, params, artifacts, (function.__module__,))

        def compute(attempt: Attempt) -> dict[str, Any]:
            return self.driver.desk.derive(function, artifacts, parameters, attempt)

        return self.driver.runner.run(step, compute)


def read_gold(oracle: Oracle) -> None:
    """Read the gold labels that are needed after a run before it begins."""
    oracle.gold  # noqa: B018


class Judge:
    """Counts labels and candidate sets of a finished run against gold."""

    def __init__(self, oracle: Oracle):
        self.oracle, self.driver = oracle, oracle.driver

    def sets(self, title: str, model: Model, annotator: MeasuredSets) -> Artifact:
        """Candidate sets of all unlabelled text by every measure; reads no gold."""
        return self.driver.annotate(title, self.driver.unlabelled(), model, annotator)

    def recall(self, title: str, sets: Artifact) -> list[Counted]:
        """Rows of :func:`xlt_ray.oracle.measures.recall_table`."""
        return self._count(f"{title} recall", candidate_recall, sets)

    def accuracy(self, title: str, picked: Artifact) -> list[Counted]:
        """Rows of :func:`xlt_ray.oracle.measures.picked_table` of a round's selection."""
        return self._count(f"{title} accuracy", picked_accuracy, picked)

    def _count(self, title: str, function: Derivation, counted: Artifact) -> list[Counted]:
        outside = outside_of(self.driver.labels)
        found = self.oracle.derive(title, function, counted, self.oracle.gold, outside=outside)
        return found.table().to_pylist()
