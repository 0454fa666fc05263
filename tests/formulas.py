"""Worked numeric examples, evaluated by the project's own functions.

``python -m tests.formulas FILE.json`` prints one line per formula and a count, and exits with 1 if
an expected number is missed and with 2 if the file cannot be read. `EVALUATE` maps the id of a
formula to an adapter from a case's input to a dict with at least the keys of its expected output.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xlt_ray.ops import (
    evidential,
    heteroscedastic,
    homoscedastic,
    leveraged,
    partial_labels,
    selection,
    uncertainty,
    voting,
)

ATOL = 1e-11
RTOL = 1e-9

Json = Any
Evaluate = Callable[[dict[str, Json]], dict[str, Any]]


@dataclass(frozen=True)
class Case:
    id: str
    number: int
    input: dict[str, Json]
    expected: dict[str, Json]


@dataclass(frozen=True)
class Examples:
    """The ids a file lists, in its order, with the relative tolerance and the cases of each."""

    rtol: dict[str, float]
    cases: dict[str, list[Case]]


def read(path: Path) -> Examples:
    """Parse a file of examples; raises ValueError naming what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    try:
        formulas, groups = content["formulas"], content["cases"]
        rtol = {name: float(formula.get("rtol", RTOL)) for name, formula in formulas.items()}
        cases: dict[str, list[Case]] = {name: [] for name in rtol}
        for entry in (entry for group in groups.values() for entry in group):
            case = Case(entry["id"], entry["case"], dict(entry["input"]), dict(entry["expected"]))
            cases.setdefault(case.id, []).append(case)
    except KeyError as error:
        raise ValueError(f"{path}: the key {error} is missing") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: not in the format of the examples: {error}") from error
    return Examples(rtol, cases)


def mismatch(got: Any, want: Json, *, rtol: float, where: str = "") -> str | None:
    """First difference of ``got`` from ``want``, or None. Numbers with a fraction get a tolerance.

    Of the outermost dict only the expected keys count; every other container must match in full.
    """
    got = got.tolist() if isinstance(got, Tensor | np.ndarray | np.generic) else got
    if isinstance(want, dict):
        keys = {str(key): value for key, value in got.items()} if isinstance(got, dict) else {}
        if not isinstance(got, dict) or (where and keys.keys() != want.keys()):
            return f"{where or 'output'} got {got!r} want {want!r}"
        for key, value in want.items():
            name = f"{where}.{key}" if where else key
            if key not in keys:
                return f"{name} is not evaluated, want {value!r}"
            if found := mismatch(keys[key], value, rtol=rtol, where=name):
                return found
        return None
    if isinstance(want, list):
        if not isinstance(got, list | tuple) or len(got) != len(want):
            return f"{where} got {got!r} want {want!r}"
        differences = (
            mismatch(one, other, rtol=rtol, where=f"{where}[{position}]")
            for position, (one, other) in enumerate(zip(got, want, strict=True))
        )
        return next(filter(None, differences), None)
    return None if _equal(got, want, rtol) else f"{where} got {got!r} want {want!r}"


def _equal(got: Any, want: Json, rtol: float) -> bool:
    numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in (got, want)
    )
    if not numbers or (isinstance(got, int) and isinstance(want, int)):
        return type(got) is type(want) and got == want
    return got == want or abs(got - want) <= ATOL + rtol * abs(want)


def check(case: Case, evaluate: Evaluate, *, rtol: float) -> str | None:
    """What is wrong with the evaluation of a case, or None."""
    try:
        got = evaluate(case.input)
    except Exception as error:  # an adapter that breaks is a failed case, not the end of the report
        return f"case {case.number}: raised {type(error).__name__}: {error}"
    found = mismatch(got, case.expected, rtol=rtol)
    return found and f"case {case.number}: {found}"


def report(examples: Examples, evaluators: dict[str, Evaluate]) -> tuple[list[str], int]:
    """Lines of the report and the number of failed ids; an id without cases counts nowhere."""
    lines: list[str] = []
    passed = failed = missing = 0
    for name, cases in examples.cases.items():
        if not cases:
            lines.append(f"{name} no cases")
        elif name not in evaluators:
            lines.append(f"{name} not implemented")
            missing += 1
        else:
            rtol = examples.rtol.get(name, RTOL)
            found = [check(case, evaluators[name], rtol=rtol) for case in cases]
            wrong = [text for text in found if text is not None]
            counts = f"{len(cases) - len(wrong)}/{len(cases)}"
            lines.append(f"{name} FAILED {counts} {wrong[0]}" if wrong else f"{name} ok {counts}")
            failed += bool(wrong)
            passed += not wrong
    lines.append(f"{passed} passed, {failed} failed, {missing} not implemented")
    return lines, failed


