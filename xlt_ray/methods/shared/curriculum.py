"""Near languages first: the key ``method.curriculum``.

The first rounds of a loop with one model learn from the languages whose text is nearest to that of
the source, later ones from all: of L languages round r of the N that it takes learns from the first
ceil(L r / N). No language is left out: no loop ends, and no model is chosen, before round N.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor, nn

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import MethodConfig
from xlt_ray.config.section import Languages, split_commas
from xlt_ray.data.keyed import items_of, of_language, sorted_by_id
from xlt_ray.models.classifier import Output
from xlt_ray.ops.nearness import neighbour_shares
from xlt_ray.recipe.annotator import Annotator, Columns
from xlt_ray.recipe.corpus import Corpus, Model, sample_ids
from xlt_ray.recipe.driver import Driver
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.recipe.method import Round
from xlt_ray.recipe.task import TaskContext
from xlt_ray.store.artifacts import Artifact

ROWS = 64
"""Rows of each language whose vectors are compared."""


def _listed(value: Any) -> Any:
    return value if value == "near" else split_commas(value)


class CurriculumConfig(MethodConfig, frozen=True):
    """Which languages early rounds learn from."""

    curriculum: Annotated[Literal["near"] | Languages, BeforeValidator(_listed)] | None = None
    """Languages that are learned from first: "near", those whose text is nearest to that of the
    source; or names, comma separated, others after them. Absent: every round learns from all."""
    curriculum_rounds: int = Field(default=3, ge=2)
    """First round that learns from all languages."""

    @model_validator(mode="after")
    def _has_rounds_for_all(self) -> Self:
        field = "iterations" if hasattr(self, "iterations") else "rounds"
        rounds = getattr(self, field)
        if self.curriculum is not None and rounds < self.curriculum_rounds:
            raise ValueError(
                f"curriculum_rounds: {self.curriculum_rounds}, but {field} is {rounds}, so that "
                "some languages would never be learned from"
            )
        default = type(self).model_fields["curriculum_rounds"].default
        if self.curriculum is None and self.curriculum_rounds != default:
            raise ValueError("curriculum_rounds is of curriculum, and there is none")
        return self


@dataclass(frozen=True)
class RowVectors(Annotator):
    """Per row ``vector``, the mean of the features of its items."""

    def feature_outputs(self, own: nn.Module | None, features: Tensor) -> Tensor:
        """The features, of the few rows that are looked at."""
        return features.float()

    def annotate(self, output: Output, offsets: np.ndarray, context: TaskContext) -> Columns:
        """Columns of some rows, none of which is empty."""
        assert output.feature_outputs is not None
        values = output.feature_outputs.double().cpu().numpy()
        sizes = np.diff(offsets)[:, None]
        sums = np.add.reduceat(values, offsets[:-1]) if len(sizes) else values[:0]
        return Columns(rows={"vector": sums / np.maximum(sizes, 1)})


def some_rows(
    tokens: Artifact, *, languages: Sequence[str], count: int, seed: int
) -> tuple[pa.Table, dict[str, Any]]:
    """``id`` and ``language`` of a few rows of each language, drawn by hash of the id.

    Args:
        tokens: Tokenised text.
        languages: The languages.
        count: Rows of each at most.
        seed: Of the draw.
    """
    table, drawn = tokens.table(["id", "language"]), list[pa.Table]()
    for name in languages:
        own = of_language(table, name)
        ids = sample_ids(own["id"].combine_chunks(), count, seed=seed)
        languages_of = pa.array([name] * len(ids), pa.string())
        drawn.append(pa.table({"id": ids.cast(pa.string()), "language": languages_of}))
    return sorted_by_id(pa.concat_tables(drawn)), {}


def nearest_first(source: Artifact, targets: Artifact) -> tuple[pa.Table, dict[str, Any]]:
    """Languages by how often their rows are among the nearest to the rows of the source.

    Args:
        source: Annotation of some rows of the sources by `RowVectors`.
        targets: The same of the targets.

    Returns:
        A table with ``language`` and ``share`` of the neighbours, the largest first, on ties by
        name; and ``order`` and ``shares``.
    """
    vectors = _vectors(targets)
    shares = neighbour_shares(np.concatenate(list(_vectors(source).values())), vectors)
    order = sorted(shares, key=lambda name: (-shares[name], name))
    values = [shares[name] for name in order]
    table = pa.table({"language": order, "share": values})
    return table, {"order": order, "shares": dict(zip(order, values, strict=True))}


def _vectors(said: Artifact) -> dict[str, np.ndarray]:
    table = sorted_by_id(said.table(["id", "language", "vector"]))
    names = sorted(set(table["language"].to_pylist()))
    parts = {name: of_language(table, name) for name in names}
    return {name: items_of(x["vector"])[0].reshape(len(x), -1) for name, x in parts.items()}


@dataclass(frozen=True)
class Curriculum:
    """The order of the languages, and how many of them each round learns from.

    Attributes:
        order: All languages, the first ones first.
        rounds: First round that learns from all.
    """

    order: tuple[str, ...]
    rounds: int = 1

    def languages(self, number: int) -> tuple[str, ...]:
        """Those that a round learns from, at least one."""
        return self.order[: math.ceil(len(self.order) * min(number / self.rounds, 1.0))]

    def only(self, sizes: Mapping[str, int] | None, number: int) -> Mapping[str, int] | None:
        """Sizes of the pools of a round, given those of all; None of a plan."""
        if sizes is None or self.is_whole(number):
            return sizes
        return {name: sizes[name] for name in self.languages(number) if name in sizes}

    def is_whole(self, number: int) -> bool:
        """Whether a round learns from all languages."""
        return number >= self.rounds

    def among(self, rounds: Sequence[Round]) -> list[Round]:
        """Rounds that a model may be chosen from: those that learned from all, or else all."""
        return [item for item in rounds if self.is_whole(item.number)] or list(rounds)


def curriculum_of(
    driver: Driver, config: CurriculumConfig, text: Corpus, model: Model
) -> Curriculum:
    """The curriculum of a loop; without one, every round learns from all languages.

    Args:
        driver: The driver.
        config: Says which.
        text: The whole unlabelled text.
        model: The source model, whose features are compared; nothing but text is.

    Raises:
        ConfigError: a language is none of the unlabelled text.
    """
    if config.curriculum is None:
        return Curriculum(driver.pools)
    if config.curriculum != "near":
        unknown = [name for name in config.curriculum if name not in driver.pools]
        if unknown:
            raise ConfigError(
                f"method.curriculum: no unlabelled text of {', '.join(unknown)}; there is some of "
                f"{', '.join(driver.pools)}"
            )
        first = tuple(dict.fromkeys(config.curriculum))
    else:
        first = _near_first(driver, text, model)
    rest = tuple(name for name in driver.pools if name not in first)
    return Curriculum((*first, *rest), config.curriculum_rounds)


def _near_first(driver: Driver, text: Corpus, model: Model) -> tuple[str, ...]:
    """The order by nearness; of a plan, none."""
    said = []
    for title, corpus, names in (
        ("source", driver.source("train"), driver.source_languages),
        ("targets", text, driver.pools),
    ):
        parameters = {"languages": list(names), "count": ROWS, "seed": driver.seed}
        rows = driver.derive(f"some rows of the {title}", some_rows, corpus.tokens, **parameters)
        few = corpus.labelled(rows)
        said.append(driver.annotate(f"vectors of the {title}", few, model, RowVectors()))
    return tuple(driver.derive("near languages first", nearest_first, *said).info["order"] or ())


def curriculum_mechanisms(
    config: CurriculumConfig, curriculum: Curriculum, rounds: Sequence[Round]
) -> list[Mechanism]:
    """Which languages each round learned from, and how many rows of them; of a curriculum.

    Args:
        config: Says whether there is one.
        curriculum: The languages of each round.
        rounds: The rounds.
    """
    if config.curriculum is None:
        return []
    figures = {
        f"round {item.number} ({', '.join(curriculum.languages(item.number))})": float(
            sum((item.selected or {}).values())
        )
        for item in rounds
    }
    warning = None
    if not any(curriculum.is_whole(item.number) for item in rounds):
        warning = "no round learned from all languages"
    return [Mechanism("curriculum, rows of each round by its languages", figures, warning)]
