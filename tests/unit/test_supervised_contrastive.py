"""The supervised contrastive loss against a loop, and where it has nothing to say."""

import math

import pytest
import torch

from xlt_ray.ops.supervised_contrastive import supervised_contrastive


def vectors(count: int, q: int = 5) -> torch.Tensor:
    raw = torch.randn(count, q, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return raw / raw.norm(dim=1, keepdim=True)


def test_against_a_loop() -> None:
    z, y = vectors(7), [0, 1, 0, 2, 1, 0, 0]
    found = supervised_contrastive(z, torch.tensor(y), 0.3)
    for i in range(7):
        near = {j: float(z[i] @ z[j]) / 0.3 for j in range(7) if j != i}
        whole = math.log(sum(map(math.exp, near.values())))
        same = [j for j in near if y[j] == y[i]]
        wanted = -sum(near[j] - whole for j in same) / len(same) if same else 0.0
        assert float(found[i]) == pytest.approx(wanted, rel=1e-12)


def test_gradients() -> None:
    z, y = vectors(6).requires_grad_(), torch.tensor([0, 0, 1, 1, 2, 0])
    assert torch.autograd.gradcheck(lambda x: supervised_contrastive(x, y, 0.2), (z,))


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare_with(count: int) -> None:
    z = vectors(count).requires_grad_()
    loss = supervised_contrastive(z, torch.zeros(count, dtype=torch.int64), 0.1)
    assert loss.tolist() == [0.0] * count
    loss.sum().backward()


def test_one_class_each_is_zero() -> None:
    assert supervised_contrastive(vectors(4), torch.arange(4), 0.1).tolist() == [0.0] * 4
