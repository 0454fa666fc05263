"""MRT and LVM: learning from the predictions of source models through a matrix of their confusions.

"Risk Minimization for Zero-shot Sequence Labeling". Only unlabelled target text is used and what
the sources say about it, as labels or as probabilities. With the channel phi of each source

    J = -sum_i log sum_y P(y | x_i) prod_u P(said by u | y; phi[u])

is minimised by EM. The E-step is an annotation: the posterior Q of every position, by the model of
the step before. The M-step trains for a pass against the stored Q, and goes on with optimiser and
learning rate; lambda falls in a line over all updates. MRT is lambda = 1 throughout, with nothing
learned but the model. EM ends early if J has not fallen by a share of ``tol`` since its best.

Departures: with ``objective=risk`` the printed product is minimised as it is, in log space, which
teaches long sentences nothing; the default is its logarithm. With ``estep=batch`` Q is that of each
batch, which gives the gradient of J itself, the printed "direct" variant.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal, Self, TypeVar

from pydantic import Field, model_validator

from xlt_ray.methods.lvm.channel import Channel, ChannelLoss, EStep, likelihood
from xlt_ray.methods.shared.multi_source import (
    MultiSource,
    MultiSourceConfig,
    Sources,
    predictions,
)
from xlt_ray.ops import confusion
from xlt_ray.recipe.corpus import Corpus, JoinedColumns, Mix, Model
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.method import Labeller, likeliest
from xlt_ray.recipe.schedule import OwnRate, Schedule
from xlt_ray.store.artifacts import Artifact


def scale_of(
    mu: float | None, tau: float | None, *, default: float, num_classes: int, key: str
) -> float:
    """Scale of a matrix that is given by its diagonal or by its scale.

    Args:
        mu: The diagonal, or None.
        tau: The scale, or None; wins.
        default: Diagonal if neither is given.
        num_classes: K.
        key: Name of the diagonal, for errors.

    Raises:
        ValueError: there is no such matrix.
    """
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
    tol: float = Field(default=1e-4, ge=0)
    """Least relative gain of J over the best before; less ends EM."""
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
    """Diagonal of the learned matrices at the start; absent, without tau_sigma: 0.3."""
    tau_sigma: float | None = Field(default=None, gt=0)
    """The same as a scale."""
    matrix_lr: float | None = Field(default=None, gt=0)
    """Peak learning rate of the matrices; absent: 2e-5 with one source, 2e-4 with several."""
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
        return self

    def scale_of_sigma(self, num_classes: int) -> float:
        """tau_sigma, also where it is given as mu_sigma."""
        return scale_of(
            self.mu_sigma, self.tau_sigma, default=0.3, num_classes=num_classes, key="mu_sigma"
        )

    def check_classes(self, num_classes: int) -> None:
        """Both diagonals are above 1/K."""
        super().check_classes(num_classes)
        self.scale_of_sigma(num_classes)


C = TypeVar("C", bound=EMConfig)


class EM(MultiSource[C]):
    """The recipe of both."""

    @abstractmethod
    def channel(self, driver: Driver, names: tuple[str, ...]) -> Channel:
        """The channel from the true labels to those of some sources."""

    @abstractmethod
    def own_rate(self, num_sources: int) -> OwnRate | None:
        """How the matrices are trained; None: none are."""

    def learn(self, driver: Driver, target: str, text: Corpus, sources: Sources) -> Model:
        """EM, or with Q of each batch a single training."""
        c, channel = self.config, self.channel(driver, sources.names)
        text = text.with_columns(*sources.joined(soft=channel.soft))
        own, passes = self.own_rate(len(sources.names)), c.epochs * c.m_passes
        start, dev = driver.backbone, driver.dev(target)
        if c.estep == "batch":
            form = "risk" if c.objective == "risk" else "direct"
            loss = ChannelLoss(channel, form, c.em == "hard")
            mix = Mix(text.labelled(sources.artifacts[0]))  # marks every item as one to learn from
            schedule = Schedule(c.lr, passes, keep="last", own=own)
            return driver.train(target, mix, loss, start=start, schedule=schedule, dev=dev)
        loss, best = ChannelLoss(channel, "bound", c.em == "hard"), None
        begin = Schedule(1.0, 0, keep="last")  # no step is taken, at whatever rate
        mix = Mix(text.labelled(sources.artifacts[0]))
        model = driver.train(f"{target} start", mix, loss, start=start, schedule=begin, dev=dev)
        for number in range(1, c.epochs + 1):
            title, estep = f"{target} E-step {number}", EStep(channel, c.em == "hard")
            scored = driver.annotate(title, text, model, estep)
            j = driver.derive(f"{title} likelihood", likelihood, scored).info["J"]
            if best is not None and j is not None and j >= best - c.tol * abs(best):
                break
            best = j
            whole = replace(text, fraction=1.0)  # of which the E-step has looked at the share
            mix = Mix(
                whole.with_columns(JoinedColumns("posterior", scored, ("q",))).labelled(scored)
            )
            part = ((number - 1) * c.m_passes, passes)
            schedule = Schedule(c.lr, c.m_passes, keep="last", own=own, part=part)
            title = f"{target} M-step {number}"
            model = driver.train(title, mix, loss, start=model, schedule=schedule, dev=dev)
        return model

    def labeller(self, driver: Driver, sources: Mapping[str, Model]) -> Labeller:
        """The likeliest label by P(y | x), or by Q with what the sources say about the text."""
        predict = self.config.predict

        def by_posterior(driver: Driver, title: str, corpus: Corpus, model: Model) -> Artifact:
            assert corpus.language is not None
            names = driver.sources_of(corpus.language)
            if predict == "auto" and len(names) == 1:
                return likeliest(driver, title, corpus, model)
            whole = replace(corpus, language=None)
            said = predictions(driver, "scored text", whole, sources, names)
            channel = self.channel(driver, names)
            text = corpus.with_columns(*said.joined(soft=channel.soft))
            return driver.annotate(title, text, model, EStep(channel, keep=False))

        return likeliest if predict == "theta" else by_posterior


class MRT(EM[MRTConfig]):
    """EM with a fixed matrix."""

    Config = MRTConfig

    def channel(self, driver: Driver, names: tuple[str, ...]) -> Channel:
        """psi alone."""
        c = self.config
        return Channel(names, c.labels == "soft", c.scale_of_psi(driver.context.num_classes))

    def own_rate(self, num_sources: int) -> None:
        """Nothing is learned but the model."""


class LVM(EM[LVMConfig]):
    """EM with matrices that are learned."""

    Config = LVMConfig

    def channel(self, driver: Driver, names: tuple[str, ...]) -> Channel:
        """psi and a sigma per source."""
        c, k = self.config, driver.context.num_classes
        psi, sigma = c.scale_of_psi(k), c.scale_of_sigma(k)
        return Channel(names, c.labels == "soft", psi, sigma, c.lambda_first, c.lambda_last)

    def own_rate(self, num_sources: int) -> OwnRate:
        """The configured rate, or that of the paper for so many sources."""
        return OwnRate(self.config.matrix_lr or (2e-5 if num_sources == 1 else 2e-4))
