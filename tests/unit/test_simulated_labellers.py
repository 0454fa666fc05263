"""Labellers with known confusions: what EM finds of them, and what it gains over a majority.

Votes are drawn from given matrices about gold of the embedded benchmark, and the steps of LVM are
taken as in a run, in closed form, by a model that knows nothing but how often each class is. Votes
are independent, so that the assumption of LVM holds and the right answer is known.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
import torch

from xlt_ray.data.benchmarks.toy import LABELS, make_source
from xlt_ray.labels import UNLABELLED, LabelSet
from xlt_ray.methods.lvm.channel import Channel, Confusions
from xlt_ray.metrics import seqeval_f1
from xlt_ray.ops import confusion
from xlt_ray.ops.confusion_counts import expected_counts, maximising_matrix
from xlt_ray.ops.voting import majority_vote
from xlt_ray.oracle.channel import Injected
from xlt_ray.recipe.task import TaskContext

NAMES = ("labeller1", "labeller2", "labeller3")
RIGHT = (0.6, 0.75, 0.9)
ROWS, ROUNDS = 3000, 30
TAGS = LabelSet(LABELS["ner"])
K = len(TAGS)


@cache
def gold() -> tuple[np.ndarray, np.ndarray]:
    """Labels of all words, and the row of each."""
    source = make_source("ner", "nolu", "train", {"train": ROWS})
    rows = [list(x.labels) for x in source.examples(TAGS)]  # type: ignore[union-attr]
    owners = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return np.concatenate(rows), owners


def votes(injected: Injected, seed: int) -> np.ndarray:
    """[U, N] a draw for each word from the column of its label; -100 in rows not seen."""
    true_N, owner_N = gold()
    draw, said = np.random.default_rng(seed), []
    for number in range(len(injected.diagonals)):
        edges_KK = np.cumsum(injected.matrix(number, K), axis=0)
        said_N = (edges_KK[:, true_N] < draw.random(len(true_N))).sum(axis=0).clip(0, K - 1)
        unseen_N = (draw.random(ROWS) < injected.missing)[owner_N]
        said.append(np.where(unseen_N, UNLABELLED, said_N))
    return np.stack(said)


def learned(hard_UN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[U, K, K] matrices and [N, K] posterior after rounds of E- and M-steps."""
    channel = Channel(NAMES, False, tau_psi=2.0, tau_sigma=confusion.tau_of(0.7, K))
    own = channel.build(TaskContext(TAGS, ("nolu",)))
    assert isinstance(own, Confusions)
    own = own.double()
    columns = {f"{x}.labels": torch.tensor(y) for x, y in zip(NAMES, hard_UN, strict=True)}
    heard = channel.heard(columns)
    q = logits = torch.zeros(hard_UN.shape[1], K, dtype=torch.float64)
    with torch.no_grad():
        for _ in range(ROUNDS):
            q = confusion.posterior(channel.log_joint(logits, columns, own, 0.0))
            logits = (q[heard].mean(dim=0) + 1e-9).log().expand_as(q)
            log_phi = channel.log_phi(own, 0.0, logits)
            for number, said in enumerate(channel.said(columns, logits)):
                counts = expected_counts(log_phi[number], said, q)
                own.raw[number] = maximising_matrix(counts, torch.eye(K, dtype=q.dtype))
        sigma = confusion.log_columns(own.raw).exp()
    return sigma.numpy(), q.numpy()


def f1(found_N: np.ndarray, kept_N: np.ndarray) -> float:
    """Entity F1, in percent, over the rows that somebody labelled."""
    true_N, owner_N = gold()

    def rows(labels_N: np.ndarray) -> Sequence[np.ndarray]:
        ends = np.flatnonzero(np.diff(owner_N[kept_N])) + 1
        return np.split(labels_N[kept_N], ends)

    return 100 * seqeval_f1(rows(true_N), rows(found_N), TAGS)


@pytest.mark.slow
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_lvm_finds_confusions_and_beats_the_majority(missing: float, seed: int) -> None:
    """Within 0.02 of the given entries on average, and two points of F1 above the vote."""
    injected = Injected(RIGHT, seed=seed, missing=missing)
    hard_UN = votes(injected, seed)
    matrices, q_NK = learned(hard_UN)
    given = np.stack([injected.matrix(number, K) for number in range(3)])
    apart = np.abs(matrices - given).mean(axis=(1, 2))
    start = np.abs(np.exp(Channel(NAMES, False, 2.0, 1.0).log_start(K).numpy()) - given).mean()
    assert apart.max() < 0.02 < start
    heard_N = np.asarray((hard_UN >= 0).any(axis=0))
    voted, posterior = f1(majority_vote(hard_UN), heard_N), f1(q_NK.argmax(axis=1), heard_N)
    assert posterior > voted + 2
