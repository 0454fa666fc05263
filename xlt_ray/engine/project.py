"""Project steps: gold labels of a text, carried over to its translation into one language.

A shard of the text is projected by one actor, which has the translations of its rows and, where
words are aligned, the encoder. Every row of the text that has gold labels is in the result, with
its words and labels in the other language, or with the reason why it has none. For words there are
two ways: brackets that were translated with the sentence (`xlt_ray.data.projection.markers`), and
the alignment of words (`xlt_ray.data.projection.aligned`). Where both get there, the one whose
entities fit better by the encoder is taken.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from xlt_ray.data.keyed import Places
from xlt_ray.data.projection import aligned, markers
from xlt_ray.data.projection.rejection import REASONS, Reason, Rejected
from xlt_ray.data.quarantine import in_order, lost_rows, write_lost
from xlt_ray.data.readers.words import Cut, words_of
from xlt_ray.data.schema import TEXT_SCHEMA, TRANSLATED, Task
from xlt_ray.engine.arithmetic import Arithmetic
from xlt_ray.engine.isolation import write_all
from xlt_ray.engine.labelled_shards import LabelledShards
from xlt_ray.engine.mark import gold_of
from xlt_ray.engine.pool import Pool
from xlt_ray.engine.text_shards import shards_of
from xlt_ray.engine.word_vectors import alignment
from xlt_ray.labels import LabelSet, Span, bio_spans_of_ids, spans_to_bio
from xlt_ray.store.artifacts import Artifact
from xlt_ray.store.step_task import StepTask

Way = Literal["text", "markers", "alignment"]
"""How labels got over: with the text as a whole, or of words by brackets or by alignment."""

ROWS = 256
"""Sentences whose vectors are in memory at a time."""
MARGIN = 0.5
"""How much better than by brackets a row's entities have to fit by alignment, to be taken where
both differ: alignment looks for the words that fit best, brackets around wrong words fit none."""
TRUSTED = 0.9
"""Share of the rows with both ways whose entities have to be the same by both, for alignment to be
taken where they differ: an encoder that knows a language little is sure of wrong words."""
ENOUGH = 20
"""Fewest rows that tell this share."""

PROJECTED: dict[Task, pa.Schema] = {
    task: pa.schema(
        [
            *(field for field in schema),
            ("labels", pa.list_(pa.int16())),
            ("way", pa.string()),
            ("score", pa.float32()),
            ("rejected", pa.string()),
        ]
    )
    for task, schema in TEXT_SCHEMA.items()
}
"""Columns of projected rows; of a rejected row text, labels and way are null."""


@dataclass(frozen=True, kw_only=True)
class ProjectTask(StepTask):
    """Everything an actor needs; it travels by value.

    Attributes:
        text: The text.
        gold: Its gold labels.
        task: Kind of task.
        labels: Classes of the labels.
        language: Language that it was translated into.
        plain: The translation; None: that with brackets is all there is.
        marked: The translation with brackets; None: words are aligned.
        encoder: Whose vectors align words; None: brackets are all there is.
        layer: Its layer, from 1.
        threshold: Of softmax intersection.
        cut: Where words of the translation end.
        max_length: Longest input of the encoder in sub-words.
        batch_tokens: Token budget of a forward pass.
        arithmetic: How an actor computes.
    """

    kind = "projection"
    resumes = True

    text: Artifact
    gold: Artifact
    task: Task
    labels: LabelSet
    language: str
    plain: Artifact | None
    marked: Artifact | None
    encoder: Artifact | None
    layer: int
    threshold: float
    cut: Cut
    max_length: int
    batch_tokens: int
    arithmetic: Arithmetic

    @property
    def inputs(self) -> tuple[Artifact, ...]:
        """The text, its labels, its translations and the encoder."""
        more = (self.plain, self.marked, self.encoder)
        return (self.text, self.gold, *(item for item in more if item is not None))

    @property
    def modules(self) -> tuple[str, ...]:
        """This one, and those that it computes with."""
        return (__name__, "xlt_ray.engine.word_vectors", "xlt_ray.ops.word_alignment")


class Carried(NamedTuple):
    """Words of a translation with their labels, and how sure these are; in their order the words of
    entities with their labels."""

    words: tuple[str, ...]
    labels: list[int]
    way: Way
    score: float | None
    entities: list[tuple[str, int]]


class Row(NamedTuple):
    """A row, its labels, and what its translations are."""

    id: str
    words: tuple[str, ...]
    labels: list[int]
    plain: str | None
    marked: str | None


class ShardProjector(LabelledShards):
    """One actor, see `LabelledShards`."""

    def __init__(self, task: ProjectTask):
        super().__init__(task, gold_of(task.gold))
        self.task = task

    def carried(self, name: str, rows: pa.Table) -> pa.Table:
        """What becomes of some rows of a shard."""
        if self.task.task == "token":
            return self._of_words(name, rows)
        return self._of_texts(name, rows)

    def _of_texts(self, name: str, rows: pa.Table) -> pa.Table:
        """Texts or pairs of them: the label is that of the whole."""
        columns = [x for x in ("text", "text_pair") if x in rows.column_names]
        found = _looked_up(self.task.plain, name, rows, columns)
        made = list[dict[str, Any]]()
        for row, texts in zip(rows.to_pylist(), found, strict=True):
            reason: Reason | None = None
            if texts is None:
                reason = "no translation"
            elif not all(text.strip() for text in texts):
                reason = "empty translation"
            record = self._record(row["id"], reason)
            if reason is None:
                record |= dict(zip(columns, texts or (), strict=True))
                record |= {"labels": row["labels"], "way": "text"}
            made.append(record)
        return pa.Table.from_pylist(made, schema=PROJECTED[self.task.task])

    def _of_words(self, name: str, rows: pa.Table) -> pa.Table:
        """Sentences of words."""
        plain, marked = (
            [None if x is None else x[0] for x in _looked_up(artifact, name, rows, ["text"])]
            for artifact in (self.task.plain, self.task.marked)
        )
        given = [
            Row(row["id"], tuple(row["tokens"]), row["labels"], text, other)
            for row, text, other in zip(rows.to_pylist(), plain, marked, strict=True)
        ]
        made = list[dict[str, Any]]()
        parts = (given[start : start + ROWS] for start in range(0, len(given), ROWS))
        carried = [found for part in parts for found in self._carried(part, rows)]
        for row, found in zip(given, carried, strict=True):
            if isinstance(found, Rejected):
                made.append(self._record(row.id, found.reason))
                continue
            own = {"tokens": list(found.words), "labels": found.labels,
                   "way": found.way, "score": found.score}  # fmt: skip
            made.append(self._record(row.id, None) | own)
        return pa.Table.from_pylist(made, schema=PROJECTED["token"])

    def _record(self, id: str, reason: Reason | None) -> dict[str, Any]:
        language = self.task.language
        return {"id": f"{TRANSLATED}{language} {id}", "language": language, "rejected": reason}

    def _carried(self, given: Sequence[Row], rows: pa.Table) -> list[Carried | Rejected]:
        """What each sentence becomes, by the way that gets there, or the better of both."""
        by_marks = [self._by_markers(row) for row in given]
        if self.task.encoder is None:
            return by_marks
        cut = [words_of(row.plain or "", self.task.cut) for row in given]
        others = [x.words if isinstance(x, Carried) else () for x in by_marks]
        language = str(rows["language"][0]) if len(rows) else ""
        own_V = self.encoder([row.words for row in given], language)
        plain_V, marked_V = (self.encoder(x, self.task.language) for x in (cut, others))
        both = list[tuple[Carried | Rejected, Carried | Rejected]]()
        for row, words, by_mark, own, plain, marked in zip(
            given, cut, by_marks, own_V, plain_V, marked_V, strict=True
        ):
            if isinstance(by_mark, Carried):
                p_NM = self._aligned(own, marked)
                score = aligned.score_of(self._spans(row.labels), self._spans(by_mark.labels), p_NM)
                by_mark = by_mark._replace(score=score)
            both.append((by_mark, self._by_alignment(row, words, self._aligned(own, plain))))
        trusted, has_marks = knows_language(both), self.task.marked is not None
        return [better(*ways, has_marks=has_marks, trusted=trusted) for ways in both]

    def _by_markers(self, row: Row) -> Carried | Rejected:
        """By brackets; of a sentence without entities all words are outside."""
        spans = self._spans(row.labels)
        try:
            if spans:
                markers.pairs_of(row.words, spans)
            if row.marked is None:
                raise Rejected("no translation")
            words, found = markers.found_in(row.marked, row.words, spans, self.task.cut)
        except Rejected as rejected:
            return rejected
        return self._with_entities(words, found, "markers", None)

    def _by_alignment(
        self, row: Row, words: tuple[str, ...], p_NM: np.ndarray
    ) -> Carried | Rejected:
        """By aligned words."""
        try:
            if row.plain is None:
                raise Rejected("no translation")
            if not words:
                raise Rejected("empty translation")
            if not self.task.labels.is_bio:
                labels = aligned.carried_labels(row.labels, p_NM)
                score = float(p_NM.max(axis=0).mean())
                return Carried(words, list(labels), "alignment", score, [])
            spans = self._spans(row.labels)
            found = aligned.carried_spans(spans, p_NM)
        except Rejected as rejected:
            return rejected
        score = aligned.score_of(spans, found, p_NM)
        return self._with_entities(words, found, "alignment", score)

    def _aligned(self, own_NH: np.ndarray, other_MH: np.ndarray) -> np.ndarray:
        return alignment(own_NH, other_MH, self.task.threshold)

    def _spans(self, labels: Sequence[int]) -> list[Span]:
        return bio_spans_of_ids(labels, self.task.labels) if self.task.labels.is_bio else []

    def _with_entities(
        self, words: tuple[str, ...], spans: Sequence[Span], way: Way, score: float | None
    ) -> Carried:
        labels = [self.task.labels.index(tag) for tag in spans_to_bio(spans, len(words))]
        inside = [(words[n], labels[n]) for span in spans for n in range(span.start, span.end)]
        return Carried(words, labels, way, score, inside)


def same_entities(by_mark: Carried | Rejected, by_words: Carried | Rejected) -> bool | None:
    """Whether both ways have the same words with the same labels in entities, in the same order;
    None where one of them did not get there. Translations may differ in other words."""
    if isinstance(by_mark, Rejected) or isinstance(by_words, Rejected):
        return None
    return by_mark.entities == by_words.entities


def knows_language(both: Sequence[tuple[Carried | Rejected, Carried | Rejected]]) -> bool:
    """Whether alignment and brackets agree in at least `TRUSTED` of the rows that got there by both
    ways, if these are `ENOUGH` rows."""
    same = [x for x in (same_entities(*ways) for ways in both) if x is not None]
    return len(same) >= ENOUGH and sum(same) >= TRUSTED * len(same)


def better(
    by_mark: Carried | Rejected, by_words: Carried | Rejected, *, has_marks: bool, trusted: bool
) -> Carried | Rejected:
    """The one of the two ways that is taken.

    Where both have the same entities, that by alignment, as its text had no brackets. Where they
    differ, that by brackets, which came back whole, unless the other one is trusted and fits better
    by `MARGIN`. Where neither got there, why the brackets did not, if there are any.

    Args:
        by_mark: The way by brackets.
        by_words: The way by alignment.
        has_marks: Whether there are translations with brackets.
        trusted: Whether the encoder knows the language.
    """
    if isinstance(by_mark, Rejected):
        no_text = by_mark.reason == "no translation"
        is_told = has_marks and isinstance(by_words, Rejected) and not no_text
        return by_mark if is_told else by_words
    if isinstance(by_words, Rejected):
        return by_mark
    if same_entities(by_mark, by_words):
        return by_words
    fits = (by_words.score or 0.0) > (by_mark.score or 0.0) + MARGIN
    return by_words if trusted and fits else by_mark


def _looked_up(
    translation: Artifact | None, name: str, rows: pa.Table, columns: Sequence[str]
) -> list[tuple[str, ...] | None]:
    """Texts of each row in a translation of its shard; None where it has none."""
    if translation is None or name not in translation.names:
        return [None] * len(rows)
    table = translation.shard(name, ["id", *columns])
    texts = list(zip(*(table[column].to_pylist() for column in columns), strict=True))
    places = Places(table).of(rows).to_pylist()
    return [None if place is None else texts[place] for place in places]


def run_project(task: ProjectTask, pool: Pool, *, limit: int) -> dict[str, Any]:
    """Project every shard of the text; returns facts for the manifest: ``rows`` that got over, of
    ``given`` rows with gold labels, how many by which of the ``ways``, and how many were
    ``rejected`` for which reason.

    Args:
        task: The step.
        pool: The actors.
        limit: Rows that may be lost, since they kill whoever projects them.

    Raises:
        RuntimeError: an actor failed for good, or whatever is projected kills; the message is why.
        ConfigError: more rows kill than may be lost.
    """
    names = [shard.text_name for shard in shards_of(task.text)]
    lost = write_all(ShardProjector, task, pool, names, limit=limit)
    counts, total = Counter[tuple[str | None, str | None]](), 0.0
    for name in names:
        table = task.out.table(name, ["way", "rejected", "score"])
        way, rejected, score = (table[x].to_pylist() for x in ("way", "rejected", "score"))
        counts.update(zip(way, rejected, strict=True))
        total += sum(value for value in score if value is not None)
    write_lost(task.out, in_order([*lost, *lost_rows(task.text)]))
    facts = _facts(counts)
    if task.encoder is not None and facts["rows"]:
        facts["score"] = total / facts["rows"]
    facts["given"] += len(lost)
    return {**facts, "quarantined": len(lost)} if lost else facts


def _facts(counts: Mapping[tuple[str | None, str | None], int]) -> dict[str, Any]:
    ways, rejected = Counter[str](), Counter[str]()
    for (way, reason), count in counts.items():
        if reason is None:
            ways[str(way)] += count
        else:
            rejected[reason] += count
    return {
        "rows": sum(ways.values()),
        "given": sum(counts.values()),
        "ways": dict(sorted(ways.items())),
        "rejected": {name: rejected[name] for name in REASONS if rejected[name]},
    }
