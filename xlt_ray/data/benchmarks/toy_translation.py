"""Translations of sentences of the embedded benchmark, whose truth is known word by word.

A sentence is drawn once more with concepts in place of forms. Concepts are then put into the order
of the other language and written as it writes them, with its particles and case endings.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from xlt_ray.data.batches.subwords import running_text
from xlt_ray.data.benchmarks.toy import ToySource
from xlt_ray.data.benchmarks.toy_grammar import Speaker, Word
from xlt_ray.data.benchmarks.toy_words import ENTITY_TYPES, Lexicon, lexicon
from xlt_ray.data.projection.markers import brackets_around, marked, pairs_of
from xlt_ray.labels import Span, bio_spans

_NAME = "name:"
_DESIGNATORS = ("firm", "place")
_CUES = ("with", "at", "in")


@dataclass(frozen=True)
class Quality:
    """How good a translation is; by default all of it is right.

    Attributes:
        wrong: Chance that a word is another one of its kind, 0..1.
        dropped: Chance that a word that is of no entity is left out, 0..1.
        lost: Chance that brackets around an entity are lost, 0..1.
    """

    wrong: float = 0.0
    dropped: float = 0.0
    lost: float = 0.0


class _Concepts:
    """A lexicon whose words are concepts; what is drawn with it is drawn as with the other one."""

    def __init__(self, words: Lexicon):
        self.language, self.knobs, self.counts = words.language, words.knobs, words.counts
        self.words = {concept: concept for concept in words.words}
        self.source_words = self.words

    def name(self, concept: str) -> str:
        return f"{_NAME}{concept}"

    source_name = name


def translations(
    source: ToySource, into: ToySource, quality: Quality = Quality()
) -> Iterator[tuple[list[Word], list[Word]]]:
    """The sentences of a split of the source language, and their translations with their tags.

    Args:
        source: A split of words, of a language with the subject first and no loans.
        into: Any split of the other language, for its lexicon.
        quality: How good translations are.
    """
    words = lexicon(source.language, source.seed, source.knobs)
    other = lexicon(into.language, into.seed, into.knobs)
    for index in range(source.size):
        key = f"{source.seed}/{source.task}/{source.language}/{source.split}/{index}"
        own = Speaker(words, task=source.task, key=key).sentence()
        concepts = Speaker(cast(Any, _Concepts(words)), task=source.task, key=key).sentence()
        draw = random.Random(f"translation/{into.language}/{key}").random
        yield own, _Writer(other, quality, draw).sentence(concepts)


def ready_rows(
    source: ToySource, into: ToySource, quality: Quality = Quality()
) -> Iterator[tuple[str, str]]:
    """What a table of ready translations has: each text and its translation, first as running
    text, then, of sentences with entities, in brackets."""
    for number, (own, other) in enumerate(translations(source, into, quality)):
        forms, others = ([word.form for word in words] for words in (own, other))
        yield running_text(forms).text, running_text(others).text
        spans, there = (bio_spans([word.tag for word in words]) for words in (own, other))
        if not spans:
            continue
        draw = random.Random(f"lost/{into.language}/{source.split}/{number}").random
        kept: list[Span] = [span for span in there if draw() >= quality.lost]
        yield marked(forms, spans), brackets_around(others, kept, pairs_of(forms, spans))


class _Writer:
    """Writes the concepts of a sentence in a language."""

    def __init__(self, words: Lexicon, quality: Quality, draw: Any):
        self.lexicon, self.knobs, self.quality, self.draw = words, words.knobs, quality, draw

    def sentence(self, concepts: Sequence[Word]) -> list[Word]:
        found = list[Word]()
        clause = list[Word]()
        for word in concepts[:-1]:
            if word.form.startswith("conj."):
                found += [*self._clause(clause), self._word(word)]
                clause = []
            else:
                clause.append(word)
        found += self._clause(clause)
        kept = [x for x in found if x.tag != "O" or self.draw() >= self.quality.dropped]
        return [*kept, concepts[-1]]

    def _clause(self, words: Sequence[Word]) -> list[Word]:
        verb = next(n for n, word in enumerate(words) if word.pos in ("AUX", "VERB"))
        end = verb
        while end < len(words) and words[end].pos in ("AUX", "VERB", "ADV"):
            end += 1
        begins = [n for n in range(end, len(words)) if words[n].pos == "ADP"]
        goal = words[end : begins[0] if begins else len(words)]
        mark = [Word(self._form("mark.0"), "ADP")] if goal and self.knobs.object_marked else []
        parts = {
            "S": self._phrase(words[:verb]),
            "V": [self._word(word) for word in words[verb:end]],
            "O": [*mark, *self._phrase(goal)],
        }
        found = [word for part in self.knobs.order for word in parts[part]]
        for start, stop in pairwise([*begins, len(words)]):
            found += self._adjunct(words[start], words[start + 1 : stop])
        return found

    def _adjunct(self, cue: Word, words: Sequence[Word]) -> list[Word]:
        phrase, kind = self._phrase(words), cue.form.partition(".")[0]
        if kind not in _CUES or not self.knobs.object_first:
            return [self._word(cue), *phrase]
        last = phrase[-1]
        return [*phrase[:-1], Word(last.form + self._form(f"case.{kind}.0"), last.pos, last.tag)]

    def _phrase(self, words: Sequence[Word]) -> list[Word]:
        words = list(words)
        if self.knobs.order[0] == "V":
            for at in range(len(words) - 1):
                first, second = words[at], words[at + 1]
                is_name = second.form.partition(".")[0] in _DESIGNATORS
                if is_name or (first.pos == "ADJ" and second.pos == "NOUN"):
                    words[at] = Word(second.form, second.pos, first.tag)
                    words[at + 1] = Word(first.form, first.pos, second.tag)
        return [self._word(word) for word in words]

    def _word(self, word: Word) -> Word:
        return Word(self._form(word.form), word.pos, word.tag)

    def _form(self, concept: str) -> str:
        if self.quality.wrong and self.draw() < self.quality.wrong:
            concept = self._another(concept)
        is_loan = bool(self.knobs.loans) and self.draw() < self.knobs.loans
        if concept.startswith(_NAME):
            name = concept.removeprefix(_NAME)
            return self.lexicon.source_name(name) if is_loan else self.lexicon.name(name)
        if concept not in self.lexicon.words:
            return concept  # an acronym
        return self.lexicon.source_words[concept] if is_loan else self.lexicon.words[concept]

    def _another(self, concept: str) -> str:
        kind, _, _ = concept.rpartition(".")
        if concept.startswith(_NAME):
            return f"{_NAME}{ENTITY_TYPES[int(3 * self.draw())]}.{int(40 * self.draw())}"
        count = self.lexicon.counts.get(kind)
        return concept if count is None else f"{kind}.{int(count * self.draw())}"
