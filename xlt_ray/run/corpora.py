"""The corpora of a run: read, checked and tokenised once, as durable steps."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import RunConfig, Split
from xlt_ray.data.benchmarks.registry import benchmark_of, resolve_targets
from xlt_ray.engine.backbone import Backbone, backbone_of, checkpoint_of, run_write
from xlt_ray.engine.given import GivenTask, digest_of, run_given
from xlt_ray.engine.read import TokeniseTask, run_tokenise
from xlt_ray.engine.resources import Plan, check_sharding
from xlt_ray.engine.translate import offering
from xlt_ray.labels import LabelSet
from xlt_ray.recipe.corpus import Corpus, Model, Start
from xlt_ray.recipe.task import TaskContext
from xlt_ray.run.check import method_of
from xlt_ray.run.few import check_dev, few_of
from xlt_ray.run.gold import OF_SOURCES, Gold
from xlt_ray.run.int8 import check_encoder
from xlt_ray.run.labellers import voters_of, votes_about
from xlt_ray.run.policy import RunPolicy
from xlt_ray.run.projections import Projections, languages_of
from xlt_ray.run.reading import AnySplit, Reading
from xlt_ray.run.saved_models import check_start, run_named
from xlt_ray.run.steps import Runner, Step
from xlt_ray.run.target_labels import TargetLabels, labels_beside, labels_known
from xlt_ray.run.translations import Translations
from xlt_ray.store.artifacts import Artifact


class RunCorpora:
    """The corpora, the backbone and the task of one run's task."""

    def __init__(
        self,
        config: RunConfig[Any],
        runner: Runner,
        plan: Plan,
        policy: RunPolicy = RunPolicy(),  # noqa: B008 - it has no state
    ):
        self.config, self.runner, self.plan, self.policy = config, runner, plan, policy
        if config.train.shard:
            check_sharding(config.resources, plan, config.method)
        named = benchmark_of(config)
        self.benchmark = replace(
            named,
            revision=config.benchmark.revision or named.revision,
            metric=config.benchmark.metric or named.metric,
        )
        self.labels = LabelSet(self.benchmark.labels)
        self.seed = config.seed
        self.source_languages = tuple(config.benchmark.source or named.sources)
        for name in config.benchmark.dev or ():
            if name not in self.source_languages:
                sources = ", ".join(self.source_languages)
                raise ConfigError(f"benchmark.dev: {name!r} is no source, there are: {sources}")
        self.targets = resolve_targets(
            self.benchmark,
            config.benchmark.root,
            config.benchmark.targets,
            source_languages=self.source_languages,
            keep_sources=config.benchmark.leave_one_out,
        )
        # Languages in a fixed order, sources first.
        languages = tuple(dict.fromkeys((*self.source_languages, *self.targets)))
        self.context = TaskContext(self.labels, languages, task=self.benchmark.task)
        for name in config.benchmark.prior:
            if name not in languages:
                there = ", ".join(languages)
                raise ConfigError(f"benchmark.prior: the run has no {name!r}, it has {there}")
        task = self.benchmark.task
        self.translations = Translations(config, task, runner, plan, self._import)
        known = (*self.source_languages, *self.benchmark.languages, *self.pools)
        order = tuple(dict.fromkeys(known))
        few = few_of(config, self.benchmark, self.source_languages, self.targets)
        self.few = tuple(few)
        self.reading = Reading(
            config, self.benchmark, self.labels, order, runner, policy, plan.shard_rows, few
        )
        self._source_gold = Gold(self.reading, self.source_languages, OF_SOURCES)
        self._few_gold = self._target_dev = None
        if few:  # train text of a target is these rows alone, see Reading
            self._few_gold = Gold(self.reading, (*self.source_languages, *few), ("train",))
        if config.benchmark.select_on == "target_dev":
            check_dev(self.benchmark, self.targets)
            self._target_dev = Gold(self.reading, self.targets, ("dev",))
        languages = tuple(dict.fromkeys((*languages, *self.pools)))
        self.voters = {x.name: x for x in voters_of(config, self.benchmark, languages)}
        self.begun: dict[str, TargetLabels] = {}  # by run or checkpoint that was started from
        self.translated = languages_of(config, self.source_languages, self.targets)
        self.projections = Projections(
            config, task, self.labels, runner, plan, self.translations, lambda: self.backbone
        )
        self._back: Corpus | None = None
        self._texts: dict[str, Artifact] = {}
        self.translated_tokens: list[Artifact] = []
        self._backbone: Model | None = None
        self._looking = threading.Lock()
        self._sources: dict[tuple[str, ...], Corpus] = {}
        self._corpora: dict[tuple[tuple[str, ...], AnySplit], Corpus] = {}

    @property
    def pools(self) -> tuple[str, ...]:
        """Languages of the unlabelled text: the targets, and of the sources those that are left out
        or adapted, too."""
        if self.config.benchmark.leave_one_out:
            return self.targets
        others = tuple(name for name in self.targets if name not in self.source_languages)
        return (*others, *self.source_languages) if self.config.benchmark.adapt_source else others

    def sources_of(self, target: str) -> tuple[str, ...]:
        """Source languages that a target learns from: all but itself."""
        names = tuple(name for name in self.source_languages if name != target)
        if not names:
            raise ConfigError(f"benchmark.source: {target} is the only source, and a target too")
        return names

    @property
    def backbone(self) -> Model:
        """The pre-trained encoder, copied into the store."""
        with self._looking:  # a training and what reads beside it ask at once
            if self._backbone is None:
                self._backbone = self.policy.backbone(self._find_backbone)
            return self._backbone

    def _find_backbone(self) -> Model:
        name = self.config.backbone
        self.begun[name] = labels_beside(name, "backbone")
        reads_spans = method_of(self.config.method).reads_spans
        task = None if reads_spans else self.benchmark.task
        found = Model(self._import("backbone", backbone_of(self.config, task)))
        if self.plan.annotation.precision == "int8" and "config.json" in found.artifact.names:
            shape = found.artifact.json("config.json")
            check_encoder(shape, f"backbone {name}", self.benchmark.task)
        return found

    def start_from(self, reference: str) -> Start:
        """The models of a finished run of the store, or a checkpoint, copied into the store.

        Raises:
            ConfigError: there is neither, or it is for other labels or another tokenizer.
        """
        return self.policy.start(reference, partial(self._find_start, reference))

    def _find_start(self, reference: str) -> Start:
        start = run_named(self.runner.store, reference)
        if start is None:
            found = checkpoint_of(reference, self.config.train.max_length)
            start = Start(Model(self._import(f"checkpoint {reference}", found)))
        for model in (start.model, *start.by_language.values()):
            check_start(model, reference, self.labels, self.backbone)
        self.begun[reference] = labels_known(self.runner.store, reference)
        return start

    def _import(self, title: str, found: Backbone) -> Artifact:
        return self.runner.run(Step(title, found), run_write)

    def source(self, split: Split, *languages: str) -> Corpus:
        """Gold-labelled text of the source languages, or of some of them; train text with the few
        labelled rows that targets may have.

        Raises:
            PermissionError: a language is no source, or its test labels are asked for.
        """
        names = languages or self.source_languages
        key = (split, *names)
        if key not in self._sources:
            self._source_gold.check(names, split)
            named = () if names == self.source_languages else names
            title = f"source {' '.join((*named, split))}"
            gold = self._source_gold
            if split == "train" and self._few_gold is not None:
                names, gold = (*names, *self.few), self._few_gold
            spared = self.few if split == "train" else ()
            if split == "train" and self.translated:
                corpus = self._with_translations(title, names, languages or self.source_languages)
            else:
                corpus = self.text_of(title, names, split)
                corpus = corpus.labelled(gold.read(title, names, split))
            self._sources[key] = replace(corpus, spared=spared)
        return self._sources[key]

    def _with_translations(
        self, title: str, names: Sequence[str], sources: Sequence[str]
    ) -> Corpus:
        """Train text of sources in translation into the targets, too, with labels. Gold of the
        sources alone is translated; the few labelled rows of targets stay as they are.

        Args:
            title: Beginning of the steps' titles.
            names: Languages of the train text: the sources and the targets with labelled rows.
            sources: The sources.
        """
        gold, own = self._few_gold or self._source_gold, self._source_gold
        whole = self.reading.text(title, names, "train"), gold.read(title, names, "train")
        alone = whole
        if tuple(names) != tuple(sources):
            apart = f"{title} alone"
            text = self.reading.text(apart, sources, "train")
            alone = text, own.read(apart, sources, "train")
        joined = self.projections.beside(title, alone, whole, sources, self.translated)
        corpus = self._tokenised(title, joined).labelled(joined)
        self.translated_tokens.append(corpus.tokens)
        return corpus

    def dev(self, target: str | None = None, *, source: str | None = None) -> Corpus:
        """Gold-labelled dev text that chooses models: of the sources that a target learns from, or
        of the source languages that the configuration names, without the target itself; for the
        model of a source its own. If targets' own dev text chooses, of the target, or of all."""
        if self._target_dev is not None:
            names = self.targets if target is None else (target,)
            title = f"target {' '.join((*names, 'dev'))}"
            corpus = self.text_of(title, names, "dev")
            return corpus.labelled(self._target_dev.read(title, names, "dev"))
        if source is not None:
            return self.source("dev", source)
        names = self.config.benchmark.dev or self.source_languages
        kept = tuple(name for name in names if name != target or self.policy.judges_left_out)
        if not kept:
            raise ConfigError(
                f"benchmark.dev: {target} is a target, and its own labels may not choose its "
                "model, but in a sweep"
            )
        return self.source("dev", *kept)

    def unlabelled(self) -> Corpus:
        """Text of the target languages without labels."""
        if not self.pools:
            raise ConfigError("benchmark.targets: no language besides the source, which has labels")
        return self.text_of("unlabelled", self.pools, "unlabelled")

    @property
    def labellers(self) -> tuple[str, ...]:
        """Those who labelled the unlabelled text, in the configured order."""
        return tuple(self.voters)

    def votes(self, name: str) -> Artifact:
        """What a labeller says about the unlabelled text; raises as `votes_about` does."""
        return votes_about(
            self.voters[name],
            self.unlabelled_text(),
            config=self.config,
            reading=self.reading,
            labels=self.labels,
            languages=self.pools,
            runner=self.runner,
            plan=self.plan,
        )

    def unlabelled_text(self) -> Artifact:
        """The same before it is tokenised."""
        return self.reading.text("unlabelled", self.pools, "unlabelled")

    def back_translated(self) -> Corpus | None:
        """The unlabelled text translated there and back; None if nothing does that. Text that is
        read in translation goes back into its own language and is translated again."""
        if not self.translations.is_there:
            return None
        if self._back is None:
            text, replace = self.unlabelled_text(), self.config.translation.replace
            languages = (
                self._foreign(self.pools) if replace else self.translations.among(self.pools)
            )
            if not languages or self._gold_alone(languages):
                return None
            change = self.translations.around if replace else self.translations.back
            back = change("unlabelled", text, languages)
            if back is None:
                return None
            self._back = self._tokenised("unlabelled there and back", back)
        return self._back

    def _gold_alone(self, languages: Sequence[str]) -> bool:
        """Whether ready translations are of source gold, and none of unlabelled text."""
        asked = self.config.translation
        if not asked.train or asked.ready is None:
            return False
        return not offering(asked.ready, languages, "back")

    def _foreign(self, languages: Sequence[str]) -> list[str]:
        """The languages that are read in translation where any is."""
        targets = [name for name in languages if name not in self.source_languages]
        return self.translations.among(targets)

    @property
    def foreign(self) -> tuple[str, ...]:
        """The targets that are read in translation."""
        replaced = self.config.translation.replace
        return tuple(self._foreign(self.targets)) if replaced else ()

    @property
    def few_rows(self) -> dict[str, int]:
        """Labelled rows of each target that has some, each counted once; without those of texts
        that were not read, or not counted."""
        found: dict[str, int] = {}
        for (names, split), text in self.reading.texts.items():
            counts = text.info.get("rows_by_language") or {}
            if split == "train":
                weight = self.config.benchmark.few_weight
                found |= {x: counts[x] // weight for x in names if x in self.few and x in counts}
        return found

    @property
    def target_labels(self) -> TargetLabels:
        """Labels of targets that its models know, also by way of what they started from."""
        dev = self.targets if self._target_dev is not None else ()
        own = TargetLabels(self.few_rows, tuple(dev), self.labellers)
        return own.with_those_of(self.begun.values())

    @property
    def tested(self) -> tuple[str, ...]:
        """Languages that can be scored: all, but of the user's own files those with test files."""
        return tuple(name for name in self.context.languages if self.benchmark.has(name, "test"))

    def text_of(self, title: str, languages: Sequence[str], split: AnySplit) -> Corpus:
        """A split of some languages without its labels."""
        key = (tuple(languages), split)
        if key not in self._corpora:
            text = self.reading.text(title, languages, split)
            foreign = self._foreign(languages)
            if foreign and self.config.translation.replace:
                words = self.benchmark.task == "token"
                change = self.projections.in_pivot if words else self._in_pivot
                text = change(title, text, foreign)
            self._corpora[key] = self._tokenised(title, text)
        return self._corpora[key]

    def _in_pivot(self, title: str, text: Artifact, languages: Sequence[str]) -> Artifact:
        return self.translations.into_pivot(title, text, languages, whole=True)

    def brought_back(
        self, title: str, predicted: Artifact, languages: Sequence[str], split: AnySplit
    ) -> Artifact:
        """Labels of the words of a split, of those that a model gave to what the run reads in their
        place; the same labels unless that is a translation."""
        foreign = [name for name in languages if name in self.foreign]
        if self.benchmark.task != "token" or not foreign:
            return predicted
        read = self._texts[self.text_of(split, languages, split).tokens.fingerprint]
        text = self.reading.text(split, languages, split)
        return self.projections.back(title, predicted, text, read, foreign)

    def _tokenised(self, title: str, text: Artifact) -> Corpus:
        backbone = self.backbone.artifact
        task = TokeniseTask(text=text, backbone=backbone, task=self.benchmark.task)
        tokens = self.runner.run(Step(f"{title} tokens", task), run_tokenise)
        self._texts[tokens.fingerprint] = text
        return Corpus(tokens)

    def said(
        self, title: str, path: str, text: Corpus, *, languages: Sequence[str], key: str
    ) -> Artifact:
        """What a system outside says about a text, as labels and probabilities of its items.

        Args:
            title: What the step is called in a ledger.
            path: File of its predictions, as `xlt_ray.engine.given` reads it.
            text: The text, as the run reads it.
            languages: Languages of the rows that need a prediction.
            key: The key that names the file, for messages.

        Raises:
            ConfigError: the file cannot be read, or lacks a row.
        """
        task = GivenTask(
            text=self._texts[text.tokens.fingerprint],
            languages=tuple(languages),
            labels=self.labels,
            sha256=digest_of(path, key),
            row_bytes=self.config.data.max_row_bytes,
            path=path,
            key=key,
        )
        return self.runner.run(Step(f"{title} annotation", task), run_given)
