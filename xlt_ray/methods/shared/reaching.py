"""Which rows of a whole prediction pass are learned from by a threshold rule, and how much."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from xlt_ray.data.keyed import items_of, of_language, sorted_by_id
from xlt_ray.methods.shared.selection import counted, one_class_sets
from xlt_ray.ops import self_adaptive, thresholds, truncated_gaussian
from xlt_ray.store.artifacts import Artifact

RowRule = Literal["by_class", "fixed", "freematch", "softmatch"]
"""FlexMatch's thresholds by class; t0 for every class; FreeMatch's, which follow the confidence; or
every row, with SoftMatch's weights."""


ROUNDING = 1e-12
"""A confidence does not miss its threshold by less, as averages of equal ones may be above them."""


class Pass(NamedTuple):
    """What a model says of the rows of one language that may be learned from.

    Attributes:
        confidence_NK: By class, NaN where a row is not of the class; every row is of one.
        mass_NK: Mean probabilities of the classes.
    """

    confidence_NK: Tensor
    mass_NK: Tensor

    @property
    def mean_N(self) -> Tensor:
        """Mean over the classes that a row is of."""
        return self.confidence_NK.nanmean(dim=1)


class Decided(NamedTuple):
    """What a rule decides about rows.

    Attributes:
        kept_N: Whether a row is learned from.
        weight_N: How much it counts, in [0, 1].
        threshold_K: Of each class; empty where there are none.
        averages: Moving averages, for the next pass.
    """

    kept_N: Tensor
    weight_N: Tensor
    threshold_K: Sequence[float]
    averages: Mapping[str, Any]


class RuleOf(NamedTuple):
    """A rule and its parameters, see `xlt_ray.methods.shared.rules.RuleConfig`."""

    name: RowRule
    t0: float
    floor: float | None
    momentum: float
    uniform_alignment: bool
    num_classes: int

    def decide(self, seen: Pass, before: Mapping[str, Any] | None) -> Decided:
        """What becomes of the rows of a language.

        Args:
            seen: What the model says of them.
            before: Averages of the earlier passes; None: there were none.
        """
        decide: Callable[[Pass, Mapping[str, Any] | None], Decided] = {
            "by_class": self._flexmatch,
            "fixed": self._flexmatch,
            "freematch": self._freematch,
            "softmatch": self._softmatch,
        }[self.name]
        return decide(seen, before)

    def _flexmatch(self, seen: Pass, before: Mapping[str, Any] | None) -> Decided:
        """T(c) from the number of rows that reach t0, or t0."""
        num_groups, there_NK = seen.confidence_NK.shape[1], ~seen.confidence_NK.isnan()
        found = thresholds.of_pass(
            seen.confidence_NK[there_NK],
            there_NK.nonzero()[:, 1],
            num_groups,
            self.t0,
            floor=1 / self.num_classes if self.floor is None else self.floor,
            is_fixed=self.name == "fixed",
        )
        return self._reaching(seen, found.threshold_C, {})

    def _freematch(self, seen: Pass, before: Mapping[str, Any] | None) -> Decided:
        """tau_t(c), from moving averages of confidence and of class probabilities."""
        earlier = self_adaptive.untouched(seen.mass_NK.shape[1], self.num_classes)
        if before is not None:
            earlier = self_adaptive.Adapted(_double(before["tau"]), _double(before["p"]))
        now = self_adaptive.after_pass(earlier, seen.mean_N, seen.mass_NK, self.momentum)
        threshold_K = self_adaptive.thresholds(now).clamp(min=self.floor or 0.0)
        return self._reaching(seen, threshold_K, {"tau": now.tau.item(), "p": now.p_K.tolist()})

    def _reaching(self, seen: Pass, threshold_K: Tensor, averages: Mapping[str, Any]) -> Decided:
        """Rows that reach the threshold of every class that they are of."""
        short_NK = seen.confidence_NK < threshold_K - ROUNDING  # never where it is NaN
        kept_N = ~short_NK.any(dim=1)
        return Decided(kept_N, kept_N.double(), threshold_K.tolist(), averages)

    def _softmatch(self, seen: Pass, before: Mapping[str, Any] | None) -> Decided:
        """All rows, with the truncated Gaussian of their confidence as weight."""
        if not len(seen.mass_NK):
            none = torch.zeros(0, dtype=torch.float64)
            return Decided(none.bool(), none, [], before or {})
        p_K, earlier = seen.mass_NK.mean(dim=0), None
        if before is not None:
            p_K = self_adaptive.moved(_double(before["p"]), p_K, self.momentum)
            earlier = truncated_gaussian.Gaussian(
                _double(before["mean"]), _double(before["variance"])
            )
        sure_N = seen.mean_N
        if self.uniform_alignment:
            sure_N = truncated_gaussian.uniformly_aligned(seen.mass_NK, p_K).amax(dim=1)
        now = truncated_gaussian.after_pass(earlier, sure_N, self.momentum)
        weight_N = truncated_gaussian.weights(sure_N, now)
        averages = {"mean": now.mean.item(), "variance": now.variance.item(), "p": p_K.tolist()}
        return Decided(torch.ones_like(weight_N, dtype=torch.bool), weight_N, [], averages)


