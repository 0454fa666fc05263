"""MRT and LVM: learning from the predictions of source models through a matrix of their confusions.

"Risk Minimization for Zero-shot Sequence Labeling". Only unlabelled target text is used and what
the sources say about it, as labels or as probabilities. With the channel phi of each source

    J = -sum_i log sum_y P(y | x_i) prod_u P(said by u | y; phi[u])

is minimised by EM. The E-step is an annotation: the posterior Q of every position, by the model of
the step before. The M-step trains for a pass against the stored Q, and goes on with optimiser and
learning rate; lambda falls in a line over all updates. MRT is lambda = 1 throughout, with nothing
learned but the model. J depends on lambda, and falls or rises with it by itself. So every E-step
takes J at its own lambda and at that of the E-step before, and EM ends early if the M-step between
the two has not lowered J at the latter by a share of ``tol``.

Departures: with ``objective=risk`` the printed product is minimised as it is, in log space, which
teaches long sentences nothing; the default is its logarithm. With ``estep=batch`` Q is that of each
batch, which gives the gradient of J itself, the printed "direct" variant.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from xlt_ray.config.errors import ConfigError
from xlt_ray.methods.lvm.channel import Channel, ChannelLoss
from xlt_ray.methods.lvm.estep import EStep, likelihood, mean_of
from xlt_ray.methods.lvm.mechanisms import em_mechanisms
from xlt_ray.methods.lvm.settings import EMConfig, LVMConfig, MRTConfig
from xlt_ray.methods.shared.learnt import Learnt
from xlt_ray.methods.shared.multi_source import MultiSource
from xlt_ray.methods.shared.sources import Sources, predictions
from xlt_ray.methods.shared.votes import marked
from xlt_ray.recipe.corpus import Corpus, JoinedColumns, Mix, Model
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Labeller, Outcome, WithSources, likeliest
from xlt_ray.recipe.schedule import OwnRate, Schedule
from xlt_ray.recipe.stopping import best_on_source_dev
from xlt_ray.store.artifacts import Artifact


def has_ended(facts: Sequence[Mapping[str, Any]], stop: str, tol: float) -> bool:
    """Whether the M-step before the last E-step has not lowered J enough.

    Args:
        facts: What `likelihood` says of every E-step.
        stop: How two of them are compared, as the key says.
        tol: Least share by which J has to fall.
    """
    if len(facts) < 2 or stop == "never":
        return False
    (before, now), j = facts[-2:], facts[-1]["J_before"]
    if stop == "still_lambda":
        if now["lambda"] != before["lambda"]:
            return False
        j = now["J"]
    if j is None or before["J"] is None:  # only planned
        return False
    return j >= before["J"] - tol * abs(before["J"])


C = TypeVar("C", bound=EMConfig)


class EM(MultiSource[C]):
    """The recipe of both."""

    def run(self, driver: Driver) -> Outcome:
        """See that whoever helps to label can be asked, and learn."""
        if self.config.predict == "q" and driver.labellers:
            raise ConfigError(
                "method.predict: q asks every source about the text that is scored, and labellers "
                f"({', '.join(driver.labellers)}) speak about the unlabelled text alone; allowed "
                "with them: theta"
            )
        return super().run(driver)

    @abstractmethod
    def channel(self, driver: Driver, names: tuple[str, ...]) -> Channel:
        """The channel from the true labels to those of some sources."""

    @property
    def strength(self) -> float | None:
        """What the start of the matrices is worth where they have a closed form."""
        return None

    @abstractmethod
    def own_rate(self, num_sources: int) -> OwnRate | None:
        """How the matrices are trained; None: none are."""

    def heard(self, driver: Driver, target: str, sources: Sources) -> Channel:
        """`channel`, with the priors of the sources about the text of a target if these count."""
        channel = self.channel(driver, sources.names)
        if not self.config.divide_prior:
            return channel
        found = [
            driver.derive(
                f"{target} prior of {name}",
                mean_of,
                said,
                columns=list(sources.columns),
                language=target,
                num_classes=driver.context.num_classes,
            ).info["prior"]
            for name, said in zip(sources.names, sources.artifacts, strict=True)
        ]
        known = [tuple(prior) for prior in found if prior is not None]
        return replace(channel, priors=tuple(known) if len(known) == len(found) else None)

    def learn(self, driver: Driver, target: str, text: Corpus, sources: Sources) -> Learnt:
        """EM, or with Q of each batch a single training."""
        c, channel = self.config, self.heard(driver, target, sources)
        text = text.with_columns(*sources.joined(soft=channel.soft))
        known = marked(driver, target, sources)  # marks every item that is to be learned from
        if known not in sources.artifacts:
            text = text.labelled(known)
        own, passes = self.own_rate(len(sources.names)), c.epochs * c.m_passes
        start, dev = driver.backbone, driver.dev(target)
        if c.estep == "batch":
            form = "risk" if c.objective == "risk" else "direct"
            loss = ChannelLoss(channel, form, c.em == "hard")
            mix = Mix(text.labelled(known))
            schedule = Schedule(c.lr, passes, keep=c.keep, own=own)
            return Learnt.at_once(
                driver.train(target, mix, loss, start=start, schedule=schedule, dev=dev)
            )
        loss = ChannelLoss(channel, "bound", c.em == "hard", self.strength)
        begin = Schedule(1.0, 0, keep="last")  # no step is taken, at whatever rate
        mix = Mix(text.labelled(known))
        model = driver.train(f"{target} start", mix, loss, start=start, schedule=begin, dev=dev)
        facts: list[Mapping[str, Any]] = []
        models: list[Model] = []
        for number in range(1, c.epochs + 1):
            title, before = f"{target} E-step {number}", facts[-1]["lambda"] if facts else None
            estep = EStep(channel, c.em == "hard", before=before)
            scored = driver.annotate(title, text, model, estep)
            facts.append(driver.derive(f"{title} likelihood", likelihood, scored).info)
            if has_ended(facts, c.stop, c.tol):
                break
            whole = replace(text, fraction=1.0)  # of which the E-step has looked at the share
            mix = Mix(
                whole.with_columns(JoinedColumns("posterior", scored, ("q",))).labelled(scored)
            )
            part = ((number - 1) * c.m_passes, passes)
            schedule = Schedule(c.lr, c.m_passes, keep="last", own=own, part=part)
            title = f"{target} M-step {number}"
            model = driver.train(title, mix, loss, start=model, schedule=schedule, dev=dev)
            models.append(model)
        kept = best_on_source_dev(models) if c.keep == "best" else model
        return Learnt(kept, tuple(models), facts)

    def mechanisms(self, learnt: Mapping[str, Learnt]) -> list[Mechanism]:
        """What EM did, and how far matrices moved."""
        return em_mechanisms(learnt, self.config.epochs)

    def with_sources(
        self, driver: Driver, target: str, sources: Sources, models: Mapping[str, Model]
    ) -> WithSources | None:
        """The posterior, where it labels and every source has a model."""
        predict, names = self.config.predict, sources.names
        by_model = predict == "theta" or (predict == "auto" and len(names) == 1)
        if by_model or any(name not in models for name in names):
            return None
        channel = asdict(self.heard(driver, target, sources))
        asked = {name: models[name] for name in names}
        return WithSources(asked, "top" in sources.columns, channel)

    def labeller(self, driver: Driver, sources: Mapping[str, Model]) -> Labeller:
        """The likeliest label by P(y | x), or by Q with what the sources say about the text."""
        predict = self.config.predict
        if driver.labellers and predict == "auto":
            predict = "theta"  # labellers speak about the unlabelled text alone

        def by_posterior(driver: Driver, title: str, corpus: Corpus, model: Model) -> Artifact:
            assert corpus.language is not None
            names = driver.sources_of(corpus.language)
            if predict == "auto" and len(names) == 1:
                return likeliest(driver, title, corpus, model)
            whole = replace(corpus, language=None)
            c, asked = self.config, corpus.language
            said = predictions(
                driver, "scored text", whole, sources, names, config=c, language=asked
            )
            about = said
            if self.config.divide_prior:  # by what they said of the text that was learned from
                about = predictions(
                    driver, "unlabelled", driver.unlabelled(), sources, names, config=c
                )
            channel = self.heard(driver, corpus.language, about)
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

    @property
    def strength(self) -> float | None:
        """As the configuration says."""
        return self.config.strength

    def own_rate(self, num_sources: int) -> OwnRate | None:
        """The configured rate, or that of the paper for so many sources; a closed form has none."""
        if self.config.matrices == "closed":
            return None
        return OwnRate(self.config.matrix_lr or (2e-5 if num_sources == 1 else 2e-4))
