"""ST: plain self-training with class-balanced selection by confidence.

Dong and de Melo, "A Robust Self-Learning Framework for Cross-Lingual Text Classification" (2019).
From the source model on, again and again: predict what is left of the pools; take the m most
confident rows of each predicted class of each language, m = floor(share N / C) of the first pool's
N, and at least 1; train the same model for one pass over the source gold and everything taken so
far. It ends when nothing is left, when the steps are used up, or when source dev has dropped three
times in a row; the result is the best model on source dev, or another by ``select``.

Words: the confidence of a sentence is the mean over its words, and there is one class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from xlt_ray.data.batches.planning import seed_of
from xlt_ray.data.keyed import sorted_by_id, with_ids
from xlt_ray.methods.shared.choice import (
    Choice,
    ChoiceConfig,
    Chooser,
    choice_mechanisms,
    choice_notes,
)
from xlt_ray.methods.shared.selection import gather_earlier, one_class_sets
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.methods.shared.warm_start import StartConfig, outcome_per_target, starting_models
from xlt_ray.models.classifier import Output
from xlt_ray.ops import selection, uncertainty
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.corpus import Corpus, Mix, Model
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Method, Outcome, Round
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.stopping import is_dropping
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact


class STConfig(StartConfig, ChoiceConfig, frozen=True):
    """Hyper-parameters."""

    name: Literal["st"] = "st"
    """Name of the method."""
    share: float = Field(default=0.02, gt=0, le=1)
    """Rows taken per iteration, as a share of the language's first pool (0.0005 or 0.02)."""
    balanced: bool = True
    """Take equally many of every predicted class; text tasks only."""
    subset: int | None = Field(default=None, ge=1)
    """Rows of the pools that an iteration predicts, drawn at random; absent: all."""
    iterations: int = Field(default=200, ge=0)
    """Iterations at most."""
    budget_epochs: float | None = Field(default=4.0, gt=0)
    """Optimiser steps of all iterations, in epochs of the source gold; absent: no limit."""
    drops: int = Field(default=3, ge=1)
    """Iterations in a row with a lower source-dev score than the one before that end the run."""
    source_lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate on the source gold."""
    source_epochs: int = Field(default=10, ge=1)
    """Epochs on the source gold; the best of them on source dev is kept."""
    lr: float = Field(default=1e-5, gt=0)
    """Peak learning rate of an iteration."""
    batch_size: int = Field(default=128, ge=1)
    """Rows per optimiser step of an iteration."""


@dataclass(frozen=True)
class ConfidenceAnnotator(Annotator):
    """Labels of every item, and per row ``confidence``, the mean of the largest probabilities, and
    ``class``, the predicted class of a text and 0 for a sentence of words."""

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows."""
        labels = output.logits.argmax(dim=1).cpu().numpy()
        best = uncertainty.max_probability(output.logits.double().softmax(-1)).cpu().numpy()
        sizes = np.diff(offsets)
        sums = np.add.reduceat(np.append(best, 0.0), offsets[:-1]) if len(sizes) else best[:0]
        classes = np.zeros(len(sizes), np.int64) if context.task == "token" else labels
        return Columns(
            items={"labels": labels.astype(np.int16)},
            rows={"confidence": sums / sizes, "class": classes.astype(np.int16)},
        )


def select_confident(
    scored: Artifact,
    *,
    share: float,
    balanced: bool,
    num_classes: int,
    pool_sizes: Mapping[str, int],
) -> tuple[pa.Table, dict[str, Any]]:
    """Choose the most confident rows of each predicted class, separately per language.

    Args:
        scored: Annotations: ``confidence``, ``class``, ``labels``.
        share: Share of the language's first pool that all classes give together.
        balanced: Take equally many of every class that is predicted.
        num_classes: C; 1 where rows have no class.
        pool_sizes: Rows of each language's first pool.
    """
    table = sorted_by_id(scored.table(["id", "language", "labels", "confidence", "class"]))
    language = np.array(table["language"].to_pylist(), dtype=object)
    order, chosen = np.arange(len(table)), np.zeros(len(table), bool)
    for name, size in sorted(pool_sizes.items()):
        chosen |= selection.balanced_top(
            table["confidence"].to_numpy(),
            classes_N=table["class"].to_numpy(),
            order_N=order,
            k=selection.quota(share, size, num_classes=num_classes),
            balanced=balanced,
            valid_N=language == name,
        )
    ids = table["id"].combine_chunks().filter(pa.array(chosen))
    return one_class_sets(with_ids(table, ids))


@dataclass(frozen=True)
class Iterated:
    """What became of a target, or of all.

    Attributes:
        model: The result.
        rounds: The iterations.
        choice: How the result was chosen among them; None: there were none.
    """

    model: Model
    rounds: Sequence[Round]
    choice: Choice | None = None

    @property
    def last(self) -> int:
        """Number of the last iteration that the result is of; 0: none."""
        return 0 if self.choice is None else 1 + self.choice.names.index(self.choice.taken[-1])


