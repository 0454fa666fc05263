"""The critic: what it sees, what it scores, and its penalty against automatic differentiation."""

import pytest
import torch

from xlt_ray.models.critic import Critic
from xlt_ray.ops import alignment


def penalty_by_autograd(critic: Critic, points: torch.Tensor) -> torch.Tensor:
    points = points.clone().requires_grad_()
    slope = torch.autograd.grad(critic(points).sum(), points, create_graph=True)[0]
    return slope.square().sum(dim=1)


def test_the_penalty_and_its_gradient_are_those_of_a_double_backward_pass() -> None:
    torch.manual_seed(0)
    critic, points = Critic(12, 64).double(), torch.randn(9, 12, dtype=torch.float64)
    expected, got = penalty_by_autograd(critic, points), critic.squared_slope(points)
    torch.testing.assert_close(got, expected)
    parameters = [critic.first.weight, critic.second.weight]
    weights = torch.rand(9, dtype=torch.float64)
    one = torch.autograd.grad((weights * expected).sum(), parameters)
    other = torch.autograd.grad((weights * got).sum(), parameters)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)


def test_the_penalty_trains_the_critic_alone() -> None:
    critic, points = Critic(4, 8), torch.randn(3, 4, requires_grad=True)
    critic.squared_slope(points).sum().backward()
    assert points.grad is None
    assert critic.first.bias.grad is None
    assert critic.second.bias.grad is None
    assert critic.first.weight.grad is not None


def test_the_critic_is_the_difference_of_its_two_outputs() -> None:
    torch.manual_seed(1)
    critic, a = Critic(5, 16), torch.randn(7, 5)
    both = critic.second(torch.relu(critic.first(a)))
    torch.testing.assert_close(critic(a), both[:, 0] - both[:, 1])


def test_classes_are_slow_in_the_outer_product() -> None:
    h, z = torch.rand(6, 3), torch.randn(6, 4)
    product = alignment.outer_product(h, z)
    assert product.shape == (6, 12)
    for c in range(3):
        for j in range(4):
            torch.testing.assert_close(product[:, c * 4 + j], h[:, c] * z[:, j])


def test_the_gradient_is_turned_on_its_way_back() -> None:
    x = torch.randn(3, requires_grad=True)
    (alignment.reverse_gradient(x, 0.25) * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.tensor([-0.25, -0.5, -0.75]))


def test_points_lie_between_as_far_as_the_shorter_side_goes() -> None:
    a, b, u = torch.randn(4, 2), torch.randn(3, 2), torch.tensor([0.0, 1.0, 0.5])
    points = alignment.between(a, b, u)
    torch.testing.assert_close(points, torch.stack([b[0], a[1], (a[2] + b[2]) / 2]))


@pytest.mark.parametrize(
    ("rows", "ratio", "expected"), [(8323, 2.18, 9072), (12152, 1.17, 7109), (15806, 0.88, 6955)]
)
def test_steps_of_the_languages_of_conll(rows: int, ratio: float, expected: int) -> None:
    found = alignment.num_steps(
        epochs=4, rows=rows, batch=8, mean_items=ratio, mean_source_items=1.0
    )
    assert round(found) == expected
