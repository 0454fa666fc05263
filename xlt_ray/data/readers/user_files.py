"""Files of the user's own as a benchmark: which there are, what they hold, what is read of them.

What ``files`` leaves out is read off the labelled training files: the kind of task off the fields
of the first row, the classes off all rows, the scheme of entity tags off their letters, see
`scheme_of`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import (
    ROW_BYTES,
    FilesConfig,
    FileSplit,
    RunConfig,
    shown,
    split_commas,
)
from xlt_ray.data.readers.base import Source
from xlt_ray.data.readers.faults import Faults
from xlt_ray.data.readers.files import DataFile, ending_of
from xlt_ray.data.readers.globs import absolute, matching
from xlt_ray.data.readers.hub import HubSource
from xlt_ray.data.readers.records import fields_of
from xlt_ray.data.readers.rows import SEVERAL
from xlt_ray.data.readers.spans import LISTS, in_usual_form, is_marked
from xlt_ray.data.readers.subsets import HeldOut
from xlt_ray.data.readers.user_source import COLUMNS, NAME, UserSource
from xlt_ray.data.readers.words import Cut
from xlt_ray.data.schema import BadRow, Task
from xlt_ray.labels import OUTSIDE, PREFIXES, LabelSet, Scheme, spelled, split_tag

HUB = "hub:"
"""Before the id of a hub dataset: hub:OWNER/NAME[@REVISION][:CONFIGURATION[:SPLIT]]."""
_RARE = 0.05
_MOST_LABELS, _LONGEST_LABEL = 5000, 200
_HEAD = 200
"""Lines that a table is told from sentences by."""


@dataclass(frozen=True)
class Inferred:
    """What was read off the training files."""

    task: Task
    labels: tuple[str, ...]
    scheme: Scheme


@dataclass(frozen=True)
class TagInventory(LabelSet):
    """Takes every tag for one of its own, and keeps count of them."""

    names: tuple[str, ...] = ("any",)
    counts: dict[str, int] = field(default_factory=dict, compare=False)

    def index(self, name: str) -> int:
        """Any number: labels are not numbered yet."""
        self.counts[name] = self.counts.get(name, 0) + 1
        return 0

    def of_number(self, number: int) -> str:
        """A number is a name."""
        return str(number)


def source_of(
    files: FilesConfig, language: str, split: FileSplit, row_bytes: int = ROW_BYTES
) -> Source:
    """What a split of a language is read from.

    Args:
        files: The files; it has its task, labels and scheme.
        language: The language.
        split: The split.
        row_bytes: Bytes of a row at most.

    Raises:
        ValueError: there are no such files.
    """
    paths = files.paths.get(language, {})
    if split == "dev" and split not in paths and "train" in paths:
        return HeldOut(_source(files, language, "train", row_bytes), files.dev_share, held=True)
    if split == "train" and "dev" not in paths and "train" in paths:
        return HeldOut(_source(files, language, split, row_bytes), files.dev_share, held=False)
    return _source(files, language, split, row_bytes)


def _source(files: FilesConfig, language: str, split: FileSplit, row_bytes: int) -> Source:
    patterns = files.paths.get(language, {}).get(split)
    if patterns is None:
        there = ", ".join(files.paths.get(language, {})) or "nothing"
        raise ValueError(f"files.paths.{language}: no {split} files, there are: {there}")
    assert files.task is not None
    first, *others = patterns
    if not first.startswith(HUB):
        return source_in(files, language, split, row_bytes)
    if others:
        raise ValueError(f"files.paths.{language}.{split}: one {HUB} id, and nothing beside it")
    place, _, rest = first.removeprefix(HUB).partition(":")
    name, _, revision = place.partition("@")
    config, _, part = rest.partition(":")
    usual = {"dev": ("validation", "dev"), "unlabelled": ("train",)}.get(split, (split,))
    return HubSource(
        hub_id=name,
        config=config or "default",
        language=language,
        split=split,
        task=files.task,
        columns=files.columns,
        aliases=(part,) if part else usual,
        scheme=files.scheme or "bio",
        types=files.types,
        revision=revision or None,
        cut=cut_of(files, language),
        row_bytes=row_bytes,
    )


def source_in(
    files: FilesConfig, language: str, split: FileSplit, row_bytes: int = ROW_BYTES
) -> UserSource:
    """The files of a split of a language; the section has its task, and names files for it."""
    assert files.task is not None
    cut = cut_of(files, language)
    places = tuple(absolute(pattern) for pattern in files.paths[language][split])
    scheme = files.scheme or "bio"
    options = (files.columns, cut, files.types, files.ids, row_bytes)
    return UserSource(places, language, split, files.task, scheme, *options)


def cut_of(files: FilesConfig, language: str) -> Cut:
    """Where the words of a language's plain text end."""
    return files.words if isinstance(files.words, str) else files.words.get(language, "marks")


