"""The key ``method.threshold``: rows are chosen by their confidence in place of a quota.

Every round labels the whole text anew, chooses what its rule says, and learns from that alone; what
is not chosen any more is not learned from. Thresholds and averages are those of each language.
docs/rules.md compares the rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import MethodConfig
from xlt_ray.methods.shared.confidence import Confident
from xlt_ray.methods.shared.reaching import RowRule, reaching_rows
from xlt_ray.methods.shared.weighted import weighted
from xlt_ray.recipe.annotator import Annotator
from xlt_ray.recipe.corpus import Corpus
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Round
from xlt_ray.store.artifacts import Artifact

ALMOST_ALL = 0.95
"""Mean share of rows that reach their threshold above which a rule is said to choose nothing."""
ALMOST_ONE = 0.99
"""Mean weight above which weights are said to do nothing."""


class RuleConfig(MethodConfig, frozen=True):
    """How rows are chosen by confidence."""

    quota_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of the quota that ``threshold`` takes the place of."""

    threshold: RowRule | None = None
    """Rows that reach a threshold in place of a quota: thresholds by class (FlexMatch), t0 for all
    classes, FreeMatch's; or all rows, weighted by SoftMatch. Absent: the quota."""
    t0: float = Field(default=0.9, gt=0, lt=1)
    """Threshold, above 1/C, of the class that is learnt best (by_class), or of all (fixed)."""
    floor: float | None = Field(default=None, ge=0, lt=1)
    """Least threshold of by_class, t0 at most, or of freematch; absent: 1/C, an even guess."""
    momentum: float = Field(default=0.5, ge=0, lt=1)
    """Share that the moving averages of freematch and softmatch keep at each pass."""
    uniform_alignment: bool = False
    """softmatch lowers the confidence in classes that are predicted too often; of texts alone."""

    @model_validator(mode="after")
    def _has_the_keys_of_its_rule(self) -> Self:
        rules = {
            "t0": ("by_class", "fixed"),
            "floor": ("by_class", "freematch"),
            "momentum": ("freematch", "softmatch"),
            "uniform_alignment": ("softmatch",),
        }
        for key, of in rules.items():
            if self.threshold == "fixed" and key == "floor" and self.floor is not None:
                raise ValueError("threshold fixed is t0 for every class: it has no floor")
            # Of several methods in a comparison, some have those of CoNLST's without a threshold.
            shared = self.threshold is None and key in ("t0", "floor")
            if self.threshold not in of and _is_set(self, key) and not shared:
                raise ValueError(
                    f"{key} is of threshold {' and '.join(of)}, and threshold is {self.threshold}"
                )
        for key in self.quota_keys if self.threshold else ():
            if _is_set(self, key):
                raise ValueError(
                    f"{key} is of the quota, and threshold {self.threshold} takes its place; leave "
                    f"out {key}"
                )
        return self

    def check_classes(self, num_classes: int) -> None:
        """t0, where it is used, is above an even guess, and the floor is not above it."""
        if self.threshold in ("by_class", "fixed") and self.t0 <= 1 / num_classes:
            raise ValueError(f"t0: has to be above 1/C = {1 / num_classes:.3g}, got {self.t0}")
        if self.threshold == "by_class" and self.floor is not None and self.floor > self.t0:
            raise ValueError(f"floor: has to be t0 = {self.t0} at most, got {self.floor}")

    @property
    def is_weighted(self) -> bool:
        """Whether rows count by weights."""
        return self.threshold == "softmatch"


def _is_set(config: MethodConfig, key: str) -> bool:
    """Whether there is such a key, with another value than its default."""
    fields = type(config).model_fields
    return key in fields and getattr(config, key) != fields[key].default


@dataclass(frozen=True)
class Rule:
    """The threshold rule of a run.

    Attributes:
        driver: The driver.
        config: Says which rule, which is not None.
        is_evidential: Whether outputs of models are evidence.
        by_entity: Whether sentences of words are of the types of their entities.
    """

    driver: Driver
    config: RuleConfig
    is_evidential: bool = False
    by_entity: bool = False

    def annotator(self, inner: Annotator) -> Confident:
        """An annotator that says of rows what the rule looks at.

        Raises:
            ConfigError: the rule does not fit the task.
        """
        if self.config.uniform_alignment and self.driver.context.task == "token":
            raise ConfigError(
                "method.uniform_alignment: of texts alone, and the items of this task are words"
            )
        return Confident(inner, self.is_evidential, self.by_entity)

    def choose(
        self,
        title: str,
        scored: Artifact,
        before: Sequence[Artifact],
        languages: Sequence[str],
    ) -> Artifact:
        """The rows of a pass that are learned from.

        Args:
            title: Of the step.
            scored: Annotation by `annotator`.
            before: The choices of the earlier passes.
            languages: Those whose rows are chosen.
        """
        c = self.config
        parameters: dict[str, Any] = {
            "languages": list(languages),
            "rule": c.threshold,
            "t0": c.t0,
            "floor": c.floor,
            "momentum": c.momentum,
            "uniform_alignment": c.uniform_alignment,
            "num_classes": self.driver.context.num_classes,
        }
        return self.driver.derive(title, reaching_rows, scored, *before[-1:], **parameters)

    def labelled(self, text: Corpus, picked: Artifact) -> Corpus:
        """The chosen rows, with their weights where they have some."""
        found = text.labelled(picked)
        return weighted(found, picked) if self.config.is_weighted else found


def rule_mechanisms(rounds: Sequence[Round], config: RuleConfig) -> list[Mechanism]:
    """What share of rows reached its threshold, or the mean weight, by language and round.

    Args:
        rounds: The rounds of all targets.
        config: Says the rule.
    """
    if config.is_weighted:
        figures = _by_language(rounds, "weight")
        warning = None
        if figures and sum(figures.values()) / len(figures) > ALMOST_ONE:
            warning = "nearly every row has the weight 1: the weights do nothing"
        return [Mechanism("SoftMatch, mean weight of the rows", figures, warning)]
    figures = _by_language(rounds, "reached")
    warning = None if rounds else "no row reached its threshold"
    if figures and sum(figures.values()) / len(figures) > ALMOST_ALL:
        warning = "nearly every row reached its threshold: it chooses nothing"
    part = f"threshold {config.threshold}, share of rows that reached it"
    return [Mechanism(part, figures, warning)]


def _by_language(rounds: Sequence[Round], fact: str) -> dict[str, float]:
    return {
        f"{language} {item.number}": value
        for item in rounds
        for language, value in (item.picked.info.get(fact) or {}).items()
    }
