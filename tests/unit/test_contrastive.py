"""Negative learning, complementary labels, negatives and the contrastive loss, in float64."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck
from torch.nn.functional import cross_entropy

from xlt_ray.ops import contrastive
from xlt_ray.ops.contrastive import Similarity

KINDS: tuple[Similarity, ...] = ("neg_sq_l2", "neg_l2")


def logits_of(count: int, classes: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, classes, dtype=torch.float64, generator=generator) * 3


def test_negative_learning_is_the_naive_loss_where_that_is_finite() -> None:
    logits, classes = logits_of(40, 4), torch.arange(40) % 4
    p = logits.softmax(-1)[torch.arange(40), classes]
    found = contrastive.negative_learning(logits, classes)
    torch.testing.assert_close(found, -torch.log(1 - p))


def test_negative_learning_stays_finite_where_the_naive_loss_is_not() -> None:
    logits = torch.tensor([[200.0, 0.0, -1.0]], requires_grad=True)
    assert torch.isinf(-torch.log(1 - logits.softmax(-1)[:, 0])).all()
    found = contrastive.negative_learning(logits, torch.tensor([0]))
    found.sum().backward()
    assert found.item() == pytest.approx(200 - np.log1p(np.exp(-1)), rel=1e-6)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_the_gradient_of_negative_learning_is_p_minus_r() -> None:
    logits, classes = logits_of(6, 5).requires_grad_(), torch.tensor([0, 1, 2, 3, 4, 0])
    assert gradcheck(lambda x: contrastive.negative_learning(x, classes), (logits,))
    contrastive.negative_learning(logits, classes).sum().backward()
    p = logits.detach().softmax(-1)
    r = p.clone()
    r[torch.arange(6), classes] = 0
    torch.testing.assert_close(logits.grad, p - r / r.sum(1, keepdim=True))


def test_two_classes_have_one_complementary_class_certain_or_not() -> None:
    q = torch.tensor([[0.95, 0.05], [0.4, 0.6], [0.5, 0.5]], dtype=torch.float64)
    found = contrastive.complementary(q, 0.9)
    assert found.certain_N.tolist() == [True, False, False]
    assert found.not_NC[:2].tolist() == [[False, True], [True, False]]
    assert found.not_NC[2].tolist() == [True, False], "the lowest index of a tie"


def test_ties_go_to_the_lowest_class() -> None:
    q = torch.tensor([[0.4, 0.4, 0.2], [0.2, 0.4, 0.4], [0.6, 0.2, 0.2]], dtype=torch.float64)
    found = contrastive.complementary(q, 0.5)
    assert found.said_N.tolist() == [0, 1, 0]
    assert found.not_NC.tolist() == [
        [False, False, True], [True, False, False], [False, True, True],
    ]  # fmt: skip


def test_gamma_may_differ_between_items() -> None:
    q = torch.tensor([[0.7, 0.2, 0.1]] * 2, dtype=torch.float64)
    found = contrastive.complementary(q, torch.tensor([0.6, 0.8], dtype=torch.float64))
    assert found.certain_N.tolist() == [True, False]


@pytest.mark.parametrize("seed", range(5))
def test_no_text_is_its_own_negative(seed: int) -> None:
    found = contrastive.complementary(logits_of(30, 3, seed).softmax(-1), 0.8)
    pool = contrastive.negative_pool(found)
    assert not pool.diagonal().any()
    for i, j in pool.nonzero().tolist():
        assert found.certain_N[j]
        assert found.not_NC[i, found.said_N[j]]


@pytest.mark.parametrize("kind", KINDS)
def test_all_similarities_are_those_of_pairs(kind: Similarity) -> None:
    a, b = logits_of(5, 7), logits_of(4, 7, seed=1)
    found = contrastive.similarities(a, b, kind)
    for i in range(5):
        torch.testing.assert_close(found[i], contrastive.similarity(a[i].expand(4, -1), b, kind))
    assert (contrastive.similarities(a, a).diagonal().abs() < 1e-12).all()


@pytest.mark.parametrize("kind", KINDS)
def test_similarities_have_a_gradient_also_at_no_distance(kind: Similarity) -> None:
    a = logits_of(3, 4).requires_grad_()
    contrastive.similarity(a, a.detach().clone(), kind).sum().backward()
    contrastive.similarities(a, a.detach().clone(), kind).sum().backward()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_the_contrastive_loss_reaches_all_three_kinds(kind: Similarity) -> None:
    parts = [logits_of(4, 3, seed=s).requires_grad_() for s in range(3)]
    mask = torch.tensor([[True, False, True, True]] * 3 + [[False] * 4])

    def loss(anchor: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
        near = contrastive.similarity(anchor, positive, kind) / 5
        far = contrastive.similarities(anchor, negative, kind) / 5
        return contrastive.contrastive(near, far, mask)

    assert gradcheck(loss, parts)
    loss(*parts).sum().backward()
    for part in parts[:2]:
        assert part.grad is not None
        assert (part.grad[:3] != 0).any(dim=1).all()
        assert (part.grad[3] == 0).all(), "an anchor without negatives"
    assert parts[2].grad is not None
    assert (parts[2].grad[1] == 0).all(), "nobody's negative"
    assert (parts[2].grad[[0, 2, 3]] != 0).any(dim=1).all()


def test_an_anchor_without_negatives_has_no_loss() -> None:
    near = torch.tensor([-3.0, -1e4], requires_grad=True)
    for far, mask in (
        (torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool)),
        (torch.full((2, 3), -7.0, requires_grad=True), torch.zeros(2, 3, dtype=torch.bool)),
    ):
        loss = contrastive.contrastive(near, far, mask)
        assert loss.tolist() == [0.0, 0.0]
        loss.sum().backward()
        assert near.grad is not None
        assert near.grad.tolist() == [0.0, 0.0]
        if far.grad is not None:
            assert (far.grad == 0).all()


@pytest.mark.parametrize("count", [1, 4, 9])
def test_equal_similarities_give_the_logarithm_of_their_number(count: int) -> None:
    near, far = torch.full((2,), -0.3), torch.full((2, count), -0.3)
    found = contrastive.contrastive(near, far, torch.ones(2, count, dtype=torch.bool))
    torch.testing.assert_close(found, torch.full((2,), float(np.log(1 + count))))


def test_large_distances_do_not_overflow() -> None:
    near, far = torch.tensor([-4e4]), torch.tensor([[-3e4, -9e9]])
    found = contrastive.contrastive(near, far, torch.ones(1, 2, dtype=torch.bool))
    assert found.item() == pytest.approx(1e4)


def test_another_class_is_drawn_evenly() -> None:
    torch.manual_seed(0)
    labels = torch.arange(4).repeat(3000)
    found = contrastive.random_others(labels, 4)
    counts = torch.zeros(4, 4).index_put_((labels, found), torch.ones(12000), accumulate=True)
    assert (counts.diagonal() == 0).all()
    share = counts[~torch.eye(4, dtype=torch.bool)] / 3000
    assert (share - 1 / 3).abs().max() < 0.04  # four standard errors


@pytest.mark.slow
def test_an_anchor_draws_evenly_from_the_whole_pool() -> None:
    """Over many steps every candidate is a negative equally often, whatever its class's size."""
    rng, sizes, k = np.random.default_rng(0), np.array([2, 9, 30]), 4
    allowed = np.array([[True, True, False], [False, True, True], [True, False, False]])
    times, steps = [np.zeros((3, size)) for size in sizes], 6000
    for _ in range(steps):
        shared = contrastive.draw_shared(sizes, k, rng)
        taken = contrastive.draw_negatives(allowed, sizes, k, rng)
        assert taken.shape == (3, 2 + 4 + 4)
        assert taken.sum(axis=1).tolist() == [4, 4, 2], "all of them where there are fewer"
        start = 0
        for label, rows in enumerate(shared):
            assert len(set(rows)) == len(rows)
            times[label][:, rows] += taken[:, start : start + len(rows)]
            start += len(rows)
    expected = [
        [4 / 11, 4 / 11, 0],
        [0, 4 / 39, 4 / 39],
        [1, 0, 0],
    ]
    for anchor in range(3):
        for label in range(3):
            share = times[label][anchor] / steps
            assert np.abs(share - expected[anchor][label]).max() < 0.03


