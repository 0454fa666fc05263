"""Where the words of a running text are.

``blanks`` ends words at white space. ``marks`` ends them before and after every punctuation mark,
too, and makes a word of every character of a script that is written without blanks (Chinese,
Japanese, Thai, Lao, Khmer, Burmese, Tibetan). ``characters`` makes a word of every character. A
character is what a reader takes for one (UAX 29): marks stay with the letter that they are put on.
"""

from collections.abc import Iterator
from typing import Literal

import regex

Cut = Literal["blanks", "marks", "characters"]
Place = tuple[int, int]
"""First character of a word, and the one after its last."""

_SCRIPTS = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
_UNSPACED = regex.compile("[" + "".join(rf"\p{{Script_Extensions={x}}}" for x in _SCRIPTS) + "]")
_CHARACTER = regex.compile(r"\X")
_WORD = regex.compile(r"\S+")
_MARK = regex.compile(r"[\p{P}$+<=>^`|~]")
"""What the pre-tokenizer of BERT takes for punctuation."""


_LETTER = regex.compile(r"\p{L}")
_LETTERS = {
    name: regex.compile(rf"[\p{{L}}&&\p{{Script={name}}}]", regex.VERSION1)
    for name in (
        "Latin", "Cyrillic", "Arabic", "Han", "Hiragana", "Katakana", "Hangul", "Devanagari",
        "Bengali", "Tamil", "Telugu", "Malayalam", "Kannada", "Gujarati", "Gurmukhi", "Sinhala",
        "Thai", "Lao", "Khmer", "Myanmar", "Tibetan", "Georgian", "Armenian", "Hebrew", "Greek",
        "Ethiopic", "Mongolian",
    )
}  # fmt: skip


def word_places(text: str, cut: Cut) -> list[Place]:
    """Where each word of a text is, in order; white space is in none.

    Args:
        text: The text.
        cut: Where words end.
    """
    if cut == "characters":
        return [x.span() for x in _CHARACTER.finditer(text) if not x.group().isspace()]
    places = [match.span() for match in _WORD.finditer(text)]
    if cut == "blanks":
        return places
    return [piece for place in places for piece in _pieces(text, place)]


def words_of(text: str, cut: Cut) -> tuple[str, ...]:
    """The words of a text, in order."""
    return tuple(text[slice(*place)] for place in word_places(text, cut))


def gap(before: str, after: str) -> str:
    """What stands between two words: nothing where both are of scripts without blanks."""
    unspaced = _UNSPACED.match(before[-1:]) and _UNSPACED.match(after[:1])
    return "" if unspaced else " "


def main_script(text: str) -> str:
    """The script that most letters of a text are of, by its name in Unicode; "no letters"."""
    counts = {name: len(pattern.findall(text)) for name, pattern in _LETTERS.items()}
    best = max(counts, key=lambda name: counts[name])
    if counts[best]:
        return best
    return "another script" if _LETTER.search(text) else "no letters"


def _pieces(text: str, place: Place) -> Iterator[Place]:
    """A word between blanks, cut at marks, and at all characters of some scripts."""
    word = text[slice(*place)]
    if word.isascii() and word.isalnum():
        yield place
        return
    begun: int | None = None
    for match in _CHARACTER.finditer(text, *place):
        start, end = match.span()
        first = text[start]
        if _MARK.match(first) or _UNSPACED.match(first):
            if begun is not None:
                yield begun, start
            begun = None
            yield start, end
        elif begun is None:
            begun = start
    if begun is not None:
        yield begun, place[1]
