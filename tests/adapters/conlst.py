from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from tests.adapters.types import Evaluate, Json, double
from xlt_ray.ops import contrastive, thresholds


def _classes(mask_NC: Tensor) -> list[list[int]]:
    return [row.nonzero()[:, 0].tolist() for row in mask_NC]


def _complementary(given: dict[str, Json]) -> dict[str, Any]:
    found = contrastive.complementary(double(given["q"]), given["gamma"])
    return {
        "complementary": _classes(found.not_NC),
        "pseudo_label": found.said_N,
        "high_confidence": found.certain_N.tolist(),
    }


def _negative_pool(given: dict[str, Json]) -> dict[str, Any]:
    found = contrastive.complementary(double(given["q"]), given["gamma"])
    return {"pool": _classes(contrastive.negative_pool(found))}


def _contrastive(given: dict[str, Json]) -> dict[str, Any]:
    anchor, positive = double([given["h"]]), double([given["h_pos"]])
    negatives = double(given["negatives"]).reshape(-1, anchor.shape[1])
    near = contrastive.similarity(anchor, positive, given["sim"])
    far = contrastive.similarities(anchor, negatives, given["sim"])
    mask = torch.ones_like(far, dtype=torch.bool)
    tau = given["tau"]
    together = torch.cat([near[:, None], far], dim=1)
    return {
        "similarities": together[0],
        "softmax": (together[0] / tau).softmax(0),
        "loss": float(contrastive.contrastive(near / tau, far / tau, mask)),
    }


def _nl(given: dict[str, Json]) -> dict[str, Any]:
    classes = torch.tensor(given["complementary"])
    found = contrastive.negative_learning(double(given["p"]).log(), classes)
    return {"per_sample": found, "loss": float(found.mean())}


def _nl_logits(given: dict[str, Json]) -> dict[str, Any]:
    logits = double([given["logits"]]).requires_grad_()
    loss = contrastive.negative_learning(logits, torch.tensor([given["complementary"]])).sum()
    loss.backward()
    assert logits.grad is not None
    return {
        "p": logits.detach()[0].softmax(0),
        "loss": float(loss.detach()),
        "grad_logits": logits.grad[0],
    }


def _flexmatch_sticky(given: dict[str, Json]) -> dict[str, Any]:
    classes, t0 = given["C"], given["tau"]
    status = torch.full((given["N"],), thresholds.NO_STATUS)
    beta = torch.zeros(classes, dtype=torch.float64)
    steps = []
    for batch in given["steps"]:
        index, said = (torch.tensor([row[at] for row in batch]) for at in (0, 2))
        confidence = double([row[1] for row in batch])
        used = confidence >= thresholds.thresholds(beta, t0)[said]
        thresholds.learn_status(status, index, confidence, said, t0)
        counts = thresholds.count_status(status, classes)
        beta = thresholds.status(counts[:classes], counts[classes], warmup=given["warmup"])
        steps.append(
            {
                "used": used.tolist(),
                "counts": counts[:classes].double(),
                "unused": int(counts[classes]),
                "beta": beta,
                "next_threshold": thresholds.thresholds(beta, t0),
            }
        )
    return {"steps": steps}


def _flexmatch_fresh(given: dict[str, Json]) -> dict[str, Any]:
    confidence, said = double(given["q"]).max(dim=1)
    found = thresholds.of_pass(
        confidence, said, given["C"], given["tau"], warmup=given["warmup"], floor=0.0
    )
    return {
        "counts": found.counts_C.double(),
        "beta": found.beta_C,
        "threshold": found.threshold_C,
        "selected": np.flatnonzero(found.kept_N.numpy()),
    }


def _mixup(given: dict[str, Json]) -> dict[str, Any]:
    m = double([given["lam"]])
    x = contrastive.mixed(double([given["xi"]]), double([given["xj"]]), m)
    y = contrastive.mixed(double([given["yi"]]), double([given["yj"]]), m)
    loss = contrastive.soft_cross_entropy(double([given["logits"]]), y)
    return {"x": x[0], "y": y[0], "soft_ce": float(loss)}


def _ssl(given: dict[str, Json]) -> dict[str, Any]:
    source = cross_entropy(double(given["src_logits"]), torch.tensor(given["src_y"]))
    target = contrastive.masked_mean(
        cross_entropy(double(given["tgt_logits"]), torch.tensor(given["tgt_y"]), reduction="none"),
        torch.tensor(given["mask"], dtype=torch.bool),
    )
    total = source + given["lambda"] * target
    return {"sup": float(source), "unsup": float(target), "loss": float(total)}


CONLST: dict[str, Evaluate] = {
    "conlst.complementary": _complementary,
    "conlst.negative_pool": _negative_pool,
    "conlst.contrastive": _contrastive,
    "conlst.nl": _nl,
    "conlst.nl_logits": _nl_logits,
    "conlst.flexmatch_sticky": _flexmatch_sticky,
    "conlst.flexmatch_fresh": _flexmatch_fresh,
    "conlst.mixup": _mixup,
    "conlst.ssl": _ssl,
}
