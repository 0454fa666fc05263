"""Hyper-parameters of MRT and LVM."""

from typing import Literal, Self

from pydantic import Field, model_validator

from xlt_ray.methods.shared.multi_source import MultiSourceConfig
from xlt_ray.ops import confusion


def scale_of(
    mu: float | None, tau: float | None, *, default: float, num_classes: int, key: str
) -> float:
    """Scale of a matrix that is given by its diagonal or by its scale.

    Args:
        mu: The diagonal, or None.
        tau: The scale, or None; wins.
        default: Diagonal if neither is given; with so few classes that it is not above 1/K, halfway
            between 1/K and 1.
        num_classes: K.
        key: Name of the diagonal, for errors.

    Raises:
        ValueError: there is no such matrix.
    """
    if num_classes > 1 and default <= 1 / num_classes:
        default = (1 + 1 / num_classes) / 2
    try:
        if tau is not None:
            mu = confusion.mu_of(tau, num_classes)
        return confusion.tau_of(default if mu is None else mu, num_classes)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


class EMConfig(MultiSourceConfig, frozen=True):
    """Hyper-parameters of both."""

    labels: Literal["hard", "soft"] = "soft"
    """What the sources say: a label, or the probability of each."""
    divide_prior: bool = False
    """labels=soft: divide the probabilities of a source by its mean over the text, so that class
    priors count once, and not once more for each source."""
    mu_psi: float | None = Field(default=None, gt=0, lt=1)
    """Diagonal of the fixed matrix, above 1/K; absent, without tau_psi: 0.9."""
    tau_psi: float | None = Field(default=None, gt=0)
    """The same as a scale: the columns are the softmax of tau_psi I."""
    lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate of the target model."""
    epochs: int = Field(default=3, ge=1)
    """E, rounds of an E-step and an M-step at most; with estep=batch, passes over the text."""
    m_passes: int = Field(default=1, ge=1)
    """Passes over the text in an M-step."""
    stop: Literal["same_lambda", "still_lambda", "never"] = "same_lambda"
    """When EM ends early: J has not fallen since the E-step before, both at the lambda of that one;
    J has not fallen while lambda stayed as it is; or never."""
    tol: float = Field(default=1e-4, ge=0)
    """Least relative gain of J; less ends EM."""
    estep: Literal["epoch", "batch"] = "epoch"
    """Q of the whole text before each M-step (EM), or of each batch from the model as it is."""
    em: Literal["soft", "hard"] = "soft"
    """Q as it is, or all of it on the likeliest label."""
    objective: Literal["log", "risk"] = "log"
    """Sum over the positions of the logarithm, or the printed product over a sentence."""
    predict: Literal["auto", "theta", "q"] = "auto"
    """Labels by the model alone, or by Q with the sources' own; auto: theta for one source."""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.mu_psi is not None and self.tau_psi is not None:
            raise ValueError("mu_psi and tau_psi both set psi, give one of them")
        if self.divide_prior and self.labels == "hard":
            raise ValueError("divide_prior is for probabilities, set labels to soft")
        if self.objective == "risk" and self.estep == "epoch":
            raise ValueError("objective risk has no E-step, set estep to batch")
        if self.objective == "risk" and self.em == "hard":
            raise ValueError("objective risk has no posterior, leave em at soft")
        return self

    def scale_of_psi(self, num_classes: int) -> float:
        """tau_psi, also where it is given as mu_psi."""
        return scale_of(
            self.mu_psi, self.tau_psi, default=0.9, num_classes=num_classes, key="mu_psi"
        )

    def check_classes(self, num_classes: int) -> None:
        """The diagonal is above 1/K."""
        self.scale_of_psi(num_classes)


class MRTConfig(EMConfig, frozen=True):
    """Hyper-parameters of MRT."""

    name: Literal["mrt"] = "mrt"
    """Name of the method."""


class LVMConfig(EMConfig, frozen=True):
    """Hyper-parameters of LVM."""

    name: Literal["lvm"] = "lvm"
    """Name of the method."""
    mu_sigma: float | None = Field(default=None, gt=0, lt=1)
    """Diagonal of the learned matrices at the start; absent, without tau_sigma: 0.3, or
    halfway between 1/K and 1 where that is not above 1/K."""
    tau_sigma: float | None = Field(default=None, gt=0)
    """The same as a scale."""
    matrix_lr: float | None = Field(default=None, gt=0)
    """Peak learning rate of the matrices; absent: 2e-5 with one source, 2e-4 with several."""
    matrices: Literal["gradient", "closed"] = "gradient"
    """How an M-step learns the matrices: with the model, or from Q in closed form before it."""
    matrix_prior: float | None = Field(default=None, ge=0)
    """matrices=closed: words of each true label that the start of a matrix counts for; absent: 0,
    the maximum of the likelihood."""
    lambda_first: float = Field(default=1.0, ge=0, le=1)
    """Weight of the fixed matrix at the first update."""
    lambda_last: float = Field(default=0.0, ge=0, le=1)
    """The same at the last update."""

    @model_validator(mode="after")
    def _has_one_sigma(self) -> Self:
        if self.objective == "risk":
            raise ValueError("objective risk has the fixed matrix alone: it is one of mrt")
        if self.mu_sigma is not None and self.tau_sigma is not None:
            raise ValueError("mu_sigma and tau_sigma both set sigma, give one of them")
        if self.matrices == "closed" and self.estep == "batch":
            raise ValueError("matrices closed needs the Q of the whole text, leave estep at epoch")
        if self.matrices == "closed" and self.matrix_lr is not None:
            raise ValueError("matrices closed has no rate, leave matrix_lr out")
        if self.matrices == "gradient" and self.matrix_prior is not None:
            raise ValueError("matrix_prior is one of matrices closed")
        return self

    @property
    def strength(self) -> float | None:
        """Words that the start of a matrix counts for; None: the matrices are trained."""
        return (self.matrix_prior or 0.0) if self.matrices == "closed" else None

    def scale_of_sigma(self, num_classes: int) -> float:
        """tau_sigma, also where it is given as mu_sigma."""
        return scale_of(
            self.mu_sigma, self.tau_sigma, default=0.3, num_classes=num_classes, key="mu_sigma"
        )

    def check_classes(self, num_classes: int) -> None:
        """Both diagonals are above 1/K."""
        super().check_classes(num_classes)
        self.scale_of_sigma(num_classes)