def labelled_in(files: FilesConfig) -> tuple[str, ...]:
    """Languages with labelled training files."""
    return tuple(name for name, files in files.paths.items() if "train" in files)


def sources_of(files: FilesConfig) -> tuple[str, ...]:
    """The same.

    Raises:
        ConfigError: there is none.
    """
    found = labelled_in(files)
    if not found:
        raise ConfigError(
            "files.paths: no language has labelled training files, such as "
            "files.paths.en.train=FOLDER/*.conll"
        )
    return found


def sources_named(files: FilesConfig, names: Any = None) -> tuple[str, ...]:
    """The languages that a configuration learns from: those it names, or all with training files.

    Raises:
        ConfigError: one of them has none.
    """
    chosen = tuple(split_commas(names)) if names else sources_of(files)
    for name in chosen:
        if "train" not in files.paths.get(name, {}):
            raise ConfigError(f"benchmark.source: {name} has no files.paths.{name}.train")
    return chosen


def found_in(files: FilesConfig, names: tuple[str, ...], row_bytes: int = ROW_BYTES) -> Inferred:
    """Task, labels and scheme: as given, or else as training files of these languages say.

    Args:
        files: The files.
        names: The languages.
        row_bytes: Bytes of a row at most.

    Raises:
        ConfigError: they do not say.
    """
    if files.task is not None and files.labels is not None and files.scheme is not None:
        return Inferred(files.task, files.labels, files.scheme)
    return _inferred(files.model_dump_json(), names, row_bytes, _stamps(files, names))


def _stamps(files: FilesConfig, names: tuple[str, ...]) -> tuple[tuple[str, int, int], ...]:
    """What the training files look like from outside: edited, they may say something else."""
    key = "files.paths.{}.train"
    places = [(place, key.format(name)) for name in names for place in files.paths[name]["train"]]
    try:
        found = [
            x for place, key in places if not place.startswith(HUB) for x in matching(place, key)
        ]
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return tuple((file.path, file.size, file.changed) for file in found)


def resolved(config: RunConfig[Any]) -> RunConfig[Any]:
    """The configuration with what its own files say of task, labels and scheme.

    Raises:
        ConfigError: they say nothing, or ``files`` and ``benchmark`` do not fit each other.
    """
    files = config.files
    if config.benchmark.name != NAME:
        if files.paths:
            name = config.benchmark.name
            raise ConfigError(f"files.paths: benchmark.name is {name!r}, needed for them: {NAME!r}")
        return config
    if config.benchmark.root is not None:
        raise ConfigError("benchmark.root: files of your own are named by files.paths")
    if config.benchmark.revision is not None:
        place = f"{HUB}OWNER/NAME@REVISION"
        raise ConfigError(f"benchmark.revision: name it with the files, as {place}")
    names = sources_named(files, config.benchmark.source)
    found = found_in(files, names, config.data.max_row_bytes)
    update = {"task": found.task, "labels": found.labels, "scheme": found.scheme}
    files = files.model_copy(update=update)
    benchmark = config.benchmark.model_copy(update={"source": names})
    return config.model_copy(update={"files": files, "benchmark": benchmark})


@lru_cache(maxsize=8)
def _inferred(files: str, names: tuple[str, ...], row_bytes: int, stamps: object) -> Inferred:
    config = FilesConfig.model_validate_json(files)
    try:
        task = config.task or _task_of(config, names[0], row_bytes)
        if config.labels is not None and (config.scheme is not None or task != "token"):
            return Inferred(task, config.labels, config.scheme or "bio")
        known = config.model_copy(update={"task": task, "scheme": "bio"})
        counts = _tags(known, names, row_bytes)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if task == "token" and config.labels is None:
        _check_tags(counts, names)
    scheme = config.scheme or (scheme_of(counts) if task == "token" else "bio")
    labels = config.labels or labels_of(counts, scheme, task)
    _check_classes(labels, names)
    return Inferred(task, labels, scheme)


