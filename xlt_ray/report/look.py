"""Sentences of a run and what is said of them: a page for each language, for a browser.

A page fetches nothing. Its one script is inline: it filters, searches and sorts what the page
already shows, which can be read without it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from unicodedata import bidirectional

from xlt_ray.data.readers.words import gap
from xlt_ray.labels import OUTSIDE, bio_spans

TEST, UNLABELLED = "test", "unlabelled"
"""Parts of the text that a row may be from."""

TONES = (
    "#2f7fd1", "#d9822b", "#2e9e6b", "#b455b8", "#c94f4f", "#7a8b1f", "#3aa3a8", "#8a6bd6",
    "#a8743a", "#d15c93",
)  # fmt: skip
"""Colours of labels, on light and on dark paper."""


@dataclass(frozen=True)
class Said:
    """What a model, a round or gold says of a row.

    Attributes:
        labels: Of each word; of a text one.
        sure: Probability of each label, in [0, 1]; empty where it is not known.
        sets: Candidate classes of each label, the label among them; empty where there are none.
    """

    labels: tuple[str, ...]
    sure: tuple[float, ...] = ()
    sets: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Row:
    """A row of a page.

    Attributes:
        part: Where it is from, `TEST` or `UNLABELLED`.
        words: The words in token tasks; else the text, or two of a pair.
        zero_shot: What the model of the source alone says.
        final: What the final model says.
        gold: Gold labels, where there are some.
        rounds: Pseudo-labels by round.
    """

    part: str
    words: tuple[str, ...]
    zero_shot: Said
    final: Said
    gold: Said | None = None
    rounds: Mapping[int, Said] = field(default_factory=dict)

    @property
    def changed(self) -> bool:
        """Whether the final model and that of the source alone differ."""
        return self.zero_shot.labels != self.final.labels

    @property
    def wrong(self) -> bool:
        """Whether the final model differs from gold."""
        return self.gold is not None and self.gold.labels != self.final.labels

    @property
    def moved(self) -> bool:
        """Whether two rounds gave it other labels."""
        return len({said.labels for said in self.rounds.values()}) > 1

    @property
    def kinds(self) -> tuple[str, ...]:
        """What it can be filtered by."""
        told = {"changed": self.changed, "wrong": self.wrong, "moved": self.moved}
        return (self.part, *(name for name, holds in told.items() if holds))

    @property
    def sure(self) -> float:
        """Least probability of the final model's labels."""
        return min(self.final.sure, default=1.0)

    @property
    def direction(self) -> str:
        """``rtl`` where most letters are of scripts that run from right to left, else ``ltr``."""
        ways = [bidirectional(letter) for word in self.words for letter in word]
        right = sum(way in ("R", "AL") for way in ways)
        return "rtl" if right > ways.count("L") else "ltr"

    def lines(self) -> Iterator[tuple[str, Said]]:
        """What is shown, by whom: whatever agrees with the final model is left out."""
        yield "final", self.final
        if self.changed:
            yield "zero-shot", self.zero_shot
        if self.wrong and self.gold is not None:
            yield "gold", self.gold
        if self.moved:
            for number, said in self.rounds.items():
                yield f"round {number}", said


@dataclass(frozen=True)
class Piece:
    """A part of a sentence that is shown in one colour.

    Attributes:
        text: Its words.
        label: Type of the entity, or class of the word; empty: it has none.
        tip: How sure the label is, and what else it may be.
        gap: What stands between it and the next piece.
    """

    text: str
    label: str
    tip: str
    gap: str


def pieces(words: Sequence[str], said: Said, bio: bool) -> list[Piece]:
    """A sentence in pieces: entities and what stands between them, or each word with its class.

    Args:
        words: Its words.
        said: Labels of all of them.
        bio: Whether these are BIO tags.
    """
    if bio:
        spans = [(x.start, x.end, x.type) for x in bio_spans(said.labels)]
    else:
        spans = [(n, n + 1, label) for n, label in enumerate(said.labels)]
    found, at = list[Piece](), 0
    for start, end, label in [*spans, (len(words), len(words), "")]:
        if at < start:
            found.append(_piece(words, at, start, "", ""))
        if start < end:
            found.append(_piece(words, start, end, label, tip(said, start, end)))
        at = end
    return found


def _piece(words: Sequence[str], start: int, end: int, label: str, told: str) -> Piece:
    text = words[start]
    for before, word in zip(words[start : end - 1], words[start + 1 : end], strict=True):
        text += gap(before, word) + word
    return Piece(text, label, told, gap(words[end - 1], words[end]) if end < len(words) else "")


def tip(said: Said, start: int, end: int) -> str:
    """How sure the labels of some words are, and what else they may be."""
    told = list[str]()
    if said.sure:
        told.append(f"{100 * min(said.sure[start:end]):.0f}%")
    sets = [found for found in said.sets[start:end] if len(found) > 1]
    told += [" or ".join(found) for found, _ in groupby(sets)]
    return "; ".join(told)


@dataclass(frozen=True)
class Counts:
    """Rows of a language, on the first page.

    Attributes:
        language: The language.
        rows: All that are shown.
        changed: Those where the final model and that of the source alone differ.
        wrong: Those where the final model differs from gold; None: there is no gold.
        moved: Those whose labels differ from round to round; None: there were not two rounds.
    """

    language: str
    rows: int
    changed: int
    wrong: int | None
    moved: int | None

    @classmethod
    def of(cls, language: str, rows: Sequence[Row]) -> "Counts":
        """Count them."""
        gold, rounds = any(row.gold for row in rows), any(len(row.rounds) > 1 for row in rows)
        return cls(
            language,
            len(rows),
            sum(row.changed for row in rows),
            sum(row.wrong for row in rows) if gold else None,
            sum(row.moved for row in rows) if rounds else None,
        )


def colours(rows: Sequence[Row], bio: bool) -> dict[str, int]:
    """Number of the colour of each label that is shown, by the order of the alphabet."""
    names = set[str]()
    for row in rows:
        for _, said in row.lines():
            names |= {x[2:] for x in said.labels if x != OUTSIDE} if bio else set(said.labels)
    return {name: number for number, name in enumerate(sorted(names))}


def look_page(
    run: str,
    language: str,
    languages: Sequence[str],
    rows: Sequence[Row],
    *,
    token: bool,
    bio: bool,
    before: str,
) -> str:
    """The page of a language.

    Args:
        run: Name of the run.
        language: The language.
        languages: All languages that have a page.
        rows: What is shown.
        token: Whether words are labelled, or texts.
        bio: Whether the labels are BIO tags.
        before: What the model that the method began with is called.
    """
    from xlt_ray.report.page import environment

    return environment().get_template("look.html.j2").render(
        run=run,
        language=language,
        languages=languages,
        rows=rows,
        counts=Counts.of(language, rows),
        colours=colours(rows, bio),
        token=token,
        bio=bio,
        before=before,
        tones=TONES,
        pieces=pieces,
        tip=tip,
    )  # fmt: skip


def look_index(run: str, counts: Sequence[Counts], before: str) -> str:
    """The first page, with a link to each language.

    Args:
        run: Name of the run.
        counts: Rows of each language.
        before: As of `look_page`.
    """
    from xlt_ray.report.page import environment

    template = environment().get_template("look_index.html.j2")
    return template.render(run=run, counts=counts, before=before)
