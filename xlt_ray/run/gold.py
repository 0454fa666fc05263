"""Gold labels: the right to read them, of some languages and splits.

Nobody reads gold without such a right. A driver holds the right to the train and dev labels of the
source languages, and recipes see its verbs alone. The right to the rest is made where a run begins,
and handed to what scores models, to analyses after the run, and to upper bounds, which declare what
they see. What a finished run has read of test gold is shown by ``xlt-ray look``.
"""

from collections.abc import Collection, Sequence

from xlt_ray.run.reading import AnySplit, Reading, read
from xlt_ray.store.artifacts import Artifact

OF_SOURCES: tuple[AnySplit, ...] = ("train", "dev")
"""Splits of the source languages whose labels recipes learn from, and choose models by."""
ALL: tuple[AnySplit, ...] = ("train", "dev", "test", "unlabelled")


class Gold:
    """Gold labels of the languages and splits that it is the right to."""

    def __init__(self, reading: Reading, languages: Collection[str], splits: Collection[AnySplit]):
        self._reading = reading
        self.languages, self.splits = frozenset(languages), frozenset(splits)
        self._known: dict[tuple[tuple[str, ...], AnySplit], Artifact] = {}

    def read(self, title: str, languages: Sequence[str], split: AnySplit) -> Artifact:
        """Gold labels of a split of some languages; raises as `check` does."""
        self.check(languages, split)
        key = (tuple(languages), split)
        if key not in self._known:
            self._known[key] = read(self._reading, "gold", title, languages, split)
        return self._known[key]

    def check(self, languages: Sequence[str], split: AnySplit) -> None:
        """Compare what is asked for with what this is the right to.

        Raises:
            PermissionError: it is more.
        """
        others = sorted(set(languages) - self.languages)
        if others or split not in self.splits:
            of = ", ".join(others or languages)
            raise PermissionError(f"no right to read the gold labels of {of}, split {split}")
