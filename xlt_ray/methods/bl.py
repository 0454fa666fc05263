"""BL-Direct, BL-Single and BL-Joint: transfer without a choice among pseudo-labels.

As in the tables of CLTP, which quotes them from Xu et al., "Boosting Cross-Lingual Transfer via
Self-Learning with Uncertainty Estimation" (2021). BL-Direct is the source model on target text.
BL-Single trains one model per target language on a sample of the source gold and the predicted
label of every unlabelled row of that language; BL-Joint trains one on those of all languages. No
confidence is used and nothing is left out. How many rounds they had is not printed: one here.
"""

from functools import partial
from typing import Literal

from pydantic import Field

from xlt_ray.data.batches.planning import seed_of
from xlt_ray.methods.shared.selection import silver_labels
from xlt_ray.methods.shared.weighted import SmoothingConfig, cross_entropy_of
from xlt_ray.recipe.annotator import PredictLabels
from xlt_ray.recipe.corpus import Mix, Model
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.method import Method, Outcome
from xlt_ray.recipe.schedule import Schedule


class BLDirectConfig(SmoothingConfig, frozen=True):
    """Hyper-parameters of the source training."""

    name: Literal["bl_direct"] = "bl_direct"
    """Name of the method."""
    source_lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate on the source gold."""
    source_epochs: int = Field(default=10, ge=1)
    """Epochs on the source gold."""


class SilverConfig(SmoothingConfig, frozen=True):
    """Hyper-parameters of training on every predicted label."""

    rounds: int = Field(default=1, ge=1)
    """Times that labels are predicted and learnt from."""
    src_ratio: float = Field(default=0.6, gt=0, le=1)
    """Share of the source gold that each round trains on."""
    source_lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate on the source gold."""
    source_epochs: int = Field(default=10, ge=1)
    """Epochs on the source gold."""
    round_lr: float = Field(default=2e-5, gt=0)
    """Peak learning rate of a round."""
    round_epochs: int = Field(default=3, ge=1)
    """Epochs of a round; the best of them on source dev is kept."""


class BLSingleConfig(SilverConfig, frozen=True):
    """Hyper-parameters of BL-Single."""

    name: Literal["bl_single"] = "bl_single"
    """Name of the method."""


class BLJointConfig(SilverConfig, frozen=True):
    """Hyper-parameters of BL-Joint."""

    name: Literal["bl_joint"] = "bl_joint"
    """Name of the method."""


def source_model(driver: Driver, config: BLDirectConfig | SilverConfig) -> Model:
    """The model of the source gold alone."""
    schedule, mix = Schedule(config.source_lr, config.source_epochs), Mix(driver.source("train"))
    common = {"start": driver.backbone, "schedule": schedule}
    loss = cross_entropy_of(config.label_smoothing)
    train = partial(driver.train, "source", mix, loss, **common)
    return train() if isinstance(config, BLDirectConfig) else driver.while_reading(train)


def learn_silver(
    driver: Driver, config: SilverConfig, source: Model, language: str | None = None
) -> Model:
    """Rounds of labelling all unlabelled rows, of one language or of all, and training on them."""
    gold, whole, model = driver.source("train"), driver.unlabelled(), source
    for number in range(1, config.rounds + 1):
        title = f"round {number}" if language is None else f"round {number} {language}"
        # The first labels are the source model's, annotated once for all languages.
        pool = whole if language is None or number == 1 else whole.of(language)
        scored = driver.annotate(title, pool, model, PredictLabels())
        silver = driver.derive(f"{title} silver", silver_labels, scored, language=language)
        seed = seed_of(driver.seed, "source sample", number)
        mix = Mix(gold.sample(config.src_ratio, seed=seed), whole.labelled(silver))
        schedule = Schedule(config.round_lr, config.round_epochs)
        loss = cross_entropy_of(config.label_smoothing)
        model = driver.train(title, mix, loss, start=model, schedule=schedule)
    return model


class BLDirect(Method[BLDirectConfig]):
    """The source model, and nothing else."""

    Config = BLDirectConfig
    tasks = frozenset({"token", "sentence", "pair"})

    def run(self, driver: Driver) -> Outcome:
        """Train on the source gold."""
        source = source_model(driver, self.config)
        return Outcome(source, source)


class BLSingle(Method[BLSingleConfig]):
    """A model per target language, trained on all of its predicted labels."""

    Config = BLSingleConfig
    tasks = frozenset({"token", "sentence", "pair"})

    def run(self, driver: Driver) -> Outcome:
        """Train on the source gold, then once per language; the source keeps its own model."""
        source = source_model(driver, self.config)
        models = {name: learn_silver(driver, self.config, source, name) for name in driver.pools}
        return Outcome(source, source, by_language=models)


class BLJoint(Method[BLJointConfig]):
    """One model, trained on all predicted labels of all target languages."""

    Config = BLJointConfig
    tasks = frozenset({"token", "sentence", "pair"})

    def run(self, driver: Driver) -> Outcome:
        """Train on the source gold, then on all languages together."""
        source = source_model(driver, self.config)
        return Outcome(source, learn_silver(driver, self.config, source))
