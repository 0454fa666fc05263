"""Entities in brackets that are kept through translation, and found again behind it.

As in EasyProject (Chen et al., Frustratingly Easy Label Projection for Cross-lingual Transfer,
Findings of ACL 2023), brackets stand around each entity, without a blank inside. Here the type of
an entity is told by the kind of its brackets, so entities may change places, and the same name may
stand there twice. Brackets of a kind that the sentence has itself are not used in it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from xlt_ray.data.batches.subwords import running_text
from xlt_ray.data.projection.rejection import Rejected
from xlt_ray.data.readers.words import Cut, word_places
from xlt_ray.labels import Span

Pair = tuple[str, str]
"""An opening and a closing bracket."""
PAIRS: tuple[Pair, ...] = (
    ("[", "]"), ("{", "}"), ("(", ")"), ("<", ">"), ("«", "»"), ("⟦", "⟧"), ("⟨", "⟩"),
)  # fmt: skip
"""Kinds of brackets, those that translators keep best first."""
_ALIKE = {
    **{chr(ord(letter) + 0xFEE0): letter for letter in "[]{}()<>"},  # as wide as Chinese
    **dict(zip("【】《》〈〉〚〛\u3014\u3015", "[]«»⟨⟩⟦⟧[]", strict=True)),
}
"""What a translator may write in place of a bracket."""


def pairs_of(words: Sequence[str], spans: Sequence[Span]) -> dict[str, Pair]:
    """The brackets of each entity type of a sentence; the same for the same sentence.

    Raises:
        Rejected: the sentence has so many brackets, or types, that none are left.
    """
    there = {_plain(letter) for word in words for letter in word}
    free = [pair for pair in PAIRS if not there & set(pair)]
    types = list(dict.fromkeys(span.type for span in spans))
    if len(types) > len(free):
        raise Rejected("no marker is free")
    return dict(zip(types, free, strict=False))


def marked(words: Sequence[str], spans: Sequence[Span]) -> str:
    """A sentence as running text with brackets around its entities.

    Args:
        words: Its words.
        spans: Its entities, which do not overlap.

    Raises:
        Rejected: as `pairs_of` does.
    """
    return brackets_around(words, spans, pairs_of(words, spans))


def brackets_around(words: Sequence[str], spans: Sequence[Span], pairs: Mapping[str, Pair]) -> str:
    """Words as running text with the brackets of its type around each span."""
    running, at, parts = running_text(words), 0, list[str]()
    for span in sorted(spans, key=lambda span: span.start):
        start, end = int(running.starts[span.start]), int(running.ends[span.end - 1])
        opening, closing = pairs[span.type]
        parts += [running.text[at:start], opening, running.text[start:end], closing]
        at = end
    return "".join([*parts, running.text[at:]])


def found_in(
    translation: str, words: Sequence[str], spans: Sequence[Span], cut: Cut
) -> tuple[tuple[str, ...], tuple[Span, ...]]:
    """Words and entities of a translation that has brackets.

    A word that a bracket cuts is of the entity as a whole.

    Args:
        translation: Translation of what `marked` made.
        words: The sentence that it was made of.
        spans: Its entities.
        cut: Where words of the translation end.

    Raises:
        Rejected: the translation has nothing, or not all of the brackets as pairs with a word in
            them, or two of them around one word.
    """
    text, places = _without_brackets(translation, pairs_of(words, spans))
    words_at = word_places(text, cut)
    if not words_at:
        raise Rejected("empty translation")
    if Counter(kind for kind, _, _ in places) != Counter(span.type for span in spans):
        raise Rejected("marker lost")
    found, taken = list[Span](), set[int]()
    for kind, start, end in places:
        own = [n for n, (first, last) in enumerate(words_at) if first < end and start < last]
        if not own:
            raise Rejected("marker lost")
        if taken & set(own):
            raise Rejected("two entities overlap")
        taken |= set(own)
        found.append(Span(kind, own[0], own[-1] + 1))
    return tuple(text[slice(*place)] for place in words_at), tuple(found)


def _plain(letter: str) -> str:
    return _ALIKE.get(letter, letter)


def _without_brackets(
    translation: str, pairs: Mapping[str, Pair]
) -> tuple[str, list[tuple[str, int, int]]]:
    """A translation without brackets; type, first letter and end of what stood in each pair."""
    opens = {pair[0]: kind for kind, pair in pairs.items()}
    closes = {pair[1]: kind for kind, pair in pairs.items()}
    kept, places = list[str](), list[tuple[str, int, int]]()
    inside: tuple[str, int] | None = None
    for letter in translation:
        plain = _plain(letter)
        if plain in opens:
            if inside is not None:
                raise Rejected("marker lost")
            inside = opens[plain], len(kept)
        elif plain in closes:
            if inside is None or inside[0] != closes[plain]:
                raise Rejected("marker lost")
            places.append((*inside, len(kept)))
            inside = None
        else:
            kept.append(letter)
    if inside is not None:
        raise Rejected("marker lost")
    return "".join(kept), places
