"""What a dry run shows of files: rows as they were understood, and what there is of each label.

Labels are shown of source languages, and of few labelled rows: those of test files are read for
scores, and not before.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from xlt_ray.config.schema import RunConfig
from xlt_ray.data.benchmarks.registry import benchmark_of
from xlt_ray.data.readers.faults import Faults
from xlt_ray.data.readers.user_files import source_in
from xlt_ray.data.readers.words import main_script
from xlt_ray.data.schema import BadRow, Example
from xlt_ray.labels import LabelSet, bio_spans_of_ids

_ROWS, _SHOWN, _FILES = 10_000, 2, 5
_LETTERS, _WIDE = 20_000, 88


@dataclass
class Seen:
    """What the first rows of a split hold.

    Attributes:
        rows: How many there are, of at most 10,000 that were looked at.
        bad: Why others could not be read.
        first: The first rows of each file.
        labels: How often each class, or entity type, is there.
        lengths: Words of the entities.
        scripts: How many rows are written in each script.
        duplicates: Rows whose text was there before.
    """

    rows: int = 0
    bad: Faults = field(default_factory=Faults)
    bad_rows: int = 0
    first: dict[str, list[str]] = field(default_factory=dict)
    labels: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    scripts: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0


def look(rows: Iterator[Example | BadRow], labels: LabelSet | None) -> Seen:
    """Look at the first rows of a split.

    Args:
        rows: The rows.
        labels: Classes of the task; None: the rows were read without labels.
    """
    found, texts = Seen(), set[int]()
    for row in islice(rows, _ROWS):
        if isinstance(row, BadRow):
            found.bad.add(row)
            found.bad_rows += 1
            continue
        found.rows += 1
        text = " ".join(row.tokens or (row.text or "", row.text_pair or ""))
        found.duplicates += hash(text) in texts
        texts.add(hash(text))
        found.scripts[main_script(text[:_LETTERS])] += 1
        kept = found.first.setdefault(row.file, [])
        if len(kept) < _SHOWN:
            kept.append(_shown(row, labels))
        if labels is not None and row.labels is not None:
            _count(found, row.labels, labels)
    return found


def _count(found: Seen, ids: tuple[int, ...] | int, labels: LabelSet) -> None:
    if isinstance(ids, int):
        found.labels[labels.names[ids]] += 1
        return
    if not labels.is_bio:
        found.labels.update(labels.names[label] for label in ids)
        return
    for span in bio_spans_of_ids(ids, labels):
        found.labels[span.type] += 1
        found.lengths[span.end - span.start] += 1


def _shown(row: Example, labels: LabelSet | None) -> str:
    """A row in one line: words with their tags, or a text and its label."""
    if row.tokens is None:
        text = " | ".join(part for part in (row.text, row.text_pair) if part)
        tail = f"  -> {labels.names[row.labels]}" if labels and isinstance(row.labels, int) else ""
        return _cut(" ".join(text.split()), _WIDE - len(tail)) + tail
    words = list(row.tokens)
    if labels is not None and isinstance(row.labels, tuple):
        tags = [labels.names[label] for label in row.labels]
        outside = "O" if labels.is_bio else None
        words = [w if tag == outside else f"{w}/{tag}" for w, tag in zip(words, tags, strict=True)]
    return _cut(" ".join(words), _WIDE)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 4]} ..."


def seen_lines(config: RunConfig[Any]) -> list[str]:
    """Every split of the files of a configuration, as it was understood."""
    benchmark = benchmark_of(config)
    sources = config.benchmark.source or benchmark.sources
    lines = []
    for language, splits in config.files.paths.items():
        for split, places in splits.items():
            if any(place.startswith("hub:") for place in places):
                continue
            known = language in sources and split in ("train", "dev")
            known = known or split == "few"
            labels = benchmark.label_set if known else None
            source = source_in(config.files, language, split, config.data.max_row_bytes)
            found = look(source.examples(labels), labels)
            lines += _lines(f"{language} {split}", found, config.method)
    return lines


def _lines(name: str, found: Seen, method: Any) -> list[str]:
    more = "more than " if found.rows + found.bad_rows == _ROWS else ""
    parts = [f"{more}{found.rows:,} rows"]
    if found.bad_rows:
        parts.append(f"{found.bad_rows:,} that could not be read")
    if found.duplicates:
        parts.append(f"{found.duplicates:,} with the text of an earlier one")
    if found.scripts:
        parts.append(", ".join(script for script, _ in found.scripts.most_common(3)))
    lines = [f"{name}: {'; '.join(parts)}"]
    if found.bad:
        lines.append(f"  not read: {found.bad}")
    for file, rows in islice(found.first.items(), _FILES):
        lines += [f"  {file}", *(f"    {row}" for row in rows)]
    if len(found.first) > _FILES:
        lines.append(f"  and {len(found.first) - _FILES} more files")
    return lines + [f"  {line}" for line in _of_labels(found, method)]


def _of_labels(found: Seen, method: Any) -> list[str]:
    """Counts of labels, and what a method cannot learn of them."""
    if not found.labels:
        return []
    counted = ", ".join(f"{name} {count:,}" for name, count in found.labels.most_common(20))
    lines = [f"labels: {counted}" + (", ..." if len(found.labels) > 20 else "")]
    once = [name for name, count in found.labels.items() if count == 1]
    if once:
        lines.append(f"warning: one row alone has {', '.join(sorted(once)[:10])}")
    if found.lengths:
        lines.append(f"entities: {_of_lengths(found.lengths)}")
        most = getattr(method, "max_len", None)
        longer = sum(count for words, count in found.lengths.items() if most and words > most)
        if longer:
            share = longer / found.lengths.total()
            lines.append(
                f"warning: {share:.0%} of the entities have more than method.max_len={most} words "
                "and cannot be found"
            )
    return lines


def _of_lengths(lengths: Mapping[int, int]) -> str:
    longest = max(lengths)
    parts = [f"{lengths[n]:,} of {n}" for n in sorted(lengths)[:6]]
    rest = sum(count for words, count in lengths.items() if words > sorted(lengths)[:6][-1])
    tail = f", {rest:,} of up to {longest}" if rest else ""
    return f"{', '.join(parts)}{tail} words"
