"""What annotators of a self-training loop say of each row, for rows to be chosen by."""

import numpy as np
import torch
from torch import Tensor

from xlt_ray.data.keyed import ranges
from xlt_ray.metrics import entities_of
from xlt_ray.ops import selection
from xlt_ray.recipe.annotator import Columns
from xlt_ray.recipe.task import TaskContext


def one_hot_columns(
    labels: Tensor,
    score: Tensor,
    offsets: np.ndarray,
    context: TaskContext,
    silent: np.ndarray | None = None,
) -> Columns:
    """The columns of :func:`annotation_columns` where every set is one class.

    Args:
        labels: [N] class of each item.
        score: [N] uncertainty of each item, lowest first.
        offsets: [S + 1] first item of each row, and N.
        context: The task.
        silent: [N] items whose rows may not be selected; None: none.
    """
    sets = torch.ones_like(labels) << labels
    return annotation_columns(labels, sets, score, score, offsets, context, silent, "one-hot")


def annotation_columns(
    labels: Tensor,
    sets: Tensor,
    gamma: Tensor,
    score: Tensor,
    offsets: np.ndarray,
    context: TaskContext,
    silent: np.ndarray | None = None,
    search: str = "one-hot",
) -> Columns:
    """What the rounds of a self-learning loop know of each row.

    Args:
        labels: [N] likeliest class of each item.
        sets: [N] bit mask of its candidate set.
        gamma: [N] uncertainty of the label given.
        score: [N] what rows are ranked by, lowest first.
        offsets: [S + 1] first item of each row, and N.
        context: The task.
        silent: [N] items whose rows may not be selected; None: none.
        search: How sets were looked for.

    Returns:
        Per item ``labels``, ``candidates`` and ``gamma``; per row ``type_scores`` (a mean over the
        entities of each type, or the score under the class of a text; NaN elsewhere), ``score``
        (the mean over all entities, or the score of the text), ``valid`` (may be selected: no
        orphan I-, no silent item) and ``search``.
    """
    classes, values = labels.cpu().numpy(), score.cpu().numpy()
    rate = entity_scores if context.task == "token" else class_scores
    by_type, overall, orphaned = rate(classes, values, offsets, context)
    quiet = np.zeros(len(offsets) - 1, np.int64)
    if silent is not None and len(quiet):
        quiet = np.add.reduceat(np.append(silent, False).astype(np.int64), offsets[:-1])
    return Columns(
        items={
            "labels": classes.astype(np.int16),
            "candidates": sets.cpu().numpy(),
            "gamma": gamma.cpu().numpy().astype(np.float32),
        },
        rows={
            "type_scores": by_type,
            "score": overall,
            "valid": ~orphaned & (quiet == 0),
            "search": np.full(len(offsets) - 1, search),
        },
    )


def class_scores(
    labels: np.ndarray, scores: np.ndarray, offsets: np.ndarray, context: TaskContext
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of texts, each of which is one item, by predicted class.

    Args:
        labels: [N] class of each text.
        scores: [N] score of each text.
        offsets: [N + 1], one item per row.
        context: The task.

    Returns:
        [N, C] the score under the text's class and NaN elsewhere, [N] the scores, and [N] False.
    """
    by_class = np.full((len(labels), context.num_classes), np.nan)
    by_class[np.arange(len(labels)), labels] = scores
    return by_class, scores, np.zeros(len(labels), bool)


def entity_scores(
    labels: np.ndarray, scores: np.ndarray, offsets: np.ndarray, context: TaskContext
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of sentences by the entities that their labels spell.

    Args:
        labels: [N] class of each word, sentence after sentence.
        scores: [N] score of each word.
        offsets: [S + 1] first word of each sentence, and N.
        context: The task.

    Returns:
        [S, T] mean per entity type and [S] mean over all entities, NaN where there are none, and
        [S] whether the sentence has an I- that continues nothing.
    """
    found, count = entities_of(labels.astype(np.int64), offsets, context.labels), len(offsets) - 1
    sizes = found.after_E - found.first_E
    words = {
        "scores_W": scores[ranges(found.first_E, sizes)],
        "entity_W": np.repeat(np.arange(len(sizes)), sizes),
        "sentence_E": _row_of(found.first_E, offsets),
        "num_sentences": count,
    }
    types, kinds = len(context.labels.entity_types), found.type_E
    by_type = selection.sentence_type_scores(**words, type_E=kinds, num_types=types)
    overall = selection.sentence_type_scores(**words, type_E=np.zeros_like(kinds), num_types=1)
    orphaned = np.zeros(count, bool)
    orphaned[_row_of(np.flatnonzero(found.orphan_N), offsets)] = True
    return by_type, overall[:, 0], orphaned


def _row_of(items: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The row that each item stands in."""
    return np.searchsorted(offsets, items, side="right") - 1