def diagnosed(
    found: Mapping[str, Iterated], whole: Corpus, config: ChoiceConfig
) -> list[Mechanism]:
    """The lines of the report about what was taken, and what another rule than source dev chose.

    Args:
        found: What became of each target, or of all.
        whole: The unlabelled text.
        config: Says the rule.
    """
    sizes = whole.tokens.info["rows_by_language"] or {}
    taken = dict.fromkeys(sizes, 0)
    for item in [item for one in found.values() for item in one.rounds[: one.last]]:
        for language, count in (item.selected or {}).items():  # of a plan: not known
            taken[language] = taken.get(language, 0) + count
    shares = {name: taken[name] / size for name, size in sizes.items() if size}
    none = [name for name, one in found.items() if not one.last]
    warning = f"nothing was learned from for {', '.join(none)}" if none else None
    kept = {name: float(one.last) for name, one in found.items()}
    lines = [
        Mechanism("share of the pool that the chosen model learned from", shares),
        Mechanism("iteration of the chosen model", kept, warning),
    ]
    if config.select != "source_dev":
        choices = {name: one.choice for name, one in found.items() if one.choice is not None}
        lines += choice_mechanisms(choices)
    return lines


class ST(Method[STConfig]):
    """The recipe: source, then iterations of predict, take and train."""

    Config = STConfig
    tasks = frozenset({"token", "sentence", "pair"})

    def run(self, driver: Driver) -> Outcome:
        """Self-train from source gold and unlabelled target text, together, or each target from
        the model that it has."""
        start = starting_models(driver, self.config)
        whole = driver.unlabelled()
        if not start.by_language:
            before, found = start.zero_shot, self.iterate(driver, "", start.model, whole)
            return Outcome(
                before.model,
                found.model,
                found.rounds,
                zero_shot_by_language=before.by_language,
                mechanisms=diagnosed({"all targets": found}, whole, self.config),
                notes=choice_notes(self.config, has_rounds=bool(found.rounds)),
            )
        each = {
            target: self.iterate(driver, f"{target} ", start.of(target), whole.of(target))
            for target in driver.pools
        }
        return replace(
            outcome_per_target(start, {target: found.model for target, found in each.items()}),
            mechanisms=diagnosed(each, whole, self.config),
            rounds_by_language={target: found.rounds for target, found in each.items()},
            notes=choice_notes(
                self.config, has_rounds=any(found.rounds for found in each.values())
            ),
        )

    def iterate(self, driver: Driver, prefix: str, source: Model, whole: Corpus) -> Iterated:
        """The iterations from a source model on, and the model that is chosen among them."""
        c, words, gold = self.config, driver.context.task == "token", driver.source("train")
        sizes = whole.tokens.info["rows_by_language"]
        if whole.language is not None and sizes is not None:
            sizes = {whole.language: sizes[whole.language]}
        quota = {
            "share": c.share,
            "balanced": c.balanced and not words,
            "num_classes": 1 if words else driver.context.num_classes,
            "pool_sizes": sizes,
        }
        model, pool, rounds = source, whole, list[Round]()
        for number in range(1, c.iterations + 1):
            if self.is_spent(gold, rounds):
                break
            title = f"{prefix}iteration {number}"
            view = self.view(driver, sum((sizes or {}).values()), pool, rounds)
            scored = driver.annotate(title, view, model, ConfidenceAnnotator())
            picked = driver.derive(f"{title} selection", select_confident, scored, **quota)
            if picked.info["rows"] == 0:
                break
            picks = [*(item.picked for item in rounds), picked]
            every = driver.derive(f"{title} taken", gather_earlier, *picks, ratio=None, seed=0)
            schedule = Schedule(c.lr, epochs=1, keep="last", batch_size=c.batch_size)
            mix = Mix(gold, whole.labelled(every))
            model = driver.train(title, mix, CrossEntropy(), start=model, schedule=schedule)
            selected, in_sets = picked.info["selected"], picked.info["set_sizes"]
            rounds.append(Round(number, selected, in_sets, model, scored, picked))
            pool = pool.without(picked)
            if is_dropping([source, *(item.model for item in rounds)], c.drops):
                break
        if not rounds:
            return Iterated(source, rounds)
        chooser = Chooser(driver, c, whole, CrossEntropy(), prefix)
        choice = chooser.among({f"iteration {item.number}": item.model for item in rounds})
        return Iterated(choice.model, rounds, choice)

    def is_spent(self, gold: Corpus, rounds: Sequence[Round]) -> bool:
        """Whether the iterations so far have used up the steps."""
        c, rows, taken, steps = self.config, gold.tokens.info["rows"] or 0, 0, 0
        for item in rounds:
            taken += item.picked.info["rows"] or 0
            steps += ceil((rows + taken) / c.batch_size)
        return c.budget_epochs is not None and steps >= c.budget_epochs * ceil(rows / c.batch_size)

    def view(self, driver: Driver, rows: int, pool: Corpus, rounds: Sequence[Round]) -> Corpus:
        """What an iteration predicts: the pool, at first of so many rows, or about ``subset`` rows
        of it."""
        subset = self.config.subset
        left = rows - sum(item.picked.info["rows"] or 0 for item in rounds)
        if subset is None or left <= subset:
            return pool
        seed = seed_of(driver.seed, "subset", len(rounds))
        return pool.sample(subset / left, seed=seed)
