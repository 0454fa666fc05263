"""The invented languages of the embedded benchmark: knobs, spelling, lexicon.

Every word is a *concept* with a proto form. A language renders a concept as a cognate (the proto
form with its own spelling changes) or as a word of its own, then writes it in its script. Names
are concepts too, and travel more often than other words. The source language renders every
concept as the proto form, so the proto forms are its words.
"""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal, get_args

Order = Literal["SVO", "SOV", "VSO", "VOS", "OSV", "OVS"]
Script = Literal["latin", "cyrillic", "armenian", "georgian"]

ENTITY_TYPES = ("PER", "ORG", "LOC")
NAMES_PER_TYPE = 40
AMBIGUOUS_NAMES = 20
SUFFIXES_PER_TYPE = 2

_VOWELS = "aeiou"
_CONSONANTS = "ptkbdgmnszlrvfhj"
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_SCRIPT_START = {"cyrillic": 0x0430, "armenian": 0x0561, "georgian": 0x10D0}
_ALTERNATIVES = {
    "a": "oe", "e": "iy", "i": "ey", "o": "ua", "u": "ow", "p": "bf", "b": "pv", "t": "dc",
    "d": "tz", "k": "cg", "g": "kj", "m": "nw", "n": "mr", "s": "zx", "z": "sd", "l": "rw",
    "r": "lh", "v": "wf", "f": "vp", "h": "xk", "j": "yg",
}  # fmt: skip
# Concepts in closed classes are short words and, like real function words, belong to one language.
_CLOSED = {
    "det": 2, "pron": 4, "aux": 2, "not": 1, "conj": 2, "very": 2, "for": 2, "in": 3, "at": 2,
    "with": 2, "mark": 1,
}  # fmt: skip
_OPEN = {
    "noun": 40, "adj": 14, "adverb": 8, "number": 6, "title": 4, "firm": 4, "place": 4,
    "verb": 8, "verb.PER": 6, "verb.ORG": 6, "verb.LOC": 6, "act": 12, "kind": 10,
    "worst": 4, "bad": 4, "plain": 4, "good": 4, "best": 4,
}  # fmt: skip
_COUNTS = (
    _CLOSED
    | {f"suffix.{kind}": SUFFIXES_PER_TYPE for kind in ENTITY_TYPES}
    | {"case.in": 1, "case.with": 1, "case.at": 1}
    | _OPEN
)
HOMOGRAPHS = 5  # verb i is spelled as noun i for i below this


@dataclass(frozen=True, slots=True)
class Knobs:
    """How far a language is from the source, and how clean its labels are.

    Attributes:
        shared: Share of common words that are cognates of the source's, 0..1.
        names: Share of names that travel, 0..1; the others are local.
        spelling: Chance that a letter of a cognate or a travelling name changes, 0..1.
        loans: Chance that a word of a sentence stands in its source form, 0..1.
        order: Order of subject, verb and object. Languages with the object before the verb mark
            places and partners with suffixes; verb-first ones put adjectives after the noun.
        script: Alphabet; loans and acronyms stay Latin.
        prior_shift: 0 keeps the common class prior, 1 replaces it by the language's own skewed one.
        label_noise: Chance that an entity (ner), a token (tagging) or an item gets a wrong class.
    """

    shared: float = 1.0
    names: float = 1.0
    spelling: float = 0.0
    loans: float = 0.0
    order: Order = "SVO"
    script: Script = "latin"
    prior_shift: float = 0.0
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shared", "names", "spelling", "loans", "prior_shift", "label_noise"):
            value: Any = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= value <= 1:
                raise ValueError(f"knob {name!r} is {value!r}, allowed: a number from 0 to 1")
        for name, allowed in (("order", get_args(Order)), ("script", get_args(Script))):
            if getattr(self, name) not in allowed:
                value = getattr(self, name)
                raise ValueError(f"knob {name!r} is {value!r}, allowed: {', '.join(allowed)}")

    @property
    def object_marked(self) -> bool:
        """Whether a particle sets the object apart from a subject beside it."""
        return "SO" in self.order or "OS" in self.order

    @property
    def object_first(self) -> bool:
        """Whether the object precedes the verb."""
        return self.order.index("O") < self.order.index("V")


# The first is the source, the others go from near to far.
DEFAULT_KNOBS: Mapping[str, Knobs] = {
    "mira": Knobs(),
    "nolu": Knobs(shared=0.95, names=0.95, spelling=0.02, prior_shift=0.1),
    "teska": Knobs(shared=0.95, names=0.95, spelling=0.02, order="VSO", prior_shift=0.2),
    "pavri": Knobs(shared=0.9, names=0.9, spelling=0.04, prior_shift=0.3),
    "orsen": Knobs(shared=0.9, names=0.9, spelling=0.03, order="SOV", prior_shift=0.3),
    "kaldi": Knobs(shared=0.85, names=0.9, spelling=0.05, order="VSO", prior_shift=0.4),
    "zhuma": Knobs(
        shared=0.9, names=0.95, spelling=0.03, loans=0.5, script="cyrillic", prior_shift=0.3
    ),
}
LANGUAGES: tuple[str, ...] = tuple(DEFAULT_KNOBS)