def _task_of(files: FilesConfig, language: str, row_bytes: int) -> Task:
    """The kind of task that the first row of a language's training files is of."""
    patterns, key = files.paths[language]["train"], f"files.paths.{language}.train"
    first, *_ = patterns
    if first.startswith(HUB):
        raise ConfigError(f"files.task: has to be given for {first}")
    file = matching(first, key)[0]
    ending = ending_of(file.name)
    if ending in ("txt", "conllu", "xml", *COLUMNS) and not (
        ending == "tsv" and _is_table(files, file, row_bytes)
    ):
        return "token"
    options = {"columns": files.columns, "row_bytes": row_bytes}
    source = UserSource(patterns, language, "train", "sentence", **options)
    with source.raw(file, source.layout(file)) as rows:
        head = [row for _, row in islice(rows, _HEAD)]
    fields = _called(files, fields_of(head[0]) if head else ())
    if "text" in fields and any(_is_marked(files, row) for row in head):
        return "token"
    for task, needed in _FIELDS:
        if needed <= fields:
            return task
    there = ", ".join(sorted(fields)) or "none"
    raise ConfigError(
        f"{key}: {file.location} has the fields {there}; needed: tokens, or text and label, or "
        "premise, hypothesis and label; files.columns names those that are called otherwise"
    )


_FIELDS: tuple[tuple[Task, set[str]], ...] = (
    ("token", {"tokens"}),
    ("pair", {"premise", "hypothesis"}),
    ("pair", {"text", "text_pair"}),
    ("sentence", {"text"}),
)


def _called(files: FilesConfig, columns: Iterable[str]) -> set[str]:
    """Names of the fields that some columns are."""
    others = {column: name for name, column in files.columns.items()}
    return {others.get(name, name) for name in columns}


def _is_marked(files: FilesConfig, row: Any) -> bool:
    """Whether a row has entities that are marked in its text."""
    record = in_usual_form(row)
    if not isinstance(record, Mapping):
        return False
    others = {column: name for name, column in files.columns.items()}
    named = {others.get(str(name), str(name)): value for name, value in record.items()}
    return is_marked(named) and any(named.get(name) for name in LISTS)


def _is_table(files: FilesConfig, file: DataFile, row_bytes: int) -> bool:
    """Whether a .tsv file begins with names of fields, or no sentence ends in its first lines."""
    with file.lines(row_bytes) as lines:
        first = next(lines, b"")
        filled = [bool(first.strip()), *(bool(line.strip()) for line in islice(lines, _HEAD - 1))]
    fields = _called(files, first.decode("utf-8", "replace").split("\t"))
    return any(needed <= fields for _, needed in _FIELDS) or (len(filled) == _HEAD and all(filled))


def _tags(files: FilesConfig, names: tuple[str, ...], row_bytes: int) -> dict[str, int]:
    """How often each tag or label is in the training files."""
    inventory, keys, faults = TagInventory(), _keys(names), Faults()
    for name in names:
        for row in _source(files, name, "train", row_bytes).examples(inventory):
            if isinstance(row, BadRow):
                faults.add(row)
            if len(inventory.counts) > _MOST_LABELS:
                raise ConfigError(
                    f"files.paths.{name}.train: more than {_MOST_LABELS:,} different labels "
                    f"({', '.join(map(shown, islice(inventory.counts, 3)))}, ...); another column?"
                )
    if several := faults.starting(SEVERAL):
        raise ConfigError(f"{keys}: {several}")
    if not inventory.counts:
        raise ConfigError(f"{keys}: no row has labels that can be read: {faults}")
    odd = next((tag for tag in inventory.counts if not _is_name(tag)), None)
    if odd is not None:
        raise ConfigError(
            f"{keys}: {shown(odd)} is no label; it has {_LONGEST_LABEL} letters at most, in UTF-8"
        )
    if files.task == "token" and all(tag.isdecimal() for tag in inventory.counts):
        raise ConfigError(
            f"{keys}: tags are numbers; name the classes as files.labels, in their order"
        )
    return inventory.counts


