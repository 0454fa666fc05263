"""Sentences of the invented languages: clauses with entities, sentence pairs and reviews.

The class of an item is drawn first (from the prior of its language), the words follow from it.
Context gives an entity away only most of the time: verbs, titles, adpositions and case endings
fit the type with a fixed chance, and some names belong to several types.
"""

import random
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from xlt_ray.data.benchmarks.toy_words import (
    AMBIGUOUS_NAMES,
    ENTITY_TYPES,
    NAMES_PER_TYPE,
    Knobs,
    Lexicon,
    unit,
)

PAIR_CLASSES = ("entailment", "neutral", "contradiction")
RATING_CLASSES = ("1", "2", "3", "4", "5")
TAGS = ("NOUN", "PROPN", "PRON", "VERB", "AUX", "ADJ", "ADV", "ADP", "DET", "NUM", "PUNCT")
_HEADS = ("NOUN", "PROPN", "PRON")
_SENTIMENTS = ("worst", "bad", "plain", "good", "best")
_CUES = {"PER": "with", "ORG": "at", "LOC": "in"}
_CUE_CHANCE = 0.85
_BASE_PRIOR = {
    "ner": (0.36, 0.3, 0.34),
    "tagging": (0.45, 0.4, 0.15),
    "pair": (1 / 3, 1 / 3, 1 / 3),
    "rating": (0.15, 0.2, 0.2, 0.25, 0.2),
}


@dataclass(frozen=True, slots=True)
class Word:
    """One token: its form, its part of speech and its BIO tag."""

    form: str
    pos: str
    tag: str = "O"


@lru_cache(maxsize=256)
def class_prior(task: str, language: str, knobs: Knobs) -> tuple[float, ...]:
    """The prior a language draws its classes from.

    The classes are the entity types PER, ORG, LOC (ner), the heads NOUN, PROPN, PRON of noun
    phrases (tagging), or the classes of the item (pair, rating). The common prior is mixed with a
    skewed one, weights 1, 1/2, 1/4, ... in an order of the language's own, by ``prior_shift``.
    """
    base = _BASE_PRIOR[task]
    order = sorted(range(len(base)), key=lambda c: unit("prior", task, language, c))
    skewed = [0.0] * len(base)
    for rank, position in enumerate(order):
        skewed[position] = 2.0**-rank / (2 - 2.0 ** (1 - len(base)))
    shift = knobs.prior_shift
    return tuple((1 - shift) * b + shift * s for b, s in zip(base, skewed, strict=True))