def _double(values: Json) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _dirichlet(given: dict[str, Json]) -> dict[str, Any]:
    result = evidential.dirichlet(_double(given["evidence"]))
    return {
        "S": result.strength_N,
        "p": result.p_NC,
        "belief": result.belief_NC,
        "vacuity": result.vacuity_N,
    }


def _dissonance(given: dict[str, Json]) -> dict[str, Any]:
    belief = evidential.dirichlet(_double(given["evidence"])).belief_NC
    return {
        "belief": belief,
        "balance": uncertainty.balance(belief),
        "dissonance": uncertainty.dissonance(belief),
    }


def _comultiplication(given: dict[str, Json]) -> dict[str, Any]:
    belief = evidential.dirichlet(_double(given["evidence"])).belief_NC
    merged = [
        uncertainty.merged_belief(belief, torch.isin(torch.arange(len(belief)), torch.tensor(y)))
        for y in given["sets"]
    ]
    return {"belief": belief, "merged": [value.item() for value in merged]}


def _partial_label(given: dict[str, Json]) -> dict[str, Any]:
    evidence = _double([given["evidence"]])
    settings = {"lam": given["lambda"], "tau": given["tau"], "penalty": given["penalty"]}
    table = partial_labels.subset_table(evidence, **settings)
    members = partial_labels.from_bitmask(table.mask_NT[0], evidence.shape[1])
    columns = (
        [row.nonzero()[:, 0].tolist() for row in members],
        table.size_T.tolist(),
        table.merged_NT[0].tolist(),
        table.multiplier_T.tolist(),
        table.gamma_NT[0].tolist(),
        table.score_NT[0].tolist(),
    )
    names = ("classes", "size", "merged_belief", "multiplier", "gamma", "score")
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    best = partial_labels.candidate_sets(evidence, **settings)
    chosen = rows[table.mask_NT[0].tolist().index(best.mask_N.item())]
    return {
        "table": rows,
        "chosen": chosen["classes"],
        "chosen_gamma": best.gamma_N[0],
        "chosen_score": chosen["score"],
    }


def _l_evi(given: dict[str, Json]) -> dict[str, Any]:
    evidence = _double(given["evidence"]).requires_grad_()
    loss = evidential.evidential_nll(evidence, torch.tensor(given["label"]))
    return {"loss": loss.detach(), "grad_evidence": torch.autograd.grad(loss, evidence)[0]}


def _lw_weights(given: dict[str, Json]) -> dict[str, Any]:
    mask = torch.tensor(given["mask"]) == 1
    return {"omega": leveraged.lw_weights(_double(given["f"]), mask)}


def _lw_loss(given: dict[str, Json]) -> dict[str, Any]:
    logits = _double(given["f"]).requires_grad_()
    mask = torch.tensor(given["mask"]) == 1
    result = leveraged.lw_loss(logits, mask, _double(given["omega"]), beta=given["beta"])
    return {
        "candidate_term": result.candidate_N.detach(),
        "noncandidate_term": result.noncandidate_N.detach(),
        "loss": result.loss_N.detach(),
        "grad_f": torch.autograd.grad(result.loss_N, logits)[0],
    }


def _select(given: dict[str, Json]) -> dict[str, Any]:
    selected: dict[str, list[int]] = {}
    for language in sorted({item["lang"] for item in given["items"]}):
        items = [item for item in given["items"] if item["lang"] == language]
        ids = np.array([item["id"] for item in items])
        scores = np.array([item["gamma"] for item in items])
        if given["mode"] == "top_n":
            mask = selection.top_n(scores, order_N=ids, n=given["n"])
        else:
            classes = np.array([item["pred"] for item in items])
            k = selection.quota(given["ratio"], given["initial_pool"][language])
            mask = selection.per_class(scores, classes_N=classes, order_N=ids, k=k)
        selected[language] = sorted(ids[mask].tolist())
    return {"selected": selected}


