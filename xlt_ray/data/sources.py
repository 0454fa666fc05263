"""What every kind of source offers to the steps that read text and labels."""

from collections.abc import Iterator
from typing import Any, Protocol

from xlt_ray.data.schema import BadRow, Example
from xlt_ray.labels import LabelSet


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
