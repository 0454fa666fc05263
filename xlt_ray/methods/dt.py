"""DT, direct transfer: a source model on target text, one for each source language or domain.

The zero-shot baseline of "Risk Minimization for Zero-shot Sequence Labeling". With one source it is
BL-Direct. With several, one of them is scored; which one is part of the configuration.
"""

import math
from typing import Literal

from xlt_ray.config.errors import ConfigError
from xlt_ray.methods.shared.sources import (
    SourceConfig,
    is_said,
    read_sources,
    source_models,
    trained_sources,
)
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Method, Outcome


class DTConfig(SourceConfig, frozen=True):
    """Hyper-parameters."""

    name: Literal["dt"] = "dt"
    """Name of the method."""
    source: str | None = None
    """Source language of the model that is scored; absent, or where it is the target itself: the
    first of the others."""


class DT(Method[DTConfig]):
    """The source models, and nothing else."""

    Config = DTConfig
    tasks = frozenset({"token", "sentence", "pair"})
    leaves_one_out = True

    def read(self, driver: Driver) -> None:
        """Read the text of every source by itself."""
        read_sources(driver, trained_sources(driver, self.config))

    def run(self, driver: Driver) -> Outcome:
        """Train the source models that targets take; without targets, the one that is named."""
        wanted, known = self.config.source, driver.source_languages
        if wanted not in (None, *known):
            sources = ", ".join(known)
            raise ConfigError(f"method.source: {wanted!r} is no source, there are: {sources}")
        if said := [name for name in known if is_said(self.config, name)]:
            raise ConfigError(
                f"method.given.{said[0]}: direct transfer scores models, and this is a file of "
                "predictions; give a run or a checkpoint"
            )
        taken = {}
        for target in driver.pools:
            others = driver.sources_of(target)
            taken[target] = wanted if wanted in others else others[0]
        needed = set(taken.values()) or {wanted or known[0]}
        models = source_models(driver, self.config, sorted(needed, key=known.index))
        by_language = {target: models[name] for target, name in taken.items()}
        first = next(iter(models.values()))
        figures = {
            name: math.nan if model.source_dev is None else model.source_dev
            for name, model in models.items()
        }
        blank = [name for name, model in models.items() if model.source_dev == 0]
        warning = f"the source model of {', '.join(blank)} learned nothing" if blank else None
        return Outcome(
            first,
            first,
            by_language=by_language,
            zero_shot_by_language=by_language,
            sources=models,
            mechanisms=[Mechanism("source models, source dev", figures, warning)],
        )
