"""Scores of models on gold labels: for the report, and for nothing that trains."""

from xlt_ray.config.schema import Split
from xlt_ray.engine.derive import ScoreTask
from xlt_ray.recipe.corpus import Model
from xlt_ray.recipe.driver import verbs_of
from xlt_ray.recipe.method import Labeller, Outcome, likeliest
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.gold import ALL, Gold
from xlt_ray.run.steps import Step


def all_gold(driver: RayDriver) -> Gold:
    """The right to read every gold label of a run; what a recipe is given leads to none of it."""
    return Gold(driver.reading, driver.context.languages, ALL)


ByClass = dict[str, dict[str, float | int]]
"""`{type or class: {"precision", "recall", "f1", "support"}}`."""


class Scorer:
    """The verb ``evaluate``, which recipes do not have."""

    def __init__(self, driver: RayDriver, gold: Gold):
        self.driver, self.gold = driver, gold
        self.by_class: dict[str, dict[str, ByClass]] = {}
        """Scores by entity type or class, per title and language."""

    def check_test(self) -> None:
        """Read the test splits, which are needed last, so that their faults are seen first."""
        tested = self.driver.tested
        if tested:
            self.driver.reading.text("test", tested, "test")
            self.gold.read("test", tested, "test")

    def evaluate(
        self,
        title: str,
        model: Model,
        split: Split,
        language: str | None = None,
        labeller: Labeller = likeliest,
        longest: int | None = None,
    ) -> dict[str, dict[str, float]]:
        """Scores per language on gold labels.

        Args:
            title: Beginning of the steps' titles.
            model: What to score.
            split: Which split of every language; one that has none is not scored.
            language: The one language to score; None: source and targets.
            labeller: How the model labels text.
            longest: Words of the longest entity that it can find; None: of any length.
        """
        name, driver = title, self.driver
        languages = driver.tested if split == "test" else driver.context.languages
        if not languages or language not in (None, *languages):
            return {}
        corpus = driver.text_of(split, languages, split)
        if language is not None:
            corpus, title = corpus.of(language), f"{title} {language}"
        predicted = labeller(verbs_of(driver), f"{title} {split}", corpus, model)
        predicted = driver.brought_back(f"{title} {split}", predicted, languages, split)
        gold = self.gold.read(split, languages, split)
        task = ScoreTask(
            predicted=predicted,
            gold=gold,
            metric=driver.benchmark.metric,
            labels=driver.labels,
            language=language,
            longest=longest,
        )
        step = Step(f"{title} {split} scores", task)
        info = driver.runner.run(step, driver.executor.score).info
        self.by_class.setdefault(name, {}).update(info["by_class"] or {})
        return info["scores"] or {}

    def final(self, outcome: Outcome) -> dict[str, dict[str, float]]:
        """Test scores of the final model, or of each language's own."""
        scores = self._of_sources("final", outcome, outcome.final)
        for language, model in outcome.by_language.items():
            label, longest = outcome.labeller, outcome.longest
            own = self.evaluate("final", model, "test", language, label, longest)
            scores = {**scores, **own}
        return scores

    def zero_shot(self, outcome: Outcome) -> dict[str, dict[str, float]]:
        """Test scores of the zero-shot model, or of each language's own."""
        scores = self._of_sources("zero-shot", outcome, outcome.zero_shot)
        for language, model in outcome.zero_shot_by_language.items():
            label, longest = outcome.plain_labeller, outcome.longest
            own = self.evaluate("zero-shot", model, "test", language, label, longest)
            scores = {**scores, **own}
        return scores

    def _of_sources(
        self, title: str, outcome: Outcome, model: Model
    ) -> dict[str, dict[str, float]]:
        """Test scores of a model on all languages, but of a source's own model where it has one."""
        label, longest = outcome.plain_labeller, outcome.longest
        scores = self.evaluate(title, model, "test", labeller=label, longest=longest)
        for language, own in outcome.sources.items():
            more = self.evaluate(title, own, "test", language, label, longest)
            scores = {**scores, **more}
        return scores
