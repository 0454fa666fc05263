"""A few labelled rows of a target, and text that they are left out of.

What is the same row is told by its text: the words, or the text or texts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from xlt_ray.data.readers.base import Source
from xlt_ray.data.readers.subsets import Shuffled, draw, numbered
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.labels import LabelSet


def told(row: Example) -> bytes:
    """What tells the text of a row from others, 16 bytes."""
    parts = row.tokens or (row.text or "", row.text_pair or "")
    return blake2b("\x1f".join(parts).encode(), digest_size=16).digest()


def texts_of(source: Source) -> set[bytes]:
    """The same of every row of a source that can be read."""
    return {told(row) for row in source.examples(None) if isinstance(row, Example)}


@dataclass(frozen=True)
class Few:
    """A few labelled rows of a target, each as often as it counts.

    Attributes:
        inner: Labelled text of the language.
        rows: Rows that are drawn from it at random, those of a smaller number first, none with the
            text of another or of ``judging``; None: all of it are the rows, and none may be there.
        seed: Seed of the draw.
        weight: How often each row is there.
        judging: Text of the language that scores models, or chooses them.
        key: The key that asks for the rows, for messages.
    """

    inner: Source
    rows: int | None
    seed: int
    weight: int
    judging: tuple[Source, ...]
    key: str

    @property
    def language(self) -> str:
        """Language code."""
        return self.inner.language

    @property
    def split(self) -> str:
        """few: no limit of another split holds for them."""
        return "few"

    def identity(self) -> dict[str, Any]:
        """Everything that the rows depend on."""
        return {
            "kind": "few",
            "rows": self.rows,
            "seed": self.seed,
            "weight": self.weight,
            "judging": [item.identity() for item in self.judging],
            "source": self.inner.identity(),
        }

    def volume(self, limit: int | None = None) -> float:
        """Bytes of text that are gone through: all, twice if rows are drawn."""
        own = self.inner.volume() * (1 if self.rows is None else 2)
        return own + sum(item.volume() for item in self.judging)

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        """The rows in reading order, each with its repetitions after it; a limit is no matter.

        Raises:
            ValueError: there are too few, one cannot be used, or it is text of ``judging``.
        """
        for row in self._once(labels):
            yield row
            for number in range(1, self.weight):  # all other ids begin with a language
                yield replace(row, id=f"+{number} {row.id}")

    def _once(self, labels: LabelSet | None) -> Iterator[Example]:
        judging = set[bytes]().union(*(texts_of(item) for item in self.judging))
        chosen = None if self.rows is None else self._drawn(self.rows, judging)
        for number, row in enumerate(self.inner.examples(labels)):
            if chosen is not None and number not in chosen:
                continue
            where = f"{self.key}: {row.file}:{row.line}"
            if isinstance(row, BadRow):
                raise ValueError(f"{where}: {row.reason}; of few labelled rows all have to be good")
            if chosen is None and told(row) in judging:
                splits = " or ".join(item.split for item in self.judging)
                raise ValueError(
                    f"{where}: has the text of a row of {self.language} {splits}, which judges "
                    "models that would have learned it; take it out of one of them"
                )
            yield row

    def _drawn(self, count: int, judging: set[bytes]) -> set[int]:
        """Numbers of the rows that are drawn, from 0; their labels are not looked at."""
        known, fit = set(judging), list[tuple[int, int]]()
        for number, row in enumerate(self.inner.examples(None)):
            if isinstance(row, Example) and (text := told(row)) not in known:
                known.add(text)
                fit.append((draw(self.seed, (row.file, row.line)), number))
        if len(fit) < count:
            splits = "".join(f", and none of {item.split}" for item in self.judging)
            raise ValueError(
                f"{self.key}: {count} labelled rows of {self.language}, and its {self.inner.split} "
                f"text has {len(fit)} different ones{splits}"
            )
        return {number for _, number in sorted(fit)[:count]}


@dataclass(frozen=True)
class Without:
    """A source without the text of a few labelled rows.

    Attributes:
        inner: The source.
        few: The rows.
    """

    inner: Source
    few: Few

    @property
    def language(self) -> str:
        """Language code."""
        return self.inner.language

    @property
    def split(self) -> str:
        """That of the source."""
        return self.inner.split

    def identity(self) -> dict[str, Any]:
        """Everything that the rows depend on; not how often a row is in the few."""
        few = replace(self.few, weight=1).identity()
        return {"kind": "without", "few": few, "source": self.inner.identity()}

    def volume(self, limit: int | None = None) -> float:
        """Bytes of text that are gone through; with labels the text is gone through twice."""
        return self.inner.volume(limit) + self.few.volume()

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        """The other rows, in reading order; which these are is told by the text alone."""
        if labels is None:
            yield from (row for _, row in self._kept(limit))
            return
        yield from numbered(self.inner, labels, [number for number, _ in self._kept(limit)])

    def _kept(self, limit: int | None) -> Iterator[tuple[int, Example | BadRow]]:
        known, good = texts_of(self.few), 0
        for number, row in enumerate(self.inner.examples(None)):
            if good == limit:
                return
            is_good = isinstance(row, Example)
            if not (is_good and told(row) in known):
                yield number, row
                good += is_good


def without(source: Source, few: Few) -> Source:
    """A source without the text of a few labelled rows; where a limit draws rows at random, it
    draws them from the others."""
    if isinstance(source, Shuffled):
        return replace(source, inner=Without(source.inner, few))
    return Without(source, few)
