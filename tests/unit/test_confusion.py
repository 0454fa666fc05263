"""Confusion matrices: closed forms, float64 oracles, gradients, and the ends of every range."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from xlt_ray.ops import confusion

U, N, K = 3, 5, 4


def random_case(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log P [N, K], phi [U, K, K] with columns that sum to 1, labels [U, N], probabilities."""
    generator = torch.Generator().manual_seed(seed)
    draws = [torch.rand(*shape, dtype=torch.float64, generator=generator) for shape in
             ((N, K), (U, K, K), (U, N, K))]  # fmt: skip
    log_p = draws[0].log().log_softmax(-1)
    phi = draws[1] / draws[1].sum(dim=1, keepdim=True)
    hard = torch.randint(K, (U, N), generator=generator)
    return log_p, phi, hard, draws[2] / draws[2].sum(dim=-1, keepdim=True)


@pytest.mark.parametrize("num_classes", [2, 3, 9, 37])
@pytest.mark.parametrize("tau", [0.01, 1.0, 4.0, 13.0])
def test_scale_and_diagonal_are_inverse(tau: float, num_classes: int) -> None:
    mu = confusion.mu_of(tau, num_classes)
    assert 1 / num_classes < mu < 1
    assert confusion.tau_of(mu, num_classes) == pytest.approx(tau, rel=1e-9)
    raw = confusion.scaled_identity(tau, num_classes, torch.float64)
    psi = confusion.log_columns(raw).exp()
    assert psi.sum(dim=0).tolist() == pytest.approx([1.0] * num_classes)
    assert psi.diagonal().tolist() == pytest.approx([mu] * num_classes)


