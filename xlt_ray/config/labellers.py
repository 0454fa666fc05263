"""The section ``labellers``: who labelled the unlabelled text, or will."""

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from xlt_ray.config.credentials import has_credentials
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


_SECRET = re.compile(r"(.*_)?(api_?key|key|token|password|secret|authorization)", re.IGNORECASE)
"""Names of arguments whose values nobody may read in a report."""

LabellerName = Annotated[str, AfterValidator(check_name)]


class LabellerConfig(Section, frozen=True):
    """Who labelled unlabelled text, or will: a file of votes, or code that is called."""

    file: Uris | None = None
    """Files with its labels, comma separated, with globs: .jsonl, .json, .csv, .parquet, or words
    in columns (.conll, .tsv, .bio, .iob, .iob2)."""
    column: Text | None = None
    """Field with its labels, or number of the column; absent: labels.NAME, or the usual ones."""
    each: bool = False
    """Every labeller that the files have labels of is one, under its own name."""
    languages: Languages | None = None
    """Languages of the text that it is asked about, comma separated; absent: all."""
    call: Text | None = None
    """Class that is called with texts: MODULE:CLASS, FILE.py:CLASS, or "openai" for a server."""
    args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the class."""
    version: Text = ""
    """What tells its answers from older ones where the code and args do not: a model's version."""
    batch_size: int = Field(default=16, ge=1)
    """Texts of one call."""
    workers: int | None = Field(default=None, ge=1, json_schema_extra={**RUNTIME})
    """Processes that call it at a time; absent: one per GPU, or 1."""
    cpus: int = Field(default=1, ge=1, json_schema_extra={**RUNTIME})
    """CPUs of one of them."""
    gpus: float = Field(default=0.0, ge=0, json_schema_extra={**RUNTIME})
    """GPUs of one of them, fractions allowed."""
    timeout: float = Field(default=120.0, gt=0, json_schema_extra={**RUNTIME})
    """Seconds that a call may take."""
    retries: int = Field(default=3, ge=0, json_schema_extra={**RUNTIME})
    """Calls more about a text whose call failed, before it is quarantined."""
    wait: float = Field(default=1.0, ge=0, json_schema_extra={**RUNTIME})
    """Seconds before the second call; twice as long before each further one."""
    max_bad_fraction: float = Field(default=0.1, ge=0, le=1, json_schema_extra={**RUNTIME})
    """Largest share of its texts or rows that may be quarantined; more stop the run."""

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if (self.file is None) == (self.call is None):
            raise ValueError("file or call: one of them, labels are there or are asked for")
        if self.call is not None and (self.column is not None or self.each):
            raise ValueError("column and each are of a file of labels, and call has none")
        if self.file is not None and (self.args or self.version):
            raise ValueError("args and version are of what is called, and file is not")
        if self.each and self.column is not None:
            raise ValueError("column: each takes the labels of all labellers of the files")
        secret = [x for x, value in self.args.items() if _SECRET.fullmatch(x) and value is not None]
        if secret:
            raise ValueError(
                f"args.{secret[0]}: would end up in reports; name a file with it as "
                f"{secret[0]}_file, or set it as a variable"
            )
        for name, value in self.args.items():
            if has_credentials(str(value)):
                raise ValueError(f"args.{name}: credentials would end up in reports")
        return self
