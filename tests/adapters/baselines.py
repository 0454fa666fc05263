from typing import Any

import numpy as np
import torch

from tests.adapters.types import Evaluate, Json, double
from xlt_ray.ops import evidential, heteroscedastic, homoscedastic, selection, uncertainty, voting


def _entropy(given: dict[str, Json]) -> dict[str, Any]:
    p = double(given["p"])
    return {
        "normalised_entropy": uncertainty.normalised_entropy(p),
        "max_prob": uncertainty.max_probability(p),
    }


def _evi_mse(given: dict[str, Json]) -> dict[str, Any]:
    evidence = double(given["evidence"])
    result = evidential.evidential_mse(evidence, torch.tensor(given["label"]))
    return {
        "mse": result.mse_N,
        "variance": result.variance_N,
        "loss": result.loss_N,
        "vacuity": uncertainty.vacuity(evidence),
        "custom": uncertainty.custom_uncertainty(evidence),
    }


def _leu(given: dict[str, Json]) -> dict[str, Any]:
    logits, log_std = double([given["logits"]]), double([given["u"]])
    noise, labels = double(given["noise"])[:, None], torch.tensor([given["label"]])
    return {
        "loss": heteroscedastic.noisy_nll(logits, log_std, labels, noise)[0],
        "mean_probs": heteroscedastic.mean_probabilities(logits, log_std, noise)[0],
    }


def _lou(given: dict[str, Json]) -> dict[str, Any]:
    ce, s = double(given["ce"]), double(given["s"]).requires_grad_()
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
    p = double(given["p"])
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


BASELINES: dict[str, Evaluate] = {
    "base.entropy": _entropy,
    "base.evi_mse": _evi_mse,
    "base.leu": _leu,
    "base.lou": _lou,
    "base.vote": _vote,
    "base.st_select": _st_select,
}
