"""The embedded benchmark: labelled sentences of invented, related languages.

Four tasks (ner, tagging, pair, rating) in one source and six target languages, of any size. Item
i of a language and split is a pure function of the seed, the task, the language, the knobs, the
split and i, so a source is never held in memory and any range of it can be made by itself.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from xlt_ray.data.benchmarks.toy_grammar import (
    PAIR_CLASSES,
    RATING_CLASSES,
    TAGS,
    Speaker,
    class_prior,
)
from xlt_ray.data.benchmarks.toy_words import (
    DEFAULT_KNOBS,
    ENTITY_TYPES,
    LANGUAGES,
    Knobs,
    lexicon,
    override,
)
from xlt_ray.data.schema import BadRow, Example, content_id
from xlt_ray.labels import LabelSet

__all__ = [
    "DEFAULT_KNOBS",
    "LABELS",
    "LANGUAGES",
    "SIZES",
    "SPLITS",
    "VERSION",
    "Knobs",
    "ToySource",
    "class_prior",
    "make_source",
    "unlabelled_text",
]

VERSION = 1  # raise it whenever the same options would give other rows
ToyTask = Literal["ner", "tagging", "pair", "rating"]
SPLITS = ("train", "dev", "test")
SIZES: Mapping[str, int] = {"train": 2000, "dev": 500, "test": 500}
LABELS: dict[str, tuple[str, ...]] = {
    "ner": ("O", *(f"{prefix}-{kind}" for kind in ENTITY_TYPES for prefix in "BI")),
    "tagging": TAGS,
    "pair": PAIR_CLASSES,
    "rating": RATING_CLASSES,
}


@dataclass(frozen=True)
class ToySource:
    """One split of one invented language; satisfies the Source protocol.

    Attributes:
        task: ner, tagging, pair or rating.
        language: One of LANGUAGES.
        split: One of SPLITS, or ``raw`` for pre-training text.
        size: Number of items.
        seed: Seed of the lexicon and of the sentences.
        knobs: How far the language is from the source, and how clean its labels are.
    """

    task: ToyTask
    language: str
    split: str
    size: int
    seed: int
    knobs: Knobs

    def identity(self) -> dict[str, Any]:
        """Everything the rows depend on, as JSON."""
        return {"kind": "toy", "version": VERSION, **asdict(self)}

    def volume(self, limit: int | None = None) -> int:
        """Bytes of text that take as long to read as its items to make, about."""
        return 150 * (self.size if limit is None else min(limit, self.size))

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        """The first ``limit`` items, all of them by default.

        Args:
            labels: The label set to number the classes with, or None for text alone.
            limit: Most items to give.
        """
        stop = self.size if limit is None else min(limit, self.size)
        return self.shard(labels, start=0, stop=stop)

    def shard(
        self, labels: LabelSet | None, *, start: int, stop: int
    ) -> Iterator[Example | BadRow]:
        """Items start..stop-1, at a cost that does not depend on ``start``."""
        for index in range(start, min(stop, self.size)):
            yield self._item(index, labels)

    def _item(self, index: int, labels: LabelSet | None) -> Example | BadRow:
        names, tokens, text, text_pair = self._content(index)
        parts = tokens or tuple(part for part in (text, text_pair) if part is not None)
        numbers: tuple[int, ...] | int | None = None
        if labels is not None:
            noisy = _with_noise(self, index, names)
            try:
                numbers = tuple(labels.index(name) for name in noisy)
            except ValueError as error:
                return BadRow(file=self._file, line=index + 1, reason=str(error))
            numbers = numbers if tokens else numbers[0]
        return Example(
            id=content_id(self.language, self.split, parts, index),
            language=self.language,
            tokens=tokens,
            text=text,
            text_pair=text_pair,
            labels=numbers,
            file=self._file,
            line=index + 1,
        )

    @property
    def _file(self) -> str:
        return f"toy-{self.task}/{self.language}/{self.split}"

    def _content(
        self, index: int
    ) -> tuple[tuple[str, ...], tuple[str, ...] | None, str | None, str | None]:
        key = f"{self.seed}/{self.task}/{self.language}/{self.split}/{index}"
        words = lexicon(self.language, self.seed, self.knobs)
        speaker = Speaker(words, task=self.task, key=key)
        if self.task == "pair":
            premise, hypothesis, label = speaker.pair()
            return (PAIR_CLASSES[label],), None, premise, hypothesis
        if self.task == "rating":
            text, label = speaker.review()
            return (RATING_CLASSES[label],), None, text, None
        sentence = speaker.sentence()
        names = tuple(word.tag if self.task == "ner" else word.pos for word in sentence)
        return names, tuple(word.form for word in sentence), None, None


def make_source(
    task: str, language: str, split: str, options: Mapping[str, object] | None = None
) -> ToySource:
    """One split of one language of the embedded benchmark.

    Args:
        task: ner, tagging, pair or rating.
        language: One of LANGUAGES.
        split: train, dev or test.
        options: ``train``, ``dev``, ``test``: items per split of every language;
            ``target_train``: items of the train split of the target languages, by default as
            many as ``train``; ``seed``; ``knobs``: language -> knob -> value.

    Raises:
        ValueError: A task, language, split or option that is not allowed.
    """
    options = options or {}
    allowed = (*SPLITS, "target_train", "seed", "knobs")
    if unknown := sorted(set(options) - set(allowed)):
        raise ValueError(f"unknown toy option {unknown[0]!r}, allowed: {', '.join(allowed)}")
    _check("task", task, get_args(ToyTask))
    _check("language", language, LANGUAGES)
    _check("split", split, SPLITS)
    sizes = {name: _whole(options, name, least=1, default=SIZES[name]) for name in SPLITS}
    target_train = _whole(options, "target_train", least=1, default=sizes["train"])
    size = target_train if split == "train" and language != LANGUAGES[0] else sizes[split]
    changes = options.get("knobs", {})
    if not isinstance(changes, Mapping):
        raise ValueError(f"toy option 'knobs' is {changes!r}, allowed: language -> knob -> value")
    knobs = DEFAULT_KNOBS[language]
    for name, values in changes.items():
        _check("knobs", name, LANGUAGES)
        if not isinstance(values, Mapping):
            raise ValueError(f"toy option 'knobs.{name}' is {values!r}, allowed: knob -> value")
        checked = override(name, values)
        knobs = checked if name == language else knobs
    return ToySource(
        task=task,  # pyrefly: ignore [bad-argument-type]
        language=language,
        split=split,
        size=size,
        seed=_whole(options, "seed", least=0, default=0),
        knobs=knobs,
    )


def unlabelled_text(
    language: str,
    split: str = "raw",
    *,
    size: int,
    task: str = "ner",
    options: Mapping[str, object] | None = None,
) -> Iterator[list[str]]:
    """Plain sentences as words, for the tokenizer and for pre-training.

    Args:
        language: One of LANGUAGES.
        split: ``raw``, which shares no sentence draw with the labelled splits, or one of those.
        size: Number of items; a sentence pair is one item.
        task: The task whose text is wanted.
        options: The options of `make_source`; the sizes in them do not matter here.
    """
    _check("split", split, ("raw", *SPLITS))
    source = make_source(task, language, SPLITS[0], options)
    for item in replace(source, split=split, size=size).examples(None):
        assert isinstance(item, Example)
        if item.tokens is not None:
            yield list(item.tokens)
        else:
            yield f"{item.text} {item.text_pair or ''}".split()


def _with_noise(source: ToySource, index: int, names: tuple[str, ...]) -> tuple[str, ...]:
    chance = source.knobs.label_noise
    if not chance:
        return names
    key = f"noise/{source.seed}/{source.task}/{source.language}/{source.split}/{index}"
    draw = random.Random(key).random

    def wrong(name: str, classes: tuple[str, ...]) -> str:
        if draw() >= chance:
            return name
        others = [other for other in classes if other != name]
        return others[int(draw() * len(others))]

    if source.task != "ner":
        return tuple(wrong(name, LABELS[source.task]) for name in names)
    noisy: list[str] = []
    kind = ""
    for name in names:
        prefix, _, true_kind = name.partition("-")
        if prefix == "B":
            kind = wrong(true_kind, ENTITY_TYPES)
        noisy.append(f"{prefix}-{kind}" if prefix != "O" else name)
    return tuple(noisy)


def _check(field: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"toy {field} is {value!r}, allowed: {', '.join(allowed)}")


def _whole(options: Mapping[str, object], name: str, *, least: int, default: int) -> int:
    value = options.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"toy option {name!r} is {value!r}, allowed: a whole number from {least}")
    return value
