from typing import Any

import numpy as np
import torch

from tests.adapters.types import Evaluate, Json, double
from xlt_ray.ops import bessel, mixture, refinement, spans, vmf


def _log_c(given: dict[str, Json]) -> dict[str, Any]:
    return {"log_c": bessel.log_c(double(given["kappa"]), given["q"])}


def _a_q(given: dict[str, Json]) -> dict[str, Any]:
    return {"A": bessel.a_q(double(given["kappa"]), given["q"])}


def _rho(given: dict[str, Json]) -> dict[str, Any]:
    z, mu, kappa = double([given["z"]]), double(given["mu"]), double(given["kappa"])
    of_class = z.expand(len(mu), -1).clone().requires_grad_()
    rho = vmf.scores(of_class, mu, kappa, given["tau"]).diagonal()
    rho.sum().backward()
    printed = vmf.large_kappa(z, mu, kappa, given["tau"], kind="paper")
    return {
        "kappa_prime": vmf.kappa_prime(z, mu, kappa, given["tau"])[0],
        "rho": rho.detach(),
        "large_kappa_eq33": printed[0],
        "large_kappa_2nd_order": vmf.large_kappa(z, mu, kappa, given["tau"])[0],
        "grad_z": of_class.grad,
        "prediction": int(rho.argmax()),
    }


def _kappa(given: dict[str, Json]) -> dict[str, Any]:
    mean = double([given["mean"]])
    found, of_code = vmf.concentration(mean), vmf.concentration(mean, kind="code")
    return {
        "R": float(found.R_K),
        "mu": found.mu_KQ[0],
        "kappa": float(found.kappa_K),
        "kappa_without_R2_term": float(of_code.kappa_K),
    }


def _ema(given: dict[str, Json]) -> dict[str, Any]:
    mean, count = double([given["mean"]]), double([given["count"]])
    trace = []
    for batch in given["batches"]:
        z = double(batch).reshape(-1, mean.shape[1])
        sums = vmf.class_sums(z, torch.zeros(len(z), dtype=torch.int64), 1)
        mean, count = vmf.running_mean(mean, count, *sums)
        trace.append({"count": int(count), "mean": mean[0].tolist()})
    return {"trace": trace}


def _l_mmc(given: dict[str, Json]) -> dict[str, Any]:
    mu, kappa = double(given["mu"]), double(given["kappa"])
    rho = vmf.scores(double([given["z"]]), mu, kappa, given["tau"])
    every = torch.arange(len(mu))
    log_prior = vmf.log_prior(double(given["pi"]))
    loss = vmf.max_margin_loss(rho.expand(len(mu), -1), every, log_prior)
    return {"rho": rho[0], "posterior": (-loss).exp(), "loss": loss}


def _prior(given: dict[str, Json]) -> dict[str, Any]:
    return {
        "pi_t": vmf.soft_prior(double(given["soft"])),
        "pi_s": vmf.hard_prior(torch.tensor(given["hard"]), given["K"]),
    }


def _refine(given: dict[str, Json]) -> dict[str, Any]:
    d_c = refinement.exceeds(double([given["rho"]]), double(given["rho_mean"]))
    d_n = refinement.exceeds(double([given["neigh"]]), double(given["neigh_mean"]))
    p, alpha = double([given["p"]]), given["alpha"]
    return {
        "d_c": d_c[0].double(),
        "d_n": d_n[0].double(),
        "d": refinement.direction(d_c, d_n)[0],
        "p_new": refinement.refine(p, d_c, d_n, alpha)[0],
        "d_code": refinement.direction(d_c, d_n, kind="code")[0],
        "p_new_code": refinement.refine(p, d_c, d_n, alpha, kind="code")[0],
    }


def _gmm(given: dict[str, Json]) -> dict[str, Any]:
    found = mixture.two_components(np.array(given["scores"]))
    return {
        "normalised": found.normalised_N,
        "iterations": found.iterations,
        "weights": found.weights_2,
        "means": found.means_2,
        "variances": found.variances_2,
        "w": found.w_N,
        "reliable": found.reliable_N,
    }


def _spans(given: dict[str, Json]) -> dict[str, Any]:
    words, max_len = given["L"], given["max_len"]
    return {
        "all": int(spans.num_spans(words, words)),
        "bounded": int(spans.num_spans(words, max_len)),
        "list": spans.enumerate_spans(words, max_len),
    }


def _decode(given: dict[str, Json]) -> dict[str, Any]:
    rows = given["spans"]
    bounds = np.array([[row["start"], row["end"]] for row in rows])
    labels = np.array([row["label"] for row in rows])
    kept = spans.decode(bounds, labels, np.array([row["score"] for row in rows]))
    return {"kept": np.column_stack([bounds[kept], labels[kept]])}


def _alpha(given: dict[str, Json]) -> dict[str, Any]:
    names = ("start", "end", "warm", "epochs")
    asked = {name: given[name] for name in names}
    of_code = asked | {"warm": given["update_soft_start"] + 1, "kind": "code"}
    return {
        "alpha": [refinement.alpha(epoch, **asked) for epoch in given["epoch"]],
        "alpha_code": [refinement.alpha(epoch, **of_code) for epoch in given["epoch"]],
    }


def _margin(given: dict[str, Json]) -> dict[str, Any]:
    found = vmf.margins(double(given["mu"]), double(given["z"]), torch.tensor(given["y"]))
    return {"margins": found, "gamma_all": float(found.min())}


MARAL: dict[str, Evaluate] = {
    "maral.log_c": _log_c,
    "maral.a_q": _a_q,
    "maral.rho": _rho,
    "maral.kappa": _kappa,
    "maral.ema": _ema,
    "maral.l_mmc": _l_mmc,
    "maral.prior": _prior,
    "maral.refine": _refine,
    "maral.gmm": _gmm,
    "maral.spans": _spans,
    "maral.decode": _decode,
    "maral.alpha": _alpha,
    "maral.margin": _margin,
}