class Speaker:
    """Draws one item of one language.

    Args:
        words: The lexicon.
        task: ner, tagging, pair or rating.
        key: What the item is a pure function of, beside the lexicon.
    """

    def __init__(self, words: Lexicon, *, task: str, key: str) -> None:
        priors = class_prior(task, words.language, words.knobs)
        self.lexicon, self.knobs = words, words.knobs
        types = priors if task == "ner" else _BASE_PRIOR["ner"]
        heads = priors if task == "tagging" else _BASE_PRIOR["tagging"]
        self._type_steps = list(accumulate(types))
        self._head_steps = list(accumulate(heads))
        self._class_steps = list(accumulate(priors))
        # random() is the one method whose stream Python promises never to change.
        self._draw = random.Random(key).random

    def sentence(self) -> list[Word]:
        """A tagged sentence."""
        words = self._clause(adjuncts=int(self._draw() * 3))
        if self._chance(0.15):
            words += [self._word("conj", "ADV"), *self._clause(adjuncts=0)]
        return [*words, Word(".", "PUNCT")]

    def pair(self) -> tuple[str, str, int]:
        """Premise, hypothesis and class."""
        label = self._pick(self._class_steps)
        subject, act = self._number("noun"), self._number("act")
        goal, place = self._other("noun", subject), self._number("kind")
        negated = self._chance(0.15)
        premise = self._statement(subject, act, f"noun.{goal}", place, negated=negated)
        said: str = f"noun.{goal}"
        kept: int | None = place if self._chance(0.3) else None
        if label == 0:
            if self._chance(0.4) and not negated:
                said = f"kind.{goal % 10}"
        elif label == 1:
            said = f"noun.{self._other('noun', goal)}"
            if self._chance(0.4):
                kept = self._other("kind", place)
        elif self._chance(0.5):
            act ^= 1
        else:
            negated = not negated
        return premise, self._statement(subject, act, said, kept, negated=negated), label

    def review(self) -> tuple[str, int]:
        """Review and class (stars - 1)."""
        label = self._pick(self._class_steps)
        words: list[str] = []
        for _ in range(2 + int(self._draw() * 3)):
            level = label
            if self._chance(0.25):
                level = min(4, max(0, label + (1 if self._chance(0.5) else -1)))
            if words:
                words.append(self._form("conj"))
            words += [w.form for w in self._noun(described=0.1)]
            words.append(self._form("aux"))
            if level != 2 and self._chance(0.2):
                words.append(self._form("not"))
                level = 4 - level
            elif level in (0, 4) and self._chance(0.4):
                words.append(self._form("very"))
                level = 1 if level == 0 else 3
            words.append(self._form(_SENTIMENTS[level]))
        return " ".join([*words, "."]), label

    def _clause(self, *, adjuncts: int) -> list[Word]:
        subject_type = self._pick(self._type_steps)
        subject = self._phrase(subject_type)
        verbs = "verb"
        if subject[-1].tag != "O" and self._chance(_CUE_CHANCE):
            verbs = f"verb.{ENTITY_TYPES[subject_type]}"
        verb = [self._word(verbs, "VERB")]
        if self._chance(0.2):
            verb.insert(0, self._word("aux", "AUX"))
        if self._chance(0.2):
            verb.append(self._word("adverb", "ADV"))
        goal = self._phrase(self._pick(self._type_steps)) if self._chance(0.7) else []
        if goal and self.knobs.object_marked:
            goal.insert(0, self._word("mark", "ADP"))
        parts = {"S": subject, "V": verb, "O": goal}
        words = [word for part in self.knobs.order for word in parts[part]]
        for _ in range(adjuncts):
            words += self._adjunct()
        return words

    def _adjunct(self) -> list[Word]:
        number = self._pick(self._type_steps)
        phrase = self._phrase(number)
        cue = _CUES[ENTITY_TYPES[number]]
        if phrase[-1].tag == "O":
            cue = ("with", "at", "in")[int(self._draw() * 3)]
        if not self._chance(_CUE_CHANCE):
            return [self._word("for", "ADP"), *phrase]
        if not self.knobs.object_first:
            return [self._word(cue, "ADP"), *phrase]
        last = phrase[-1]
        return [*phrase[:-1], Word(last.form + self._form(f"case.{cue}"), last.pos, last.tag)]

    def _phrase(self, entity_type: int) -> list[Word]:
        head = _HEADS[self._pick(self._head_steps)]
        if head == "PRON":
            return [self._word("pron", "PRON")]
        if head == "NOUN":
            return self._noun(described=0.35)
        return self._entity(ENTITY_TYPES[entity_type])

    def _noun(self, *, described: float) -> list[Word]:
        words = [self._word("noun", "NOUN")]
        if self._chance(described):
            words.insert(1 if self.knobs.order[0] == "V" else 0, self._word("adj", "ADJ"))
        if self._chance(0.15):
            words.insert(0, self._word("number", "NUM"))
        elif self._chance(0.5):
            words.insert(0, self._word("det", "DET"))
        return words

    def _entity(self, kind: str) -> list[Word]:
        forms = [self._name(kind)]
        before: list[Word] = []
        if kind == "PER":
            if self._chance(0.4):
                before = [self._word("title", "NOUN")]
            if self._chance(0.45):
                forms.append(self._name(kind))
        elif kind == "LOC":
            if self._chance(0.25):
                forms = self._designated(forms, "place")
        else:
            shape = self._draw()
            if shape < 0.35:
                forms = self._designated(forms, "firm")
            elif shape < 0.5:
                forms = self._designated([self._name("LOC")], "firm")
            elif shape < 0.6:
                forms = [self._acronym()]
        tags = [f"B-{kind}"] + [f"I-{kind}"] * (len(forms) - 1)
        named = [Word(f, "PROPN", t) for f, t in zip(forms, tags, strict=True)]
        return before + named

    def _designated(self, forms: list[str], designator: str) -> list[str]:
        word = self._form(designator)
        return [word, *forms] if self.knobs.order[0] == "V" else [*forms, word]

    def _name(self, kind: str) -> str:
        if self._chance(0.25):
            concept = f"any.{int(AMBIGUOUS_NAMES * self._draw() ** 2.0)}"
        else:
            concept = f"{kind}.{int(NAMES_PER_TYPE * self._draw() ** 2.0)}"
        if self.knobs.loans and self._chance(self.knobs.loans):
            return self.lexicon.source_name(concept)
        return self.lexicon.name(concept)

    def _acronym(self) -> str:
        size = 2 + int(self._draw() * 2)
        return "".join("bcdfgkmnprst"[int(self._draw() * 12)] for _ in range(size))

    def _statement(
        self, subject: int, act: int, goal: str, place: int | None, *, negated: bool
    ) -> str:
        verb = [self._form(f"act.{act}")]
        if negated:
            verb.insert(0, self._form("not.0"))
        parts = {"S": [self._form(f"noun.{subject}")], "V": verb, "O": [self._form(goal)]}
        words = [word for part in self.knobs.order for word in parts[part]]
        if place is not None:
            where = self._form(f"kind.{place}")
            if self.knobs.object_first:
                words.append(where + self._form("case.in.0"))
            else:
                words += [self._form("in.0"), where]
        return " ".join([*words, "."])

    def _word(self, kind: str, pos: str) -> Word:
        return Word(self._form(kind), pos)

    def _form(self, concept: str) -> str:
        """Surface form of a concept; a kind without a number draws one of the kind."""
        if concept not in self.lexicon.words:
            concept = f"{concept}.{self._number(concept)}"
        if self.knobs.loans and self._chance(self.knobs.loans):
            return self.lexicon.source_words[concept]
        return self.lexicon.words[concept]

    def _number(self, kind: str) -> int:
        return int(self.lexicon.counts[kind] * self._draw() ** 1.6)

    def _other(self, kind: str, number: int) -> int:
        count = self.lexicon.counts[kind]
        return (number + 1 + int((count - 1) * self._draw())) % count

    def _chance(self, chance: float) -> bool:
        return self._draw() < chance

    def _pick(self, steps: Sequence[float]) -> int:
        return min(bisect(steps, self._draw()), len(steps) - 1)