def _select_ner(given: dict[str, Json]) -> dict[str, Any]:
    sentences = given["sentences"]
    ids = np.array([sentence["id"] for sentence in sentences])
    valid = np.array([not sentence.get("invalid", False) for sentence in sentences])
    entities = [
        (row, name, scores)
        for row, sentence in enumerate(sentences)
        for name, scores in sentence["entities"]
    ]
    types = sorted({name for _, name, _ in entities})
    scores = selection.sentence_type_scores(
        np.array([score for _, _, scores in entities for score in scores]),
        entity_W=np.repeat(np.arange(len(entities)), [len(scores) for _, _, scores in entities]),
        sentence_E=np.array([row for row, _, _ in entities], dtype=np.int64),
        type_E=np.array([types.index(name) for _, name, _ in entities], dtype=np.int64),
        num_sentences=len(sentences),
        num_types=len(types),
    )
    means: dict[str, list[list[float]]] = {}
    for column, name in enumerate(types):
        present = valid & ~np.isnan(scores[:, column])
        ranked = selection.lowest(scores[:, column], order_N=ids, k=len(ids), valid_N=present)
        means[name] = [[ids[row].item(), scores[row, column].item()] for row in ranked]
    mask = selection.select_sentences(scores, order_N=ids, k=given["k"], valid_N=valid)
    return {
        "type_means": {name: rows for name, rows in means.items() if rows},
        "selected": sorted(ids[mask].tolist()),
    }


def _entropy(given: dict[str, Json]) -> dict[str, Any]:
    p = _double(given["p"])
    return {
        "normalised_entropy": uncertainty.normalised_entropy(p),
        "max_prob": uncertainty.max_probability(p),
    }


def _evi_mse(given: dict[str, Json]) -> dict[str, Any]:
    evidence = _double(given["evidence"])
    result = evidential.evidential_mse(evidence, torch.tensor(given["label"]))
    return {
        "mse": result.mse_N,
        "variance": result.variance_N,
        "loss": result.loss_N,
        "vacuity": uncertainty.vacuity(evidence),
        "custom": uncertainty.custom_uncertainty(evidence),
    }


def _leu(given: dict[str, Json]) -> dict[str, Any]:
    logits, log_std = _double([given["logits"]]), _double([given["u"]])
    noise, labels = _double(given["noise"])[:, None], torch.tensor([given["label"]])
    return {
        "loss": heteroscedastic.noisy_nll(logits, log_std, labels, noise)[0],
        "mean_probs": heteroscedastic.mean_probabilities(logits, log_std, noise)[0],
    }


def _lou(given: dict[str, Json]) -> dict[str, Any]:
    ce, s = _double(given["ce"]), _double(given["s"]).requires_grad_()
    loss = homoscedastic.scaled_nll(ce, s)
    return {
        "loss": loss.detach(),
        "grad_s": torch.autograd.grad(loss, s)[0],
        "optimal_s": homoscedastic.optimal_log_variance(ce),
    }


def _vote(given: dict[str, Json]) -> dict[str, Any]:
    soft = np.array(given["soft"]) if "soft" in given else None
    return {"vote": voting.majority_vote(np.array(given["hard"]), soft)}


def _st_select(given: dict[str, Json]) -> dict[str, Any]:
    p = _double(given["p"])
    classes = p.argmax(1).numpy()
    mask = selection.balanced_top(
        uncertainty.max_probability(p).numpy(),
        classes_N=classes,
        order_N=np.arange(len(p)),
        k=selection.quota(given["ratio"], len(p), num_classes=p.shape[1]),
        balanced=given["balanced"],
    )
    selected = {
        name: np.flatnonzero(mask & (classes == name)).tolist() for name in np.unique(classes)
    }
    return {"per_class": max(map(len, selected.values())), "selected": selected}


EVALUATE: dict[str, Evaluate] = {
    "cltp.evidence": lambda given: {"evidence": evidential.evidence(_double(given["logits"]))},
    "cltp.dirichlet": _dirichlet,
    "cltp.dissonance": _dissonance,
    "cltp.comultiplication": _comultiplication,
    "cltp.partial_label": _partial_label,
    "cltp.l_evi": _l_evi,
    "cltp.lw_weights": _lw_weights,
    "cltp.lw_loss": _lw_loss,
    "cltp.select": _select,
    "cltp.select_ner": _select_ner,
    "base.entropy": _entropy,
    "base.evi_mse": _evi_mse,
    "base.leu": _leu,
    "base.lou": _lou,
    "base.vote": _vote,
    "base.st_select": _st_select,
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.formulas", description=__doc__)
    parser.add_argument("file", type=Path, help="examples in the format of tests/data")
    path = parser.parse_args(argv).file
    try:
        examples = read(path)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    lines, failed = report(examples, EVALUATE)
    print("\n".join(lines))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
