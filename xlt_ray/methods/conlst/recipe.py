"""CoNLST: contrastive negative learning and self-training.

"Improving Cross-lingual Transfer with Contrastive Negative Learning and Self-training". A source
model is calibrated on the text of one target language: every text is moved away from texts of
classes that it almost certainly does not have (stage 1). Then it trains itself on the texts that
reach the threshold of their class, with words masked or translated there and back, mixed with
source gold (stage 2). Stage 1 is one epoch with predictions made before it; stage 2 predicts and
selects anew in every iteration.

Departures are listed in docs/conlst.md.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.batches.planning import seed_of
from xlt_ray.methods.conlst.mechanisms import ALL, Adapted, diagnosed
from xlt_ray.methods.conlst.mixup import MixUp, masked_only
from xlt_ray.methods.conlst.negative_learning import (
    ContrastNegatives,
    NegativeLearning,
    complements,
)
from xlt_ray.methods.conlst.robust import source_loss
from xlt_ray.methods.conlst.ruled import RuledMixUp
from xlt_ray.methods.conlst.settings import CoNLSTConfig, NegativesConfig
from xlt_ray.methods.conlst.thresholding import copies, reaching
from xlt_ray.methods.shared.choice import Chooser, choice_notes
from xlt_ray.methods.shared.curriculum import Curriculum, curriculum_mechanisms, curriculum_of
from xlt_ray.methods.shared.reaching import of_languages
from xlt_ray.methods.shared.rules import Rule, rule_mechanisms
from xlt_ray.methods.shared.softmax import CrossEntropy, Probabilities
from xlt_ray.methods.shared.warm_start import outcome_per_target, starting_models
from xlt_ray.recipe.annotator import PredictLabels
from xlt_ray.recipe.corpus import Corpus, Mix, Model
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.method import Method, Outcome, Round
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.stopping import best_on_source_dev, is_dropping
from xlt_ray.store.artifacts import Artifact

PLAIN = ("by_class", "fixed")
"""Thresholds of the method's own stage 2."""


