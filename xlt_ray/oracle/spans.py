"""Pseudo-labels and classes of MARAL from epoch to epoch, held against gold after the run.

The share of wrong labels by epoch, among those that were learnt from and among the others; the
geometry of the class centres; scores of right and of wrong entities, and a projection of spans to
the plane. Gold of the unlabelled text is read for this page alone; nothing of it feeds back.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from torch import Tensor, nn

from xlt_ray.commands.cli import Job, run_keys
from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.batches.planning import seed_of
from xlt_ray.data.keyed import items_of, positions, sorted_by_id
from xlt_ray.labels import UNLABELLED, LabelSet
from xlt_ray.methods import METHODS
from xlt_ray.methods.maral.recipe import MARAL
from xlt_ray.models.classifier import Output
from xlt_ray.models.span_tagger import SpanHead, unit
from xlt_ray.ops import spans
from xlt_ray.ops.vmf import best_margin
from xlt_ray.oracle.figures.spans import markdown, span_figure
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.corpus import Corpus, Model
from xlt_ray.recipe.method import Outcome
from xlt_ray.recipe.task import TaskContext
from xlt_ray.report.figures import require_matplotlib, write_pictures
from xlt_ray.run.check import configure_run
from xlt_ray.run.gold_steps import read_gold
from xlt_ray.run.rehearsal import rehearse
from xlt_ray.run.session import carry_out, connected
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.run_folder import RunFolder

SENTENCES = 400
"""Sentences of a target whose spans are projected."""
OUTSIDE = 400
"""Of their O spans, how many at most."""


@dataclass(frozen=True)
class SpanVectors(Annotator):
    """Unit vectors and scores of every span."""

    head: SpanHead

    @property
    def span_head(self) -> SpanHead:
        """The span head."""
        return self.head

    def feature_outputs(self, own: nn.Module | None, features: Tensor) -> Tensor:
        """The unit vectors."""
        return unit(features)

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """``z`` and ``scores``."""
        assert output.feature_outputs is not None
        z, scores = output.feature_outputs.cpu().numpy(), output.logits.cpu().numpy()
        return Columns(items={"z": z, "scores": scores})


def classes_of(
    table: pa.Table, gold: Artifact, *, labels: LabelSet, max_len: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gold classes of the spans of some rows.

    Args:
        table: Rows by ``id``.
        gold: BIO ``labels`` of these and of other rows.
        labels: Names of these labels.
        max_len: Words of the longest span.

    Returns:
        [S] which rows have gold, [N] the classes of the spans of these, or -100, and [N] whether a
        word of the span is one of an entity.
    """
    truth = gold.table(["id", "labels"])
    at = positions(table, truth)
    known = np.asarray(at.is_valid())  # a row whose tags are bad has text and no gold
    tags_W, offsets = items_of(truth["labels"].take(at.drop_null()))
    num_words_S = np.diff(offsets)
    true_N = spans.labels_of_many(tags_W, num_words_S, max_len, labels)
    spans_N2, offsets = spans.enumerate_many(num_words_S, max_len)
    each_N2 = spans.end_to_end(spans_N2, num_words_S, offsets)
    before_W = np.append(0, np.cumsum(tags_W > 0))
    return known, true_N, before_W[each_N2[:, 1] + 1] > before_W[each_N2[:, 0]]


