"""Sources of which only some rows are taken: at random, or so that the classes have given shares;
and several sources in one.

Which rows are taken depends on the file and line of each, the seed and, for shares, the labels. The
text that is read without labels has the same rows as the labels. Rows are matched by their number:
a bad label may be on a later line than the text begins.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from itertools import chain, islice
from typing import Any

import numpy as np

from xlt_ray.data.batches.planning import seed_of
from xlt_ray.data.readers.base import Source
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.labels import UNLABELLED, LabelSet

Place = tuple[str, int]
"""File and line of a row."""


def draw(seed: int, place: Place) -> int:
    """A number for a row, uniform over 64 bits."""
    text = f"{seed}\x1f{place[0]}\x1f{place[1]}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def numbered(
    source: Source, labels: LabelSet | None, numbers: Collection[int]
) -> Iterator[Example | BadRow]:
    """Rows of a source by their numbers from 0, good and bad ones counted, in reading order.

    Args:
        source: The source.
        labels: As `Source.examples` takes them; which rows there are does not depend on them.
        numbers: Numbers of rows.
    """
    chosen, last = set(numbers), max(numbers, default=-1)
    for number, row in enumerate(islice(source.examples(labels), last + 1)):
        if number in chosen:
            yield row


@dataclass(frozen=True)
class Shuffled:
    """A source whose first rows are not like the others, as in files that are sorted by class: a
    limit takes rows at random, in the order of the file.

    Attributes:
        inner: The source.
        seed: Seed of the draw.
    """

    inner: Source
    seed: int = 0

    @property
    def language(self) -> str:
        """Language code."""
        return self.inner.language

    @property
    def split(self) -> str:
        """One of train, dev and test."""
        return self.inner.split

    def identity(self) -> dict[str, Any]:
        """Everything that the rows depend on."""
        return {"kind": "shuffled", "seed": self.seed, "source": self.inner.identity()}

    def volume(self, limit: int | None = None) -> float:
        """Bytes of text that are gone through: all, twice if there is a limit."""
        return self.inner.volume() * (1 if limit is None else 2)

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        """The rows in reading order; those that are bad are drawn like the others."""
        if limit is None:
            yield from self.inner.examples(labels)
            return
        drawn = sorted(
            (draw(self.seed, (row.file, row.line)), isinstance(row, Example), number)
            for number, row in enumerate(self.inner.examples(None))
        )
        chosen: set[int] = set()
        good = 0
        for _, is_good, number in drawn:
            if good == limit:
                break
            chosen.add(number)
            good += is_good
        yield from numbered(self.inner, labels, chosen)


@dataclass(frozen=True)
class HeldOut:
    """The rows of a training file that choose models, or the others. Which these are depends on
    their text alone, so that equal ones stay together.

    Attributes:
        inner: The source.
        share: About how many of the rows are held out, as a fraction.
        held: Whether those are taken, as a dev split, or the others.
    """

    inner: Source
    share: float
    held: bool

    @property
    def language(self) -> str:
        """Language code."""
        return self.inner.language

    @property
    def split(self) -> str:
        """dev, or that of the source."""
        return "dev" if self.held else self.inner.split

    def identity(self) -> dict[str, Any]:
        """Everything that the rows depend on."""
        own = {"kind": "held out", "share": self.share, "held": self.held}
        return {**own, "source": self.inner.identity()}

    def volume(self, limit: int | None = None) -> float:
        """Bytes of text that are gone through: all, once to choose and once to read."""
        return 2 * self.inner.volume()

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        """The rows in reading order; bad text is no dev text.

        Raises:
            ValueError: none is taken.
        """
        kept = [number for number, _ in self._kept(limit)]
        if not kept and limit != 0:
            raise ValueError(
                f"files.dev_share: {self.share:g} leaves {self.language} without {self.split} "
                f"rows; name files.paths.{self.language}.dev, or change it"
            )
        yield from numbered(self.inner, labels, kept)

    def _kept(self, limit: int | None) -> Iterator[tuple[int, Example | BadRow]]:
        good = 0
        for number, row in enumerate(self.inner.examples(None)):
            if good == limit:
                return
            is_good = isinstance(row, Example)
            if (is_good and self._holds(row)) == self.held:
                yield number, row
                good += is_good

    def _holds(self, row: Example) -> bool:
        parts = row.tokens or (row.text or "", row.text_pair or "")
        digest = blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") < self.share * 2**64


@dataclass(frozen=True)
class RowRange:
    """Some rows of a source that stand together, good and bad ones counted.

    Attributes:
        inner: The source.
        start: Number of the first row, from 0.
        stop: Number after that of the last row.
    """

    inner: Source
    start: int
    stop: int

    @property
    def language(self) -> str:
        """Language code."""
        return self.inner.language

    @property
    def split(self) -> str:
        """One of train, dev and test."""
        return self.inner.split

    def identity(self) -> dict[str, Any]:
        """Everything that the rows depend on."""
        rows = [self.start, self.stop]
        return {"kind": "part", "rows": rows, "source": self.inner.identity()}

    def volume(self, limit: int | None = None) -> float:
        """Bytes of text that are gone through, up to the last row."""
        return self.inner.volume(self.stop if limit is None else min(self.stop, self.start + limit))

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        """The rows in reading order; a limit counts bad ones, too."""
        stop = self.stop if limit is None else min(self.stop, self.start + limit)
        row = None
        for row in islice(self.inner.examples(labels), self.start, stop):
            yield row
        if row is None:
            raise ValueError(
                f"benchmark.partition: {self.language} {self.split} has no row {self.start + 1}"
            )


@dataclass(frozen=True)
class Joined:
    """Several splits of a language as one, one after another.

    Attributes:
        parts: The splits.
        limits: Rows at most of each; None: no limit.
    """

    parts: tuple[Source, ...]
    limits: tuple[int | None, ...]

    @property
    def language(self) -> str:
        """Language code."""
        return self.parts[0].language

    @property
    def split(self) -> str:
        """Names of the splits, joined by a plus."""
        return "+".join(part.split for part in self.parts)

    def identity(self) -> dict[str, Any]:
        """Everything that the rows depend on."""
        parts = [{"split": part.split, **part.identity()} for part in self.parts]
        return {"kind": "joined", "limits": list(self.limits), "sources": parts}

    def volume(self, limit: int | None = None) -> float:
        """Bytes of text that are gone through at most."""
        return sum(part.volume(most) for part, most in self._limited(limit))

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        """The rows in reading order, no more than the limit of all splits together."""
        parts = (part.examples(labels, most) for part, most in self._limited(limit))
        yield from islice(chain.from_iterable(parts), limit)

    def _limited(self, limit: int | None) -> list[tuple[Source, int | None]]:
        def least(most: int | None) -> int | None:
            return min((x for x in (most, limit) if x is not None), default=None)

        return [(x, least(most)) for x, most in zip(self.parts, self.limits, strict=True)]


@dataclass(frozen=True)
class PriorShifted:
    """A source of which rows are left out, so that its classes have given shares.

    Texts: as many rows of every class as its share asks for, of the largest number of rows that the
    classes suffice for. Sentences of words: drawn without replacement with a weight, the mean over
    the words of share wanted by share there is; their shares come near, and are not exact. Rows
    with a bad label are left out.

    Attributes:
        inner: The source.
        labels: The classes.
        shares: Share of each class; None: drawn evenly from all shares there are, by seed and
            language.
        most: Rows at most; None: as many as there are.
        seed: Seed of the draw.
    """

    inner: Source
    labels: LabelSet
    shares: tuple[float, ...] | None
    most: int | None = None
    seed: int = 0

    @property
    def language(self) -> str:
        """Language code."""
        return self.inner.language

    @property
    def split(self) -> str:
        """One of train, dev and test."""
        return self.inner.split

    @cached_property
    def wanted(self) -> np.ndarray:
        """[K] shares of the classes; all splits of a language have the same."""
        if self.shares is not None:
            return np.array(self.shares) / sum(self.shares)
        rng = np.random.default_rng(seed_of(self.seed, "shares", self.language))
        return rng.dirichlet(np.ones(len(self.labels)))

    def identity(self) -> dict[str, Any]:
        """Everything that the rows depend on."""
        return {
            "kind": "tilted",
            "shares": self.wanted.tolist(),
            "most": self.most,
            "seed": self.seed,
            "source": self.inner.identity(),
        }

    def volume(self, limit: int | None = None) -> float:
        """Bytes of text that are gone through: all, once to choose and once to read."""
        return 2 * self.inner.volume()

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        """The rows that are taken, in reading order."""
        most = min((x for x in (self.most, limit) if x is not None), default=None)
        chosen = self._chosen(most)
        yield from numbered(self.inner, labels, chosen)

    def _chosen(self, most: int | None) -> set[int]:
        numbers, places, classes = list[int](), list[Place](), list[list[int]]()
        for number, row in enumerate(self.inner.examples(self.labels)):
            if isinstance(row, Example) and row.labels is not None:
                own = [row.labels] if isinstance(row.labels, int) else row.labels
                numbers.append(number)
                places.append((row.file, row.line))
                classes.append([label for label in own if label != UNLABELLED])
        if not places:
            raise ValueError(
                f"{self.language}: benchmark.prior draws rows by their gold labels, and "
                f"{self.split} has none"
            )
        order = sorted(range(len(places)), key=lambda i: draw(self.seed, places[i]))
        is_text = all(len(own) == 1 for own in classes)
        pick = self._by_class if is_text else self._by_weight
        return {numbers[i] for i in pick(order, classes, places, most)}

    def _by_class(
        self,
        order: Sequence[int],
        classes: Sequence[Sequence[int]],
        places: Sequence[Place],
        most: int | None,
    ) -> list[int]:
        there = np.bincount([own[0] for own in classes], minlength=len(self.labels))
        counts = quotas(self.wanted, there, len(order) if most is None else most)
        taken = []
        for index in order:
            label = classes[index][0]
            if counts[label]:
                counts[label] -= 1
                taken.append(index)
        return taken

    def _by_weight(
        self,
        order: Sequence[int],
        classes: Sequence[Sequence[int]],
        places: Sequence[Place],
        most: int | None,
    ) -> list[int]:
        flat = np.concatenate([np.array(own, np.int64) for own in classes])
        there = np.bincount(flat, minlength=len(self.labels)) / max(len(flat), 1)
        ratio = np.divide(self.wanted, there, out=np.zeros_like(there), where=there > 0)

        def key(index: int) -> float:  # of Efraimidis and Spirakis: the largest are the sample
            weight = float(ratio[list(classes[index])].mean()) if classes[index] else 0.0
            uniform = (draw(self.seed, places[index]) + 1) / (2**64 + 1)
            return uniform ** (1 / weight) if weight > 0 else -1.0

        half = len(order) // 2
        drawn = sorted(order, key=key, reverse=True)[: half if most is None else min(half, most)]
        return [index for index in drawn if key(index) > 0]


def quotas(shares_K: np.ndarray, there_K: np.ndarray, most: int) -> np.ndarray:
    """[K] rows to take of each class, in the given shares.

    Args:
        shares_K: Shares, which sum to 1.
        there_K: Rows that there are of each class.
        most: Rows in all at most; fewer if a class has too few for its share.
    """
    has = shares_K > 1e-9
    size = min(float(most), float((there_K[has] / shares_K[has]).min()))
    exact = shares_K * int(size + 1e-9)
    counts = np.floor(exact + 1e-9).astype(np.int64)
    rest = int(size + 1e-9) - int(counts.sum())
    room = np.minimum(there_K - counts, 1) * (exact - counts + 1e-12)
    for label in np.argsort(-room, kind="stable")[:rest]:
        counts[label] += counts[label] < there_K[label]
    return counts
