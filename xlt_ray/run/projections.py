"""Labels and translations of words: source gold that is carried over into other languages, and
labels of text that was read in translation, which are brought back; as durable steps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.projection.rejection import REASONS
from xlt_ray.data.readers.user_files import cut_of
from xlt_ray.data.schema import Task
from xlt_ray.engine.bring_back import BringBackTask, run_bring_back
from xlt_ray.engine.gold_in_translation import JoinTask, run_join
from xlt_ray.engine.mark import MarkTask, run_mark
from xlt_ray.engine.project import ProjectTask, run_project
from xlt_ray.engine.resources import Plan
from xlt_ray.engine.words_in_translation import ReplaceTask, run_replace
from xlt_ray.labels import LabelSet
from xlt_ray.recipe.corpus import Model
from xlt_ray.run.steps import Runner, Step
from xlt_ray.run.translations import Translations
from xlt_ray.store.artifacts import Artifact


@dataclass(frozen=True)
class Projections:
    """Translates source gold of a run, and carries its labels over.

    Attributes:
        config: The run's configuration.
        task: Kind of task.
        labels: Its classes.
        runner: Runs steps.
        plan: Its annotators align words.
        translations: What translates.
        encoder: Gives the encoder that aligns words.
        found: Results of project steps by title of the text, and language.
        brought: Labels that were brought back, by title.
    """

    config: RunConfig[Any]
    task: Task
    labels: LabelSet
    runner: Runner
    plan: Plan
    translations: Translations
    encoder: Callable[[], Model]
    found: dict[tuple[str, str], Artifact] = field(default_factory=dict)
    brought: dict[str, Artifact] = field(default_factory=dict)

    def beside(
        self,
        title: str,
        alone: tuple[Artifact, Artifact],
        whole: tuple[Artifact, Artifact],
        sources: Sequence[str],
        targets: Sequence[str],
    ) -> Artifact:
        """Gold with its translations, as text and labels in one.

        Args:
            title: Beginning of the steps' titles.
            alone: Text and gold labels of the sources.
            whole: The same with the few labelled rows that targets may have.
            sources: Languages of the gold.
            targets: Languages that it is translated into.
        """
        running = self._running(title, alone)
        joined = JoinTask(
            text=whole[0],
            gold=whole[1],
            projections={x: self._into(x, title, alone, running, sources) for x in targets},
            task=self.task,
            weight=self.config.translation.train_weight,
        )
        return self.runner.run(Step(f"{title} with translations", joined), run_join)

    def in_pivot(self, title: str, text: Artifact, languages: Sequence[str]) -> Artifact:
        """Sentences of words, those of some languages in translation into the pivot.

        Args:
            title: Beginning of the steps' titles.
            text: The sentences.
            languages: Languages that are read in translation.
        """
        mark = MarkTask(text=text, gold=None, labels=self.labels, brackets=False, bare=True)
        running = self.runner.run(Step(f"{title} running text", mark), run_mark)
        pivot = self.config.translation.pivot
        task = ReplaceTask(
            text=text,
            translation=self.translations.into_pivot(title, running, languages, whole=True),
            languages=tuple(languages),
            cut=cut_of(self.config.files, pivot),
        )
        return self.runner.run(Step(f"{title} words in {pivot}", task), run_replace)

    def back(
        self,
        title: str,
        predicted: Artifact,
        text: Artifact,
        read: Artifact,
        languages: Sequence[str],
    ) -> Artifact:
        """Labels of sentences that were read in the pivot, for the words of the sentences.

        Args:
            title: Beginning of the step's title.
            predicted: Labels of what was read.
            text: The sentences.
            read: What `in_pivot` made of them.
            languages: Languages that were read in translation.
        """
        config = self.config
        task = BringBackTask(
            text=text,
            read=read,
            predicted=predicted,
            languages=tuple(languages),
            pivot=config.translation.pivot,
            labels=self.labels,
            encoder=self.encoder().artifact,
            layer=self._layer(),
            threshold=config.translation.threshold,
            max_length=config.train.max_length,
            batch_tokens=self.plan.batch_tokens,
            arithmetic=self.plan.annotation.in_floats,
        )
        limit = config.data.max_fatal_rows
        compute = partial(run_bring_back, pool=self.plan.annotators, limit=limit)
        found = self.runner.run(Step(f"{title} brought back", task), compute)
        self.brought[title] = found
        return found

    def _running(self, title: str, alone: tuple[Artifact, Artifact]) -> Mapping[bool, Artifact]:
        """What is translated: with brackets, without, or both."""
        if self.task != "token":
            return {False: alone[0]}
        way, found = self.config.translation.project, dict[bool, Artifact]()
        if way != "markers":
            found[False] = self._written(f"{title} running text", alone, brackets=False, bare=True)
        if way != "alignment" and self.labels.is_bio:
            bare = way == "markers"
            found[True] = self._written(f"{title} in brackets", alone, brackets=True, bare=bare)
        return found

    def _written(
        self, title: str, alone: tuple[Artifact, Artifact], *, brackets: bool, bare: bool
    ) -> Artifact:
        text, gold = alone
        task = MarkTask(text=text, gold=gold, labels=self.labels, brackets=brackets, bare=bare)
        return self.runner.run(Step(title, task), run_mark)

    def _into(
        self,
        language: str,
        title: str,
        alone: tuple[Artifact, Artifact],
        running: Mapping[bool, Artifact],
        sources: Sequence[str],
    ) -> Artifact:
        """The gold in one language."""
        config, names = self.config, {False: title, True: f"{title} in brackets"}
        translated = {
            brackets: self.translations.out_of(names[brackets], text, sources, language)
            for brackets, text in running.items()
        }
        aligns = self.task == "token" and False in translated
        task = ProjectTask(
            text=alone[0],
            gold=alone[1],
            task=self.task,
            labels=self.labels,
            language=language,
            plain=translated.get(False),
            marked=translated.get(True),
            encoder=self.encoder().artifact if aligns else None,
            layer=self._layer() if aligns else 0,
            threshold=config.translation.threshold,
            cut=cut_of(config.files, language),
            max_length=config.train.max_length,
            batch_tokens=self.plan.batch_tokens,
            arithmetic=self.plan.annotation.in_floats,
        )
        compute = partial(run_project, pool=self.plan.annotators, limit=config.data.max_fatal_rows)
        found = self.runner.run(Step(f"{title} labels in {language}", task), compute)
        self.found[title, language] = found
        return found

    def _layer(self) -> int:
        """The layer whose states align words; 0 if the encoder is only planned."""
        asked, layers = self.config.translation.layer, self.encoder().layers
        if layers is None:
            return asked or 0
        if asked is not None and asked > layers:
            raise ConfigError(f"translation.layer: {asked}, and the encoder has {layers} layers")
        return asked or max(1, round(2 * layers / 3))


def languages_of(
    config: RunConfig[Any], sources: Sequence[str], targets: Sequence[str]
) -> tuple[str, ...]:
    """Languages that source gold is translated into; none unless that is asked for.

    Raises:
        ConfigError: it is asked for, and there are none.
    """
    asked = config.translation
    if not asked.train:
        return ()
    chosen = targets if asked.languages is None else asked.languages
    found = tuple(name for name in targets if name not in sources and name in chosen)
    if not found:
        there = ", ".join(name for name in targets if name not in sources) or "none"
        raise ConfigError(
            f"translation.train: there is no language to translate the source gold into; targets "
            f"that are no source: {there}"
        )
    return found


def check_translated(config: RunConfig[Any], *, learned: bool) -> None:
    """Whether translated source gold was learned from, if that was asked for.

    Raises:
        ConfigError: no training had it.
    """
    if config.translation.train and not learned:
        raise ConfigError(
            "translation.train: no training has source gold, whose translations would stand "
            "beside it: method.given or method.start_from is there in place of it; leave out one "
            "of them"
        )


def translated_notes(
    config: RunConfig[Any], found: Mapping[tuple[str, str], Artifact]
) -> list[str]:
    """What the reader of a run's scores has to know of translated source gold.

    Args:
        config: The configuration of the run.
        found: Results of project steps by title of the text, and language.
    """
    notes, weight = list[str](), config.translation.train_weight
    often = "" if weight == 1 else f", each counted {weight} times"
    for (title, language), artifact in found.items():
        info = artifact.info
        if info.get("given") is None:  # it is only planned
            continue
        ways = ", ".join(f"{n} by {way}" for way, n in info["ways"].items() if way != "text")
        notes.append(
            f"learned from {title} gold in translation: {info['rows']} of {info['given']} rows in "
            f"{language}{f' ({ways})' if ways else ''}{often}{_left_out(info)}"
        )
    return notes


def brought_notes(
    labels: LabelSet, languages: Sequence[str], brought: Mapping[str, Artifact]
) -> list[str]:
    """What the reader of a run's scores has to know of labels that were given in translation.

    Args:
        labels: Classes of the task.
        languages: Languages that were read in translation.
        brought: Labels that were brought back, by title.
    """
    notes, what = list[str](), "entities" if labels.is_bio else "words"
    for title, artifact in brought.items():
        info = artifact.info
        if title.startswith("final") and info.get("given") is not None:
            notes.append(
                f"{title}: {', '.join(languages)} read in translation; {info['back']} of "
                f"{info['given']} {what} have a place in the text itself"
            )
    return notes


def _left_out(info: Mapping[str, Any]) -> str:
    reasons = [f"{name} {info['rejected'][name]}" for name in REASONS if name in info["rejected"]]
    lost = info.get("quarantined", 0)
    reasons += [f"quarantined {lost}"] if lost else []
    return f"; left out: {', '.join(reasons)}" if reasons else ""
