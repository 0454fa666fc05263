"""The significance of a comparison's differences, from what its runs predicted."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa

from xlt_ray.config.schema import RunConfig
from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.data.keyed import of_language, positions, sorted_by_id
from xlt_ray.data.quarantine import lost_rows
from xlt_ray.labels import LabelSet
from xlt_ray.metrics import Ragged
from xlt_ray.report.comparison import ComparisonRow
from xlt_ray.report.record import Report
from xlt_ray.report.significance import COUNTED, Difference, Floats, compared, sentence_counts
from xlt_ray.store.artifacts import Artifact, Store
from xlt_ray.store.run_folder import RunFolder

Stage = Literal["zero-shot", "final"]
"""Models whose predictions of the test text a run keeps."""


def significance(
    rows: Sequence[ComparisonRow], config: RunConfig[Any], against: str | None
) -> list[Difference]:
    """Every row against one; none where there is one row, or predictions of a target are missing.

    Args:
        rows: The rows.
        config: Configuration of a run, for its store and labels.
        against: Title of the row that the others are compared with; None: the best one.
    """
    report = rows[0].trials[0].report
    averages = {row.title: row.average for row in rows if row.average is not None}
    if len(rows) < 2 or report.metric not in COUNTED or len(averages) < len(rows):
        return []
    store, labels = Store(config.store.root), benchmark_of(config).label_set
    counts: dict[str, list[Mapping[str, Floats]]] = {}
    for row in rows:
        for trial in row.trials:
            found = counts_of_run(store, trial.report, labels)
            if found is None:
                return []
            counts.setdefault(row.title, []).append(found)
    best = max(averages, key=lambda title: averages[title])
    return compared(report.metric, counts, against=against or best)


def counts_of_run(
    store: Store, report: Report, labels: LabelSet, stage: Stage = "final"
) -> dict[str, Floats] | None:
    """Counts of the sentences of every target of a run, in the order of the sentences' ids.

    Args:
        store: The store that holds it.
        report: Its report.
        labels: Classes of the task.
        stage: Whose predictions: the model trained on the source alone, or the method's.

    Returns:
        `sentence_counts` by target; None where predictions are gone from the store, or lack rows.
    """
    folder = RunFolder(store, report.run, create=False)
    steps = {entry["title"]: entry for entry in folder.read_lines("ledger.jsonl")}
    found: dict[str, Floats] = {}
    for target in report.counted:
        step = steps.get(f"{stage} {target} test scores") or steps.get(f"{stage} test scores")
        inputs = [_find(store, name) for name in (step or {}).get("inputs", ())]
        if len(inputs) != 2 or inputs[0] is None or inputs[1] is None:
            return None
        predicted, gold = inputs[0], inputs[1]
        if lost_rows(predicted):
            return None  # what is compared sentence by sentence has the same ones
        found[target] = sentence_counts(report.metric, *_aligned(predicted, gold, target), labels)
    return found


def _find(store: Store, fingerprint: str) -> Artifact | None:
    kinds = ("annotation", "gold", "derived")
    return next((x for x in (store.find(kind, fingerprint) for kind in kinds) if x), None)


def _aligned(predicted: Artifact, gold: Artifact, language: str) -> tuple[Ragged, Ragged]:
    """Gold and predicted labels of a language, in the order of the ids."""
    names = [name for name in gold.names if name.startswith("gold-")]
    rows = of_language(pa.concat_tables([gold.shard(name) for name in names]), language)
    rows = sorted_by_id(rows)
    said = predicted.table(["id", "labels"])
    labels = said["labels"].take(positions(rows, said)).combine_chunks()
    return Ragged.from_arrow(rows["labels"]), Ragged.from_arrow(labels)
