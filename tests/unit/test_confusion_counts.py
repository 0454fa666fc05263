"""Matrices in closed form: counts by hand, and known confusions found in a simulation."""

import numpy as np
import pytest
import torch
from torch import Tensor

from xlt_ray.ops import confusion
from xlt_ray.ops.confusion_counts import expected_counts, maximising_matrix, without_prior

K = 5


def columns(seed: int, diagonal: float) -> Tensor:
    """[K, K] with a diagonal, and the rest of each column on one other label."""
    rng = np.random.default_rng(seed)
    matrix = np.diag(np.full(K, diagonal))
    for true in range(K):
        other = rng.choice([label for label in range(K) if label != true])
        matrix[other, true] = 1 - diagonal
    return torch.tensor(matrix)


def test_hard_labels_count_the_posterior_where_they_are_said() -> None:
    q = torch.tensor([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)
    said = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    for diagonal in (0.6, 0.9):  # whatever phi is
        phi = torch.tensor([[diagonal, 1 - diagonal], [1 - diagonal, diagonal]]).double()
        found = expected_counts(phi.log(), said, q)
        assert found.numpy() == pytest.approx(np.array([[0.7, 1.3], [1.0, 0.0]]))


def test_probabilities_count_by_their_own_posterior() -> None:
    """c[i, j] = Q(j) P(i) phi[i, j] / sum_k P(k) phi[k, j], word by word."""
    generator = torch.Generator().manual_seed(0)
    said = torch.rand(4, K, dtype=torch.float64, generator=generator)
    said[3] = 0  # says nothing
    q = torch.rand(4, K, dtype=torch.float64, generator=generator).softmax(-1)
    phi = torch.rand(K, K, dtype=torch.float64, generator=generator).softmax(0)
    expected = np.zeros((K, K))
    for n in range(3):
        joint = said[n].numpy()[:, None] * phi.numpy()
        expected += q[n].numpy() * joint / joint.sum(axis=0)
    assert expected_counts(phi.log(), said, q).numpy() == pytest.approx(expected)
    assert expected.sum() == pytest.approx(3.0)


def test_it_is_the_maximum_of_the_bound_and_the_prior_is_pseudo_words() -> None:
    counts = torch.tensor([[30.0, 0.0, 0.0], [10.0, 5.0, 0.0], [0.0, 5.0, 0.0]]).double()
    prior = confusion.log_columns(confusion.scaled_identity(2.0, 3, torch.float64)).exp()
    found = maximising_matrix(counts, prior).exp()
    assert found.sum(dim=0).tolist() == pytest.approx([1.0] * 3)
    assert found[:, 0].tolist() == pytest.approx([0.75, 0.25, 1e-6], abs=2e-6)
    assert found[:, 1].tolist() == pytest.approx([1e-6, 0.5, 0.5], abs=2e-6)
    assert found[:, 2].tolist() == pytest.approx(prior[:, 2].tolist())  # never true: as before
    with_prior = maximising_matrix(counts, prior, 10.0).exp()
    expected = (counts[:, 0] + 10 * prior[:, 0]) / 50
    assert with_prior[:, 0].tolist() == pytest.approx(expected.tolist())


def test_without_its_prior_a_posterior_is_a_likelihood() -> None:
    generator = torch.Generator().manual_seed(1)
    likelihood = torch.rand(6, K, dtype=torch.float64, generator=generator)
    prior = torch.rand(K, dtype=torch.float64, generator=generator).softmax(0)
    posterior = likelihood * prior / (likelihood * prior).sum(dim=1, keepdim=True)
    expected = likelihood / likelihood.sum(dim=1, keepdim=True)
    assert without_prior(posterior, prior).numpy() == pytest.approx(expected.numpy())
    assert without_prior(torch.zeros(2, K), torch.ones(K) / K).tolist() == [[0.0] * K] * 2


@pytest.mark.slow
def test_known_confusions_are_found_where_steps_along_the_gradient_stay_far() -> None:
    """Three sources and a model that has seen the truth three words in four.

    EM with the closed form, against as many passes of 25 steps of Adam at the same posteriors, as
    a training with few updates takes them.
    """
    rng, n = np.random.default_rng(0), 4000
    true = rng.choice(K, n, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    given = torch.stack([columns(seed, 0.55) for seed in range(3)])
    cells = given.numpy()
    said = np.stack([
        [rng.choice(K, p=cells[u, :, label]) for label in true] for u in range(3)
    ])  # fmt: skip
    seen = np.where(rng.random(n) < 0.75, true, rng.choice(K, n))
    log_p = torch.full((n, K), 0.05, dtype=torch.float64)
    log_p[torch.arange(n), torch.tensor(seen)] = 0.8
    log_p = log_p.log().log_softmax(-1)
    hard = torch.tensor(said)
    soft = torch.nn.functional.one_hot(hard, K).double()
    start = confusion.scaled_identity(1.0, K, torch.float64)
    prior = confusion.log_columns(start).exp()
    weights = torch.tensor(np.bincount(true, minlength=K) / n)

    def apart(log_phi: Tensor) -> float:
        variation = (log_phi.exp() - given).abs().sum(dim=1) / 2
        return float((variation * weights).sum(dim=1).mean())

    closed = confusion.log_columns(start).expand(3, K, K)
    raw = start.repeat(3, 1, 1).requires_grad_()
    adam = torch.optim.AdamW([raw], lr=2e-3, weight_decay=0.0)
    begin = apart(closed)
    for _ in range(4):
        q = confusion.posterior(log_p + confusion.log_emission_hard(closed, hard))
        closed = torch.stack([
            maximising_matrix(expected_counts(log_phi, soft[u], q), prior)
            for u, log_phi in enumerate(closed)
        ])  # fmt: skip
        own = confusion.log_columns(raw).detach()
        q = confusion.posterior(log_p + confusion.log_emission_hard(own, hard))
        for _ in range(25):
            joint = log_p + confusion.log_emission_hard(confusion.log_columns(raw), hard)
            confusion.expected_nll(joint, q).mean().backward()
            adam.step()
            adam.zero_grad()
    assert apart(closed) < 0.03
    assert apart(confusion.log_columns(raw).detach()) > 0.8 * begin
    assert begin > 0.2
