from typing import Any

import torch
from torch import Tensor

from tests.adapters.types import Evaluate, Json, double
from xlt_ray.ops import confusion


def _log_psi(tau: float, num_classes: int) -> Tensor:
    return confusion.log_columns(confusion.scaled_identity(tau, num_classes, torch.float64))


def _psi(given: dict[str, Json]) -> dict[str, Any]:
    num_classes = given["K"]
    tau = given["tau"] if "tau" in given else confusion.tau_of(given["mu"], num_classes)
    psi = _log_psi(tau, num_classes).exp()
    return {
        "tau": tau,
        "mu": confusion.mu_of(tau, num_classes),
        "off_diagonal": psi[0, 1],
        "matrix": psi,
        "column_sum": psi.sum(dim=0)[0],
    }


def _phi(given: dict[str, Json]) -> dict[str, Any]:
    log_psi = _log_psi(given["tau_psi"], given["K"])
    raw = confusion.scaled_identity(given.get("tau_sigma", 1), given["K"], torch.float64)
    raw = double(given["sigma_raw"]) if "sigma_raw" in given else raw
    log_sigma = confusion.log_columns(raw)
    log_phi = confusion.log_mixture(log_psi, log_sigma[None], given["lambda"])
    return {"psi": log_psi.exp(), "sigma": log_sigma.exp(), "phi": log_phi[0].exp()}


def _log_joint(given: dict[str, Json], log_p: Tensor) -> Tensor:
    log_phi = double(given["phi"]).log()
    if "soft" in given:
        return log_p + confusion.log_emission_soft(log_phi, double(given["soft"]))
    return log_p + confusion.log_emission_hard(log_phi, torch.tensor(given["hard"]))


def _posterior(given: dict[str, Json]) -> dict[str, Any]:
    log_p = double(given["p_theta"]).log()
    joint = _log_joint(given, log_p)
    q, nll = confusion.posterior(joint), confusion.nll(joint)
    return {
        "Q": q,
        "log_marginal": -nll,
        "J": nll.sum(),
        "prediction_Q": q.argmax(dim=1),
        "prediction_P": log_p.argmax(dim=1),
    }


def _em_bound(given: dict[str, Json]) -> dict[str, Any]:
    logits = double(given["p_theta"]).log().requires_grad_()
    joint, q = _log_joint(given, logits.log_softmax(-1)), double(given["Q"])
    expected, bound = confusion.expected_nll(joint, q).sum(), confusion.bound(joint, q).sum()
    loss = confusion.nll(joint).sum()
    return {
        "J": loss.detach(),
        "expected_term": expected.detach(),
        "bound": bound.detach(),
        "gap_KL": (bound - loss).detach(),
        "grad_theta_logits": torch.autograd.grad(expected, logits)[0],
    }


def _risk(given: dict[str, Json]) -> dict[str, Any]:
    log_p, log_psi = double(given["p_theta"]).log(), double(given["psi"]).log()
    joint = log_p + confusion.log_emission_hard(log_psi[None], torch.tensor([given["hard"]]))
    nll = confusion.nll(joint)
    log_risk = confusion.log_risk(nll, torch.zeros(len(nll), dtype=torch.int64), 1)[0]
    return {
        "per_position": (-nll).exp(),
        "risk": -log_risk.exp(),
        "log_risk_magnitude": log_risk,
        "J_log": nll.sum(),
        "scores": joint.exp(),
    }


def _sigma_grad(given: dict[str, Json]) -> dict[str, Any]:
    raw = double(given["sigma_raw"]).requires_grad_()
    log_psi = _log_psi(given["tau_psi"], len(raw))
    log_phi = confusion.log_mixture(log_psi, confusion.log_columns(raw)[None], given["lambda"])
    emission = confusion.log_emission_hard(log_phi, torch.tensor([given["hard"]]))
    expected = confusion.expected_nll(emission, double(given["Q"])).sum()
    return {
        "phi": log_phi[0].exp().detach(),
        "grad_sigma_raw": torch.autograd.grad(expected, raw)[0],
    }


def _lambda_schedule(given: dict[str, Json]) -> dict[str, Any]:
    steps = given["total_steps"]
    return {"lambda": [confusion.lambda_at(step, steps) for step in given["steps"]]}


LVM: dict[str, Evaluate] = {
    "lvm.psi": _psi,
    "lvm.phi": _phi,
    "lvm.posterior": _posterior,
    "lvm.em_bound": _em_bound,
    "lvm.risk": _risk,
    "lvm.sigma_grad": _sigma_grad,
    "lvm.lambda_schedule": _lambda_schedule,
}
