"""Importance weights: the quadratic programme, both ways back to the constraints, statistics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, nnls

from xlt_ray.ops import alignment, explained, importance


def confusions(rng: np.random.Generator, k: int, kind: str) -> tuple[np.ndarray, ...]:
    """C, t and p of a made-up classifier."""
    p = rng.dirichlet(np.ones(k))
    if kind == "absent":
        p[rng.integers(k)] = 0.0
        p /= p.sum()
    given_true = rng.dirichlet(np.ones(k), size=k).T * 0.4 + 0.6 * np.eye(k)
    if kind == "blind":  # it tells two of the classes not apart
        given_true[:, 1] = given_true[:, 0]
    if kind == "constant":
        given_true = np.zeros((k, k))
        given_true[0] = 1.0
    target = rng.dirichlet(np.full(k, 0.4))
    noise = rng.dirichlet(np.ones(k))
    return given_true * p, 0.9 * given_true @ target + 0.1 * noise, p


def second_opinion(C: np.ndarray, t: np.ndarray, p: np.ndarray) -> float:
    """The least ||C w - t||^2 that two other solvers find: non-negative least squares with the
    equality as a heavy row, and sequential least squares from there."""
    heavy = 1e4
    w = nnls(np.vstack([C, heavy * p]), np.append(t, heavy))[0]
    w /= p @ w
    found = minimize(
        lambda x: float(np.square(C @ x - t).sum()),
        w,
        jac=lambda x: 2 * C.T @ (C @ x - t),
        bounds=[(0, None)] * len(p),
        constraints={"type": "eq", "fun": lambda x: p @ x - 1, "jac": lambda x: p},
        method="SLSQP",
        options={"ftol": 1e-16, "maxiter": 500},
    )
    x = np.maximum(found.x, 0)
    candidates = (w, x / (p @ x))  # the last digits of its constraints are not kept
    return min(float(np.square(C @ w - t).sum()) for w in candidates)


KINDS = ("regular", "absent", "blind", "constant")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(200))
def test_no_other_solver_finds_better_weights(number: int) -> None:
    rng = np.random.default_rng(number)
    k = int(rng.integers(2, 13))
    C, t, p = confusions(rng, k, KINDS[number % len(KINDS)])
    w = importance.estimate_weights(C, t, p)
    assert w.min() >= 0
    assert p @ w == pytest.approx(1, abs=1e-12)
    assert (w[p == 0] == 0).all()
    reached, other = float(np.square(C @ w - t).sum()), second_opinion(C, t, p)
    assert reached <= other + 1e-10
    # The minimum of a convex problem has no feasible direction down.
    slope = 2 * C.T @ (C @ w - t)
    assert (slope - (slope @ w) * p)[p > 0].min() > -1e-8


def test_the_weights_are_those_of_the_priors_if_nothing_else_differs() -> None:
    rng = np.random.default_rng(5)
    C, _, p = confusions(rng, 9, "regular")
    target = rng.dirichlet(np.ones(9))
    w = importance.estimate_weights(C, (C / p) @ target, p)
    np.testing.assert_allclose(w, target / p, rtol=1e-9)


def test_forty_classes_are_solved_exactly() -> None:
    rng = np.random.default_rng(6)
    C, t, p = confusions(rng, 40, "regular")
    w = importance.estimate_weights(C, t, p)
    slope = 2 * C.T @ (C @ w - t)
    reduced = slope - (slope @ w) * p
    assert np.abs(reduced[w > 0]).max() < 1e-10
    assert reduced.min() > -1e-10


def test_shapes_that_do_not_fit_are_an_error() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        importance.estimate_weights(np.eye(2), np.ones(3) / 3, np.ones(3) / 3)
    with pytest.raises(ValueError, match="no class"):
        importance.estimate_weights(np.zeros((2, 2)), np.ones(2) / 2, np.zeros(2))


def test_oracle_weights_leave_out_what_the_source_lacks() -> None:
    w = importance.oracle_weights(np.array([0.2, 0.3, 0.5]), np.array([0.6, 0.4, 0.0]))
    np.testing.assert_allclose(w, [0.2 / 0.6 / 0.5, 0.3 / 0.4 / 0.5, 0.0])
    assert w @ [0.6, 0.4, 0.0] == pytest.approx(1)
    w = importance.oracle_weights(np.array([0.0, 1.0]), np.array([0.5, 0.5]))
    np.testing.assert_allclose(w, [0.0, 2.0])
    with pytest.raises(ValueError, match="in common"):
        importance.oracle_weights(np.array([0.0, 1.0]), np.array([1.0, 0.0]))


vectors = st.lists(st.floats(-5, 5), min_size=2, max_size=8)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(vectors, st.integers(0, 10_000))
def test_the_projection_is_the_nearest_point(values: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    v = torch.tensor(values, dtype=torch.float64)
    p = torch.from_numpy(rng.dirichlet([1.0] * len(values)))
    w = importance.project(v, p)
    assert float(w.min()) >= 0
    assert float(p @ w) == pytest.approx(1, abs=1e-9)
    for _ in range(20):  # (v - w) . (x - w) <= 0 for every feasible x marks the nearest point
        x = torch.from_numpy(rng.dirichlet([1.0] * len(values))) / p
        assert float((v - w) @ (x - w)) <= 1e-6 * (1 + float(x.abs().max()))


def test_a_class_without_prior_plays_no_role_in_the_projection() -> None:
    v, p = torch.tensor([1.2, 0.4, -0.3, 7.0]).double(), torch.tensor([0.5, 0.3, 0.2, 0.0]).double()
    w = importance.project(v, p)
    alone = importance.project(v[:3], p[:3])
    torch.testing.assert_close(w[:3], alone)
    assert w[3] == 7
    assert importance.project(-v, p)[3] == 0


def test_what_is_feasible_stays_as_it_is() -> None:
    p = torch.tensor([0.5, 0.3, 0.2]).double()
    w = torch.tensor([0.8, 1.3, 1.05]).double()
    torch.testing.assert_close(importance.project(w, p), w)
    torch.testing.assert_close(importance.rescale(w, p, w), w)


def test_rescaling_goes_back_to_the_start_if_nothing_is_left() -> None:
    p, w0 = torch.tensor([0.5, 0.5]).double(), torch.tensor([0.4, 1.6]).double()
    torch.testing.assert_close(importance.rescale(-torch.ones(2).double(), p, w0), w0)


def test_gradients_are_those_of_the_objective() -> None:
    rng = np.random.default_rng(1)
    C, t, w, w0 = (torch.from_numpy(rng.random(shape)) for shape in ((4, 4), 4, 4, 4))
    w.requires_grad_()
    loss = (C @ w - t).square().sum() + 0.3 * (w - w0).square().sum()
    expected = torch.autograd.grad(loss, w)[0]
    got = importance.gradient(w, C, t) + importance.ridge_gradient(w, w0, 0.3)
    torch.testing.assert_close(got.detach(), expected)


def test_an_empty_batch_changes_no_average() -> None:
    old = torch.tensor([0.25, 0.75]).double()
    assert importance.running(old, torch.zeros(2).double(), 0.5) is old
    torch.testing.assert_close(importance.share(torch.zeros(2).double()), torch.zeros(2).double())


def test_averages_keep_their_sum() -> None:
    average = torch.full((3, 3), 1 / 9, dtype=torch.float64)
    counts = importance.confusion_counts(torch.tensor([0, 2, 2]), torch.tensor([0, 1, 2]), 3)
    assert counts.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 1]]
    assert float(importance.running(average, counts, 0.005).sum()) == pytest.approx(1, abs=1e-15)


def test_a_class_that_one_side_lacks_is_no_part_of_the_shift() -> None:
    z = np.array([[0.0, 1.0], [2.0, 3.0]])
    found = importance.conditional_shift(z, np.array([0, 1]), z + 1, np.array([1, 2]))
    assert found == {1: 2.0}  # [2, 3] against [1, 2]


def test_a_short_training_forgets_its_start() -> None:
    """0.995^150 = 0.47 of C and t would still be made up; of 7,000 steps nothing."""
    assert pytest.approx(0.47, abs=0.01) == (1 - 0.005) ** 150
    rate = alignment.rate_of(0.005, 150, 0.01)
    assert (1 - rate) ** 150 == pytest.approx(0.01)
    assert alignment.rate_of(0.005, 7000, 0.01) == 0.005
    assert alignment.rate_of(0.005, 150, 1.0) == 0.005
    assert alignment.rate_of(0.005, 1, 0.01) == pytest.approx(0.99)


def test_what_class_priors_do_not_explain() -> None:
    C = np.array([[0.45, 0.05], [0.05, 0.45]])
    p = C.sum(axis=0)
    w = np.array([0.4, 1.6])
    assert explained.unexplained(C, C @ w, w) == pytest.approx(0)
    assert explained.residual(C, C @ w, w) == pytest.approx(0)
    # More of class 1 than any prior gives: all weight on it leaves 0.02 of a change of 0.42.
    t = np.array([0.08, 0.92])
    found = importance.estimate_weights(C, t, p)
    assert found == pytest.approx([0, 2])
    assert explained.residual(C, t, found) == pytest.approx(0.02)
    assert explained.unexplained(C, t, found) == pytest.approx(0.02 / 0.42)
    assert explained.unexplained(C, t, found, noise=0.02) == pytest.approx(0, abs=1e-9)
    assert explained.unexplained(C, C @ np.ones(2), np.ones(2)) == 1, "nothing has changed"
    assert importance.initial_weights(found, 0.25) @ p == pytest.approx(1)
    assert importance.initial_weights(found, 1.0) == pytest.approx([1, 1])


def test_two_samples_of_one_population_differ_by_the_noise() -> None:
    rng = np.random.default_rng(0)
    p = np.array([0.5, 0.3, 0.2])
    draws = rng.multinomial(400, p, size=2000) / 400, rng.multinomial(100, p, size=2000) / 100
    found = 0.5 * np.abs(draws[0] - draws[1]).sum(axis=1).mean()
    assert explained.sampling_noise(p, 400, p, 100) == pytest.approx(found, rel=0.03)