def test_a_class_without_candidates_gives_no_negatives() -> None:
    rng, sizes = np.random.default_rng(0), np.array([0, 3])
    assert [len(rows) for rows in contrastive.draw_shared(sizes, 8, rng)] == [0, 3]
    taken = contrastive.draw_negatives(np.array([[True, False], [False, True]]), sizes, 8, rng)
    assert taken.tolist() == [[False] * 3, [True] * 3]


def test_mixtures_have_mixed_losses() -> None:
    logits, y = logits_of(5, 3), torch.tensor([0, 1, 2, 1, 0])
    other, m = torch.tensor([1, 0, 4, 3, 2]), torch.rand(5, dtype=torch.float64)
    one_hot = torch.nn.functional.one_hot(y, 3).double()
    soft = contrastive.mixed(one_hot, one_hot[other], m)
    parts = [cross_entropy(logits, labels, reduction="none") for labels in (y, y[other])]
    torch.testing.assert_close(
        contrastive.soft_cross_entropy(logits, soft), contrastive.mixed(parts[0], parts[1], m)
    )
    torch.testing.assert_close(soft[3], one_hot[3])


def test_masked_losses_are_divided_by_all() -> None:
    loss, mask = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([True, False, True])
    assert contrastive.masked_mean(loss, mask).item() == pytest.approx(5 / 3)
    assert contrastive.masked_mean(loss[:0], mask[:0]).item() == 0
