"""The self-learning loop that CLTP and the SL baselines share.

Xu et al., "Boosting Cross-Lingual Transfer via Self-Learning with Uncertainty Estimation" (2021):
train on the source; then, round by round, annotate what is left of every target language's pool,
select the most certain rows of each predicted class per language, and go on training on a sample of
the source, on them and on a sample of earlier ones. A last pass learns from everything selected. A
method says which objective and which annotator each stage has.

With ``threshold`` rows are chosen by confidence: every round annotates the whole pools, and no pass
learns from earlier selections. With ``curriculum`` early rounds learn from near languages
alone.
"""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Literal, Self, TypeVar

from pydantic import Field, model_validator

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.batches.planning import seed_of
from xlt_ray.methods.shared.choice import ChoiceConfig, Chooser, choice_mechanisms, choice_notes
from xlt_ray.methods.shared.curriculum import (
    Curriculum,
    CurriculumConfig,
    curriculum_mechanisms,
    curriculum_of,
)
from xlt_ray.methods.shared.first_labels import check_rounds, voted
from xlt_ray.methods.shared.mechanisms import chosen_checkpoint, use_of_ranking
from xlt_ray.methods.shared.rules import Rule, RuleConfig, rule_mechanisms
from xlt_ray.methods.shared.selection import (
    QuotaOf,
    Selection,
    gather_earlier,
    select_sentences,
)
from xlt_ray.recipe.annotator import Annotator
from xlt_ray.recipe.corpus import Corpus, Mix, Model
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Method, Outcome, Round
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.stopping import best_on_source_dev, stalled
from xlt_ray.store.artifacts import Artifact


class SelfLearningConfig(ChoiceConfig, RuleConfig, CurriculumConfig, frozen=True):
    """Hyper-parameters of the loop; the defaults are the WikiANN setting."""

    quota_keys: ClassVar[tuple[str, ...]] = (
        *("ratio", "quota_of", "prev_ratio"),
        *("selection", "rank_by"),
    )

    ratio: float = Field(default=0.08, gt=0, le=1)
    """Quota per class and round, as a share of the language's first pool."""
    quota_of: QuotaOf = "pool"
    """What the ratio is a share of: the first pool, or the rows of the round that are predicted to
    have the class."""
    src_ratio: float = Field(default=0.6, gt=0, le=1)
    """Share of the source gold that each round trains on."""
    prev_ratio: float = Field(default=1.0, ge=0)
    """Earlier selections trained on again, per newly selected row of the language."""
    rounds: int = Field(default=4, ge=0)
    """Rounds at most."""
    labelled_rounds: int = Field(default=0, ge=0)
    """First rounds whose labels are those of labellers, and not of the model."""
    patience: int | None = Field(default=None, ge=1)
    """Rounds without a better source-dev score after which self-training stops; absent: never."""
    source_lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate on the source gold."""
    source_epochs: int = Field(default=10, ge=1)
    """Epochs on the source gold."""
    round_lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate of the rounds and the final pass."""
    round_epochs: int = Field(default=3, ge=1)
    """Epochs of a round."""
    final_epochs: int = Field(default=3, ge=0)
    """Epochs of the final pass at most; 0: none, the chosen round is the result."""
    final_patience: int = Field(default=1, ge=1)
    """Epochs without a better source-dev score that end the final pass."""

    @model_validator(mode="after")
    def _has_confidence_for_its_rule(self) -> Self:
        if self.threshold is not None and self.labelled_rounds:
            raise ValueError(
                f"labelled_rounds are chosen by the quota, and threshold {self.threshold} takes "
                "its place"
            )
        return self


class OneHotConfig(SelfLearningConfig, frozen=True):
    """The loop with one class per item in every round."""

    selection: Literal["per_class", "top_n"] = "per_class"
    """per_class: quota k per language and class; top_n: the k lowest scores of a language."""


C = TypeVar("C", bound=SelfLearningConfig)


