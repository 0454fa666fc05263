"""Labels and candidate sets of a finished run, counted against gold."""

from xlt_ray.oracle.candidate_sets import MeasuredSets
from xlt_ray.oracle.measures import Counted, candidate_recall, outside_of, picked_accuracy
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.driver import Derivation
from xlt_ray.run.gold_steps import Oracle
from xlt_ray.store.artifacts import Artifact


class Judge:
    """Counts labels and candidate sets of a finished run against gold."""

    def __init__(self, oracle: Oracle):
        self.oracle, self.driver = oracle, oracle.driver

    def sets(
        self, title: str, model: Model, annotator: MeasuredSets, rows: Artifact | None = None
    ) -> Artifact:
        """Candidate sets of unlabelled text by every measure; reads no gold.

        Args:
            title: Beginning of the step's title.
            model: What makes the sets.
            annotator: How.
            rows: Has the rows whose sets are made; None: all.
        """
        text = self.driver.unlabelled()
        if rows is not None:
            text = text.labelled(rows)
        return self.driver.annotate(title, text, model, annotator)

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
