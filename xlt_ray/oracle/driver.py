"""Durable steps that read gold labels of the unlabelled text.

They hold a driver, which recipes get too; no driver and no recipe holds them, and what they give is
neither a corpus nor a model, so that nothing of it can be trained on. Only `xlt_ray.oracle.channel`
and `xlt_ray.oracle.iwda` train with what they make of gold, which is their subject.
"""

from functools import cached_property
from typing import Any

from xlt_ray.data.corpus import Model
from xlt_ray.driver import RayDriver
from xlt_ray.methods.base import Derivation
from xlt_ray.methods.oracle_sets import MeasuredSets
from xlt_ray.oracle.measures import Counted, candidate_recall, outside_of, picked_accuracy
from xlt_ray.steps import Step
from xlt_ray.store import Artifact, Attempt


def read_gold(driver: RayDriver) -> Artifact:
    """Gold labels of the unlabelled text."""
    return driver._gold("oracle", driver.pools, "unlabelled")


def from_gold(
    driver: RayDriver, title: str, function: Derivation, *artifacts: Artifact, **parameters: Any
) -> Artifact:
    """What a function makes of gold labels, as a durable step that says so by its kind."""
    params = {"function": function.__qualname__, "parameters": parameters}
    step = Step("oracle", title, params, artifacts, (function.__module__,))

    def compute(attempt: Attempt) -> dict[str, Any]:
        return driver.desk.derive(function, artifacts, parameters, attempt)

    return driver.runner.run(step, compute)


class OracleDriver:
    """Counts labels and candidate sets of a finished run against gold."""

    def __init__(self, driver: RayDriver):
        self.driver = driver

    @cached_property
    def gold(self) -> Artifact:
        """Gold labels of the unlabelled text."""
        return read_gold(self.driver)

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
        found = from_gold(self.driver, title, function, counted, self.gold, outside=outside)
        return found.table().to_pylist()