def _keys(names: Iterable[str]) -> str:
    return ", ".join(f"files.paths.{name}.train" for name in names)


def _is_name(tag: str) -> bool:
    """Whether a class may be called that."""
    is_unicode = not any("\ud800" <= letter <= "\udfff" for letter in tag)
    return is_unicode and len(tag) <= _LONGEST_LABEL


def _check_tags(counts: Mapping[str, int], names: tuple[str, ...]) -> None:
    """Whether tags are those of entities, or of something else, and not a few of the other kind.

    Raises:
        ConfigError: they are not of one kind, or all words are outside.
    """
    tags = _spelled(counts)
    if tags.keys() == {OUTSIDE}:
        raise ConfigError(
            f"{_keys(names)}: no entity in the training files, all tags are {OUTSIDE}"
        )
    odd = {tag: n for tag, n in tags.items() if tag != OUTSIDE and not split_tag(tag)[0]}
    if 0 < sum(odd.values()) < _RARE * sum(tags.values()) and len(odd) < len(tags) - 1:
        rare = ", ".join(f"{tag!r} ({n} x)" for tag, n in sorted(odd.items())[:5])
        if any(split_tag(tag)[0] for tag in tags):
            raise ConfigError(
                f"{_keys(names)}: nearly all tags are of entities, but not {rare}; mend them, or "
                "name the classes as files.labels"
            )


def _check_classes(labels: Sequence[str], names: tuple[str, ...]) -> None:
    """Raise ConfigError where there is nothing to tell apart."""
    if len(labels) < 2:
        raise ConfigError(
            f"{_keys(names)}: one class, {', '.join(map(repr, labels))}, needed: two or more"
        )


def _spelled(counts: Mapping[str, int]) -> dict[str, int]:
    """Tags with their letters in front, and how often each is there."""
    found: dict[str, int] = {}
    for tag, count in counts.items():
        found[spelled(tag)] = found.get(spelled(tag), 0) + count
    return found


def scheme_of(counts: Mapping[str, int]) -> Scheme:
    """How tags of entities are written, by how often each of them is used.

    ``M`` says bmes, ``L`` or ``U`` bilou, ``E`` or ``S`` bioes; few ``B`` iob1; no letter at all,
    but O, bare; anything else is bio, which takes tags as they stand.
    """
    by_letter: dict[str, int] = {}
    for tag, count in _spelled(counts).items():
        letter = OUTSIDE if tag == OUTSIDE else split_tag(tag)[0]
        by_letter[letter] = by_letter.get(letter, 0) + count
    letters = by_letter.keys() - {OUTSIDE}
    if letters == {""} and OUTSIDE in by_letter:
        return "bare"
    if "" in letters:
        return "bio"
    for scheme, telling in _TELLING.items():
        if letters & telling:
            return scheme if letters <= PREFIXES[scheme].keys() else "bio"
    begun, inside = by_letter.get("B", 0), by_letter.get("I", 0)
    return "iob1" if begun < _RARE * (begun + inside) else "bio"


_TELLING: dict[Scheme, set[str]] = {"bmes": {"M"}, "bilou": {"L", "U"}, "bioes": {"E", "S"}}


def labels_of(counts: Mapping[str, int], scheme: Scheme, task: Task) -> tuple[str, ...]:
    """Class names of the tags or labels in use, in an order that does not depend on the files'."""
    tags = _spelled(counts) if task == "token" else dict(counts)
    split = [split_tag(tag) for tag in tags if tag != OUTSIDE]
    known = PREFIXES[scheme].keys()
    if task == "token" and OUTSIDE in tags and split:
        is_bare = scheme == "bare" and not any(letter for letter, _ in split)
        if is_bare or all(letter in known for letter, _ in split):
            kinds = sorted({kind for _, kind in split})
            return (OUTSIDE, *(f"{letter}-{kind}" for kind in kinds for letter in "BI"))
    if all(tag.isdecimal() for tag in counts):
        return tuple(sorted(counts, key=lambda tag: (int(tag), tag)))
    return tuple(sorted(counts))
