"""The section ``labellers``: who labelled the unlabelled text, or will."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from xlt_ray.config.section import RUNTIME, Languages, Section, Text, Uris

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def check_name(name: str) -> str:
    """A labeller's name, which becomes part of names of columns and folders.

    Raises:
        ValueError: it has other characters, or too many.
    """
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            "the name of a labeller has letters a to z, digits, '_' and '-', the first of them a "
            "letter or digit, and 64 at most"
        )
    return name


LabellerName = Annotated[str, AfterValidator(check_name)]


class LabellerConfig(Section, frozen=True):
    """Who labelled unlabelled text."""

    file: Uris
    """Files with its labels, comma separated, with globs: .jsonl, .json, .csv, .parquet, or words
    in columns (.conll, .tsv, .bio, .iob, .iob2)."""
    column: Text | None = None
    """Field with its labels, or number of the column; absent: labels.NAME, or the usual ones."""
    each: bool = False
    """Every labeller that the files have labels of is one, under its own name."""
    languages: Languages | None = None
    """Languages of the text that it speaks about, comma separated; absent: all."""
    max_bad_fraction: float = Field(default=0.1, ge=0, le=1, json_schema_extra={**RUNTIME})
    """Largest share of its rows that may be quarantined; more stop the run."""

    @model_validator(mode="after")
    def _has_one_meaning(self) -> Self:
        if self.each and self.column is not None:
            raise ValueError("column: each takes the labels of all labellers of the files")
        return self
