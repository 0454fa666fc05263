"""What every section is made of: its base, and the types of keys."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from xlt_ray.config.credentials import has_credentials, redacted

Split = Literal["train", "dev", "test"]
CappedSplit = Literal["train", "dev", "test", "unlabelled"]
FileSplit = Literal["train", "dev", "test", "unlabelled", "few"]
Words = Literal["blanks", "marks", "characters"]


RUNTIME = {"runtime": True}
"""Marks a field that changes no byte of a result, and so no fingerprint: as ``metadata`` of a field
of a dataclass, as ``json_schema_extra`` of a key."""


class Section(BaseModel, frozen=True):
    """Base of every section: unknown keys are errors, values cannot be changed later."""

    model_config = ConfigDict(
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )


P = TypeVar("P", bound=Section)


def part_of(config: Section, part: type[P]) -> P:
    """The keys of a section that are those of a part, which its class inherits, and no others."""
    return part.model_validate(config.model_dump(by_alias=True, include=set(part.model_fields)))


def split_commas(value: Any) -> Any:
    """The parts of a comma-separated text; "all" and what is no text stay as they are."""
    if isinstance(value, str) and value != "all":
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def shown(value: object, most: int = 80) -> str:
    """A value as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def first_line(error: Exception) -> str:
    """What an error of a library says, in a line and without credentials."""
    return redacted(next(iter(str(error).splitlines()), "")) or type(error).__name__


def without_credentials(uri: str) -> str:
    """A URI as it is.

    Raises:
        ValueError: it holds credentials.
    """
    if has_credentials(uri):
        raise ValueError("a URI with credentials would end up in reports; set them as variables")
    return uri


def _all_without_secrets(uris: Any) -> Any:
    """The same of several, before commas part them: a secret may hold one."""
    given = [uris] if isinstance(uris, str) else uris
    for uri in cast("Iterable[Any]", given) if isinstance(given, list | tuple) else ():
        without_credentials(str(uri))
    return uris


_LANGUAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_language(name: str) -> str:
    """A language's name, which becomes part of names of files and folders.

    Raises:
        ValueError: it has other characters, or too many.
    """
    if _LANGUAGE.fullmatch(name) is None:
        raise ValueError(
            "the name of a language has letters a to z, digits, '.', '_' and '-', the first of "
            "them a letter or digit, and 64 at most"
        )
    return name


Text = Annotated[str, Field(coerce_numbers_to_str=True)]
"""Text that may look like a number: ``--set run.name=2024``."""
Language = Annotated[Text, AfterValidator(check_language)]
RUN_NAME = 100
"""Letters of the name of a run at most."""
RunName = Annotated[Text, Field(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{RUN_NAME - 1}}}$")]
Shares = Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=2)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
_Place = Annotated[Text, Field(max_length=4096)]
Uri = Annotated[_Place, AfterValidator(without_credentials)]
Names = Annotated[tuple[str, ...], BeforeValidator(split_commas), Field(min_length=1)]
Languages = Annotated[
    tuple[Annotated[str, AfterValidator(check_language)], ...],
    BeforeValidator(split_commas),
    Field(min_length=1),
]
_Places = Annotated[
    tuple[Annotated[str, Field(max_length=4096)], ...],
    BeforeValidator(split_commas),
    Field(min_length=1),
]
Uris = Annotated[_Places, BeforeValidator(_all_without_secrets)]


def _once(splits: tuple[Split, ...]) -> tuple[Split, ...]:
    """The same; ValueError if one is there twice."""
    if len(set(splits)) < len(splits):
        raise ValueError(f"each split once, got {', '.join(splits)}")
    return splits


Splits = Annotated[
    tuple[Split, ...], BeforeValidator(split_commas), Field(min_length=1), AfterValidator(_once)
]
