"""A trained model, and what it says of text, in this process.

For files, and for more text than fits into memory, `xlt_ray.predict` labels on the cluster.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from xlt_ray.commands.trained_models import Finished, load_here
from xlt_ray.config.errors import DataError
from xlt_ray.data.readers.in_memory import text_in
from xlt_ray.data.readers.rows import RowError, Text
from xlt_ray.data.readers.words import Cut
from xlt_ray.data.schema import Task
from xlt_ray.engine.labeller import Prediction, Span

__all__ = ["Model", "Prediction", "Span"]


class Model:
    """A model that labels text; made by `xlt_ray.load`."""

    def __init__(self, finished: Finished, folder: Path):
        self.task: Task = finished.task
        self.labels, self.folder = finished.labels, folder
        self._labeller = load_here(finished, folder)

    def __repr__(self) -> str:
        return f"Model({str(self.folder)!r}, {self.task}, labels: {', '.join(self.labels)})"

    @overload
    def predict(  # a str is no list of texts here
        self, texts: str, *, words: Cut = "marks"
    ) -> Prediction: ...

    @overload
    def predict(self, texts: Sequence[Any], *, words: Cut = "marks") -> list[Prediction]: ...

    def predict(
        self, texts: str | Sequence[Any], *, words: Cut = "marks"
    ) -> Prediction | list[Prediction]:
        """Label one text, or some.

        Args:
            texts: A string; or a list of strings; or of lists of words in token tasks; or of pairs
                of strings, or dicts with ``premise`` and ``hypothesis``, where pairs are labelled.
            words: Where words of strings end, in token tasks: at ``marks``, ``blanks`` or after all
                ``characters``.

        Raises:
            DataError: a text is none that the task has.
        """
        if isinstance(texts, str):
            return self.predict([texts], words=words)[0]
        if isinstance(texts, bytes | Mapping):
            raise DataError(f"texts: a {type(texts).__name__}; give a list of texts")
        read = [self._read(number, row, words) for number, row in enumerate(texts)]
        return list(self._labeller.label_all(read))

    def _read(self, number: int, row: Any, words: Cut) -> Text:
        try:
            return text_in(row, self.task, words)
        except RowError as error:
            raise DataError(f"texts[{number}]: {error}") from None
