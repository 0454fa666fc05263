from typing import Any

import numpy as np
import torch

from tests.adapters.types import Evaluate, Json, double
from xlt_ray.ops import evidential, leveraged, partial_labels, selection, uncertainty


def _dirichlet(given: dict[str, Json]) -> dict[str, Any]:
    result = evidential.dirichlet(double(given["evidence"]))
    return {
        "S": result.strength_N,
        "p": result.p_NC,
        "belief": result.belief_NC,
        "vacuity": result.vacuity_N,
    }


def _dissonance(given: dict[str, Json]) -> dict[str, Any]:
    belief = evidential.dirichlet(double(given["evidence"])).belief_NC
    return {
        "belief": belief,
        "balance": uncertainty.balance(belief),
        "dissonance": uncertainty.dissonance(belief),
    }


def _comultiplication(given: dict[str, Json]) -> dict[str, Any]:
    belief = evidential.dirichlet(double(given["evidence"])).belief_NC
    merged = [
        uncertainty.merged_belief(belief, torch.isin(torch.arange(len(belief)), torch.tensor(y)))
        for y in given["sets"]
    ]
    return {"belief": belief, "merged": [value.item() for value in merged]}


def _partial_label(given: dict[str, Json]) -> dict[str, Any]:
    evidence = double([given["evidence"]])
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
    evidence = double(given["evidence"]).requires_grad_()
    loss = evidential.evidential_nll(evidence, torch.tensor(given["label"]))
    return {"loss": loss.detach(), "grad_evidence": torch.autograd.grad(loss, evidence)[0]}


def _lw_weights(given: dict[str, Json]) -> dict[str, Any]:
    mask = torch.tensor(given["mask"]) == 1
    return {"omega": leveraged.lw_weights(double(given["f"]), mask)}


def _lw_loss(given: dict[str, Json]) -> dict[str, Any]:
    logits = double(given["f"]).requires_grad_()
    mask = torch.tensor(given["mask"]) == 1
    result = leveraged.lw_loss(logits, mask, double(given["omega"]), beta=given["beta"])
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


CLTP: dict[str, Evaluate] = {
    "cltp.evidence": lambda given: {"evidence": evidential.evidence(double(given["logits"]))},
    "cltp.dirichlet": _dirichlet,
    "cltp.dissonance": _dissonance,
    "cltp.comultiplication": _comultiplication,
    "cltp.partial_label": _partial_label,
    "cltp.l_evi": _l_evi,
    "cltp.lw_weights": _lw_weights,
    "cltp.lw_loss": _lw_loss,
    "cltp.select": _select,
    "cltp.select_ner": _select_ner,
}
