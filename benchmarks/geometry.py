"""Where L_mmc of MARAL takes class centres, when nothing but the loss moves the vectors.

    python -m benchmarks.geometry

Unit vectors of K classes are free parameters and are moved by the gradient of the mean L_mmc, while
class means and concentrations follow them, as in a training. Theorem 1 of the paper puts the least
margin of any span at K / (K - 1), with the centres of two classes at a cosine of -1 / (K - 1).
The table shows how far the loss gets, by temperature and prior, and the loss of that best geometry
itself, so that minimum is compared with minimum. Seconds on one core.
"""

import argparse
from dataclasses import dataclass

import torch
from torch import Tensor

from xlt_ray.ops import vmf
from xlt_ray.report.tables import markdown_table

TEMPERATURES = (0.05, 0.07, 0.1, 0.2, 0.5, 1.0)
EVEN, SKEWED = "even", "97% O"
"""Priors of the classes: all alike, or one class with 97% of the spans."""


@dataclass(frozen=True)
class Found:
    """Where the vectors ended.

    Attributes:
        loss: Mean L_mmc.
        best_loss: The same with all vectors of a class on the centres of the best geometry.
        cosine: Mean cosine of the centres of two classes.
        least: Least margin of a vector.
        mean: Mean margin.
        slope: Length of the mean gradient of a vector, of that at the start.
    """

    loss: float
    best_loss: float
    cosine: float
    least: float
    mean: float
    slope: float


def simplex(classes: int, q: int) -> Tensor:
    """[K, Q] unit vectors at pairwise cosines of -1 / (K - 1); K at most Q + 1."""
    corners = torch.eye(classes, dtype=torch.float64) - 1 / classes
    corners = corners / corners.norm(dim=1, keepdim=True)
    return torch.nn.functional.pad(corners, (0, q - classes))


def counts_of(prior: str, classes: int, vectors: int) -> list[int]:
    """Vectors of each class."""
    if prior == EVEN:
        return [vectors // classes] * classes
    rest = max(1, round(0.03 * vectors / (classes - 1)))
    return [vectors - rest * (classes - 1), *[rest] * (classes - 1)]


def loss_of(z_NQ: Tensor, y_N: Tensor, pi_K: Tensor, temp: float) -> tuple[Tensor, Tensor]:
    """[N] L_mmc with the means of the vectors themselves, and the mean directions [K, Q]."""
    sum_KQ, count_K = vmf.class_sums(z_NQ.detach(), y_N, len(pi_K))
    fit = vmf.concentration(sum_KQ / count_K[:, None])
    rho_NK = vmf.scores(z_NQ, fit.mu_KQ, fit.kappa_K, temp)
    return vmf.max_margin_loss(rho_NK, y_N, vmf.log_prior(pi_K)), fit.mu_KQ


def settle(
    classes: int, temp: float, prior: str, *, q: int = 64, vectors: int = 400, steps: int = 1500,
    seed: int = 0,
) -> Found:  # fmt: skip
    """Move free vectors by the gradient of the mean loss until the steps are over."""
    counts = counts_of(prior, classes, vectors)
    y_N = torch.repeat_interleave(torch.arange(classes), torch.tensor(counts))
    pi_K = torch.tensor(counts).double() / sum(counts)
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(len(y_N), q, generator=generator, dtype=torch.float64).requires_grad_()
    optimiser = torch.optim.Adam([raw], lr=0.02)
    slopes: list[float] = []
    for _ in range(steps):
        z_NQ = torch.nn.functional.normalize(raw, dim=1)
        loss_N, _ = loss_of(z_NQ, y_N, pi_K, temp)
        optimiser.zero_grad()
        loss_N.mean().backward()
        assert raw.grad is not None
        slopes.append(float((raw.grad * raw.detach().norm(dim=1, keepdim=True)).norm()))
        optimiser.step()
    with torch.no_grad():
        z_NQ = torch.nn.functional.normalize(raw, dim=1)
        loss_N, mu_KQ = loss_of(z_NQ, y_N, pi_K, temp)
        best_N, _ = loss_of(simplex(classes, q)[y_N], y_N, pi_K, temp)
        found_N = vmf.margins(mu_KQ, z_NQ, y_N)
        cosine_KK = mu_KQ @ mu_KQ.T
        off = ~torch.eye(classes, dtype=torch.bool)
        return Found(
            float(loss_N.mean()), float(best_N.mean()), float(cosine_KK[off].mean()),
            float(found_N.min()), float(found_N.mean()), slopes[-1] / slopes[0],
        )  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500, help="steps of the optimiser")
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    rows = []
    for classes in (4, 5, 7):
        for prior in (EVEN, SKEWED):
            for temp in TEMPERATURES:
                x = settle(classes, temp, prior, steps=steps)
                rows.append([
                    str(classes), prior, f"{temp:g}", f"{x.loss:.2e}", f"{x.best_loss:.2e}",
                    f"{x.cosine:+.3f}", f"{-1 / (classes - 1):+.3f}",
                    f"{x.least:.3f}", f"{x.mean:.3f}", f"{vmf.best_margin(classes):.3f}",
                    f"{x.slope:.1e}",
                ])  # fmt: skip
    columns = ["K", "prior", "temp", "loss", "loss, best geometry", "mean cosine", "best cosine",
               "least margin", "mean margin", "best margin", "slope, of the first"]  # fmt: skip
    print(markdown_table(columns, rows, left=2))


if __name__ == "__main__":
    main()
