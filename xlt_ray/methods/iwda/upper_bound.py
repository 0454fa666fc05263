"""IWDA with the true importance weights: an upper bound, and no method.

The weights stay at P_target / p, where P_target is counted on gold labels of the target text. So it
uses target labels; no sweep takes it, and its rows say "oracle".
"""

from typing import Any, Literal

import numpy as np
import pyarrow as pa

from xlt_ray.data.keyed import items_of
from xlt_ray.labels import UNLABELLED
from xlt_ray.methods.iwda.recipe import IWDA, IWDAConfig
from xlt_ray.methods.iwda.settings import CriticSettings
from xlt_ray.ops import importance
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.method import Method, TargetGold, UpperBound
from xlt_ray.store.artifacts import Artifact


class OracleIWDAConfig(IWDAConfig, frozen=True):
    """Hyper-parameters: those of IWDA; what is about the estimate of the weights has no effect."""

    name: Literal["iwda_oracle"] = "iwda_oracle"  # pyrefly: ignore [bad-override]
    """Name of the upper bound."""


def prior_of(gold: Artifact, *, language: str, num_classes: int) -> tuple[pa.Table, dict[str, Any]]:
    """Share of each class in the gold labels of a language: ``prior``, also as a fact."""
    labels = items_of(gold.shard(f"gold-{language}.parquet")["labels"])[0].astype(np.int64)
    counts = np.bincount(labels[labels != UNLABELLED], minlength=num_classes)
    prior = counts / max(counts.sum(), 1)
    return pa.table({"prior": prior}), {"prior": prior.tolist()}


class OracleIWDA(IWDA, UpperBound):
    """The recipe with weights that are known."""

    Config = OracleIWDAConfig
    sees = "class shares of the gold labels of the unlabelled text, per target"

    def see(self, gold: TargetGold) -> None:
        """Take what it sees, before it runs."""
        self._gold = gold

    @property
    def critic_settings(self) -> CriticSettings:
        """The weights stay where they are."""
        return super().critic_settings.model_copy(update={"weighting": "fixed"})

    def weights(
        self, driver: Driver, target: str, found: Artifact
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The true weights and the source prior; even ones while they are not known."""
        k, gold = driver.context.num_classes, self._gold
        known = gold.derive(
            f"{target} prior", prior_of, gold.gold, language=target, num_classes=k
        ).info["prior"]
        w0, prior = super().weights(driver, target, found)
        if known is None or found.info["prior"] is None:
            return w0, prior
        w = importance.oracle_weights(np.array(known), np.array(prior))
        return tuple(w.tolist()), prior


UPPER_BOUNDS: dict[str, type[Method]] = {"iwda_oracle": OracleIWDA}
"""What may stand in a run or in a row of a comparison as if it were a method."""