def unit(*key: object) -> float:
    """A number in [0, 1) that is a pure function of the key."""
    digest = hashlib.blake2b("\x1f".join(map(str, key)).encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big") / 256**7


def override(language: str, changes: Mapping[str, Any]) -> Knobs:
    """The default knobs of a language with some replaced.

    Raises:
        ValueError: A knob that does not exist, or a value that is not allowed.
    """
    known = {field.name for field in fields(Knobs)}
    if unknown := sorted(set(changes) - known):
        raise ValueError(
            f"unknown knob {unknown[0]!r} of {language!r}, allowed: {', '.join(sorted(known))}"
        )
    return replace(DEFAULT_KNOBS[language], **changes)


class Lexicon:
    """The words of one language.

    Attributes:
        words: Surface form of every concept that is not a name.
        counts: Number of concepts of each kind.
        source_words: The same concepts in the source's form, for loans.
    """

    def __init__(self, language: str, *, seed: int, knobs: Knobs) -> None:
        self.language, self.seed, self.knobs = language, seed, knobs
        self._inventory = self._phonology()
        self._script = str.maketrans(
            {c: chr(_SCRIPT_START[knobs.script] + i) for i, c in enumerate(_LETTERS)}
            if knobs.script != "latin"
            else {}
        )
        self._names: dict[str, str] = {}
        self.source_words = _proto_words(seed)
        self.counts = _COUNTS
        self.words = self._translate()

    def name(self, concept: str) -> str:
        """Surface form of a name such as ``PER.17`` or the ambiguous ``any.3``."""
        form = self._names.get(concept)
        if form is None:
            if unit(self.seed, self.language, "travels", concept) < self.knobs.names:
                stem = self._respell(self._stem(concept))
            else:
                stem = self._own(f"name.{concept}", (2, 2, 3))
            form = stem.translate(self._script) + self._suffix(concept, self.words)
            self._names[concept] = form
        return form

    def source_name(self, concept: str) -> str:
        """The form a name has in the source language."""
        return self._stem(concept) + self._suffix(concept, self.source_words)

    def _stem(self, concept: str) -> str:
        return _syllables(self.seed, "name", concept, sizes=(2, 2, 3))

    def _suffix(self, concept: str, words: Mapping[str, str]) -> str:
        kind = concept.partition(".")[0]
        if kind not in ENTITY_TYPES or unit(self.seed, "suffixed", concept) >= 0.7:
            return ""
        number = int(unit(self.seed, "suffix of", concept) * SUFFIXES_PER_TYPE)
        return words[f"suffix.{kind}.{number}"]

    def _translate(self) -> dict[str, str]:
        taken: set[str] = set()
        words: dict[str, str] = {}
        for concept, proto in self.source_words.items():
            if concept.startswith("verb.") and concept[5:] in _HOMOGRAPH_NUMBERS:
                words[concept] = words[f"noun.{concept[5:]}"]
                continue
            cognate = unit(self.seed, self.language, "cognate", concept) < self.knobs.shared
            form = self._respell(proto) if cognate else ""
            attempt = 0
            while not form or form in taken:
                form = self._own(f"{concept}/{attempt}", _sizes(concept))
                attempt += 1
            taken.add(form)
            words[concept] = form.translate(self._script)
        return words

    def _respell(self, word: str) -> str:
        if not self.knobs.spelling:
            return word
        letters = []
        for position, letter in enumerate(word):
            if unit(self.seed, self.language, "spell", word, position) < self.knobs.spelling:
                options = _ALTERNATIVES[letter]
                letter = options[
                    int(unit(self.seed, self.language, "shift", letter) * len(options))
                ]
            letters.append(letter)
        return "".join(letters)

    def _own(self, concept: str, sizes: tuple[int, ...]) -> str:
        return _syllables(self.seed, self.language, concept, sizes=sizes, inventory=self._inventory)

    def _phonology(self) -> tuple[str, str]:
        def ranked(letters: str) -> list[str]:
            return sorted(letters, key=lambda c: unit(self.seed, self.language, "sound", c))

        return "".join(ranked(_CONSONANTS + "cwxy")[:13]), "".join(ranked(_VOWELS)[:4])


_HOMOGRAPH_NUMBERS = frozenset(str(i) for i in range(HOMOGRAPHS))


@lru_cache(maxsize=64)
def lexicon(language: str, seed: int, knobs: Knobs) -> Lexicon:
    """The lexicon of a language, built once per process."""
    return Lexicon(language, seed=seed, knobs=knobs)


@lru_cache(maxsize=8)
def _proto_words(seed: int) -> Mapping[str, str]:
    words: dict[str, str] = {}
    taken: set[str] = set()
    for kind, count in _COUNTS.items():
        for number in range(count):
            concept, attempt = f"{kind}.{number}", 0
            if kind == "verb" and number < HOMOGRAPHS:
                words[concept] = words[f"noun.{number}"]
                continue
            form = ""
            while not form or form in taken:
                form = _syllables(seed, "proto", f"{concept}/{attempt}", sizes=_sizes(concept))
                attempt += 1
            taken.add(form)
            words[concept] = form
    return words


def _sizes(concept: str) -> tuple[int, ...]:
    kind = concept.partition(".")[0]
    return (1,) if kind in _CLOSED or kind in ("suffix", "case") else (2, 2, 3)


def _syllables(
    *key: object, sizes: tuple[int, ...], inventory: tuple[str, str] = (_CONSONANTS, _VOWELS)
) -> str:
    draw = random.Random("\x1f".join(map(str, key))).random
    consonants, vowels = inventory
    parts: list[str] = []
    for _ in range(sizes[int(draw() * len(sizes))]):
        parts.append(consonants[int(draw() * len(consonants))])
        parts.append(vowels[int(draw() * len(vowels))])
        if draw() < 0.35:
            parts.append(consonants[int(draw() * len(consonants))])
    return "".join(parts)
