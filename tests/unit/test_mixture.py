"""The mixture against scikit-learn on unambiguous data, its invariances and degenerate scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from xlt_ray.ops.mixture import two_components


def two_heaps(low: int, high: int, seed: int = 0, width: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    heaps = [rng.normal(-3, 2 * width, low), rng.normal(4, width, high)]
    return rng.permutation(np.concatenate(heaps))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("low", "high"), [(300, 200), (40, 900), (700, 25)])
def test_it_is_the_mixture_of_scikit_learn(low: int, high: int, seed: int) -> None:
    scores = two_heaps(low, high, seed)
    found = two_components(scores)
    model = GaussianMixture(2, max_iter=10, reg_covar=5e-4, tol=1e-2, random_state=seed)
    column = found.normalised_N[:, None]
    model.fit(column)
    weights, means, variances = (
        np.asarray(values).ravel() for values in (model.weights_, model.means_, model.covariances_)
    )
    order = np.argsort(means)
    assert found.iterations == model.n_iter_
    np.testing.assert_allclose(found.weights_2, weights[order], rtol=1e-10)
    np.testing.assert_allclose(found.means_2, means[order], rtol=1e-10)
    np.testing.assert_allclose(found.variances_2, variances[order], rtol=1e-10)
    w = model.predict_proba(column)[:, order[1]]
    np.testing.assert_allclose(found.w_N, w, rtol=1e-8, atol=1e-13)
    assert (found.reliable_N == (w > 0.5)).all()
    assert found.normalised_N.min() == 0
    assert found.normalised_N.max() == 1


def test_a_start_by_hand() -> None:
    """Seven zeros, two halves and a one. Half is no nearer to 1 than to 0, so it goes to the lower
    cluster, whose centre moves to 1/9; the border is then 5/9 and nothing moves. One step of
    expectation and maximisation is never enough, and two are where the groups are far apart."""
    scores = np.array([0.0] * 7 + [0.5] * 2 + [1.0])
    found = two_components(scores)
    assert found.iterations == 2
    assert found.weights_2[1] == pytest.approx(0.1, abs=1e-2)
    assert found.reliable_N.tolist() == [False] * 9 + [True]


@settings(deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    shift=st.floats(-1e3, 1e3),
    scale=st.floats(1e-3, 1e3),
)
def test_shift_and_scale_change_nothing(seed: int, shift: float, scale: float) -> None:
    scores = two_heaps(30, 20, seed)
    found, moved = two_components(scores), two_components(scores * scale + shift)
    assert found.iterations == moved.iterations
    np.testing.assert_allclose(moved.means_2, found.means_2, rtol=1e-9)
    np.testing.assert_allclose(moved.w_N, found.w_N, rtol=1e-6, atol=1e-12)


@settings(deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), size=st.integers(10, 80))
def test_the_order_of_scores_changes_no_bit(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    scores, turn = rng.normal(size=size) ** 3, rng.permutation(size)
    found, turned = two_components(scores), two_components(scores[turn])
    assert (turned.w_N == found.w_N[turn]).all()
    assert (turned.reliable_N == found.reliable_N[turn]).all()
    assert turned.means_2.tolist() == found.means_2.tolist()


@pytest.mark.slow
@settings(deadline=None, derandomize=True)
@given(
    scores=st.lists(
        st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(-1e6, 1e6)),
        min_size=10,
        max_size=60,
    )
)
def test_whatever_the_scores_are_the_fit_is_finite(scores: list[float]) -> None:
    found = two_components(np.array(scores))
    for values in (found.weights_2, found.means_2, found.variances_2, found.w_N):
        assert np.isfinite(values).all()
    assert ((found.w_N >= 0) & (found.w_N <= 1)).all()
    assert found.means_2[0] <= found.means_2[1]
    assert found.iterations <= 10
    if found.iterations:
        assert found.iterations >= 2
        assert found.weights_2.sum() == pytest.approx(1)
        assert (found.variances_2 >= 5e-4).all()


@pytest.mark.parametrize("scores", [[], [3.0], [1.0, 2.0] * 4 + [5.0]])
def test_few_scores_are_all_reliable(scores: list[float]) -> None:
    found = two_components(np.array(scores))
    assert found.iterations == 0
    assert found.w_N.tolist() == [1.0] * len(scores)
    assert found.reliable_N.tolist() == [True] * len(scores)
    assert found.means_2.tolist() == [0, 0]
    if len(scores) > 1:
        assert found.normalised_N.tolist() == [0.0, 0.25] * 4 + [1.0]


def test_constant_scores_are_all_reliable() -> None:
    for scores in (np.full(50, -7.25), np.linspace(1, 1 + 5e-13, 50)):
        found = two_components(scores)
        assert found.reliable_N.all()
        assert found.normalised_N.tolist() == [0.0] * 50
    assert not two_components(np.append(np.zeros(20), 1.0)).reliable_N.all()


def test_many_scores_are_fitted_on_evenly_spaced_ranks() -> None:
    scores = two_heaps(60_000, 20_000, width=1.0)
    whole, part = two_components(scores), two_components(scores, fit_on=1000)
    np.testing.assert_allclose(part.means_2, whole.means_2, atol=1e-3)
    assert len(part.w_N) == 80_000
    assert (part.reliable_N != whole.reliable_N).mean() < 1e-3
    again = two_components(scores[::-1], fit_on=1000)
    assert (again.w_N[::-1] == part.w_N).all()


def test_a_lone_high_score_is_fitted_however_few_are_taken() -> None:
    scores = np.append(np.linspace(0, 1, 5000), 100.0)
    found = two_components(scores, fit_on=10)
    assert found.reliable_N.sum() == 1
    assert found.reliable_N[-1]