def _double(value: Any) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def reaching_rows(
    scored: Artifact,
    *before: Artifact,
    languages: Sequence[str],
    rule: RowRule,
    t0: float,
    floor: float | None,
    momentum: float,
    uniform_alignment: bool,
    num_classes: int,
) -> tuple[pa.Table, dict[str, Any]]:
    """Choose rows by a threshold rule, separately per language, and copy their labels.

    Args:
        scored: Annotations: ``confidence`` and ``mass``, see
            `xlt_ray.methods.shared.confidence.Confident`, ``labels``, and perhaps ``candidates``
            and ``valid``.
        *before: The choice of the pass before, if there was one.
        languages: Those whose rows are chosen; the averages of others stay as they are.
        rule: The rule.
        t0: Of by_class and fixed.
        floor: Least threshold; None: none, for by_class 1/C.
        momentum: Of the moving averages.
        uniform_alignment: Of softmatch.
        num_classes: C.

    Returns:
        The rows, with a ``weight`` per item of softmatch, and as facts what `counted` counts, and
        by language ``eligible``, rows that could have been chosen, ``reached``, the share of them
        that was, ``weight``, their mean weight, ``threshold`` by class, and ``averages``; further
        ``kept``, the share of all rows of the languages, and ``changed``, the share of them that
        were not chosen or had another label before.
    """
    of = RuleOf(rule, t0, floor, momentum, uniform_alignment, num_classes)
    averages = dict(before[-1].info["averages"]) if before else {}
    facts: dict[str, dict[str, Any]] = {"eligible": {}, "reached": {}, "weight": {}}
    facts["threshold"], tables, total = {}, [], 0
    there = [x for x in ("candidates", "valid") if x in scored.columns()]
    columns = ["id", "language", "labels", "confidence", "mass", *there]
    whole = sorted_by_id(scored.table(columns))
    for name in languages:
        table = of_language(whole, name)
        total += len(table)
        eligible, seen = _eligible(table)
        decided = of.decide(seen, averages.get(name) or None)
        averages[name] = dict(decided.averages)
        facts["eligible"][name] = len(eligible)
        if len(eligible):
            facts["reached"][name] = decided.kept_N.double().mean().item()
            facts["weight"][name] = decided.weight_N.mean().item()
        facts["threshold"][name] = list(decided.threshold_K)
        kept = _with_sets(eligible.filter(pa.array(decided.kept_N.numpy())))
        if rule == "softmatch":
            kept = kept.append_column("weight", _per_item(kept, decided.weight_N.numpy()))
        tables.append(kept)
    chosen, counts = counted(pa.concat_tables(tables))
    counts |= {**facts, "averages": averages, "kept": len(chosen) / max(total, 1)}
    if before:
        counts["changed"] = _changed(chosen, before[-1]) / max(total, 1)
    return chosen, counts


def _eligible(table: pa.Table) -> tuple[pa.Table, Pass]:
    """The rows that may be learned from, and what is said of them."""
    confidence, mass = (items_of(table[name])[0] for name in ("confidence", "mass"))
    width = _width(table)
    confidence, mass = confidence.reshape(-1, width), mass.reshape(-1, width)
    valid = ~np.isnan(confidence).all(axis=1)
    if "valid" in table.column_names:
        valid &= table["valid"].to_numpy(zero_copy_only=False)
    numbers = [torch.from_numpy(np.array(x[valid], np.float64)) for x in (confidence, mass)]
    return table.filter(pa.array(valid)), Pass(*numbers)


def _width(table: pa.Table) -> int:
    """K; 1 of no rows, where nobody looks."""
    return len(table["mass"][0]) if len(table) else 1


def _with_sets(table: pa.Table) -> pa.Table:
    """Rows in the order of their ids with labels and candidate sets, if need be of one class."""
    if "candidates" in table.column_names:
        return table.select(["id", "language", "labels", "candidates"])
    return one_class_sets(table)[0]


def _per_item(table: pa.Table, weight_N: np.ndarray) -> pa.ListArray:
    """A list per row with its weight for every item; all rows are kept, in their order."""
    sizes = table["labels"].combine_chunks().value_lengths().to_numpy(zero_copy_only=False)
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    values = np.repeat(weight_N, sizes.astype(np.int64)).astype(np.float32)
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values))


def _changed(chosen: pa.Table, before: Artifact) -> int:
    """Rows that are in one of two choices alone, or with another label."""
    now, then = (
        dict(zip(x["id"].to_pylist(), x["labels"].to_pylist(), strict=True))
        for x in (chosen, before.table(["id", "labels"]))
    )
    return sum(now.get(key) != then.get(key) for key in now.keys() | then.keys())


def of_languages(picked: Artifact, *, languages: Sequence[str]) -> tuple[pa.Table, dict[str, Any]]:
    """The rows of some languages of a choice.

    Args:
        picked: The choice.
        languages: The languages.
    """
    table = picked.table()
    kept = np.isin(np.array(table["language"].to_pylist(), dtype=str), list(languages))
    return counted(table.filter(pa.array(kept)))