class SelfLearning(Method[C]):
    """The recipe: source, rounds of annotate, select and train, and a final pass."""

    tasks = frozenset({"token", "sentence", "pair"})
    needs_bio = True
    learns_from_labellers = True

    @abstractmethod
    def objective(self, number: int) -> Objective:
        """Objective of a round; of the source training for round 0."""

    @abstractmethod
    def annotator(self, number: int, seed: int) -> Annotator:
        """Annotator of a round; the seed is that of what it draws, if it draws anything."""

    @abstractmethod
    def selection(self, number: int) -> Selection:
        """How a round selects."""

    def weighted_objective(self) -> Objective:
        """Objective of rounds and the final pass where rows count by weights.

        Raises:
            ConfigError: the method has none.
        """
        raise ConfigError(
            f"method.threshold: softmatch weighs rows, and {self.config.name} has no loss with "
            "weights; allowed: by_class, fixed, freematch"
        )

    def final_objective(self) -> Objective:
        """Objective of the final pass."""
        return self.objective(self.config.rounds)

    def rate(self, number: int) -> float:
        """Peak learning rate of a round."""
        return self.config.round_lr

    def final_rate(self) -> float:
        """Peak learning rate of the final pass."""
        return self.config.round_lr

    def refills_before(self, number: int) -> bool:
        """Whether a round starts from full pools."""
        return False

    def own_rounds_from(self) -> int:
        """The first round that does what the method adds to the loop."""
        return 1

    def mechanisms(self, rounds: Sequence[Round], whole: Corpus) -> Sequence[Mechanism]:
        """How far the parts that the method adds to the loop were at work."""
        return []

    def run(self, driver: Driver) -> Outcome:
        """Self-train from source gold and unlabelled target text."""
        c = self.config
        check_rounds(driver, c.labelled_rounds, c.rounds)
        gold, start = driver.source("train"), driver.backbone
        mix, schedule = Mix(gold), Schedule(c.source_lr, c.source_epochs)
        train = partial(driver.train, "source", mix, self.objective(0), start=start)
        source = driver.while_reading(partial(train, schedule=schedule))
        whole = driver.unlabelled()
        rule = Rule(driver, c, self.is_evidential, driver.context.task == "token")
        course = curriculum_of(driver, c, whole, source)
        model, pool = source, whole
        rounds: list[Round] = []
        for number in range(1, c.rounds + 1):
            if self.refills_before(number):
                pool = whole
            picks = [item.picked for item in rounds]
            text = pool if c.threshold is None else whole
            scored = self.annotated(driver, number, text, model, rule)
            title = f"round {number} selection"
            if c.threshold is None:
                sizes = course.only(whole.tokens.info["rows_by_language"], number)
                quota = {"ratio": c.ratio, "pool_sizes": sizes, "quota_of": c.quota_of}
                how = self.selection(number)
                picked = driver.derive(title, select_sentences, scored, selection_rule=how, **quota)
            else:
                picked = rule.choose(title, scored, picks, course.languages(number))
            if picked.info["rows"] == 0:
                later = range(number + 1, c.rounds + 1)
                if not course.is_whole(number) or any(self.refills_before(x) for x in later):
                    continue
                break
            mix = Mix(
                gold.sample(c.src_ratio, seed=seed_of(driver.seed, "source sample", number)),
                rule.labelled(whole, picked),
                *self.earlier(driver, number, [*picks, picked], whole),
            )
            objective = self.weighted_objective() if c.is_weighted else self.objective(number)
            schedule = Schedule(self.rate(number), c.round_epochs, keep="last")
            title = f"round {number}"
            model = driver.train(title, mix, objective, start=model, schedule=schedule)
            selected, in_sets = picked.info["selected"], picked.info["set_sizes"]
            rounds.append(Round(number, selected, in_sets, model, scored, picked))
            pool = pool.without(picked)
            scores = [item.model.source_dev for item in course.among(rounds)]
            if course.is_whole(number) and stalled(scores, c.patience):
                break
        final, at_work = source, list[Mechanism]()
        if rounds:
            final, at_work = self.final(driver, gold, whole, rounds, course, rule)
        own = self.own_rounds_from()
        if c.select != "average":  # which is the model of no round
            at_work.insert(0, chosen_checkpoint(final, rounds, own_from=own, rule=c.select))
        chosen = [use_of_ranking(rounds)] if c.threshold is None else rule_mechanisms(rounds, c)
        chosen += curriculum_mechanisms(c, course, rounds)
        at_work = [*chosen, *at_work, *self.mechanisms(rounds, whole)]
        notes = choice_notes(c, has_rounds=bool(rounds))
        return Outcome(source, final, rounds, mechanisms=at_work, notes=notes)

    def annotated(
        self, driver: Driver, number: int, text: Corpus, model: Model, rule: Rule
    ) -> Artifact:
        """What the model of a round says of a text, or what labellers say of it."""
        if number <= self.config.labelled_rounds:
            return voted(driver, number, list(text.removed))
        annotator = self.annotator(number, seed_of(driver.seed, "annotator", number))
        if self.config.threshold is not None:
            annotator = rule.annotator(annotator)
        return driver.annotate(f"round {number}", text, model, annotator)

    def final(
        self,
        driver: Driver,
        gold: Corpus,
        whole: Corpus,
        rounds: list[Round],
        course: Curriculum,
        rule: Rule,
    ) -> tuple[Model, list[Mechanism]]:
        """The result, and what the run tells of its choice by another rule than source dev.

        The last pass, over the source gold and everything selected, begins with the round that the
        rule chooses. Then it chooses again, among the rounds and the pass. On source dev the pass
        wins if the two are equal.
        """
        c, chooser = self.config, Chooser(driver, self.config, whole, self.objective(0))
        models = {f"round {item.number}": item.model for item in course.among(rounds)}
        choice = chooser.among(models)
        if c.final_epochs:
            picks, best = [item.picked for item in rounds], choice.model
            every = picks[-1]  # of a threshold rule, which chooses anew
            if c.threshold is None:
                every = driver.derive("all selections", gather_earlier, *picks, ratio=None, seed=0)
            schedule = Schedule(self.final_rate(), c.final_epochs, patience=c.final_patience)
            mix = Mix(gold, rule.labelled(whole, every))
            objective = self.weighted_objective() if c.is_weighted else self.final_objective()
            last = driver.train("final", mix, objective, start=best, schedule=schedule)
            if c.select == "source_dev":
                return best_on_source_dev([last, best]), []
            choice = chooser.among({**models, "final pass": last})
        told = [] if c.select == "source_dev" else choice_mechanisms({"": choice})
        return choice.model, told

    def earlier(
        self, driver: Driver, number: int, picks: list[Artifact], whole: Corpus
    ) -> list[Corpus]:
        """Earlier selections that the round trains on again, as a corpus, if there are any."""
        ratio = self.config.prev_ratio
        if len(picks) < 2 or ratio == 0 or self.config.threshold is not None:
            return []
        seed = seed_of(driver.seed, "earlier selections", number)
        title = f"round {number} earlier"
        drawn = driver.derive(title, gather_earlier, *picks, ratio=ratio, seed=seed)
        return [whole.labelled(drawn)] if drawn.info["rows"] != 0 else []
