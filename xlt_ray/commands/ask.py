"""Which rows of a run's raw text are worth a person's time, as files for annotation tools."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xlt_ray.commands.run_texts import RunTexts, text_of
from xlt_ray.commands.trained_models import Finished, Labellers, models_of_run
from xlt_ray.config.errors import ConfigError
from xlt_ray.data.batches.planning import seed_of
from xlt_ray.data.readers.rows import Text
from xlt_ray.engine.labeller import Prediction
from xlt_ray.labels import LabelSet
from xlt_ray.ops import acquisition
from xlt_ray.report.look import UNLABELLED
from xlt_ray.report.record import Report
from xlt_ray.report.suggestions import Suggestion, doccano, label_studio
from xlt_ray.store.artifacts import Store
from xlt_ray.store.run_folder import RunFolder

FOLDER = "ask"
"""In the folder of a run."""


@dataclass(frozen=True)
class Asked:
    """What is asked of a language.

    Attributes:
        language: Its name.
        rows: The rows, the most uncertain first.
        of: Rows that were looked at.
        mean: Mean uncertainty of all of these.
        files: Where the rows were written: for doccano, and for Label Studio.
    """

    language: str
    rows: Sequence[Suggestion]
    of: int
    mean: float
    files: tuple[str, str]


@dataclass(frozen=True)
class _Pool:
    """Rows of a language that may be asked, each text once.

    Attributes:
        texts: The texts.
        said: What the final model says of them.
        scores: [N] how uncertain it is.
        finished: The model.
    """

    texts: Sequence[Text]
    said: Sequence[Prediction]
    scores: np.ndarray
    finished: Finished


def write_files(
    store: Store, report: Report, folder: RunFolder, *, rows: int, of: int
) -> list[Asked]:
    """Choose rows of the targets' unlabelled text, and write them for annotation tools.

    Args:
        store: The store of the run.
        report: What the run has reported.
        folder: Its folder.
        rows: How many rows of all languages together.
        of: How many rows of each language are looked at, drawn by their ids.

    Returns:
        What was asked of each language that has unlabelled text.

    Raises:
        ConfigError: the run's models or text cannot be asked about, or are not in the store.
    """
    if (report.config.get("translation") or {}).get("replace"):
        raise ConfigError(f"run {report.run!r} reads its targets in translation: nothing to label")
    texts, labellers = RunTexts(store, folder), Labellers()
    pools = dict[str, _Pool]()
    for language in report.targets:
        before, after = models_of_run(store, report.run, language)
        if after.task == "token" and not LabelSet(after.labels).is_bio:
            raise ConfigError(f"run {report.run!r}: entities can be suggested, its labels are none")
        if pool := _pool(texts, language, before, after, labellers, of):
            pools[language] = pool
    if not pools:
        raise ConfigError(f"the store has no text of run {report.run!r} any more; run it again")
    wanted = acquisition.shares(rows, {name: len(pool.texts) for name, pool in pools.items()})
    found = list[Asked]()
    for language, pool in pools.items():
        seed = seed_of(int(report.config.get("seed", 0)), "ask", language)
        chosen = _chosen(pool, wanted[language], labellers, seed)
        files = f"{FOLDER}/{language}.jsonl", f"{FOLDER}/{language}.json"
        folder.write(files[0], doccano(chosen))
        folder.write(files[1], label_studio(chosen, report.run))
        first, second = (f"{folder.path}/{name}" for name in files)
        mean = float(pool.scores.mean()) if len(pool.scores) else 0.0
        found.append(Asked(language, chosen, len(pool.texts), mean, (first, second)))
    return found


def _pool(
    texts: RunTexts,
    language: str,
    before: Finished,
    after: Finished,
    labellers: Labellers,
    count: int,
) -> _Pool | None:
    """The rows of a language, and how uncertain its models are of each."""
    table = texts.rows(UNLABELLED, language, count)
    if table is None or not len(table):
        return None
    found = [text_of(row) for row in table.to_pylist()]
    first = dict[tuple[object, ...], int]()
    for number, text in enumerate(found):
        first.setdefault((text.tokens, text.text, text.text_pair), number)
    kept = list(first.values())
    table, found = table.take(kept), [found[number] for number in kept]
    said = list(labellers.of(after).label_all(found))
    uncertain = [dict(one.uncertainty) for one in said]
    if all(uncertain):  # an evidential model says of what kind its doubts are
        values = [np.sum([*one.values()], axis=0) for one in uncertain]
    else:
        earlier = [[_labels(one)] for one in labellers.of(before).label_all(found)]
        rounds = texts.rounds(table["id"], after.labels)
        for id, others in zip(table["id"].to_pylist(), earlier, strict=True):
            others += [one.labels for one in rounds.get(id, {}).values()]
        values = [_doubts(one, others) for one, others in zip(said, earlier, strict=True)]
    offsets = np.concatenate([[0], np.cumsum([len(value) for value in values])])
    scores = acquisition.of_rows(np.concatenate(values), offsets)
    return _Pool(found, said, scores, after)


def _labels(said: Prediction) -> tuple[str, ...]:
    return said.labels if said.label is None else (said.label,)


def _doubts(said: Prediction, others: Sequence[Sequence[str]]) -> np.ndarray:
    """[N] of each word or of the text: share of the run's other models that say something else, and
    what the probability of the label lacks of 1."""
    sure = said.confidences if said.label is None else (said.confidence,)
    return acquisition.disagreement(_labels(said), others) + (1 - np.array(sure))


def _chosen(pool: _Pool, count: int, labellers: Labellers, seed: int) -> list[Suggestion]:
    """Uncertain rows that are unlike each other."""
    likely = acquisition.candidates(pool.scores, count)
    vectors = labellers.of(pool.finished).vectors([pool.texts[i] for i in likely])
    rows = likely[acquisition.spread(pool.scores[likely], vectors, count, seed=seed)]
    return [_suggestion(pool.texts[i], pool.said[i], float(pool.scores[i])) for i in rows]


def _suggestion(text: Text, said: Prediction, score: float) -> Suggestion:
    spans = tuple((span.start, span.end, span.label) for span in said.spans)
    return Suggestion(said.text, text.text_pair, said.label, spans, score)


def lines(found: Sequence[Asked]) -> list[str]:
    """What was asked, for the terminal."""
    told = list[str]()
    for one in found:
        mean = np.mean([row.score for row in one.rows]) if one.rows else 0.0
        told.append(
            f"{one.language}: {len(one.rows):,} of {one.of:,} rows, of uncertainty {mean:.2f}, "
            f"where all of them have {one.mean:.2f}"
        )
        told += [f"  {path}" for path in one.files]
    return told
