"""Votes of a labeller about a text, read from files: an annotation with gaps.

Rows of the files and of the text are found together by their characters, whatever words these were
cut into, or else by their id. What the labeller does not speak about has the label -100 and no
probabilities. A row of the files that cannot be understood is quarantined; rows of other texts are
counted and left aside, so that one file can serve several texts.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.readers.base import NamedSource, check_unchanged
from xlt_ray.data.readers.rows import RowError
from xlt_ray.data.readers.user_source import UserSource
from xlt_ray.data.readers.votes import (
    Key,
    Said,
    Vote,
    key_of,
    own_fields,
    said_in,
    vote_of,
)
from xlt_ray.data.schema import BadRow, Task
from xlt_ray.engine.annotate import to_table
from xlt_ray.engine.text_shards import shards_of
from xlt_ray.labels import UNLABELLED, LabelSet
from xlt_ray.recipe.annotator import Columns
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.attempt import Attempt
from xlt_ray.store.fingerprint import RUNTIME
from xlt_ray.store.step_task import StepTask

Cut = tuple[str, ...]
"""The words, or texts, of a row."""
Wanted = dict[Key, list[Cut]]
"""Texts by their characters, each in as many cuts as there are."""


@dataclass(frozen=True, kw_only=True)
class VotesTask(StepTask):
    """Files of votes, and the text that they are about.

    Attributes:
        text: The text.
        languages: Languages of the rows that votes are looked up for.
        task: Kind of task.
        labels: Classes of the task.
        name: The labeller.
        column: Field with its labels; None: the usual ones.
        source: The files.
        max_bad_fraction: Share of the rows of the files that may be quarantined.
    """

    kind = "annotation"

    text: Artifact
    languages: tuple[str, ...]
    task: Task
    labels: LabelSet
    name: str
    column: str | None
    source: NamedSource
    max_bad_fraction: float = field(metadata=RUNTIME)

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """The text."""
        return (self.text,)

    @property
    def modules(self) -> tuple[str, ...]:
        """This one, and that of the files."""
        return (__name__, type(self.source.source).__module__)


def run_votes(task: VotesTask) -> dict[str, Any]:
    """Write an annotation of every shard of the text; returns facts for the manifest.

    Raises:
        ConfigError: the files cannot be read, have too many bad rows, no vote about the text, or
            were edited.
    """
    source = task.source.source
    assert isinstance(source, UserSource)
    wanted, ids = _wanted(task)
    found, bad, others, total = dict[tuple[Key, Cut], Vote](), list[BadRow](), 0, 0
    try:
        for item in said_in(source):
            total += 1
            if isinstance(item, BadRow):
                bad.append(item)
                continue
            try:
                if not _take(task, source, item, wanted, ids, found):
                    others += 1
            except RowError as error:
                bad.append(BadRow(item.file, item.line, error.reason))
        check_unchanged(task.source)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    _check_bad(task, source, bad, total)
    if not found:
        raise ConfigError(
            f"{source.key}: none of the {total} rows is a vote of {task.name} about the unlabelled "
            f"text of {', '.join(task.languages)}; rows are found by their text, or by id"
        )
    lines = [json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in bad]
    task.out.write(f"quarantine-{task.name}.jsonl", "".join(lines).encode())

    def known(rows: Sequence[Mapping[str, Any]]) -> list[Vote | None]:
        return [found.get((key_of(row), _cut(row))) for row in rows]

    facts = write_votes(task.out, task.text, task.languages, len(task.labels), known)
    return {**facts, "of_other_texts": others, "quarantined": len(bad)}


def write_votes(
    out: Attempt,
    text: Artifact,
    languages: Iterable[str],
    k: int,
    known: Callable[[Sequence[Mapping[str, Any]]], Sequence[Vote | None]],
) -> dict[str, Any]:
    """Write what is known of the rows of a text, shard by shard; returns how many have a vote.

    Args:
        out: Where to.
        text: The text.
        languages: Languages of the rows that are looked up; the others have none.
        k: Number of classes.
        known: The votes about some rows of the text, or None for each.
    """
    rows, voted, asked = 0, 0, set(languages)
    for shard in shards_of(text):
        table = shard.rows(text)
        those = table.to_pylist()
        given = known(those) if shard.language in asked else [None] * len(those)
        votes = [vote or _nothing(row, k) for row, vote in zip(those, given, strict=True)]
        voted += sum(vote is not None for vote in given)
        offsets = np.cumsum([0, *(len(vote.labels) for vote in votes)])
        items = {
            "labels": np.concatenate([np.zeros(0, np.int16), *(vote.labels for vote in votes)]),
            "probs": np.concatenate([np.zeros((0, k), np.float16), *(x.probs for x in votes)]),
        }
        out.write_table(shard.name, to_table(table, offsets, Columns(items=items)))
        rows += len(table)
    return {"rows": rows, "voted": voted}


def _nothing(row: Mapping[str, Any], k: int) -> Vote:
    count = 1 if row.get("tokens") is None else len(row["tokens"])
    return Vote(np.full(count, UNLABELLED, np.int16), np.zeros((count, k), np.float16))


def _cut(row: Mapping[str, Any]) -> Cut:
    if row.get("tokens") is not None:
        return tuple(row["tokens"])
    pair = row.get("text_pair")
    return (row["text"],) if pair is None else (row["text"], pair)


def _wanted(task: VotesTask) -> tuple[Wanted, dict[str, list[tuple[str, Key]]]]:
    """The texts that votes are looked up for, and by id the language and key of each."""
    wanted, ids = Wanted(), dict[str, list[tuple[str, Key]]]()
    for shard in shards_of(task.text):
        if shard.language not in task.languages:
            continue
        for row in shard.rows(task.text).to_pylist():
            key, cut = key_of(row), _cut(row)
            cuts = wanted.setdefault(key, [])
            if cut not in cuts:
                cuts.append(cut)
            own = row["id"]
            for name in {own, own.partition("-id-")[2]} - {""}:
                ids.setdefault(name, []).append((shard.language, key))
    return wanted, ids


def _take(
    task: VotesTask,
    source: UserSource,
    item: Said,
    wanted: Wanted,
    ids: Mapping[str, list[tuple[str, Key]]],
    found: dict[tuple[Key, Cut], Vote],
) -> bool:
    """Take a row of the files for the votes that it has; whether it is about the text at all.

    Raises:
        RowError: it cannot be understood.
    """
    key = item.key
    if key is None:
        assert item.id is not None
        places = [at for at in ids.get(item.id, []) if item.record.get("language") in (None, at[0])]
        if len({at[1] for at in places}) > 1:
            raise RowError(f"id {item.id} is of several rows; a field language tells them apart")
        key = places[0][1] if places else None
    if key is None or key not in wanted:
        return False
    own = own_fields(item.record, task.name, task.column)
    if own is None:
        return True
    for cut in wanted[key]:
        row: dict[str, Any] = {"tokens": list(cut)} if task.task == "token" else {"text": cut[0]}
        vote = vote_of(own, row, task.task, task.labels, item.record, source)
        if vote is not None:
            found[key, cut] = vote
    return True


def _check_bad(task: VotesTask, source: UserSource, bad: list[BadRow], total: int) -> None:
    if len(bad) <= task.max_bad_fraction * total:
        return
    reasons = "".join(f"\n  {row.file}:{row.line}: {row.reason}" for row in bad[:3])
    key = f"labellers.{task.name}.max_bad_fraction"
    raise ConfigError(
        f"{source.key}: {len(bad)} of {total} rows cannot be used ({len(bad) / total:.1%}, {key} "
        f"is {task.max_bad_fraction:.1%}); the first:{reasons}"
    )
