"""What a run has translated: which languages, by what, and the durable steps that do it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig
from xlt_ray.data.schema import Task
from xlt_ray.engine.backbone import Backbone, checkpoint_of
from xlt_ray.engine.resources import Plan
from xlt_ray.engine.translate import (
    Ready,
    Route,
    TranslateTask,
    offering,
    ready_of,
    run_translate,
)
from xlt_ray.run.steps import Runner, Step
from xlt_ray.store.artifacts import Artifact


@dataclass(frozen=True)
class Translations:
    """Translates text artifacts of a run.

    Attributes:
        config: The run's configuration.
        task: Kind of task.
        runner: Runs steps.
        plan: Its annotators translate, too.
        found: Puts what was found of a checkpoint, or of ready translations, into the store.
        models: Checkpoints that were found, by folder or hub id.
        tables: Ready translations that were found, and their languages, by languages and column.
    """

    config: RunConfig[Any]
    task: Task
    runner: Runner
    plan: Plan
    found: Callable[[str, Backbone], Artifact]
    models: dict[str, Artifact] = field(default_factory=dict)
    tables: dict[tuple[str, ...], tuple[Artifact, list[str]]] = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        """Whether there is anything that translates."""
        config = self.config.translation
        return config.model is not None or config.ready is not None

    def among(self, languages: Sequence[str]) -> list[str]:
        """The languages that are translated."""
        config = self.config.translation
        chosen = languages if config.languages is None else config.languages
        return [name for name in languages if name != config.pivot and name in chosen]

    def back(self, title: str, text: Artifact, languages: Sequence[str]) -> Artifact:
        """Text translated into the pivot language and back; rows without translation are left out,
        and so are the other languages."""
        config = self.config.translation
        if config.ready is not None:
            ready, there = self._ready(languages, "back")
            routes = {name: Route(name, name, ready=ready) for name in there}
            return self._translate(f"{title} there and back", text, routes)
        if config.back is None and "{language}" in (config.model or ""):
            raise ConfigError(
                f"translation.back: needed, since {config.model} translates one way alone"
            )
        first = self.into_pivot(title, text, languages)
        routes = {
            name: Route(config.pivot, name, self._model(config.back or config.model, name))
            for name in languages
        }
        return self._translate(f"{title} there and back", first, routes)

    def around(self, title: str, text: Artifact, languages: Sequence[str]) -> Artifact | None:
        """Text that is read in translation, translated from the pivot language into its own and
        into the pivot again; None if nothing does that.

        Args:
            title: Beginning of the steps' titles.
            text: The text before it was translated.
            languages: Languages that are read in translation.
        """
        config, pivot = self.config.translation, self.config.translation.pivot
        if config.ready is not None:
            there = offering(config.ready, languages, "pivot_back")
            if not there:
                return None
            ready, _ = self._ready(there, "pivot_back")
            routes = {name: Route(name, pivot, ready=ready, column="pivot_back") for name in there}
            return self._translate(f"{title} into {pivot} once more", text, routes)
        if config.back is None:
            return None
        read = self.into_pivot(title, text, languages, whole=True)
        routes = {name: Route(pivot, name, self._model(config.back, name)) for name in languages}
        again = self._translate(f"{title} back from {pivot}", read, routes)
        return self.into_pivot(f"{title} once more", again, languages)

    def into_pivot(
        self, title: str, text: Artifact, languages: Sequence[str], *, whole: bool = False
    ) -> Artifact:
        """Text translated into the pivot language.

        Args:
            title: Beginning of the step's title.
            text: A text artifact.
            languages: What is translated of it.
            whole: Text of other languages stays as it is, and every row has to have a translation;
                else both are left out.
        """
        config = self.config.translation
        if config.ready is not None:
            ready, there = self._ready(languages, "pivot")
            missing = [name for name in languages if name not in there]
            if whole and missing:
                raise ConfigError(
                    f"translation.ready: {config.ready} has no <language>.parquet of "
                    f"{', '.join(missing)}"
                )
            routes = {
                name: Route(name, config.pivot, ready=ready, column="pivot", must=whole)
                for name in there
            }
        else:
            routes = {
                name: Route(name, config.pivot, self._model(config.model, name))
                for name in languages
            }
        return self._translate(f"{title} into {config.pivot}", text, routes, whole=whole)

    def out_of(self, title: str, text: Artifact, sources: Sequence[str], language: str) -> Artifact:
        """Text of source languages translated into another one; rows without translation are left
        out, and blank translations stay blank.

        Args:
            title: Beginning of the step's title.
            text: A text artifact, of a token task as running text.
            sources: Its languages.
            language: What it is translated into.
        """
        config = self.config.translation
        if config.ready is not None:
            ready, there = self._ready(sources, language)
            if missing := [name for name in sources if name not in there]:
                raise ConfigError(
                    f"translation.ready: {config.ready} has no <language>.parquet of "
                    f"{', '.join(missing)}, whose gold is translated"
                )
            routes = {name: Route(name, language, ready=ready, column=language) for name in there}
        else:
            reference = config.back or config.model or ""
            others = [name for name in sources if name != config.pivot]
            if others and "{language}" in reference:
                raise ConfigError(
                    f"translation.train: {reference} translates from the pivot {config.pivot}, and "
                    f"the gold is in {', '.join(others)}; name its language as translation.pivot, "
                    "or a checkpoint of many languages"
                )
            model = self._model(reference, language)
            routes = {name: Route(name, language, model) for name in sources}
        return self._translate(f"{title} into {language}", text, routes, is_gold=True)

    def _model(self, reference: str | None, language: str) -> Artifact:
        assert reference is not None
        config = self.config.translation
        name = reference.replace("{language}", config.codes.get(language, language))
        if name not in self.models:
            try:
                found = checkpoint_of(name, revision=config.revision, key="translation", nor="")
            except ConfigError as error:
                raise ConfigError(f"translation of {language}: {error}") from None
            self.models[name] = self.found(f"translator {name}", found)
        return self.models[name]

    def _ready(self, languages: Sequence[str], column: Ready) -> tuple[Artifact, list[str]]:
        assert self.config.translation.ready is not None
        key = (*languages, column)
        if key not in self.tables:
            found, there = ready_of(self.config.translation.ready, languages, column)
            self.tables[key] = self.found("ready translations", found), there
        return self.tables[key]

    def _translate(
        self,
        title: str,
        text: Artifact,
        routes: Mapping[str, Route],
        *,
        whole: bool = False,
        is_gold: bool = False,
    ) -> Artifact:
        config = self.config.translation
        task = TranslateTask(
            text=text,
            task="sentence" if self.task == "token" else self.task,  # words as running text
            routes=routes,
            whole=whole,
            codes=config.codes,
            beams=config.beams,
            max_new_tokens=config.max_new_tokens,
            batch_tokens=self.plan.batch_tokens,
            arithmetic=self.plan.annotation.in_floats,
            keeps_blank=is_gold,
        )
        limit = self.config.data.max_fatal_rows
        compute = partial(run_translate, pool=self.plan.annotators, limit=limit)
        return self.runner.run(Step(title, task), compute)
