"""The critic of domain alignment: a score whose weighted mean difference measures two domains."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class Critic(nn.Module):
    """f(a) = r[0] - r[1], r = W2 relu(W1 a + b1) + b2 (I7).

    Args:
        size: Width of what it sees.
        hidden: Width of the layer between.
    """

    def __init__(self, size: int, hidden: int = 2048):
        super().__init__()
        self.first, self.second = nn.Linear(size, hidden), nn.Linear(hidden, 2)

    @property
    def slope(self) -> Tensor:
        """[hidden] what a unit of the layer between adds to the score."""
        return self.second.weight[0] - self.second.weight[1]

    def forward(self, a: Tensor) -> Tensor:
        """[N] scores of [N, size] points."""
        scores = self.second(torch.relu(self.first(a)))
        return scores[:, 0] - scores[:, 1]

    def squared_slope(self, a: Tensor) -> Tensor:
        """[N] ||df/da||^2 at [N, size] points (I9).

        In closed form: where a unit is on, the score rises by its slope times its weights. The
        second derivative of relu is 0, so the gradient of this is that of a double backward pass.
        """
        is_on = (self.first(a.detach()) > 0).to(a.dtype)
        return linear(is_on * self.slope, self.first.weight.T).square().sum(dim=1)