class CoNLST(Method[CoNLSTConfig]):
    """The recipe: source model, calibration, and iterations of predict, keep and train."""

    Config = CoNLSTConfig
    tasks = frozenset({"sentence", "pair"})

    def run(self, driver: Driver) -> Outcome:
        """Adapt the source model to every target, or to all of them together."""
        share = self.config.translated if self.config.iterations else 0.0
        notes = masked_only(driver, share)  # translates, before anything is trained
        found = adapt_all(driver, self.config, self.adapt)
        has_rounds = any([found.rounds, *found.rounds_by_language.values()])
        return replace(found, notes=(*notes, *choice_notes(self.config, has_rounds=has_rounds)))

    def adapt(self, driver: Driver, target: str | None, model: Model, said: Artifact) -> Adapted:
        """Both stages for a target language, or for all."""
        calibrated = self.calibrated(driver, target, model, said)
        found = self.self_trained(driver, target, calibrated)
        return found if calibrated is model else replace(found, stage1=calibrated)

    def calibrated(self, driver: Driver, target: str | None, model: Model, said: Artifact) -> Model:
        """Stage 1."""
        c = self.config
        if c.stage1 == "none":
            return model
        consistency = {"lambda_clcs": c.lambda_clcs, "clcs": c.clcs}
        if c.stage1 == "negative":
            return learn_negatives(driver, c, target, model, said, NegativeLearning(**consistency))
        loss = ContrastNegatives(
            **consistency, k_neg=c.k_neg, temp=c.temp, similarity=c.similarity, scale=c.scale
        )
        return learn_negatives(driver, c, target, model, said, loss, gamma=c.gamma)

    def self_trained(self, driver: Driver, target: str | None, model: Model) -> Adapted:
        """Stage 2."""
        c, text, first = self.config, text_of(driver, target), model
        course = Curriculum(driver.pools if target is None else (target,))
        if target is None:
            course = curriculum_of(driver, c, text, model)
        rounds, kept, models, fell = list[Round](), list[float](), [first], None
        said: list[Artifact] = []
        for number in range(1, c.iterations + 1):
            title = f"{prefix_of(target)}iteration {number}"
            scored, found = self.reached(driver, target, title, model, said[-1:], course, number)
            said.append(found)
            picked = found
            if self.config.threshold in PLAIN and not course.is_whole(number):
                languages = list(course.languages(number))
                picked = driver.derive(f"{title} near", of_languages, found, languages=languages)
            kept.append(found.info["kept"] or 0.0)
            changed = found.info.get("changed") if course.is_whole(number - 1) else None
            if picked.info["rows"] == 0 and not course.is_whole(number):
                continue
            if picked.info["rows"] == 0 or (changed is not None and changed < c.least_change):
                break
            parts = self.changed_texts(driver, target, title, picked, number)
            mix = Mix(*parts, paired=driver.source("train"))
            schedule = Schedule(c.lr, 1, keep="last", batch_size=c.batch_size)
            model = driver.train(title, mix, self.stage2_loss(), start=model, schedule=schedule)
            selected, in_sets = picked.info["selected"], picked.info["set_sizes"]
            rounds.append(Round(number, selected, in_sets, model, scored, picked))
            models.append(model)
            if c.drops is not None and course.is_whole(number) and is_dropping(models, c.drops):
                fell = number
                break
        told = [] if c.threshold in PLAIN else rule_mechanisms(rounds, c)
        told += curriculum_mechanisms(c, course, rounds)
        kept = [] if c.is_weighted else kept  # which are all
        end = Adapted(model, rounds=rounds, kept=kept, fell=fell, told=told)
        whole = course.among(rounds)
        if c.select != "source_dev" and rounds:
            chooser = Chooser(driver, c, text, CrossEntropy(), prefix_of(target))
            choice = chooser.among({f"iteration {x.number}": x.model for x in whole})
            return replace(end, model=choice.model, choice=choice)
        if fell is None:
            return end
        # Of a curriculum, models of all languages alone; the model before stage 2 is none.
        among = models if course.is_whole(1) else [item.model for item in whole]
        return replace(end, model=best_on_source_dev(among))

    def stage2_loss(self) -> MixUp:
        """What an iteration minimises."""
        c = self.config
        alpha = c.alpha if c.mixup else None
        if not c.is_weighted and not c.label_smoothing:
            return MixUp(c.lambda_u, alpha, c.mask_rate)
        return RuledMixUp(c.lambda_u, alpha, c.mask_rate, c.label_smoothing, c.is_weighted)

    def reached(
        self,
        driver: Driver,
        target: str | None,
        title: str,
        model: Model,
        last: Sequence[Artifact],
        course: Curriculum,
        number: int,
    ) -> tuple[Artifact, Artifact]:
        """What the model says of the texts, and those that reach the threshold of their class."""
        c, text = self.config, text_of(driver, target)
        if c.threshold not in PLAIN:
            rule = Rule(driver, c)
            scored = driver.annotate(title, text, model, rule.annotator(PredictLabels()))
            languages = course.languages(number)
            return scored, rule.choose(f"{title} kept", scored, last, languages)
        scored = driver.annotate(title, text, model, Probabilities())
        parameters = {
            "t0": c.t0,
            "warmup": c.warmup,
            "floor": c.floor,
            "is_fixed": c.threshold == "fixed",
            "num_classes": driver.context.num_classes,
        }
        return scored, driver.derive(
            f"{title} kept", reaching, scored, *last, language=target, **parameters
        )

    def changed_texts(
        self, driver: Driver, target: str | None, title: str, picked: Artifact, number: int
    ) -> Sequence[Corpus]:
        """The kept texts: those whose words are masked, and translations of the others."""
        c, text = self.config, text_of(driver, target)
        back = driver.back_translated() if c.translated else None
        rule = Rule(driver, c)
        if back is None:
            return [rule.labelled(text, picked)]
        seed = seed_of(driver.seed, "translated", target or "", number)
        draw = partial(driver.derive, share=c.translated, seed=seed)
        masked = draw(f"{title} masked", copies, picked, back.tokens, masked=True)
        translated = draw(f"{title} translated", copies, picked, back.tokens, masked=False)
        return [rule.labelled(text, masked), rule.labelled(back, translated)]


