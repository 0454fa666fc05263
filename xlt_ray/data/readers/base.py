"""What every kind of source offers to the steps that read text and labels."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from xlt_ray.data.schema import BadRow, Example
from xlt_ray.labels import LabelSet
from xlt_ray.store.artifacts import canonical_json


class Source(Protocol):
    """One split of one language: a picklable description that can be read again and again."""

    @property
    def language(self) -> str:
        """Language code."""
        ...

    @property
    def split(self) -> str:
        """One of train, dev and test."""
        ...

    def identity(self) -> dict[str, Any]:
        """Everything that the rows depend on, as JSON and without absolute paths.

        Raises:
            ValueError: the source cannot be found or read.
        """
        ...

    def volume(self, limit: int | None = None) -> float:
        """Bytes of text that are gone through for so many rows, about.

        Args:
            limit: As of `examples`.

        Returns:
            Their number; infinity if nobody knows before reading.
        """
        ...

    def examples(
        self, labels: LabelSet | None, limit: int | None = None
    ) -> Iterator[Example | BadRow]:
        """The rows in reading order, one at a time.

        Text and ids are the same with labels and without. A row with good text and a bad label is
        an `Example` without labels and a `BadRow` with them; it keeps its place in both.

        Args:
            labels: Label set to number the classes with; None leaves the labels unread.
            limit: Stop after so many rows with good text; None reads everything.

        Raises:
            ValueError: the whole source cannot be read, such as a truncated archive.
        """
        ...


@dataclass(frozen=True)
class NamedSource:
    """A source, and what it was known by when the step that reads it was named.

    Attributes:
        source: The source.
        identity: Its identity at that time.
    """

    source: Source
    identity: Mapping[str, Any]

    @classmethod
    def of(cls, source: Source) -> Self:
        """A source as it is now."""
        return cls(source, source.identity())

    def describe(self) -> dict[str, Any]:
        """What is read, for a fingerprint."""
        return {**self.identity, "language": self.source.language, "split": self.source.split}


def check_unchanged(named: NamedSource) -> None:
    """See whether a source still is what a result is named by; to be asked after reading.

    Raises:
        ValueError: it is not; the message names the files that were edited meanwhile.
    """
    source, after = named.source, named.source.identity()
    if canonical_json(after) == canonical_json(named.identity):
        return
    then, now = dict(sums_in(named.identity)), dict(sums_in(after))
    names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
    what = ", ".join(names) or f"{source.language} {source.split}"
    raise ValueError(
        f"{what}: has changed while the run was reading it; nothing of it was kept, and the same "
        "command reads it anew"
    )


def sums_in(identity: Any) -> Iterator[tuple[str, str]]:
    """Name and digest of every file that an identity is made of."""
    if isinstance(identity, Mapping):
        if "sha256" in identity:
            yield str(identity.get("name", "")), str(identity["sha256"])
        identity = list(identity.values())
    if isinstance(identity, list):
        for item in identity:
            yield from sums_in(item)
