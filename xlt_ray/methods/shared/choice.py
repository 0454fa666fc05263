"""Choosing among the models of a loop without labels of targets.

source_dev  the best on source dev; how the methods' papers choose
average     the mean of the weights of the last models: Izmailov et al. (2018), Wortsman et al.
            (2022), the uniform soup
agreement   the model whose labels of the whole unlabelled text agree most with those of the others

The rules are compared in docs/choosing.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import Field, model_validator

from xlt_ray.config.choice import LAST, ChoiceRule, chosen_by
from xlt_ray.config.schema import MethodConfig
from xlt_ray.methods.shared.agreement import agreement_of_models
from xlt_ray.recipe.averaging import MeanModel
from xlt_ray.recipe.corpus import Corpus, Mix, Model
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import likeliest
from xlt_ray.recipe.objective import Objective
from xlt_ray.recipe.schedule import Schedule
from xlt_ray.recipe.stopping import best_on_source_dev
from xlt_ray.store.artifacts import Artifact


class ChoiceConfig(MethodConfig, frozen=True):
    """How one of the models of a loop becomes the result."""

    select: ChoiceRule = "source_dev"
    """Which model of the loop is the result: the best on source dev; the mean of the weights of the
    last ones; or the one that agrees most with the others on the unlabelled text."""
    select_last: int | None = Field(default=None, ge=1)
    """Models whose mean select=average takes; absent: 3."""

    @model_validator(mode="after")
    def _averages_what_it_counts(self) -> Self:
        if self.select_last is not None and self.select != "average":
            raise ValueError(f"select_last is of select=average, and select is {self.select}")
        return self

    @property
    def averaged(self) -> int:
        """Models whose mean is taken, at most."""
        return LAST if self.select_last is None else self.select_last


@dataclass(frozen=True)
class Choice:
    """The model that a rule chose, and what there was to choose from.

    Attributes:
        model: The model.
        names: The models of the loop, in order.
        taken: The chosen one, or those whose mean it is.
        on_source_dev: The one that source dev would have chosen.
        agreement: How far each agrees with the others, where that was looked at.
    """

    model: Model
    names: tuple[str, ...]
    taken: tuple[str, ...]
    on_source_dev: str
    agreement: Mapping[str, float] = field(default_factory=dict)


def most_agreed(agreement: Mapping[str, float]) -> str:
    """The name of the highest agreement, the earliest on ties."""
    return max(agreement, key=lambda name: agreement[name])


class Chooser:
    """Chooses among models of a loop that grows; what a model has said is not asked again.

    Args:
        driver: The driver.
        config: Says by which rule.
        text: The whole unlabelled text of the loop.
        loss: An objective that builds what the models were trained with; nothing is trained.
        prefix: Beginning of the titles of its steps.
    """

    def __init__(
        self, driver: Driver, config: ChoiceConfig, text: Corpus, loss: Objective, prefix: str = ""
    ):
        self.driver, self.config, self.text = driver, config, text
        self.loss, self.prefix = loss, prefix
        self._said: dict[str, Artifact] = {}

    def among(self, models: Mapping[str, Model]) -> Choice:
        """The choice of the rule.

        Args:
            models: At least one, by name, in the order of the loop.
        """
        names, values = tuple(models), list(models.values())
        best = names[values.index(best_on_source_dev(values))]
        match self.config.select:
            case "source_dev":
                return Choice(models[best], names, (best,), best)
            case "average":
                taken = names[-self.config.averaged :]
                mean = self._mean({name: models[name] for name in taken})
                return Choice(mean, names, taken, best)
            case "agreement":
                agreement = self._agreement(models)
                chosen = most_agreed(agreement) if agreement else names[0]
                return Choice(models[chosen], names, (chosen,), best, agreement)

    def _mean(self, models: Mapping[str, Model]) -> Model:
        """The mean of the weights, with a source-dev score taken as those of all other models."""
        names, found = list(models), list(models.values())
        if len(found) == 1:
            return found[0]
        dev = self.driver.dev()
        return self.driver.train(
            f"{self.prefix}mean of {names[0]} to {names[-1]}",
            Mix(dev),  # a step has to have a text; none is taken
            self.loss,
            start=MeanModel.of(found),
            schedule=Schedule(1.0, 0, keep="last"),
            dev=dev,
        )

    def _agreement(self, models: Mapping[str, Model]) -> dict[str, float]:
        """Of each model; of one alone, or where it is only planned, none."""
        if len(models) == 1:
            return {}
        for name, model in models.items():
            if name not in self._said:
                title = f"{self.prefix}{name} whole pool"
                self._said[name] = likeliest(self.driver, title, self.text, model)
        said = [self._said[name] for name in models]
        title, context = f"{self.prefix}agreement of {len(said)}", self.driver.context
        words = context.task == "token" and context.labels.is_bio
        outside = context.labels.outside if words else None
        found = self.driver.derive(title, agreement_of_models, *said, outside=outside)
        shares = found.info["agreement"]
        return {} if shares is None else dict(zip(models, shares, strict=True))


def choice_notes(config: ChoiceConfig, *, has_rounds: bool) -> list[str]:
    """What the reader of the scores has to know of the rule, unless it is source dev."""
    how = chosen_by(config.model_dump())
    if how is None or not has_rounds:
        return []
    return [
        f"the result was chosen {how} (method.select={config.select}), not on source dev, which "
        "chose the epoch within a training alone"
    ]


def choice_mechanisms(choices: Mapping[str, Choice]) -> list[Mechanism]:
    """What each rule would have chosen, as far as the run knows, and the agreement it went by.

    Args:
        choices: The last choice by target, or by "" for all; of the rule source dev, none.
    """
    numbers, shares = dict[str, float](), dict[str, float]()
    for target, choice in choices.items():
        begin, place = f"{target} " if target else "", choice.names.index
        numbers[f"{begin}source dev"] = float(place(choice.on_source_dev) + 1)
        if choice.agreement:
            numbers[f"{begin}agreement"] = float(place(choice.taken[0]) + 1)
        elif len(choice.taken) > 1:
            numbers[f"{begin}average from"] = float(place(choice.taken[0]) + 1)
            numbers[f"{begin}average to"] = float(place(choice.taken[-1]) + 1)
        numbers[f"{begin}models"] = float(len(choice.names))
        shares |= {f"{begin}{name}": share for name, share in choice.agreement.items()}
    found = []
    if numbers:
        found.append(Mechanism("model of the loop that each rule chooses, by its number", numbers))
    if shares:
        idle = None
        if len(shares) > 1 and len(set(shares.values())) == 1:
            idle = "all models agree alike with the others, so the earliest was chosen"
        found.append(Mechanism(AGREEMENT, shares, idle))
    return found


AGREEMENT = "agreement with the other models of the loop on the unlabelled text"
"""Part of the report that has it, by name of the model."""