def label_noise(
    student: Artifact, gold: Artifact, *, labels: list[str], max_len: int, epochs: int
) -> tuple[pa.Table, dict[str, Any]]:
    """Pseudo-labels by epoch and class, and how many of them are right.

    Args:
        student: Artifact with the labels after each epoch, as `MaralStudentLoss.findings` has them.
        gold: Gold labels of the same text.
        labels: Names of the BIO labels.
        max_len: Words of the longest span.
        epochs: How many epochs there were.

    Returns:
        ``epoch``, ``said``, ``reliable``, ``spans`` and ``right``; as facts the classes, the
        ``entities`` of gold that a span can be, and ``moved``, see `moved_labels`.
    """
    known = LabelSet(tuple(labels))
    classes = spans.span_classes(known)
    table = sorted_by_id(student.table())
    there, true_N, near_N = classes_of(table, gold, labels=known, max_len=max_len)
    table, scored = table.filter(pa.array(there)), true_N != UNLABELLED
    rows = []
    for epoch in range(epochs):
        found_N = items_of(table[f"epoch-{epoch}"])[0].astype(np.int64)[scored]
        right_N = found_N // 2 == true_N[scored]
        for code in range(2 * len(classes)):
            own = found_N == code
            said, is_reliable = classes[code // 2], bool(code % 2)
            counts = {"spans": int(own.sum()), "right": int(right_N[own].sum())}
            rows.append({"epoch": epoch, "said": said, "reliable": is_reliable, **counts})
    first_N, last_N = (items_of(table[f"epoch-{x}"])[0][scored] // 2 for x in (0, epochs - 1))
    facts = {
        "classes": list(classes),
        "entities": int((true_N[scored] > 0).sum()),
        "moved": moved_labels(first_N, last_N, true_N[scored], near_N[scored]),
    }
    return pa.Table.from_pylist(rows), facts


def moved_labels(
    first_N: np.ndarray, last_N: np.ndarray, true_N: np.ndarray, near_N: np.ndarray
) -> dict[str, int]:
    """How many labels moved from O to an entity, and the other way, from an epoch to another.

    Args:
        first_N: Classes of spans in the one epoch.
        last_N: And in the other.
        true_N: Their gold classes.
        near_N: Whether a word of the span is one of an entity.

    Returns:
        ``to_entity`` and ``to_o``; of the former those that are ``right``, and of the others those
        that ``overlap`` a gold entity.
    """
    became_N = (first_N == 0) & (last_N > 0)
    right_N = became_N & (last_N == true_N)
    return {
        "to_entity": int(became_N.sum()),
        "right": int(right_N.sum()),
        "overlap": int((became_N & ~right_N & near_N).sum()),
        "to_o": int(((first_N > 0) & (last_N == 0)).sum()),
    }


def projection(
    said: Artifact, gold: Artifact, *, labels: list[str], max_len: int
) -> tuple[pa.Table, dict[str, Any]]:
    """Entities and some other spans in the plane of the largest variance of their vectors.

    Args:
        said: ``z`` and ``scores`` of the spans.
        gold: Gold labels of the same text.
        labels: Names of the BIO labels.
        max_len: Words of the longest span.

    Returns:
        ``x``, ``y``, the classes ``true`` and ``said``, and ``score`` of the latter.
    """
    names = LabelSet(tuple(labels))
    table = sorted_by_id(said.table(["id", "z", "scores"]))
    there, true_N, _ = classes_of(table, gold, labels=names, max_len=max_len)
    table = table.filter(pa.array(there))
    z_NQ, scores_NK = (items_of(table[name])[0] for name in ("z", "scores"))
    said_N = scores_NK.argmax(axis=1)
    entity = (true_N > 0) | ((said_N > 0) & (true_N != UNLABELLED))
    others = np.flatnonzero((true_N == 0) & ~entity)
    some = others[np.linspace(0, len(others) - 1, min(len(others), OUTSIDE)).astype(np.int64)]
    chosen = np.concatenate([np.flatnonzero(entity), some])
    centred = z_NQ[chosen] - z_NQ[chosen].mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    flat = centred @ (axes * np.sign(axes.sum(axis=1, keepdims=True))).T
    found = {
        "x": flat[:, 0].astype(np.float64), "y": flat[:, 1].astype(np.float64),
        "true": true_N[chosen], "said": said_N[chosen],
        "score": scores_NK.max(axis=1)[chosen].astype(np.float64),
    }  # fmt: skip
    return pa.table(found), {"classes": list(spans.span_classes(names))}


def configure(defaults: Any, files: Sequence[str] = (), flags: Sequence[str] = ()) -> RunConfig:
    """The configuration of a run of MARAL; raises ConfigError for another method."""
    config = configure_run(defaults, files, flags)
    if METHODS[config.method.name] is not MARAL:
        raise ConfigError(f"method.name: {config.method.name} has no classes of spans, maral does")
    return config


def find(config: RunConfig) -> dict[str, Any]:
    """Carry out a run of MARAL, and hold its labels against gold; returns the findings.

    Raises:
        ConfigError: matplotlib is missing; nothing has run.
    """
    require_matplotlib()
    with connected(config), carry_out(config, first=read_gold) as done:
        driver, oracle = done.driver, done.oracle
        head = head_behind(config.method, done.outcome)
        names, records = list(driver.labels.names), []
        head_classes = len(spans.span_classes(driver.labels))
        how = {"labels": names, "max_len": head.max_len}
        models: dict[str, Model] = dict(done.outcome.by_language)
        if not models or config.method.joint or len(driver.pools) == 1:
            models = {"all": done.outcome.final}
        for target, model in models.items():
            gold, epochs = oracle.gold, epochs_in(model.history)
            noise = oracle.derive(
                f"{target} noise", label_noise, model.artifact, gold, epochs=len(epochs), **how
            )
            text = driver.unlabelled() if target == "all" else driver.unlabelled().of(target)
            some = sampled(text, seed_of(driver.seed, "projected"))
            said = driver.annotate(f"{target} projected", some, model, SpanVectors(head))
            flat = oracle.derive(f"{target} projection", projection, said, gold, **how)
            records.append(
                {
                    "target": target,
                    "classes": noise.info["classes"],
                    "best_margin": best_margin(head_classes),
                    "epochs": epochs,
                    "noise": noise.table().to_pylist(),
                    "entities": noise.info["entities"],
                    "moved": noise.info["moved"],
                    "points": flat.table().to_pydict(),
                }
            )
        findings = {"run": config.run_name, "records": records}
        folder = RunFolder(driver.runner.store, config.run_name)
        for record in records:
            write_pictures(f"figure-{record['target']}", span_figure(record), folder.write)
        folder.write("oracle.md", markdown(findings).encode())
        folder.write("oracle.json", (json.dumps(findings, indent=1) + "\n").encode())
        print(f"oracle: {folder.path}/oracle.md", flush=True)
        return findings


def head_behind(method: Any, outcome: Outcome) -> SpanHead:
    """The head of a run's students, whose spans are as long as the run made them.

    Args:
        method: Its `MARALConfig`, which may leave the length open.
        outcome: What became of it.
    """
    return MARAL(method.model_copy(update={"max_len": outcome.longest})).head


def epochs_in(history: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What a student recorded at the end of each epoch; not what it did in between."""
    return [entry["own"] for entry in history if "cosines" in entry.get("own", {})]


def sampled(text: Corpus, seed: int) -> Corpus:
    """Some of the sentences of a text."""
    rows = text.tokens.info["rows"]
    if text.language is not None:
        rows = text.tokens.info["rows_by_language"][text.language]
    return text.sample(min(1.0, SENTENCES / max(rows, 1)), seed=seed)


def dry_run(config: RunConfig) -> int:
    """The dry run of the run; raises ConfigError if the figure could not be drawn."""
    require_matplotlib()
    return rehearse(config, first=read_gold)


JOB = Job(configure, find, dry_run, run_keys)
"""What ``jobs/oracle_spans.py`` does with its flags."""