def prefix_of(target: str | None) -> str:
    """Beginning of the titles of steps about a target."""
    return "" if target is None else f"{target} "


def text_of(driver: Driver, target: str | None) -> Corpus:
    """Unlabelled text of a target, or of all."""
    whole = driver.unlabelled()
    return whole if target is None else whole.of(target)


def adapt_all(driver: Driver, config: NegativesConfig, adapt: Callable[..., Adapted]) -> Outcome:
    """The outcome of a recipe that adapts a source model to every target, or to all together.

    Args:
        driver: The driver.
        config: Says where to begin, and whether there is one model.
        adapt: Is called with the driver, a target or None, the model to begin with and what it says
            of the unlabelled text.
    """
    if config.source_noise and config.start_from is not None:
        raise ConfigError("method.source_noise: method.start_from leaves no source model to train")
    start = starting_models(driver, config, source_loss(config))
    if config.joint and start.by_language:
        raise ConfigError(
            "method.joint: one model of all targets, but method.start_from has one for each"
        )

    def said(target: str | None) -> Artifact:
        # One model labels the text of all targets at once.
        one = target is None or not start.by_language
        text, model = text_of(driver, None if one else target), start.of(target or "")
        title = "unlabelled" if one else f"{target} unlabelled"
        return driver.annotate(title, text, model, Probabilities())

    if config.joint:
        found, before = adapt(driver, None, start.model, said(None)), start.zero_shot
        return Outcome(
            before.model,
            found.model,
            found.rounds,
            zero_shot_by_language=before.by_language,
            mechanisms=diagnosed({ALL: found}),
        )
    driver.source("train")  # once, and not by several targets at a time
    given = [(target, start.of(target), said(target)) for target in driver.pools]
    each = driver.together([partial(adapt, driver, *item) for item in given])
    adapted = dict(zip(driver.pools, each, strict=True))
    outcome = outcome_per_target(start, {name: item.model for name, item in adapted.items()})
    rounds = {name: item.rounds for name, item in adapted.items()}
    return replace(outcome, mechanisms=diagnosed(adapted), rounds_by_language=rounds)


def learn_negatives(
    driver: Driver,
    config: NegativesConfig,
    target: str | None,
    model: Model,
    said: Artifact,
    loss: NegativeLearning | ContrastNegatives,
    *,
    gamma: float = 0.0,
) -> Model:
    """The model after the target texts were learnt from once, with predictions made before.

    Args:
        driver: The driver.
        config: Learning rate, epochs and batch size.
        target: The target, or None for all.
        model: The model to begin with.
        said: What it says of the texts.
        loss: What is minimised.
        gamma: Confidence from which a text is certain.
    """
    c, text, title = config, text_of(driver, target), f"{prefix_of(target)}stage 1"
    parameters = {"language": target, "num_classes": driver.context.num_classes, "gamma": gamma}
    anchors = driver.derive(f"{title} anchors", complements, said, certain=False, **parameters)
    pool = None
    if isinstance(loss, ContrastNegatives):
        found = driver.derive(f"{title} pool", complements, said, certain=True, **parameters)
        pool = text.labelled(found)
    gold = driver.source("train") if c.lambda_clcs else None
    mix = Mix(text.labelled(anchors), paired=gold, pool=pool)
    schedule = Schedule(c.stage1_lr, c.stage1_epochs, keep="last", batch_size=c.batch_size)
    return driver.train(title, mix, loss, start=model, schedule=schedule)
