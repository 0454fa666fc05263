"""ST: plain self-training with class-balanced selection by confidence.

Dong and de Melo, "A Robust Self-Learning Framework for Cross-Lingual Text Classification" (2019).
From the source model on, again and again: predict what is left of the pools; take the m most
confident rows of each predicted class of each language, m = floor(share N / C) of the first pool's
N, and at least 1; train the same model for one pass over the source gold and everything taken so
far. It ends when nothing is left, when the steps are used up, or when source dev has dropped three
times in a row; the result is the best model on source dev, or another by ``select``.

Words: the confidence of a sentence is the mean over its words, and there is one class.

With ``threshold`` every iteration predicts the whole pools, takes what its rule says, and learns
from that and the gold alone. With ``curriculum`` early iterations learn from near languages alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar, Literal

from pydantic import Field

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.batches.planning import seed_of
from xlt_ray.methods.shared.choice import (
    Choice,
    ChoiceConfig,
    Chooser,
    choice_mechanisms,
    choice_notes,
)
from xlt_ray.methods.shared.confidence import ConfidenceAnnotator, select_confident
from xlt_ray.methods.shared.curriculum import (
    Curriculum,
    CurriculumConfig,
    curriculum_mechanisms,
    curriculum_of,
)
from xlt_ray.methods.shared.rules import Rule, RuleConfig, rule_mechanisms
from xlt_ray.methods.shared.selection import gather_earlier
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.methods.shared.warm_start import StartConfig, outcome_per_target, starting_models
from xlt_ray.methods.shared.weighted import SmoothingConfig, cross_entropy_of
from xlt_ray.recipe.annotator import PredictLabels
from xlt_ray.recipe.corpus import Corpus, Mix, Model
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Method, Outcome, Round
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.stopping import is_dropping
from xlt_ray.store.artifacts import Artifact


class STConfig(
    StartConfig, ChoiceConfig, RuleConfig, CurriculumConfig, SmoothingConfig, frozen=True
):
    """Hyper-parameters."""

    quota_keys: ClassVar[tuple[str, ...]] = ("share", "balanced", "subset")

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
        """How many iterations the result is of, up to the last one of them; 0: none."""
        if self.choice is None:
            return 0
        before = len(self.rounds) - len(self.choice.names)  # which were not to be chosen
        return 1 + before + self.choice.names.index(self.choice.taken[-1])


def diagnosed(
    found: Mapping[str, Iterated], whole: Corpus, config: STConfig, course: Curriculum
) -> list[Mechanism]:
    """The lines of the report about what was taken, and what another rule than source dev chose.

    Args:
        found: What became of each target, or of all.
        whole: The unlabelled text.
        config: Says the rules.
        course: Languages of each iteration.
    """
    sizes = whole.tokens.info["rows_by_language"] or {}
    taken = dict.fromkeys(sizes, 0)
    for one in found.values():
        until = one.rounds[: one.last]
        learned = until if config.threshold is None else until[-1:]
        for item in learned:
            for language, count in (item.selected or {}).items():  # of a plan: not known
                taken[language] = taken.get(language, 0) + count
    shares = {name: taken[name] / size for name, size in sizes.items() if size}
    none = [name for name, one in found.items() if not one.last]
    warning = f"nothing was learned from for {', '.join(none)}" if none else None
    kept = {
        name: float(one.rounds[one.last - 1].number if one.last else 0)
        for name, one in found.items()
    }
    lines = [
        Mechanism("share of the pool that the chosen model learned from", shares),
        Mechanism("iteration of the chosen model", kept, warning),
    ]
    rounds = [item for one in found.values() for item in one.rounds]
    if config.threshold is not None:
        lines += rule_mechanisms(rounds, config)
    lines += curriculum_mechanisms(config, course, rounds)
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
        c = self.config
        start = starting_models(driver, c, cross_entropy_of(c.label_smoothing))
        whole = driver.unlabelled()
        if c.curriculum is not None and start.by_language:
            raise ConfigError(
                "method.curriculum: languages take turns in one model, and method.start_from has "
                "one for each"
            )
        course = curriculum_of(driver, c, whole, start.model)
        if not start.by_language:
            before, found = start.zero_shot, self.iterate(driver, "", start.model, whole, course)
            return Outcome(
                before.model,
                found.model,
                found.rounds,
                zero_shot_by_language=before.by_language,
                mechanisms=diagnosed({"all targets": found}, whole, c, course),
                notes=choice_notes(c, has_rounds=bool(found.rounds)),
            )
        each = {
            target: self.iterate(
                driver, f"{target} ", start.of(target), whole.of(target), Curriculum((target,))
            )
            for target in driver.pools
        }
        return replace(
            outcome_per_target(start, {target: found.model for target, found in each.items()}),
            mechanisms=diagnosed(each, whole, c, course),
            rounds_by_language={target: found.rounds for target, found in each.items()},
            notes=choice_notes(c, has_rounds=any(found.rounds for found in each.values())),
        )

    def iterate(
        self, driver: Driver, prefix: str, source: Model, whole: Corpus, course: Curriculum
    ) -> Iterated:
        """The iterations from a source model on, and the model that is chosen among them."""
        c, gold, rule = self.config, driver.source("train"), Rule(driver, self.config)
        sizes = whole.tokens.info["rows_by_language"]
        if whole.language is not None and sizes is not None:
            sizes = {whole.language: sizes[whole.language]}
        loss = cross_entropy_of(c.label_smoothing, is_weighted=c.is_weighted)
        model, pool, rounds = source, whole, list[Round]()
        for number in range(1, c.iterations + 1):
            may_end = not rounds or course.is_whole(number - 1)
            if may_end and self.is_spent(gold, rounds):
                break
            title = f"{prefix}iteration {number}"
            picks = [item.picked for item in rounds]
            if c.threshold is not None:
                scored = driver.annotate(title, whole, model, rule.annotator(PredictLabels()))
                languages = course.languages(number)
                picked = rule.choose(f"{title} selection", scored, picks, languages)
            else:
                view = self.view(driver, sum((sizes or {}).values()), pool, rounds)
                scored = driver.annotate(title, view, model, ConfidenceAnnotator())
                picked = self.most_confident(driver, title, scored, course.only(sizes, number))
            if picked.info["rows"] == 0:
                if not course.is_whole(number):
                    continue
                break
            every = picked
            if c.threshold is None:
                picks = [*picks, picked]
                every = driver.derive(f"{title} taken", gather_earlier, *picks, ratio=None, seed=0)
            schedule = Schedule(c.lr, epochs=1, keep="last", batch_size=c.batch_size)
            mix = Mix(gold, rule.labelled(whole, every))
            model = driver.train(title, mix, loss, start=model, schedule=schedule)
            selected, in_sets = picked.info["selected"], picked.info["set_sizes"]
            rounds.append(Round(number, selected, in_sets, model, scored, picked))
            pool = pool.without(picked)
            models = [source, *(item.model for item in rounds)]
            if course.is_whole(number) and is_dropping(models, c.drops):
                break
        if not rounds:
            return Iterated(source, rounds)
        chooser = Chooser(driver, c, whole, CrossEntropy(), prefix)
        among = {f"iteration {item.number}": item.model for item in course.among(rounds)}
        choice = chooser.among(among)
        return Iterated(choice.model, rounds, choice)

    def most_confident(
        self, driver: Driver, title: str, scored: Artifact, sizes: Mapping[str, int] | None
    ) -> Artifact:
        """The rows that the quota takes of languages with pools of some sizes."""
        words = driver.context.task == "token"
        return driver.derive(
            f"{title} selection",
            select_confident,
            scored,
            share=self.config.share,
            balanced=self.config.balanced and not words,
            num_classes=1 if words else driver.context.num_classes,
            pool_sizes=sizes,
        )

    def is_spent(self, gold: Corpus, rounds: Sequence[Round]) -> bool:
        """Whether the iterations so far have used up the steps."""
        c, rows, taken, steps = self.config, gold.tokens.info["rows"] or 0, 0, 0
        for item in rounds:
            taken = (taken if c.threshold is None else 0) + (item.picked.info["rows"] or 0)
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