@pytest.mark.parametrize(
    ("mu", "num_classes", "message"),
    [
        (0.25, 4, "above 1/K = 0.25"),
        (0.1, 4, "above 1/K = 0.25"),
        (1.0, 4, "at most 1 - 1e-6, got 1.0"),
        (0.5, 1, "at least 2 classes, got 1"),
    ],
)
def test_diagonals_without_a_matrix_are_refused(mu: float, num_classes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion.tau_of(mu, num_classes)


@pytest.mark.parametrize(("tau", "num_classes"), [(0.0, 3), (-1.0, 3), (1.0, 1)])
def test_scales_without_a_matrix_are_refused(tau: float, num_classes: int) -> None:
    with pytest.raises(ValueError, match=r"tau must be positive|at least 2 classes"):
        confusion.mu_of(tau, num_classes)


def test_the_largest_diagonal_has_finite_logarithms() -> None:
    tau = confusion.tau_of(confusion.MU_MOST, 17)
    assert confusion.log_columns(confusion.scaled_identity(tau, 17)).isfinite().all()


def test_at_its_ends_the_mixture_is_one_matrix_and_the_other_has_no_part() -> None:
    raw = torch.randn(U, K, K, dtype=torch.float64, requires_grad=True)
    log_psi = torch.eye(K, dtype=torch.float64).log()  # holds -inf
    assert confusion.log_mixture(log_psi, confusion.log_columns(raw), 0.0).isfinite().all()
    fixed = confusion.log_mixture(log_psi, confusion.log_columns(raw), 1.0)
    assert fixed.shape == (U, K, K)
    assert torch.equal(fixed[1], log_psi)
    half = confusion.log_mixture(log_psi, confusion.log_columns(raw), 0.5)
    assert half.exp().sum(dim=1).detach().numpy() == pytest.approx(1.0)
    half.exp().square().sum().backward()
    assert raw.grad is not None
    assert raw.grad.isfinite().all()


@pytest.mark.parametrize("lam", [-0.1, 1.1])
def test_a_weight_outside_0_and_1_is_refused(lam: float) -> None:
    log_psi = confusion.log_columns(confusion.scaled_identity(1.0, K))
    with pytest.raises(ValueError, match=r"lambda must be in \[0, 1\]"):
        confusion.log_mixture(log_psi, log_psi[None], lam)


def test_emissions_are_sums_of_looked_up_or_mixed_rows() -> None:
    _, phi, hard, soft = random_case()
    for i in range(N):
        rows = [phi[u, hard[u, i]].numpy() for u in range(U)]
        found = confusion.log_emission_hard(phi.log(), hard)[i]
        assert found.numpy() == pytest.approx(np.log(rows).sum(axis=0))
        mixed = [soft[u, i].numpy() @ phi[u].numpy() for u in range(U)]
        found = confusion.log_emission_soft(phi.log(), soft)[i]
        assert found.numpy() == pytest.approx(np.log(mixed).sum(axis=0))


def test_probabilities_of_one_class_are_that_label() -> None:
    _, phi, hard, _ = random_case()
    one_hot = torch.nn.functional.one_hot(hard, K).double()
    hard_NK = confusion.log_emission_hard(phi.log(), hard)
    assert torch.allclose(confusion.log_emission_soft(phi.log(), one_hot), hard_NK)


def test_a_source_that_says_nothing_adds_nothing() -> None:
    _, phi, hard, soft = random_case()
    hard[1, 2], soft[1, 2] = -100, 0.0
    others = [0, 2]
    for found, expected in (
        (confusion.log_emission_hard(phi.log(), hard),
         confusion.log_emission_hard(phi[others].log(), hard[others])),
        (confusion.log_emission_soft(phi.log(), soft),
         confusion.log_emission_soft(phi[others].log(), soft[others])),
    ):  # fmt: skip
        assert torch.allclose(found[2], expected[2])
        assert not torch.allclose(found[1], expected[1])


def test_without_an_opinion_of_its_own_the_model_follows_the_row_of_phi() -> None:
    _, phi, hard, _ = random_case()
    log_p = torch.full((N, K), -math.log(K), dtype=torch.float64)
    joint = log_p + confusion.log_emission_hard(phi[:1].log(), hard[:1])
    rows = phi[0, hard[0]]
    assert torch.allclose(confusion.posterior(joint), rows / rows.sum(dim=1, keepdim=True))


def test_the_bound_is_tight_at_the_posterior_and_above_elsewhere() -> None:
    log_p, phi, hard, soft = random_case()
    joint = log_p + confusion.log_emission_hard(phi.log(), hard)
    q = confusion.posterior(joint)
    assert torch.allclose(confusion.bound(joint, q), confusion.nll(joint))
    kl = (soft[0] * (soft[0].log() - q.log())).sum(dim=1)
    assert torch.allclose(confusion.bound(joint, soft[0]), confusion.nll(joint) + kl)
    one_hot = confusion.one_hot_argmax(q)
    expected = -joint.gather(1, q.argmax(dim=1, keepdim=True))[:, 0]
    assert torch.allclose(confusion.bound(joint, one_hot), expected)


def test_equals_go_to_the_lowest_class() -> None:
    q = torch.tensor([[0.2, 0.4, 0.4], [0.5, 0.0, 0.5]])
    assert confusion.one_hot_argmax(q).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_impossible_labels_do_not_spoil_the_bound() -> None:
    joint = torch.tensor([[0.0, -math.inf]], dtype=torch.float64)
    assert confusion.expected_nll(joint, torch.tensor([[1.0, 0.0]])).tolist() == [0.0]


@pytest.mark.slow
@pytest.mark.parametrize("lam", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("is_soft", [False, True])
def test_gradients(lam: float, is_soft: bool) -> None:
    _, _, hard, soft = random_case()
    log_psi = confusion.log_columns(confusion.scaled_identity(2.0, K, torch.float64))
    _, _, _, q = random_case(1)

    def loss(logits: Tensor, raw: Tensor) -> Tensor:
        log_phi = confusion.log_mixture(log_psi, confusion.log_columns(raw), lam)
        said = (
            confusion.log_emission_soft(log_phi, soft)
            if is_soft
            else confusion.log_emission_hard(log_phi, hard)
        )
        joint = logits.log_softmax(-1) + said
        return torch.stack([confusion.nll(joint), confusion.bound(joint, q[0])])

    inputs = (torch.randn(N, K), torch.randn(U, K, K))
    torch.autograd.gradcheck(loss, tuple(x.double().requires_grad_() for x in inputs))


def test_the_gradient_of_the_bound_at_the_posterior_is_that_of_the_likelihood() -> None:
    log_p, phi, hard, _ = random_case()
    logits = log_p.clone().requires_grad_()
    joint = logits.log_softmax(-1) + confusion.log_emission_hard(phi.log(), hard)
    direct = torch.autograd.grad(confusion.nll(joint).sum(), logits, retain_graph=True)[0]
    q = confusion.posterior(joint.detach())
    bound = torch.autograd.grad(confusion.expected_nll(joint, q).sum(), logits)[0]
    assert torch.allclose(direct, bound)
    assert torch.allclose(direct, log_p.exp() - q)  # soft cross-entropy with target Q


def test_the_risk_is_a_product_per_sentence() -> None:
    log_p, phi, hard, _ = random_case()
    nll = confusion.nll(log_p + confusion.log_emission_hard(phi[:1].log(), hard[:1]))
    owner = torch.tensor([0, 0, 2, 2, 2])
    found = confusion.log_risk(nll, owner, 3).exp()
    p = (-nll).exp()
    assert found.tolist() == pytest.approx([float(p[0] * p[1]), 1.0, float(p[2] * p[3] * p[4])])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_risk_of_500_positions_is_zero_and_never_nan(dtype: torch.dtype) -> None:
    logits = torch.zeros(500, 9, dtype=dtype, requires_grad=True)
    log_psi = confusion.log_columns(confusion.scaled_identity(2.0, 9, dtype))
    hard = torch.zeros(1, 500, dtype=torch.int64)
    joint = logits.log_softmax(-1) + confusion.log_emission_hard(log_psi[None], hard)
    nll = confusion.nll(joint)
    log_risk = confusion.log_risk(nll, torch.zeros(500, dtype=torch.int64), 1)
    assert log_risk.item() == pytest.approx(-500 * math.log(9), rel=1e-5)
    risk = -log_risk.exp()
    risk.sum().backward()
    assert risk.item() == 0.0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_lambda_of_a_single_update_is_the_first_one() -> None:
    assert confusion.lambda_at(0, 1) == 1.0
    assert confusion.lambda_at(0, 1, 0.7, 0.2) == 0.7
    found = [confusion.lambda_at(step, 3, 0.8, 0.2) for step in range(3)]
    assert found == pytest.approx([0.8, 0.5, 0.2])


def test_lambda_never_leaves_its_range() -> None:
    for first, last in ((0.9, 0.0), (0.8, 0.0), (0.7, 0.0), (0.1, 1.0), (1.0, 0.0), (0.0, 1.0)):
        for steps in range(2, 400):
            ends = [confusion.lambda_at(step, steps, first, last) for step in (0, steps - 1)]
            assert ends == [first, last]
            middle = confusion.lambda_at(steps // 2, steps, first, last)
            assert min(first, last) <= middle <= max(first, last)


def dead_labels(value: Tensor, count: int = 2) -> Tensor:
    """Log-probabilities with labels added that nobody says."""
    return torch.nn.functional.pad(value, (0, count), value=-40.0).log_softmax(-1)


def posterior_of(scale: float, log_p: Tensor, hard: Tensor) -> Tensor:
    k = log_p.shape[1]
    psi = confusion.log_columns(confusion.scaled_identity(scale, k, torch.float64))
    joint = log_p + confusion.log_emission_hard(psi.expand(len(hard), k, k), hard)
    return confusion.posterior(joint)[:, :K]


def test_what_carries_over_to_other_numbers_of_labels_is_the_scale() -> None:
    """Odds of a vote, e^tau, do not depend on K; the diagonal of the same odds does."""
    log_p, _, hard, _ = random_case()
    wide = dead_labels(log_p)
    for tau in (1.0, 2.0, 4.0, 10.0):
        same = posterior_of(tau, wide, hard)
        assert posterior_of(tau, log_p, hard).numpy() == pytest.approx(same.numpy(), abs=1e-13)
        mu = confusion.mu_of(tau, K + 2)
        other = posterior_of(confusion.tau_of(mu, K), log_p, hard)
        assert (other - same).abs().max() > 1e-5
