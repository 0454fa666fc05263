"""Pseudo-labels of the first rounds of a loop from labellers, in place of those of the model.

Each item has the label of most labellers, of several the one with the largest summed probability,
and is as uncertain as the labellers' mean probability of that label is below 1. Rows are then
chosen as those that a model has labelled. A row with a word that nobody labelled cannot be chosen,
nor one that an earlier round has.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from xlt_ray.config.errors import ConfigError
from xlt_ray.data.keyed import in_common, items_of, without_ids
from xlt_ray.data.schema import Task
from xlt_ray.labels import LabelSet
from xlt_ray.methods.shared.row_scores import annotation_columns
from xlt_ray.ops import voting
from xlt_ray.recipe.annotator import Columns
from xlt_ray.recipe.corpus import ids_of, shard_names
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact


def check_rounds(driver: Driver, labelled: int, rounds: int) -> None:
    """See that there are labellers for the rounds that they label, and rounds for them.

    Args:
        driver: The verbs.
        labelled: First rounds that labellers label.
        rounds: Rounds at most.

    Raises:
        ConfigError: there are not.
    """
    names = ", ".join(driver.labellers)
    if labelled and not names:
        raise ConfigError("method.labelled_rounds: no labeller; name one as labellers.NAME.file")
    if names and not labelled:
        raise ConfigError(
            f"method.labelled_rounds: 0, so {names} would label nothing; 1: the first round"
        )
    if labelled > rounds:
        raise ConfigError(f"method.labelled_rounds: {labelled}, but method.rounds is {rounds}")


def voted(driver: Driver, number: int, taken: list[Artifact]) -> Artifact:
    """What the labellers say about the pool of a round, as an annotation of it.

    Args:
        driver: The verbs.
        number: The round.
        taken: Rows that are no part of the pool any more.
    """
    votes = [driver.votes(name) for name in driver.labellers]
    return driver.derive(
        f"round {number} votes",
        scored_votes,
        *votes,
        *taken,
        num_labellers=len(votes),
        labels=list(driver.context.labels.names),
        task=driver.context.task,
    )


def scored_votes(
    *given: Artifact, num_labellers: int, labels: list[str], task: Task
) -> tuple[pa.Table, dict[str, Any]]:
    """Votes as the annotation that rows are selected by, see `annotation_columns`.

    Args:
        given: What each labeller says about the same text, then rows that are left out.
        num_labellers: How many of these are labellers.
        labels: Names of the classes.
        task: Kind of task.

    Returns:
        The rows, and how many of them are ``whole``: with a label for every item.
    """
    context, parts, whole = TaskContext(LabelSet(tuple(labels)), (), task=task), [], 0
    votes, taken = given[:num_labellers], ids_of(*given[num_labellers:])
    for shard in shard_names(votes[0]):
        tables = [item.shard(shard, ["id", "language", "labels", "probs"]) for item in votes]
        tables = in_common(without_ids(tables[0], taken), *tables[1:])
        hard_UN = np.stack([items_of(table["labels"])[0] for table in tables])
        offsets = items_of(tables[0]["labels"])[1]
        soft_UNK = np.stack([
            items_of(table["probs"])[0].reshape(-1, len(labels)).astype(np.float64)
            for table in tables
        ])  # fmt: skip
        label_N, score_N = uncertain_votes(hard_UN, soft_UNK)
        silent_N = label_N < 0
        known_N = torch.tensor(np.where(silent_N, 0, label_N))
        sets_N, score = torch.ones_like(known_N) << known_N, torch.tensor(score_N)
        columns = annotation_columns(
            known_N, sets_N, score, score, offsets, context, silent_N, "labellers"
        )
        part = _table(tables[0].select(["id", "language"]), offsets, columns)
        whole += _whole(silent_N, offsets)
        parts.append(part)
    return pa.concat_tables(parts), {"whole": whole}


def uncertain_votes(hard_UN: np.ndarray, soft_UNK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N] label of most labellers, -100 where there is none, and [N] how uncertain it is, from 0 to
    1.

    Args:
        hard_UN: Labels of the labellers, -100 where one gives none.
        soft_UNK: Their probabilities, zeros where one gives none.
    """
    label_N = voting.majority_vote(hard_UN, soft_UNK)
    voters_N = (hard_UN >= 0).sum(axis=0)
    at = np.arange(len(label_N))
    mass_N = soft_UNK.sum(axis=0)[at, label_N.clip(0)]
    return label_N, np.clip(1 - mass_N / np.maximum(voters_N, 1), 0.0, 1.0)


def _whole(silent_N: np.ndarray, offsets: np.ndarray) -> int:
    before = np.concatenate([[0], np.cumsum(silent_N)])
    return int((before[offsets[1:]] == before[offsets[:-1]]).sum())


def _table(rows: pa.Table, offsets: np.ndarray, columns: Columns) -> pa.Table:
    ends = pa.array(offsets.astype(np.int32))
    for name, values in columns.items.items():
        rows = rows.append_column(name, pa.ListArray.from_arrays(ends, pa.array(values)))
    for name, values in columns.rows.items():
        column = pa.array(values) if values.ndim == 1 else _vectors(values)
        rows = rows.append_column(name, column)
    return rows


def _vectors(values: np.ndarray) -> pa.Array:
    ends = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
    return pa.ListArray.from_arrays(ends, pa.array(values.reshape(-1)))
